"""
Real databases for every test that asks for one: SQLite files, and a PostgreSQL server of our own.

Also how hypothesis searches: ``--hypothesis-profile explore`` searches at random.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import structlog
from hypothesis import settings
from sqlalchemy import make_url

from monitor.logs import set_secrets
from monitor.storage.database import Database
from monitor.storage.tables import metadata
from tests.postgres_for import administer, postgres_server

# The tests try the same examples every time; ``make explore`` tries others, and what it finds becomes an example.
# No deadline, since a busy machine is no mistake. No database of examples, so that nothing depends on it.
settings.register_profile("ci", derandomize=True, max_examples=100, deadline=None, database=None)
settings.register_profile(
    "explore", derandomize=False, max_examples=2000, deadline=None, database=None, print_blob=True
)
settings.register_profile("mutants", derandomize=True, max_examples=15, deadline=None, database=None)
settings.load_profile("ci")

# Makes a database of a kind, "sqlite" or "postgres", and gives its URL while the block lasts.
NewDatabase: TypeAlias = Callable[[str], AbstractContextManager[str]]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command configured about logging, or the next test can't capture lines below its level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    set_secrets(())


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL server where databases may be made: one for all workers of a run."""
    with postgres_server(shared_as=os.environ.get("PYTEST_XDIST_TESTRUNUID")) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated SQLite file that nobody opens: a copy costs a fiftieth of a migration."""
    file = tmp_path_factory.mktemp("template") / "history.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> Iterator[str]:
    """Give the name of a migrated database that nobody connects to, so that the server can copy it."""
    with postgres_database(postgres) as url:
        _migrate(url)
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def sqlite_sample(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a SQLite file that holds the sample history, and that nobody opens."""
    file = tmp_path_factory.mktemp("sample") / "history.db"
    shutil.copy(sqlite_template, file)
    _fill_with_sample(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_sample(postgres: str, postgres_template: str) -> Iterator[str]:
    """Give the name of a database that holds the sample history, and that nobody connects to."""
    with postgres_database(postgres, postgres_template) as url:
        _fill_with_sample(url)
        yield str(make_url(url).database)


@pytest.fixture(scope="session")
def migrated_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> NewDatabase:
    """Give a way to have a migrated database of its own, of either kind, for longer than a test perhaps."""
    return lambda kind: _copied(kind, "template", request, tmp_path_factory)


@pytest.fixture(scope="session")
def sample_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Give a way to have a database of its own that holds the sample history."""
    return lambda kind: _copied(kind, "sample", request, tmp_path_factory)


@contextmanager
def _copied(
    kind: str, source: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    original = request.getfixturevalue(f"{kind}_{source}")
    if kind == "sqlite":
        file = tmp_path_factory.mktemp("history") / "history.db"
        shutil.copy(original, file)
        yield f"sqlite:///{file}"
        return
    with postgres_database(request.getfixturevalue("postgres"), original) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_reused(migrated_database: NewDatabase) -> Iterator[str]:
    """Give the URL of a migrated database; emptying it for each test is faster than making one."""
    with migrated_database("postgres") as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Give the URL of a SQLite file that isn't there yet."""
    return f"sqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """Give the URL of an empty PostgreSQL database."""
    with postgres_database(postgres) as url:
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
        file = tmp_path / "history.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
        return
    url = request.getfixturevalue("postgres_reused")
    _empty(url)
    yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give a migrated database, once on each kind."""
    database = Database(database_url)
    yield database
    database.close()


def _migrate(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.close()


def _fill_with_sample(url: str) -> None:
    from tests.storage.sample_history import live

    with closing(Database(url)) as database, structlog.testing.capture_logs():
        live(database)


@contextmanager
def postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """Make a database on a server, like another one, and remove it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _empty(url: str) -> None:
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    administer(
        url,
        f"{others} AND pid <> pg_backend_pid()",
        # TRUNCATE makes a new file for each table and index: it costs fifty times as much for a few rows.
        *(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)),
        "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)"
        " FROM pg_sequences WHERE last_value IS NOT NULL",
    )
