"""A house on each kind of database."""

from collections.abc import Iterator

import pytest
import structlog

from monitor.storage import Database
from monitor.storage import database as module
from tests.jobs.house import House


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Keep what is logged from being rendered: a traceback in colours takes seconds."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def house(database: Database) -> House:
    """Give one account and one channel, nothing polled yet."""
    return House(database)


@pytest.fixture
def file_house(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Give a house on SQLite that is quick to lose its patience with a lock."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    yield from _house(sqlite_url)


@pytest.fixture
def server_house(postgres_url: str) -> Iterator[House]:
    """Give a house on a PostgreSQL database of its own."""
    yield from _house(postgres_url)


def _house(url: str) -> Iterator[House]:
    database = Database(url)
    database.upgrade()
    yield House(database)
    database.close()
