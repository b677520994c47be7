"""A house on each kind of database."""

from collections.abc import Iterator

import pytest
import structlog

from monitor.storage import Database
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
