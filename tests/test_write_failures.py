"""Nothing can be saved: the monitor is not ready at once, and notifies past the history once."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from monitor.app import App, build_app
from monitor.channels.channel import Channel
from monitor.config.load import parse_config
from monitor.core.messages.message import Message
from monitor.daemon import write_failures
from monitor.daemon.service import Daemon
from monitor.daemon.write_failures import WriteFailureNotice
from monitor.errors import StorageError
from monitor.storage import database as database_module
from monitor.web.readiness import readiness_problems
from tests.factories import MINUTE, NOW
from tests.fakes import FrozenClock
from tests.storage.lock_holder import locked_by_another_program
from tests.web_client import ENVIRON, FakeMonotonic, configured


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> FakeMonotonic:
    clock = FakeMonotonic()
    monkeypatch.setattr(write_failures, "monotonic", clock)
    return clock


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Message]]:
    """Collect what is sent past the outbox: the names of the channels, and the message."""
    sent: list[tuple[list[str], Message]] = []

    def send(channels: Iterable[Channel], message: Message) -> None:
        sent.append(([channel.name for channel in channels], message))

    monkeypatch.setattr(write_failures, "send_lifecycle_notice", send)
    return sent


def two_channels(url: str) -> App:
    channel = {"url": "json://127.0.0.1:9/"}
    channels = [{"name": "ops", "notify_on": ["failure"], **channel}, {"name": "quiet", **channel}]
    return build_app(
        parse_config(configured(url) | {"channels": channels}, ENVIRON), clock=FrozenClock(), environ={}
    )


def test_a_locked_history_is_not_ready_at_once_and_notified_after_five_minutes(
    sqlite_url: str,
    monotonic: FakeMonotonic,
    sent: list[tuple[list[str], Message]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    with closing(two_channels(sqlite_url)) as app:
        app.database.upgrade()
        daemon = Daemon(app)
        with locked_by_another_program(Path(app.database.url.database or "")):
            with pytest.raises(StorageError), app.database.begin():
                pass
            [problem] = readiness_problems(app.database, {}, NOW)
            assert problem.startswith("the last write failed: ")
            for _ in range(9):
                daemon.check_writes()
                assert bool(sent) == (monotonic.now >= 1000 + 300)
                monotonic.now += MINUTE.total_seconds()
        daemon.check_writes()
        assert not readiness_problems(app.database, {}, NOW)
        daemon.stop()
    [(names, message)] = sent
    assert names == ["ops"]
    assert message.title.startswith("[CRITICAL] The monitor on ")
    assert message.title.endswith(" can't save anything")
    assert message.body.startswith(
        "The monitor records no polls and sends no alerts until its database works"
    )
    assert "another program holds the database" in message.body


def test_each_outage_is_notified_once(
    sqlite_url: str, monotonic: FakeMonotonic, sent: list[tuple[list[str], Message]]
) -> None:
    notice = WriteFailureNotice()
    with closing(two_channels(sqlite_url)) as app:
        for _ in range(2):
            for _ in range(4):
                notice.on_failure(app, "the disk is full")
                monotonic.now += 3 * MINUTE.total_seconds()
            notice.on_success()
    assert len(sent) == 2


def test_without_targets_the_monitor_is_not_ready(sqlite_url: str) -> None:
    with closing(two_channels(sqlite_url)) as app:
        app.database.upgrade()
        assert readiness_problems(app.database, {"agency": MINUTE}, NOW) == ["no target is polled"]
