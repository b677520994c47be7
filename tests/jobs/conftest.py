"""A house on each kind of database."""

from collections.abc import Iterator

import pytest
import structlog

from monitor.storage import database as module
from monitor.storage.database import Database
from tests.jobs.simulator import JobSimulator


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep what is logged from being rendered: a traceback in colors takes seconds."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def simulator(database: Database) -> JobSimulator:
    """Give one account and one channel, nothing polled yet."""
    return JobSimulator(database)


@pytest.fixture
def file_simulator(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobSimulator]:
    """Give a house on SQLite that is quick to lose its patience with a lock."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    yield from _simulator(sqlite_url)


@pytest.fixture
def server_simulator(postgres_url: str) -> Iterator[JobSimulator]:
    """Give a house on a PostgreSQL database of its own."""
    yield from _simulator(postgres_url)


def _simulator(url: str) -> Iterator[JobSimulator]:
    database = Database(url)
    database.upgrade()
    yield JobSimulator(database)
    database.close()
