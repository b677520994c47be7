"""Which connections are due for a test, and what tests have shown."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, insert, or_, select, update

from monitor.core.model import ConnectionState, ConnectionTestHistory, Target, TokenStatus
from monitor.core.rules.connection_test import UNTESTABLE
from monitor.storage.rows import IS_POLLED, TARGET_COLUMNS, as_known, as_target, connection_test_columns
from monitor.storage.tables import connection_tests, connections, targets
from monitor.storage.transaction import Transaction

_KNOWN_STATUSES = (TokenStatus.VALID, TokenStatus.EXPIRING_SOON, TokenStatus.EXPIRED)
_CHUNK = 100


def last_test_at(store: Transaction, account: str, now: datetime) -> datetime | None:
    """
    Return when a connection of an account was last tested; None if never.

    A test in the future was before the clock was set back: it says nothing of how long ago that was, and must
    hide none of those since.
    """
    query = (
        select(func.max(connection_tests.c.tested_at))
        .join(connections, connections.c.id == connection_tests.c.connection_id)
        .join(targets, targets.c.id == connections.c.target_id)
        .where(targets.c.account == account, connection_tests.c.tested_at <= now)
    )
    found: datetime | None = store.connection.execute(query).scalar()
    return found


def next_due_connection(
    store: Transaction,
    account: str,
    now: datetime,
    *,
    is_wanted: Callable[[ConnectionState, datetime], bool],
) -> tuple[Target, ConnectionState] | None:
    """
    Return the connection of an account whose test has been due the longest. One that was never tested comes first.

    A target whose newest poll failed waits, because the same problem would make the test fail.

    Args:
        is_wanted: returns whether a test can show something.
    """
    query = _connections(
        targets.c.account == account,
        IS_POLLED,
        targets.c.consecutive_failures == 0,
        connections.c.removed_at.is_(None),
        # Connections that can't be tested are always due, so they would be read first each time.
        connections.c.platform.not_in(UNTESTABLE),
        or_(
            connections.c.expires_at.is_(None),
            connections.c.token_status.not_in(_KNOWN_STATUSES),
            connections.c.last_error.is_not(None),
            connection_tests.c.result.is_not(None),
        ),
        or_(
            connection_tests.c.next_test_at.is_(None),
            connection_tests.c.next_test_at <= now,
            connection_tests.c.tested_at > now,
        ),
    ).order_by(connection_tests.c.next_test_at.asc().nulls_first(), connections.c.id)
    with store.connection.execute(query, execution_options={"yield_per": _CHUNK}) as found:
        each = ((as_target({**row, "id": row["target_id"]}), as_known(row)) for row in found.mappings())
        return next(((target, known) for target, known in each if is_wanted(known, now)), None)


def find_connections(
    store: Transaction, platform_id: str, *, account: str | None, managed_user_id: str | None
) -> list[tuple[Target, ConnectionState]]:
    """Return the connections with an id, of all targets that list it."""
    wanted = [
        connections.c.platform_id == platform_id,
        connections.c.removed_at.is_(None),
        targets.c.deactivated_at.is_(None),
    ]
    if account is not None:
        wanted.append(targets.c.account == account)
    if managed_user_id is not None:
        wanted.append(func.lower(targets.c.managed_user_id) == managed_user_id.lower())
    found = store.connection.execute(
        _connections(*wanted).order_by(targets.c.account, connections.c.id)
    ).mappings()
    return [(as_target({**row, "id": row["target_id"]}), as_known(row)) for row in found]


def record_test(
    store: Transaction,
    connection_id: int,
    tested: ConnectionTestHistory,
    *,
    tested_at: datetime,
    next_test_at: datetime,
) -> None:
    """Save what is known after a test, and when the next one is due."""
    row = {"tested_at": tested_at, "next_test_at": next_test_at, **connection_test_columns(tested)}
    done = store.connection.execute(
        update(connection_tests).where(connection_tests.c.connection_id == connection_id).values(row)
    )
    if not done.rowcount:
        store.connection.execute(insert(connection_tests).values(connection_id=connection_id, **row))


def _connections(*conditions: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    # Both tables have an ``id``, so the target's has another name.
    of_target = [each for each in TARGET_COLUMNS if each is not targets.c.id]
    of_test = [each for each in connection_tests.c if each is not connection_tests.c.connection_id]
    return (
        select(connections, *of_target, *of_test)
        .join(targets, targets.c.id == connections.c.target_id)
        .join(connection_tests, connection_tests.c.connection_id == connections.c.id, isouter=True)
        .where(*conditions)
    )
