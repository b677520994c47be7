"""The clock is set back: nothing waits until it has caught up."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from monitor.clock import ClockStepDetector
from monitor.jobs.clock_step import ClockStepRecovery
from monitor.storage.database import Database
from monitor.storage.outbox import LEASE
from tests.factories import DAY, HOUR, MINUTE, NOW, connection
from tests.fakes import FrozenClock
from tests.simulator import Simulator


def set_back(simulator: Simulator, by: timedelta) -> None:
    """Set the clock back, and do what the daemon does then."""
    detector = ClockStepDetector(simulator.clock, monotonic=lambda: 0.0)
    rewind = ClockStepRecovery(simulator.context, detector)
    assert not rewind.check()
    simulator.clock.advance(-by)
    assert rewind.check()
    assert rewind.check()  # until it is done
    rewind.recover()
    assert not rewind.check()


def test_only_a_clock_that_is_set_back_is_noticed() -> None:
    clock, seconds = FrozenClock(), [100.0]
    steps = ClockStepDetector(clock, monotonic=lambda: seconds[0])
    clock.advance(MINUTE)
    seconds[0] += 60
    assert steps.backward_step() == timedelta()
    clock.advance(HOUR)  # set forward, or asleep
    assert steps.backward_step() == timedelta()
    clock.advance(-HOUR)
    assert steps.backward_step() == HOUR
    assert steps.backward_step() == timedelta()
    clock.advance(timedelta(seconds=-1))
    assert steps.backward_step() == timedelta()


@pytest.mark.parametrize("by", [HOUR, 400 * DAY])
def test_polls_and_messages_that_were_planned_come_in_their_time(database: Database, by: timedelta) -> None:
    simulator = Simulator(database)
    simulator.api.lists(connection(token_status="expired", expires_at=NOW))
    simulator.poll()
    with capture_logs() as logged:
        set_back(simulator, by)
    assert logged[0] == {"event": "clock.stepped_back", "log_level": "warning", "seconds": by.total_seconds()}
    simulator.deliver()
    assert len(simulator.sent) == 1
    simulator.clock.advance(simulator.every)
    simulator.api.asked.clear()
    simulator.poll()
    assert simulator.api.asked == [None]


def test_what_a_dead_sender_had_claimed_is_taken_again_in_its_time(database: Database) -> None:
    simulator = Simulator(database)
    simulator.api.lists(connection(token_status="expired", expires_at=NOW))
    simulator.poll()
    with database.begin() as store:
        from monitor.storage import outbox

        assert outbox.claim(store, simulator.clock(), channel="ops", message_key="m0")
    set_back(simulator, DAY)
    simulator.clock.advance(LEASE)
    simulator.deliver()
    assert [message.key for message in simulator.sent] == ["m0"]


def test_what_is_held_back_stays_so(database: Database) -> None:
    from sqlalchemy import text

    simulator = Simulator(database)
    simulator.api.lists(connection(token_status="expired", expires_at=NOW))
    simulator.poll()
    with database.begin() as store:
        store.connection.execute(text("UPDATE notifications SET suppressed_until = due_at"))
    set_back(simulator, HOUR)
    simulator.deliver()
    assert simulator.sent == []
