"""The history database: one SQLite file or one PostgreSQL server."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from threading import Condition
from time import monotonic
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from monitor.errors import StorageError
from monitor.storage import migrate
from monitor.storage.file_lock import daemon_lock, lock_owner
from monitor.storage.session_lock import SessionLock, find_holder, session_name
from monitor.storage.store import Store

BUSY_SECONDS = 10.0
# A statement of the daemon takes milliseconds. This limits how long a server in trouble blocks a thread.
STATEMENT_TIMEOUT = timedelta(seconds=30)
# A peer that vanished is detected within 25 seconds, whether the monitor waits or sends.
_POSTGRES_SOCKET = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
# Settings of the session, in milliseconds.
_POSTGRES_SESSION = {"lock_timeout": 10_000, "idle_in_transaction_session_timeout": 60_000}
# The identity of a file: its device and its inode.
Identity: TypeAlias = tuple[int, int]
# Lets freed pages leave the file.
_SHRINKABLE = "auto_vacuum=INCREMENTAL"
_PRAGMAS = (
    "journal_mode=WAL",
    "journal_size_limit=16777216",  # a log that grew shrinks again
    "synchronous=FULL",
    "foreign_keys=ON",
    "cache_size=-512",  # KiB for each of many connections; the system's cache has the rest
    "secure_delete=ON",  # deleted data is overwritten
)


class Database:
    """
    The history database.

    A database that can't be used is a ``StorageError``, whichever library reports it. A row that the schema
    refuses is SQLAlchemy's ``IntegrityError``.

    Args:
        url: SQLAlchemy's, ``sqlite:///…`` or ``postgresql+psycopg://…``.
        statement_timeout: how long PostgreSQL may work on one statement; None without a limit.
    """

    def __init__(self, url: str, *, statement_timeout: timedelta | None = None) -> None:
        self.url = make_url(url)
        self._session_settings = dict(_POSTGRES_SESSION)
        if statement_timeout:
            self._session_settings["statement_timeout"] = statement_timeout // timedelta(milliseconds=1)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._file = Path(self.url.database or "") if self.is_sqlite else None
        self._identity: Identity | None = None
        self._log: Identity | None = None
        # Held only while a transaction begins or ends.
        self._drain_lock = Condition()
        self._transactions: dict[object, float] = {}
        # Why the newest transaction that might write failed; empty if it didn't.
        self.write_error = ""
        # What the newest check of the file found; empty if it is sound.
        self.damage = ""
        self._users = 0
        self._renewing = False
        self._writer = self._engine("BEGIN IMMEDIATE")
        # A second engine, so that reading never waits for the writer's lock on SQLite. The writer uses BEGIN
        # IMMEDIATE: with plain BEGIN, racing polls ended in "database is locked".
        self._reader = (
            self._engine("BEGIN")
            if self.is_sqlite
            else self._writer.execution_options(isolation_level="REPEATABLE READ")
        )

    @property
    def display_name(self) -> str:
        """The URL of the database without its password, for messages."""
        return self.url.render_as_string(hide_password=True)

    def upgrade(self, on_step: migrate.OnStep = lambda revision, deed: None) -> str | None:
        """
        Create or migrate the schema.

        Args:
            on_step: called before each migration with its revision and its description.

        Returns:
            The revision that was found, None for an empty database.
        """
        with self._translate_errors(), self._translate_file_errors():
            if self._file:
                self._refuse_foreign_file(self._file)
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # The file contains names of people, so no other user may read it.
                os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))
            found = migrate.upgrade(self.url, self._writer, on_step)
            if self._file:
                self._enable_auto_vacuum()
            return found

    def current_revision(self) -> str | None:
        """Return the revision of the schema; None if there is none yet. Changes nothing."""
        with self._translate_errors(), self._translate_file_errors():
            if self._file:
                if not self._file.exists():
                    return None
                return self._refuse_foreign_file(self._file)
            with self._reader.connect() as connection:
                return migrate.current_revision(connection)

    def unapplied_settings(self) -> list[str]:
        """
        Return the names of the session settings that the server didn't apply.

        A connection pooler may drop them silently. Statements and locks then have no limit.
        """
        if self.is_sqlite:
            return []
        query = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")
        with self._translate_errors(), self._reader.connect() as connection:
            rows = connection.execute(query, {"names": [*self._session_settings]})
            return sorted(name for name, value in rows if int(value) != self._session_settings[name])

    def longest_transaction(self) -> float:
        """Return the age of the oldest open transaction in seconds; 0 without one."""
        began = list(self._transactions.values())
        return monotonic() - min(began) if began else 0.0

    def find_damage(self) -> str:
        """
        Check a SQLite file; return what is wrong with it and what to do, empty if it is sound.

        It takes about a second for each 200 MB.

        Raises:
            StorageError: the file can't be read.
        """
        if not self._file:
            return ""
        try:
            with self._reader.connect() as connection:
                found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
        except DBAPIError as error:
            if "malformed" not in str(error.orig):
                with self._translate_errors():
                    raise
            found = str(error.orig)
        self.damage = "" if found == "ok" else f"{self.display_name}: {found}; {_REMEDIES['malformed']}"
        return self.damage

    @contextmanager
    def begin(self) -> Iterator[Store]:
        """Open one transaction that may write. It is committed if the block succeeds."""
        try:
            with (
                self._timed(),
                self._translate_errors(),
                self._checked_file(),
                self._writer.begin() as connection,
            ):
                yield Store(connection, uses_locks=not self.is_sqlite)
        except StorageError as error:
            self.write_error = str(error)
            raise
        self.write_error = ""

    @contextmanager
    def read(self) -> Iterator[Store]:
        """Open one reading transaction: a consistent state that never waits for a writer."""
        with (
            self._timed(),
            self._translate_errors(),
            self._checked_file(),
            self._reader.connect() as connection,
        ):
            yield Store(connection)

    @contextmanager
    def exclusive(self) -> Iterator[Callable[[], str | None]]:
        """
        Monitor this database with one daemon.

        Yields:
            Takes the lock, or checks that it is still held, and returns the host that holds it instead; None if
            this daemon does. It raises a StorageError if the server can't be asked: then the lock isn't held.

        Raises:
            StorageError: another daemon has the SQLite file.
        """
        if self._file:
            with ExitStack() as held:
                with self._translate_file_errors():
                    self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    held.enter_context(daemon_lock(self._file))
                yield lambda: None
            return
        # The server must also notice within 15 seconds that this machine is gone.
        keepalives = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
        engine = _create_engine(
            self.url.difference_update_query(["options", "application_name"]),
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={**_POSTGRES_SOCKET, "options": keepalives, "application_name": session_name()},
        )
        with closing(SessionLock(engine)) as lock:

            def acquire() -> str | None:
                with self._timed(), self._translate_errors():
                    return lock.acquire()

            yield acquire

    def daemon(self) -> str | None:
        """Return the host or process of the daemon that monitors this database; None if there is none."""
        with self._translate_errors(), self._translate_file_errors():
            if self._file:
                return lock_owner(self._file)
            with self._reader.connect() as connection:
                return find_holder(connection)

    def close(self) -> None:
        """Close every connection."""
        self._writer.dispose()
        if self.is_sqlite:
            self._reader.dispose()
        self._log = None

    @contextmanager
    def _timed(self) -> Iterator[None]:
        transaction = object()
        self._transactions[transaction] = monotonic()
        try:
            yield
        finally:
            del self._transactions[transaction]

    def _engine(self, begin: str) -> Engine:
        if not self.is_sqlite:
            # The settings of the URL come last, so they win.
            said = self.url.query.get("options", ())
            settings = [f"-c {name}={value}" for name, value in self._session_settings.items()]
            options = " ".join([*settings, *([said] if isinstance(said, str) else said)])
            return _create_engine(
                self.url.difference_update_query(["options"]),
                pool_pre_ping=True,
                pool_size=4,
                connect_args={**_POSTGRES_SOCKET, "options": options},
            )
        # mode=rw: a file that vanishes while the monitor runs must not come back as an empty database.
        url = URL.create("sqlite", database=f"file:{self._quoted()}", query={"mode": "rw", "uri": "true"})
        engine = _create_engine(url, connect_args={"timeout": BUSY_SECONDS})

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the engine begins transactions itself
            cursor = connection.cursor()
            # Works only before there is a first page. Later it would take the writer's lock and do nothing.
            is_new = self._file and self._file.stat().st_size == 0
            for pragma in (_SHRINKABLE, *_PRAGMAS) if is_new else _PRAGMAS:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _quoted(self) -> str:
        from urllib.parse import quote

        return quote(str(self._file))

    def _refuse_foreign_file(self, file: Path) -> str | None:
        """Inspect a file without changing a byte of it, not even the journal mode."""
        if not file.exists() or file.stat().st_size == 0:
            return None
        how = {"mode": "ro", "uri": "true"}
        if _has_no_wal(file):
            how["immutable"] = "1"  # or reading would leave a log and an index beside the file
        url = URL.create("sqlite", database=f"file:{self._quoted()}", query=how)
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
        try:
            with engine.connect() as connection:
                return migrate.current_revision(connection)
        finally:
            engine.dispose()

    def _enable_auto_vacuum(self) -> None:
        """Rebuild a file that was created without auto_vacuum, so that it can shrink."""
        with self._writer.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            if driver.execute("PRAGMA auto_vacuum").fetchone()[0] == 0:
                with suppress(
                    sqlite3.OperationalError
                ):  # no room for a copy, or the file is in use: try another time
                    driver.execute(f"PRAGMA {_SHRINKABLE}")
                    driver.execute("VACUUM")

    @contextmanager
    def _checked_file(self) -> Iterator[None]:
        """Check, at the beginning and the end of a transaction, that the open file is the one on the disk."""
        if not self._file:
            yield
            return
        with self._drain_lock:
            self._drain_lock.wait_for(lambda: not self._renewing, BUSY_SECONDS)
            self._check_file_identity(self._file)
            self._users += 1
        try:
            yield
            if self._log is None:
                with self._translate_file_errors():
                    self._log = _identity(f"{self._file}-wal")
        finally:
            with self._drain_lock:
                self._users -= 1
                self._drain_lock.notify_all()

    def _check_file_identity(self, file: Path) -> None:
        """
        Detect files that were removed or replaced, because open connections would write to nowhere.

        If the log was deleted, its content is saved, because open connections still have it. No transaction may
        be open then, because using the old log and a new one at once would damage the file.
        """
        with self._translate_file_errors():
            found, log = _identity(file), _identity(f"{file}-wal")
        if found is None:
            raise StorageError(
                f"the database file {file} is gone; bring it back, or restart to begin a new history",
                transient=True,
            )
        is_other = self._identity not in {None, found}
        if is_other or self._log not in {None, log}:
            self._renewing = True
            try:
                if not self._drain_lock.wait_for(lambda: self._users == 0, BUSY_SECONDS):
                    raise StorageError(f"the log of {file} was deleted, and it is in use", transient=True)
                if not is_other:
                    with closing(self._writer.raw_connection()) as connection:
                        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self.close()
            finally:
                self._renewing = False
                self._drain_lock.notify_all()
        self._identity = found

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # the database works: what it was asked to write is an error of the monitor
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())[:200]
            passing = isinstance(error, OperationalError) and "not a database" not in reason
            raise StorageError(
                f"{self.display_name}: {reason}; {_remedy(reason, is_sqlite=self.is_sqlite)}",
                transient=passing,
            ) from error
        except SQLAlchemyError as error:
            passing = isinstance(error, PoolTimeout)
            raise StorageError(
                f"{self.display_name}: {type(error).__name__}: {str(error)[:200]}", transient=passing
            ) from error

    @contextmanager
    def _translate_file_errors(self, *, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
        """Translate errors of files. Never use it around a caller's block, whose errors may concern other files."""
        try:
            yield
        except but:
            raise
        except OSError as error:
            is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            remedy = _REMEDIES["full"] if is_full else _FILE_REMEDY
            raise StorageError(f"{self.display_name}: {error.strerror or error}; {remedy}") from error


