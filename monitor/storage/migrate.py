"""
The schema: the revision that the program needs, the revision of a database, and the migrations.

Alembic takes a second to import, so a database at ``HEAD`` is recognized without it.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from monitor.errors import StorageError
from monitor.storage.file_lock import lock_owner
from monitor.storage.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script

HEAD = "0001_history"
LOCK_SECONDS = 60
# Called with the revision and the description of a migration.
OnStep: TypeAlias = Callable[[str, str], None]
# Any number works, as long as it never changes.
ADVISORY_LOCK = 7_085_320_771


def current_revision(connection: Connection) -> str | None:
    """
    Return the revision of the schema in a database; None if it is empty.

    Raises:
        StorageError: the database has tables of another program, or a development version or a newer release
            made it.
    """
    names = set(inspect(connection).get_table_names())
    if "alembic_version" not in names:
        foreign = names if connection.dialect.name == "sqlite" else names & set(metadata.tables)
        if foreign:
            raise StorageError(
                f"the database holds tables that are not the monitor's ({', '.join(sorted(foreign)[:3])}); "
                "nothing was touched: give database.url a database of its own"
            )
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision != HEAD and revision not in _older_revisions():
        raise StorageError(
            f"the database has schema {revision!r}, which this program (schema {HEAD}) doesn't know. "
            "It was made by a development version: export it with that version and start a new one. "
            "If a newer release made it, install that release. Nothing was touched."
        )
    return str(revision)


def upgrade(url: URL, engine: Engine, on_step: OnStep = lambda revision, deed: None) -> str | None:
    """
    Migrate a database to ``HEAD`` in one transaction; several that start at once take turns.

    Args:
        on_step: called before each migration with its revision and its description.

    Returns:
        The revision that was found; ``HEAD`` if there was nothing to do.

    Raises:
        StorageError: a migration failed, or would leave rows without a parent, or a daemon uses the file. The
            database is unchanged.
    """
    with engine.connect() as connection:
        found = current_revision(connection)
    if found == HEAD:
        return found
    from alembic import command

    with _alone(url), engine.connect() as connection:
        config = _config()
        with _without_cascades(connection):
            # Another process with a newer program may have been first.
            steps = _Steps(_scripts(config, current_revision(connection)), on_step)
            connection.rollback()
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # a table may be large
            if steps.are_left and url.get_backend_name() == "sqlite":
                _refuse_while_locked(Path(str(url.database)))
            config.attributes.update(connection=connection, on_version_apply=steps.next)
            steps.next()
            try:
                command.upgrade(config, "head")
                connection.commit()
            except Exception as error:
                if isinstance(error, OperationalError) and not _is_a_mistake(error):
                    raise  # locked, full, unavailable: not a failure of the migration
                words = " ".join(str(getattr(error, "orig", error)).split())[:200]
                raise StorageError(
                    f"migration {steps.running} failed: {type(error).__name__}: {words}; nothing was changed: "
                    "install the version that you had, it works on, and report this"
                ) from error
    return found


def _refuse_while_locked(file: Path) -> None:
    """Refuse while a daemon runs: an older one would keep writing into the new tables."""
    if watcher := lock_owner(file):
        raise StorageError(
            f"{file} is watched by a daemon of another version (process {watcher}); nothing was changed: "
            "stop it first, the new one brings the schema up to date when it starts"
        )


def _is_a_mistake(error: OperationalError) -> bool:
    # SQLite also reports an invalid statement as an operational error.
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


class _Steps:
    """The pending migrations, reported one by one as each begins."""

    def __init__(self, scripts: Sequence["Script"], on_step: OnStep) -> None:
        self._waiting = list(scripts)
        self._on_step = on_step
        self.running = ""

    @property
    def are_left(self) -> bool:
        return bool(self._waiting)

    def next(self, **_: Any) -> None:
        if self._waiting:
            script = self._waiting.pop(0)
            self.running = script.revision
            self._on_step(script.revision, script.doc)


def _scripts(config: "Config", found: str | None) -> "list[Script]":
    from alembic.script import ScriptDirectory

    newer = ScriptDirectory.from_config(config).iterate_revisions("head", found or "base")
    return list(reversed(list(newer)))


@contextmanager
def _without_cascades(connection: Connection) -> Iterator[None]:
    """
    Turn off SQLite's foreign keys, so that a migration can rebuild a table. Otherwise dropping the old one would
    delete every row that refers to it.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")  # ignored within a transaction, so before it begins
    try:
        yield
    finally:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys=ON")


def upgrade_sql(url: URL, found: str | None = None) -> None:
    """
    Print the statements that migrate a database to ``HEAD``, without running them.

    Args:
        found: the revision of the database; None if it is empty.
    """
    from alembic import command

    if url.get_backend_name() == "sqlite":
        # The shell continues after a failed statement by default. With foreign keys on,
        # rebuilding a table would delete the rows that refer to it.
        pragma = "foreign_keys=OFF" if found else "auto_vacuum=INCREMENTAL"
        print(f".bail on\nPRAGMA {pragma};\n")  # noqa: T201 - beside alembic's own output
    config = _config()
    config.attributes["url"] = url.render_as_string(hide_password=False)
    command.upgrade(config, f"{found}:head" if found else "head", sql=True)


def _older_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _migrations() -> Path:
    """Return the folder of the migrations: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    if url.get_backend_name() == "sqlite":
        try:
            with FileLock(f"{url.database}.migrating", timeout=LOCK_SECONDS, mode=0o600) as lock:
                yield
                # A waiting process notices that the file is gone, and creates its own.
                Path(lock.lock_file).unlink(missing_ok=True)
        except Timeout:
            raise StorageError(
                f"another process has been migrating {url.database} for {LOCK_SECONDS} seconds; "
                "wait for it, or end it"
            ) from None
        return
    # On its own connection, because the lock outlasts the transactions of the migrations.
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": ADVISORY_LOCK})
    finally:
        engine.dispose()
