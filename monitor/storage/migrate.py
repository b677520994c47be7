"""
The schema: which one the program wants, which one a database has, and the way from one to the other.

Alembic takes a second to import, so a database that is already at ``HEAD`` is told so without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import URL

from monitor.errors import StorageError
from monitor.storage.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0006"
LOCK_SECONDS = 60
# Any number will do, as long as it is ours and never changes.
ADVISORY_LOCK = 7_085_320_771


def current(connection: Connection) -> str | None:
    """
    Give the revision of the schema in a database; None where it is empty.

    Raises:
        StorageError: the database holds something that isn't ours, or is newer than this program.
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
            f"the database has schema {revision!r}, which this program (schema {HEAD}) doesn't know; "
            "nothing was touched: install the version that wrote it, or a newer one"
        )
    return str(revision)


def upgrade(url: URL, engine: Engine) -> str | None:
    """
    Bring a database to ``HEAD``; several that start at once take turns.

    Returns:
        The revision that was found; equal to ``HEAD`` when there was nothing to do.
    """
    with engine.connect() as connection:
        found = current(connection)
    if found == HEAD:
        return found
    from alembic import command

    with _alone(url), engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        current(connection)  # somebody else may have been first, with a newer program
        connection.rollback()
        command.upgrade(config, "head")
        connection.commit()
    return found


def upgrade_sql(url: URL) -> None:
    """Print the statements that would bring an empty database to ``HEAD``, and run none."""
    from alembic import command

    config = _config()
    config.attributes["url"] = url.render_as_string(hide_password=False)
    command.upgrade(config, "head", sql=True)


def _older_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    return config


def _migrations() -> Path:
    """Find the migrations: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "_migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    if url.get_backend_name() == "sqlite":
        try:
            with FileLock(f"{url.database}.migrating", timeout=LOCK_SECONDS, mode=0o600):
                yield
        except Timeout:
            raise StorageError(
                f"another process has been migrating {url.database} for {LOCK_SECONDS} seconds; "
                "wait for it, or end it"
            ) from None
        return
    # On a connection of its own: the lock outlives the transactions of the migrations.
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