def _create_engine(url: URL, **options: Any) -> Engine:
    try:
        # The parameters contain names of people, and errors are logged.
        return create_engine(url, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise StorageError(
            f"{url.render_as_string()}: the driver ({error.name}) isn't installed; "
            "install the extra: pip install 'postpost-monitor[postgres]'"
        ) from None


def _identity(file: Path | str) -> Identity | None:
    try:
        found = Path(file).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _has_no_wal(file: Path) -> bool:
    """Return whether a file uses a write-ahead log but has none now, so that no process has it open."""
    with file.open("rb") as opened:
        return opened.read(20)[18:] == b"\x02\x02" and not Path(f"{file}-wal").exists()


def _remedy(reason: str, *, is_sqlite: bool) -> str:
    """Return what an operator can do about an error of the database."""
    text = reason.lower()
    for words, remedy in _REMEDIES.items():
        if words in text:
            return remedy
    return f"is it an ordinary file? {_FILE_REMEDY}" if is_sqlite else "see the database's own log"


_FILE_REMEDY = "give database.url (or $STATE_DIRECTORY) a place for a file where the monitor may write"
_REMEDIES = {
    "locked": "another program holds the database; it is tried again",
    "full": "make room on the disk",
    "i/o error": "see whether the disk is full, limited or failing",
    "readonly": "make the file and its folder writable for the monitor",
    "read-only": "make the file and its folder writable for the monitor",
    "unable to open": "check that the file is there and readable for the monitor",
    "not a database": "this file is something else: give database.url another path",
    "malformed": "the file is damaged: stop the daemon, and restore a backup",
    "password authentication": "check the user and the password in database.url",
    "refused": "start the server, or correct the host and port in database.url",
    "could not translate": "check the host name in database.url",
    "failed to resolve": "check the host name in database.url",
    "sslmode": "correct sslmode in database.url",
    "unsupported startup parameter": (
        "let the pooler ignore options (PgBouncer: ignore_startup_parameters = options), "
        "and set the timeouts with ALTER ROLE"
    ),
    "timeout expired": "start the server, or correct the host and port in database.url",
    "does not exist": "create the database and the role first",
    "permission denied": "grant the role the right to create tables in its schema",
}
