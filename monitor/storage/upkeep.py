"""Care for the history database: what holds at all times, a consistent copy, and what is forgotten."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import Select, and_, delete, exists, func, or_, select, text

from monitor.core.model import DeliveryState, Incident, Target
from monitor.errors import StorageError
from monitor.storage.database import Database
from monitor.storage.rows import as_incident, incident_query
from monitor.storage.tables import connections, incidents, notifications, poll_runs, polls, snapshots, targets

SHOWN = 10
# Rows forgotten in one transaction: the daemon waits for no longer than these take.
BATCH = 500


def findings(
    database: DatabaseConnection, *, is_told: Callable[[Incident, Target | None], bool]
) -> Iterator[str]:
    """
    Say what doesn't hold though it always should, one line each; nothing where the database is sound.

    Args:
        is_told: whether anybody is to be told of an incident.
    """
    if database.dialect.name == "sqlite":
        yield from _file_findings(database)
    for complaint, query in _INVARIANTS.items():
        ids = list(database.execute(query.limit(SHOWN + 1)).scalars())
        if ids:
            more = " and more" if len(ids) > SHOWN else ""
            yield f"{complaint}: {', '.join(map(str, ids[:SHOWN]))}{more}"
    silent = [
        incident.id for incident, target in _never_told(database) if is_told(incident, target)
    ]  # fmt: skip
    if silent:
        yield f"open incidents that nobody was ever told of: {', '.join(map(str, silent))}"


def backup(database: Database, file: Path) -> None:
    """
    Write a consistent copy of a SQLite database, while others read and write it.

    Raises:
        StorageError: it is a server, the file exists already, or it can't be written; what is there is kept.
    """
    if not database.is_sqlite:
        raise StorageError("the history is on a PostgreSQL server: use pg_dump to back it up")
    try:
        # Names of people are in it: nobody else on the machine may read.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise StorageError(f"{file} is there already and is kept: give the backup another name") from None
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror}; want a file that can be made") from None
    source = f"file:{quote(str(database.url.database))}?mode=ro"
    try:
        with closing(sqlite3.connect(source, uri=True)) as original, closing(sqlite3.connect(file)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        with suppress(OSError):
            file.unlink()
        raise StorageError(f"{file}: the backup failed: {error}; make room and try again") from error


def forget_some(database: DatabaseConnection, before: datetime) -> dict[str, int]:
    """
    Forget some of what is older than ``before``, a batch of each kind at most.

    What is known now stays, however old: the newest snapshot of a connection, the newest poll run of a
    target, open incidents, the newest digest and whatever is still to be sent.

    Returns:
        How many rows of each kind were forgotten; all 0 when there is nothing left to forget.
    """
    newer, later = snapshots.alias("newer"), notifications.alias("later")
    unsent = [DeliveryState.PENDING, DeliveryState.SENDING]
    old = {
        "snapshots": (
            snapshots,
            and_(
                snapshots.c.taken_at < before,
                exists().where(
                    newer.c.connection_id == snapshots.c.connection_id, newer.c.id > snapshots.c.id
                ),
            ),
        ),
        "poll runs": (
            poll_runs,
            poll_runs.c.last_at < before,
        ),
        # Their deliveries go with them.
        "incidents": (
            incidents,
            and_(
                incidents.c.resolved_at < before,
                ~exists().where(
                    notifications.c.incident_id == incidents.c.id, notifications.c.state.in_(unsent)
                ),
            ),
        ),
        "deliveries": (
            notifications,
            and_(
                notifications.c.incident_id.is_(None),
                notifications.c.created_at < before,
                notifications.c.state.not_in(unsent),
                # The newest digest says when the next one is due.
                exists().where(
                    later.c.channel == notifications.c.channel,
                    later.c.group_key == notifications.c.group_key,
                    later.c.reason == notifications.c.reason,
                    later.c.id > notifications.c.id,
                ),
            ),
        ),
    }
    forgotten = {}
    for kind, (table, is_old) in old.items():
        ids: Sequence[int] = list(database.execute(select(table.c.id).where(is_old).limit(BATCH)).scalars())
        if ids:
            database.execute(delete(table).where(table.c.id.in_(ids)))
        forgotten[kind] = len(ids)
    return forgotten


def _file_findings(database: DatabaseConnection) -> Iterator[str]:
    for (said,) in database.execute(text("PRAGMA integrity_check(10)")):
        if said != "ok":
            yield f"the file is damaged, restore a backup: {said}"
    orphans = {row[0] for row in database.execute(text("PRAGMA foreign_key_check"))}
    for table in sorted(orphans):
        yield f"rows that belong to nothing: in {table}"


def _never_told(database: DatabaseConnection) -> Iterator[tuple[Incident, Target | None]]:
    query = (
        incident_query()
        .add_columns(targets.c.managed_user_id, targets.c.managed_user)
        .join(targets, targets.c.id == incidents.c.target_id, isouter=True)
        .where(
            incidents.c.resolved_at.is_(None), ~exists().where(notifications.c.incident_id == incidents.c.id)
        )
        .order_by(incidents.c.id)
    )
    for row in database.execute(query).mappings():
        target = None
        if row["target_id"] is not None:
            target = Target(
                id=row["target_id"],
                account=row["account"],
                managed_user_id=row["managed_user_id"],
                managed_user=row["managed_user"],
            )
        yield as_incident(row), target


def _newest_differs() -> Select[tuple[int]]:
    newest = (
        select(snapshots.c.connection_id, func.max(snapshots.c.id).label("id"))
        .group_by(snapshots.c.connection_id)
        .subquery()
    )
    return (
        select(connections.c.id)
        .join(newest, newest.c.connection_id == connections.c.id, isouter=True)
        .join(snapshots, snapshots.c.id == newest.c.id, isouter=True)
        .where(or_(snapshots.c.id.is_(None), snapshots.c.token_status != connections.c.token_status))
        .order_by(connections.c.id)
    )


_open = incidents.alias("twin")
_INVARIANTS: dict[str, Select[tuple[int]]] = {
    "two open incidents about one problem": (
        select(incidents.c.id)
        .join(
            _open,
            and_(
                _open.c.rule == incidents.c.rule,
                _open.c.subject == incidents.c.subject,
                _open.c.id < incidents.c.id,
            ),
        )
        .where(incidents.c.resolved_at.is_(None), _open.c.resolved_at.is_(None))
    ),
    "delivered, and nobody knows when: deliveries": select(notifications.c.id).where(
        notifications.c.state == DeliveryState.DELIVERED, notifications.c.delivered_at.is_(None)
    ),
    "being sent by nobody, for ever: deliveries": select(notifications.c.id).where(
        notifications.c.state == DeliveryState.SENDING,
        or_(notifications.c.leased_until.is_(None), notifications.c.claim.is_(None)),
    ),
    "never to be polled: targets": select(targets.c.id).where(
        ~exists().where(polls.c.target_id == targets.c.id)
    ),
    "not as their history ends: connections": _newest_differs(),
}
