"""A house on each kind of database."""

from collections.abc import Iterator

import pytest
import structlog

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
