"""The dispatcher and the budgets of keys: as fast as allowed, no faster, and nobody in another's way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.budgets import Budgets
from monitor.core.budget import Budget
from monitor.core.model import Outcome, Reach
from monitor.jobs.poll import Policy
from monitor.pipeline import Poller
from tests.factories import connection, failure
from tests.fakes import FakeProvider
from tests.jobs.house import EVERY, House

SOON = timedelta(seconds=20)
SECOND = timedelta(seconds=1)


@pytest.fixture
def crowd(house: House) -> House:
    """Have one account with three hundred users, and another alone."""
    house.providers["other"] = FakeProvider()
    house.managed = {"agency": [f"{n:024x}" for n in range(300)]}
    for user in house.managed["agency"]:
        house.provider.lists(connection(), user=user)
    house.discover()
    return house


def budgeted(house: House, **per_minute: int) -> Policy:
    budgets = {name: Budget(per_minute=limit) for name, limit in per_minute.items()}
    return replace(house.policy, budgets=Budgets(dict.fromkeys(house.providers, EVERY), budgets))


@pytest.fixture
def poller(crowd: House) -> Iterator[Poller]:
    policy = budgeted(crowd, agency=60, other=60)
    poller = Poller(
        database=crowd.database, providers=crowd.providers, policy=policy, clock=crowd.clock, concurrency=4
    )
    yield poller
    poller.close(timedelta(seconds=5))


def test_what_is_due_goes_at_the_pace_of_its_key_and_hides_no_other(crowd: House, poller: Poller) -> None:
    poller.dispatch()
    assert poller.wait(SOON)
    assert 1 <= len(crowd.provider.asked) <= 3
    assert len(crowd.providers["other"].asked) == 1
    for _ in range(60):
        crowd.clock.advance(SECOND)
        poller.dispatch()
        assert poller.wait(SOON)
    assert 55 <= len(crowd.provider.asked) <= 61
    assert len(set(crowd.provider.asked)) == len(crowd.provider.asked)


def test_a_refusal_of_the_key_stops_what_was_handed_over_with_it(crowd: House, poller: Poller) -> None:
    for user in (None, *crowd.managed["agency"]):
        crowd.provider.fails(failure(Outcome.UNAUTHORIZED), user)
    for _ in range(30):
        crowd.clock.advance(SECOND)
        poller.dispatch()
        assert poller.wait(SOON)
    assert len(crowd.provider.asked) <= 4
    with crowd.database.read() as store:
        assert len(store.resting()) == 300
    assert [row["rule"] for row in crowd.view("incident_log")] == ["api_key_rejected"]


def test_a_target_whose_turn_was_taken_away_stays_due(crowd: House) -> None:
    policy = budgeted(crowd, agency=6000, other=60)
    assert policy.budgets
    poller = Poller(
        database=crowd.database, providers=crowd.providers, policy=policy, clock=crowd.clock, concurrency=1
    )
    try:
        with crowd.database.read() as store:
            due = store.due(crowd.clock(), limit=1000)
        limited = failure(
            Outcome.RATE_LIMITED, retry_after=timedelta(seconds=30), reach=Reach.KEY, http_status=429
        )
        policy.budgets.refused("agency", crowd.clock(), limited)
        poller.hand_over(due)
        assert poller.wait(SOON)
        assert crowd.provider.asked == []
        with crowd.database.read() as store:
            assert len(store.due(crowd.clock(), limit=1000)) == 301
        assert len(crowd.providers["other"].asked) == 1
        crowd.clock.advance(timedelta(seconds=40))
        poller.dispatch()
        assert poller.wait(SOON)
        assert crowd.provider.asked != []
    finally:
        poller.close(timedelta(seconds=5))


def test_a_single_pass_takes_its_time_and_leaves_nobody_out(house: House) -> None:
    house.managed = {"agency": [f"{n:024x}" for n in range(5)]}
    targets = house.discover()
    policy = budgeted(house, agency=6000)
    poller = Poller(
        database=house.database, providers=house.providers, policy=policy, clock=house.clock, concurrency=4
    )
    try:
        poller.look_at(targets)
    finally:
        poller.close(timedelta(seconds=5))
    assert set(house.provider.asked) == {None, *house.managed["agency"]}
