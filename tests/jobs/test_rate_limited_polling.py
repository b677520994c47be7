"""The dispatcher and the budgets of keys: as fast as allowed, no faster, and nobody in another's way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.core.model import FailureScope, Outcome
from monitor.core.scheduling.token_bucket import TokenBucket
from monitor.jobs.context import JobContext
from monitor.rate_limits import RateLimits
from monitor.workers.poller import Poller
from tests.factories import connection, failure
from tests.fakes import FakeProvider
from tests.jobs.simulator import EVERY, JobSimulator

SOON = timedelta(seconds=20)
SECOND = timedelta(seconds=1)


@pytest.fixture
def crowd(simulator: JobSimulator) -> JobSimulator:
    """Have one account with three hundred users, and another alone."""
    simulator.providers["other"] = FakeProvider()
    simulator.managed = {"agency": [f"{n:024x}" for n in range(300)]}
    for user in simulator.managed["agency"]:
        simulator.provider.lists(connection(), user=user)
    simulator.discover()
    return simulator


def budgeted(simulator: JobSimulator, **per_minute: int) -> JobContext:
    rate_limits = {name: TokenBucket(per_minute=limit) for name, limit in per_minute.items()}
    return replace(
        simulator.context,
        rate_limits=RateLimits(dict.fromkeys(simulator.providers, EVERY), rate_limits),
    )


@pytest.fixture
def poller(crowd: JobSimulator) -> Iterator[Poller]:
    context = budgeted(crowd, agency=60, other=60)
    poller = Poller(context, concurrency=4)
    yield poller
    poller.close(timedelta(seconds=5))


def test_what_is_due_goes_at_the_pace_of_its_key_and_hides_no_other(
    crowd: JobSimulator, poller: Poller
) -> None:
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


def test_a_refusal_of_the_key_stops_what_was_handed_over_with_it(crowd: JobSimulator, poller: Poller) -> None:
    for user in (None, *crowd.managed["agency"]):
        crowd.provider.fails(failure(Outcome.UNAUTHORIZED), user)
    for _ in range(30):
        crowd.clock.advance(SECOND)
        poller.dispatch()
        assert poller.wait(SOON)
    assert len(crowd.provider.asked) <= 4
    with crowd.database.read() as store:
        assert len(store.paused_targets()) == 300
    assert [row["rule"] for row in crowd.view("incident_log")] == ["api_key_rejected"]


def test_a_target_whose_turn_was_taken_away_stays_due(crowd: JobSimulator) -> None:
    context = budgeted(crowd, agency=6000, other=60)
    poller = Poller(context, concurrency=1)
    try:
        with crowd.database.read() as store:
            due = store.due_targets(crowd.clock(), limit=1000)
        limited = failure(
            Outcome.RATE_LIMITED, retry_after=timedelta(seconds=30), scope=FailureScope.KEY, http_status=429
        )
        context.rate_limits.on_rejection("agency", crowd.clock(), limited)
        poller.submit(due)
        assert poller.wait(SOON)
        assert crowd.provider.asked == []
        with crowd.database.read() as store:
            assert len(store.due_targets(crowd.clock(), limit=1000)) == 301
        assert len(crowd.providers["other"].asked) == 1
        crowd.clock.advance(timedelta(seconds=40))
        poller.dispatch()
        assert poller.wait(SOON)
        assert crowd.provider.asked != []
    finally:
        poller.close(timedelta(seconds=5))


def test_a_single_pass_takes_its_time_and_leaves_nobody_out(simulator: JobSimulator) -> None:
    simulator.managed = {"agency": [f"{n:024x}" for n in range(5)]}
    targets = simulator.discover()
    context = budgeted(simulator, agency=6000)
    poller = Poller(
        context,
        concurrency=4,
    )
    try:
        poller.poll_now(targets)
    finally:
        poller.close(timedelta(seconds=5))
    assert set(simulator.provider.asked) == {None, *simulator.managed["agency"]}
