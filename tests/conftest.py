"""
Real databases for every test that asks for one: SQLite files, and a PostgreSQL server of our own.

Also how hypothesis searches: ``--hypothesis-profile explore`` searches at random.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from sqlalchemy import make_url

from monitor.storage import Database
from monitor.storage.tables import metadata
from tests.postgres_for import administer, postgres_server

# The tests try the same examples every time; ``make explore`` tries others, and what it finds becomes an example.
# No deadline, since a busy machine is no mistake. No database of examples, so that nothing depends on it.
settings.register_profile("ci", derandomize=True, max_examples=100, deadline=None, database=None)
settings.register_profile("explore", max_examples=2000, deadline=None, database=None, print_blob=True)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL server where databases may be made."""
    with postgres_server() as url:
        yield url


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
        administer(self.server, f"CREATE DATABASE {self.name}")
        return make_url(self.server).set(database=self.name).render_as_string(hide_password=False)

    def __exit__(self, *_: object) -> None:
        administer(self.server, f"DROP DATABASE {self.name} WITH (FORCE)")


def _empty(url: str) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    administer(
        url,
        f"{others} AND pid <> pg_backend_pid()",
        f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE",
    )
