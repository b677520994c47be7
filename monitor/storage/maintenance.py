"""Maintain the history database: backup, retention, and freed space."""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import ColumnElement, Table, and_, delete, exists, func, not_, or_, select

from monitor.core.model import DeliveryState
from monitor.errors import StorageError
from monitor.storage.database import Database
from monitor.storage.outbox import UNSENT
from monitor.storage.tables import incidents, notifications, poll_runs, snapshots

# Rows deleted in one transaction, so that the daemon doesn't wait long.
MAX_BATCH_SIZE = 500
# Rows looked up at once. Reading delays no writer.
CHUNK = 20 * MAX_BATCH_SIZE
# Pages freed in one transaction.
PAGES = 1000
# How long freeing space waits for others. It can run another time.
COMPACT_BUSY_SECONDS = 1.0

KINDS = ("snapshots", "transitions", "poll runs", "incidents", "deliveries")


def backup(database: Database, file: Path) -> None:
    """
    Write a consistent copy of a SQLite database, while others read and write it.

    Raises:
        StorageError: the database is a server, the file exists, it can't be written, or the database is damaged.
            An existing file is kept.
    """
    if not database.is_sqlite:
        server = database.url.set(drivername="postgresql", password=None)
        raise StorageError(
            "the history is on a PostgreSQL server; use its own tool, which asks for the password: "
            f"pg_dump --format=custom --file={file} --dbname={server.render_as_string()}"
        )
    try:
        # The file contains names of people, so no other user may read it.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise StorageError(f"{file} is there already and is kept: give the backup another name") from None
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror}; want a file that can be made") from None
    try:
        with closing(_opened(database, "ro")) as original, closing(sqlite3.connect(file)) as copy:
            original.backup(copy)
            ((said,),) = copy.execute("PRAGMA integrity_check(1)")
    except sqlite3.Error as error:
        _remove(file)
        raise StorageError(f"{file}: the backup failed: {error}; make room and try again") from error
    if said != "ok":
        _remove(file)
        raise StorageError(
            f"the history is damaged and so would be its copy, which was not kept ({said}); "
            "keep the backups that you have, and see `postpost-monitor db check`"
        )


def prune_older(database: Database, before: Mapping[str, datetime]) -> Iterator[tuple[str, int]]:
    """
    Delete what is too old, in many small transactions.

    The current state stays, however old: the newest snapshot of a connection, the newest poll run of a target,
    open incidents and their notifications, the newest digest, and pending notifications.

    Args:
        before: by kind, one of ``KINDS``: older rows are deleted.

    Yields:
        A kind, and how many rows of it one transaction deleted.
    """
    for kind in KINDS:
        table, is_old = _old(kind, before[kind])
        while True:
            with database.read() as store:
                query = select(table.c.id).where(is_old).limit(CHUNK)
                found: Sequence[int] = list(store.connection.execute(query).scalars())
            for start in range(0, len(found), MAX_BATCH_SIZE):
                these = table.c.id.in_(found[start : start + MAX_BATCH_SIZE])
                with database.begin() as store:
                    some = and_(these, is_old) if table in _MAY_COME_BACK else these
                    count = store.connection.execute(delete(table).where(some)).rowcount
                yield kind, count
            if len(found) < CHUNK:
                break


def compact(database: Database) -> int:
    """
    Return the free space of a SQLite file to the disk, a little at a time, and empty its log.

    A server does so itself. If the file is in use, the rest waits for another time.

    Returns:
        By how many bytes the file shrank.
    """
    if not database.is_sqlite:
        return 0
    before = Path(database.url.database or "").stat().st_size
    with suppress(sqlite3.OperationalError), closing(_opened(database, "rw")) as connection:
        while connection.execute("PRAGMA freelist_count").fetchone()[0]:
            given_back = connection.execute("PRAGMA page_count").fetchone()
            # A script runs to its end. Each step of a statement would free a single page.
            connection.executescript(f"PRAGMA incremental_vacuum({PAGES})")
            if connection.execute("PRAGMA page_count").fetchone() == given_back:
                break
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return before - Path(database.url.database or "").stat().st_size


def _opened(database: Database, mode: str) -> sqlite3.Connection:
    source = f"file:{quote(str(database.url.database))}?mode={mode}"
    return sqlite3.connect(source, uri=True, timeout=COMPACT_BUSY_SECONDS, isolation_level=None)


def _remove(file: Path) -> None:
    for each in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
        with suppress(OSError):
            each.unlink()


# A delivery may be requeued between the lookup and the deletion.
_MAY_COME_BACK = (incidents, notifications)


def _old(kind: str, before: datetime) -> tuple[Table, ColumnElement[bool]]:
    if kind in {"snapshots", "transitions"}:
        same = snapshots.c.from_status == snapshots.c.token_status
        newest = select(func.max(snapshots.c.id)).group_by(snapshots.c.connection_id)
        return snapshots, and_(
            snapshots.c.taken_at < before,
            same if kind == "snapshots" else or_(snapshots.c.from_status.is_(None), not_(same)),
            snapshots.c.id.not_in(newest),
        )
    if kind == "poll runs":
        return poll_runs, poll_runs.c.ended_at < before
    unsent = notifications.alias("unsent")
    is_unsent = unsent.c.state.in_([DeliveryState.PENDING, DeliveryState.SENDING])
    if kind == "incidents":  # their deliveries are deleted with them
        return incidents, and_(
            incidents.c.resolved_at < before,
            ~exists().where(unsent.c.incident_id == incidents.c.id, is_unsent),
        )
    later = notifications.alias("later")
    of_what_is_over = exists().where(
        incidents.c.id == notifications.c.incident_id, incidents.c.resolved_at < before
    ) & ~exists().where(unsent.c.incident_id == notifications.c.incident_id, is_unsent)
    # The newest digest determines when the next one is due.
    superseded = notifications.c.incident_id.is_(None) & exists().where(
        later.c.channel == notifications.c.channel,
        later.c.group_key == notifications.c.group_key,
        later.c.reason == notifications.c.reason,
        later.c.id > notifications.c.id,
    )
    return notifications, and_(
        notifications.c.created_at < before, not_(UNSENT), or_(of_what_is_over, superseded)
    )
