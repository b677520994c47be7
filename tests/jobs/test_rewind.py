"""The clock is set back: nothing waits until it has caught up."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from monitor.clock import Steps
from monitor.jobs.rewind import Rewind
from monitor.storage import Database
from monitor.storage.outbox import LEASE
from tests.factories import DAY, HOUR, MINUTE, NOW, connection
from tests.fakes import FrozenClock
from tests.house import House


def set_back(house: House, by: timedelta) -> None:
    """Set the clock back, and do what the daemon does then."""
    rewind = Rewind(
        house.clock,
        every={"agency": house.every},
        database=house.database,
        steps=Steps(house.clock, monotonic=lambda: 0.0),
    )
    assert not rewind.is_due()
    house.clock.advance(-by)
    assert rewind.is_due()
    assert rewind.is_due()  # until it is done
    rewind()
    assert not rewind.is_due()


def test_only_a_clock_that_is_set_back_is_noticed() -> None:
    clock, seconds = FrozenClock(), [100.0]
    steps = Steps(clock, monotonic=lambda: seconds[0])
    clock.advance(MINUTE)
    seconds[0] += 60
    assert steps.back() == timedelta()
    clock.advance(HOUR)  # set forward, or asleep
    assert steps.back() == timedelta()
    clock.advance(-HOUR)
    assert steps.back() == HOUR
    assert steps.back() == timedelta()
    clock.advance(timedelta(seconds=-1))
    assert steps.back() == timedelta()


@pytest.mark.parametrize("by", [HOUR, 400 * DAY])
def test_polls_and_messages_that_were_planned_come_in_their_time(database: Database, by: timedelta) -> None:
    house = House(database)
    house.api.lists(connection(token_status="expired", expires_at=NOW))
    house.poll()
    with capture_logs() as logged:
        set_back(house, by)
    assert logged[0] == {"event": "clock.set_back", "log_level": "warning", "seconds": by.total_seconds()}
    house.deliver()
    assert len(house.sent) == 1
    house.clock.advance(house.every)
    house.api.asked.clear()
    house.poll()
    assert house.api.asked == [None]


def test_what_a_dead_sender_had_claimed_is_taken_again_in_its_time(database: Database) -> None:
    house = House(database)
    house.api.lists(connection(token_status="expired", expires_at=NOW))
    house.poll()
    with database.begin() as store:
        from monitor.storage import outbox

        assert outbox.claim(store.connection, house.clock(), channel="ops", name="m0")
    set_back(house, DAY)
    house.clock.advance(LEASE)
    house.deliver()
    assert [message.key for message in house.sent] == ["m0"]


def test_what_is_held_back_stays_so(database: Database) -> None:
    from sqlalchemy import text

    house = House(database)
    house.api.lists(connection(token_status="expired", expires_at=NOW))
    house.poll()
    with database.begin() as store:
        store.connection.execute(text("UPDATE notifications SET held_until = due_at"))
    set_back(house, HOUR)
    house.deliver()
    assert house.sent == []
