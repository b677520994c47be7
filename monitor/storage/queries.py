"""Queries of the views for the commands, and the health of the monitor."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    TableClause,
    and_,
    column,
    exists,
    func,
    or_,
    select,
)

from monitor.core.model import ConnectionState, Severity, TokenStatus
from monitor.core.rules.token_expiry import has_expired
from monitor.storage import dead_letters, outbox
from monitor.storage.pauses import is_paused
from monitor.storage.rows import IS_POLLED, as_connection, as_renewals
from monitor.storage.tables import (
    account_status,
    connections,
    incidents,
    notifications,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction
from monitor.storage.views import CONNECTIONS, DELIVERIES, EXPIRING, INCIDENTS, TIMELINE, TRANSITIONS

# Rows held in memory at once.
CHUNK = 500


_ORDERS = {
    CONNECTIONS.name: ("account", "managed_user", "platform", "platform_id"),
    TRANSITIONS.name: ("at", "id"),
    INCIDENTS.name: ("id",),
    DELIVERIES.name: ("id",),
    EXPIRING.name: ("expires_at",),
    TIMELINE.name: ("began_at", "id"),
}

# In the order of recording: by id, which no database has to sort.
AS_WRITTEN = ("id",)
# For open incidents. By id, SQLite would read all incidents.
AS_THEY_OPENED = ("opened_at", "id")
# The same profile of several targets, grouped.
SIDE_BY_SIDE = ("platform", "platform_id", "account", "managed_user")


def rows(
    store: Transaction,
    view: TableClause,
    *conditions: ColumnElement[bool],
    order_by: Sequence[str] = (),
) -> Iterator[Mapping[Any, Any]]:
    """Yield the rows of a view that meet all conditions, the oldest first, connections by name."""
    names = order_by or _ORDERS[view.name]
    order: list[ColumnElement[Any]] = [
        column(name).asc().nulls_first() if name == "managed_user" else column(name) for name in names
    ]
    query = select(*view.columns).where(*conditions).order_by(*order)
    yield from store.connection.execute(query, execution_options={"yield_per": CHUNK}).mappings()


def equals(view: TableClause, **wanted: object) -> list[ColumnElement[bool]]:
    """Return the conditions for certain values; None asks for nothing."""
    return [view.c[name] == value for name, value in wanted.items() if value is not None]


def is_shared() -> ColumnElement[bool]:
    """Return the condition for connections whose profile is connected more than once."""
    listed = CONNECTIONS.alias("listed")
    several = (
        select(listed.c.platform_id)
        .where(listed.c.removed_at.is_(None))
        .group_by(listed.c.platform_id)
        .having(func.count() > 1)
    )
    return and_(CONNECTIONS.c.removed_at.is_(None), CONNECTIONS.c.platform_id.in_(several))


def is_open() -> ColumnElement[bool]:
    """Return the condition for incidents that are open."""
    return INCIDENTS.c.resolved_at.is_(None)


def since(view: TableClause, moment: datetime) -> ColumnElement[bool]:
    """Return the condition for what happened from a moment on; an incident opened or ended then."""
    if view is INCIDENTS:
        return or_(view.c.opened_at >= moment, view.c.resolved_at >= moment)
    at_least: ColumnElement[bool] = (view.c.created_at if view is DELIVERIES else view.c.at) >= moment
    return at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """
    The polls of one target.

    Args:
        last_polled_at: its newest poll, successful or not; None before the first.
        last_ok_at: its newest successful poll.
        is_paused: whether it isn't polled because its key is rejected and another target retries.
    """

    account: str
    managed_user_id: str | None
    first_seen_at: datetime
    last_polled_at: datetime | None
    last_ok_at: datetime | None
    is_paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """
    The health of the monitor and of what it monitors.

    Args:
        connections: the number of listed connections.
        incidents: open incidents, by severity.
        expired, expiring: tokens, by status, and by a date that passed since and counts.
        dead_letters: messages that became dead letters lately.
        pending_since: since when the oldest due message has been waiting.
    """

    targets: tuple[TargetStatus, ...]
    connections: int
    incidents: Mapping[Severity, int]
    expired: int
    expiring: int
    dead_letters: int
    pending_since: datetime | None


def health(store: Transaction, now: datetime, *, account: str | None = None, recently: timedelta) -> Health:
    """
    Load the health of all accounts or of one.

    Args:
        recently: the age up to which dead letters count.
    """
    of_account = [] if account is None else [targets.c.account == account]
    watched = (
        select(targets, target_schedule.c.last_polled_at, is_paused().label("is_resting"))
        .join(target_schedule, target_schedule.c.target_id == targets.c.id)
        .join(account_status, account_status.c.account == targets.c.account, isouter=True)
    )
    by_severity = (
        select(incidents.c.severity, func.count())
        .where(incidents.c.resolved_at.is_(None), *_about(account))
        .group_by(incidents.c.severity)
    )
    tokens = (
        select(connections.c.token_status, func.count())
        .join(targets, targets.c.id == connections.c.target_id)
        .where(connections.c.removed_at.is_(None), targets.c.deactivated_at.is_(None), *of_account)
        .group_by(connections.c.token_status)
    )
    counted = Counter[str]()
    for status, count in store.connection.execute(tokens):
        counted[status] = count
    for status in _expired_since(store, now, *of_account):
        counted[status] -= 1
        counted[TokenStatus.EXPIRED] += 1
    return Health(
        targets=tuple(
            TargetStatus(
                account=row["account"],
                managed_user_id=row["managed_user_id"],
                first_seen_at=row["first_seen_at"],
                last_polled_at=row["last_polled_at"],
                last_ok_at=row["last_ok_at"] if row["consecutive_failures"] else row["last_polled_at"],
                is_paused=bool(row["is_resting"]),
            )
            for row in store.connection.execute(
                watched.where(IS_POLLED, *of_account).order_by(targets.c.id)
            ).mappings()
        ),
        connections=counted.total(),
        incidents={Severity(severity): count for severity, count in store.connection.execute(by_severity)},
        expired=counted[TokenStatus.EXPIRED],
        expiring=counted[TokenStatus.EXPIRING_SOON],
        dead_letters=_count_dead_letters(store, now - recently, account),
        pending_since=_pending_since(store, now, account),
    )


def _expired_since(store: Transaction, now: datetime, *conditions: ColumnElement[bool]) -> Iterator[str]:
    """Return the status of each token that expired since its newest report."""
    query = (
        select(
            connections,
            targets.c.consecutive_failures,
            targets.c.last_ok_at,
            target_schedule.c.last_polled_at,
        )
        .join(targets, targets.c.id == connections.c.target_id)
        .join(target_schedule, target_schedule.c.target_id == targets.c.id)
        .where(
            connections.c.token_status != TokenStatus.EXPIRED,
            connections.c.expires_at <= now,
            connections.c.removed_at.is_(None),
            targets.c.deactivated_at.is_(None),
            *conditions,
        )
    )
    for row in store.connection.execute(query).mappings():
        known = ConnectionState(
            connection=as_connection(row), first_seen_at=row["first_seen_at"], renewals=as_renewals(row)
        )
        answered_at = row["last_ok_at"] if row["consecutive_failures"] else row["last_polled_at"]
        if has_expired(known, now, reported_at=row["last_seen_at"] or answered_at or now):
            yield row["token_status"]


def _about(account: str | None) -> list[ColumnElement[bool]]:
    return [] if account is None else [incidents.c.account == account]


def _count_dead_letters(store: Transaction, after: datetime, account: str | None) -> int:
    # A dead letter was last due at its last attempt, which made it one.
    query = select(func.count(func.distinct(func.coalesce(notifications.c.message_key, "")))).where(
        dead_letters.DEAD, notifications.c.due_at >= after
    )
    count: int = store.connection.execute(_with_incident(query, account)).scalar_one()
    return count


def _pending_since(store: Transaction, now: datetime, account: str | None) -> datetime | None:
    # A message that failed has been waiting since its first attempt, although it is due again later.
    waiting_since = func.coalesce(notifications.c.first_attempt_at, notifications.c.due_at)
    query = select(func.min(waiting_since, type_=notifications.c.due_at.type)).where(
        outbox.UNSENT, waiting_since <= now
    )
    oldest: datetime | None = store.connection.execute(_with_incident(query, account)).scalar_one()
    return oldest


def _with_incident(query: Any, account: str | None) -> Any:
    if account is None:
        return query
    # Not joined: from undelivered rows to their incidents, never from all rows of the account.
    return query.where(exists().where(incidents.c.id == notifications.c.incident_id, *_about(account)))
