"""Active tests, one at a time: whose turn it is, what is kept of them, and what an answer that fails does."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from monitor.core.model import (
    Connection,
    ConnectionState,
    ConnectionTestResult,
    FailureScope,
    Outcome,
    Severity,
)
from monitor.core.rules.connection_test import ConnectionTestSettings
from monitor.core.scheduling.token_bucket import TokenBucket
from monitor.jobs.connection_tests import run_connection_test, run_connection_tests
from monitor.jobs.context import JobContext
from monitor.providers.base import ConnectionTest
from monitor.rate_limits import RateLimits
from monitor.storage import connection_tests
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE, connection, error, failure
from tests.simulator import Simulator

DEAD = ConnectionTest(passed=False, message="Token has been revoked")
SLOWLY = ConnectionTestSettings(every=DAY, per_hour=4)


def blind(n: int = 1, platform: str = "mastodon") -> Connection:
    return connection(platform_id=f"{platform}-{n}", token_status="unknown", expires_at=None)


@pytest.fixture
def simulator(database: Database) -> Simulator:
    return Simulator(database)


def context(
    simulator: Simulator, plan: ConnectionTestSettings | None = SLOWLY, rate_limits: RateLimits | None = None
) -> JobContext:
    return replace(
        simulator.context,
        connection_tests={simulator.account: plan} if plan else {},
        rate_limits=rate_limits or simulator.context.rate_limits,
    )


def due(simulator: Simulator) -> str | None:
    """Name the connection whose turn it is."""
    with simulator.database.read() as store:
        found = connection_tests.next_due_connection(
            store, simulator.account, simulator.clock(), is_wanted=lambda known, now: True
        )
    return found[1].connection.platform_id if found else None


def test_an_account_without_a_plan_is_left_alone(simulator: Simulator) -> None:
    simulator.list_connections(blind())
    assert run_connection_tests(context(simulator, None)) == 0
    assert simulator.api.tested == []


def test_whoever_was_never_tested_comes_first_and_then_whoever_has_waited_longest(
    simulator: Simulator,
) -> None:
    simulator.list_connections(blind(1), blind(2), connection())
    for _ in range(12):
        simulator.clock.advance(8 * HOUR)
        run_connection_tests(context(simulator))
    assert simulator.api.tested[:4] == ["mastodon-1", "mastodon-2", "mastodon-1", "mastodon-2"]
    assert len(simulator.api.tested) == 8


def test_two_tests_are_never_closer_than_the_budget_has_it(simulator: Simulator) -> None:
    simulator.list_connections(*(blind(n) for n in range(9)))
    moments = []
    for _ in range(240):
        simulator.clock.advance(timedelta(seconds=30))
        if run_connection_tests(context(simulator)):
            moments.append(simulator.clock())
    assert len(moments) == 8
    assert all(b - a >= 15 * MINUTE for a, b in pairwise(moments))


def test_many_that_need_no_test_hide_none_that_does(simulator: Simulator) -> None:
    fine = [connection(platform_id=f"linkedin-{n}", last_error=error()) for n in range(250)]
    simulator.list_connections(*fine, blind())
    assert run_connection_tests(context(simulator)) == 1
    assert simulator.api.tested == ["mastodon-1"]


def test_those_that_cannot_be_tested_are_not_even_looked_at(simulator: Simulator) -> None:
    untestable = [blind(n, platform) for platform in ("bluesky", "pinterest") for n in range(2)]
    simulator.list_connections(*untestable, blind(9))
    observed_at: list[str] = []

    def is_wanted(known: ConnectionState, _now: datetime) -> bool:
        observed_at.append(known.connection.platform_id)
        return False

    with simulator.database.read() as store:
        connection_tests.next_due_connection(store, simulator.account, simulator.clock(), is_wanted=is_wanted)
    assert observed_at == ["mastodon-9"]


@pytest.mark.parametrize("status", ["valid", "expiring_soon", "expired", "unknown"])
def test_whoever_has_no_date_is_due_whatever_the_status(simulator: Simulator, status: str) -> None:
    dateless = connection(platform_id="mastodon-1", token_status=status, expires_at=None)
    simulator.list_connections(dateless, connection(platform_id="linkedin-1", token_status="valid"))
    assert due(simulator) == "mastodon-1"
    assert run_connection_tests(context(simulator)) == 1
    assert simulator.api.tested == ["mastodon-1"]


def test_a_test_that_passed_is_remembered_when_later_ones_fail(simulator: Simulator) -> None:
    simulator.list_connections(blind())
    run_connection_tests(context(simulator))
    first = simulator.clock()
    simulator.api.trials["mastodon-1"] = DEAD
    simulator.clock.advance(DAY)
    simulator.poll_all()
    run_connection_tests(context(simulator))
    with simulator.database.read() as store:
        [(_, known)] = connection_tests.find_connections(
            store, "mastodon-1", account=None, managed_user_id=None
        )
    assert (ConnectionTestResult.FAILED, first) == (known.last_test.result, known.last_test.passed_at)


def test_what_is_gone_missing_or_fails_to_be_polled_has_no_turn(simulator: Simulator) -> None:
    others = [connection(platform_id=f"linkedin-{n}") for n in range(3)]
    simulator.list_connections(*others, blind())
    assert due(simulator) == "mastodon-1"
    simulator.list_connections(*others)
    assert run_connection_tests(context(simulator)) == 0
    simulator.list_connections(*others, blind())
    simulator.api.fails(failure(Outcome.SERVER_ERROR))
    simulator.poll_all()
    assert due(simulator) is None


def test_an_answer_that_fails_is_no_finding_and_the_connection_waits_its_turn(simulator: Simulator) -> None:
    simulator.list_connections(blind())
    simulator.api.fails(failure(Outcome.RATE_LIMITED, retry_after=HOUR))
    assert run_connection_tests(context(simulator)) == 1
    simulator.clock.advance(23 * HOUR)
    assert run_connection_tests(context(simulator)) == 0
    simulator.clock.advance(HOUR)
    assert run_connection_tests(context(simulator)) == 1
    assert simulator.rows("incident_log", "WHERE platform_id IS NOT NULL") == []
    assert simulator.api.tested == ["mastodon-1"] * 2


def test_an_answer_that_fails_takes_back_no_finding(simulator: Simulator) -> None:
    simulator.api.trials["mastodon-1"] = DEAD
    simulator.list_connections(blind())
    run_connection_tests(context(simulator))
    simulator.clock.advance(DAY)
    simulator.api.fails(failure(Outcome.TIMEOUT))
    run_connection_tests(context(simulator))
    [incident] = simulator.rows("incident_log")
    assert incident["resolved_at"] is None


def test_polls_leave_a_finding_as_it_is_and_a_restart_remembers_it(simulator: Simulator) -> None:
    simulator.api.trials["mastodon-1"] = DEAD
    simulator.list_connections(blind())
    run_connection_tests(context(simulator))
    simulator.advance(HOUR)
    simulator.restart()
    simulator.advance(HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.CRITICAL]
    simulator.clock.advance(DAY)
    simulator.api.trials.clear()
    simulator.poll_all()
    run_connection_tests(context(simulator))
    simulator.deliver()
    assert simulator.sent[1:] and simulator.sent[1].severity is None


def test_a_key_without_requests_left_is_not_used_for_a_test(simulator: Simulator) -> None:
    simulator.list_connections(blind())
    rate_limits = RateLimits(
        {simulator.account: simulator.every}, {simulator.account: TokenBucket(per_minute=60)}
    )
    for _ in range(3):
        rate_limits.force_acquire(simulator.account, simulator.clock())
    assert run_connection_tests(context(simulator, rate_limits=rate_limits)) == 0
    limited = failure(Outcome.RATE_LIMITED, scope=FailureScope.KEY, retry_after=HOUR)
    rate_limits.on_rejection(simulator.account, simulator.clock(), limited)
    simulator.clock.advance(MINUTE)
    assert run_connection_tests(context(simulator, rate_limits=rate_limits)) == 0
    simulator.clock.advance(HOUR)
    assert run_connection_tests(context(simulator, rate_limits=rate_limits)) == 1


def test_a_key_whose_every_request_polls_would_use_is_used_for_tests_in_their_time(
    simulator: Simulator,
) -> None:
    simulator.list_connections(*(blind(n) for n in range(3)))
    rate_limits = RateLimits(
        {simulator.account: simulator.every}, {simulator.account: TokenBucket(per_minute=60)}
    )
    polls = 0
    for second in range(3600):
        while rate_limits.try_acquire(simulator.account, simulator.clock()):
            polls += 1
        if second % 10 == 0:
            run_connection_tests(context(simulator, rate_limits=rate_limits))
        simulator.clock.advance(timedelta(seconds=1))
    assert len(simulator.api.tested) == 3
    assert 3400 < polls + 3 <= 3460


def test_a_clock_that_was_set_back_does_not_end_all_tests(simulator: Simulator) -> None:
    simulator.list_connections(blind(1), blind(2))
    run_connection_tests(context(simulator))
    simulator.clock.advance(-30 * DAY)
    simulator.poll_all()
    assert run_connection_tests(context(simulator)) == 1
    assert simulator.api.tested == ["mastodon-1", "mastodon-2"]


def test_a_clock_that_was_set_back_makes_no_burst_of_tests(simulator: Simulator) -> None:
    simulator.list_connections(*(blind(n) for n in range(8)))
    run_connection_tests(context(simulator))
    simulator.clock.advance(-30 * DAY)
    simulator.poll_all()
    for _ in range(30):
        run_connection_tests(context(simulator))
        simulator.clock.advance(MINUTE)
    assert len(simulator.api.tested) == 1 + 2


def test_who_was_tested_before_a_clock_was_set_back_is_tested_again(simulator: Simulator) -> None:
    simulator.list_connections(blind())
    run_connection_tests(context(simulator))
    simulator.clock.advance(-365 * DAY)
    simulator.poll_all()
    assert run_connection_tests(context(simulator)) == 1
    simulator.clock.advance(DAY)
    assert run_connection_tests(context(simulator)) == 1
    assert len(simulator.api.tested) == 3


def test_a_connection_that_was_forgotten_while_it_was_tested_costs_nothing(simulator: Simulator) -> None:
    simulator.list_connections(blind())
    with simulator.database.read() as store:
        [(target, known)] = connection_tests.find_connections(
            store, "mastodon-1", account=None, managed_user_id=None
        )
    with simulator.database.begin() as store:
        store.connection.exec_driver_sql("DELETE FROM connections")
    tried = run_connection_test(context(simulator), target, known)
    assert tried.result is ConnectionTestResult.PASSED
    assert simulator.rows("incident_log") == []


def test_the_same_profile_of_two_users_is_found_twice_and_told_apart(database: Database) -> None:
    users = tuple(f"{n:024x}" for n in range(2))
    simulator = Simulator(database, users=users)
    for user in users:
        simulator.api.lists(blind(), user=user)
    simulator.poll_all()
    with simulator.database.read() as store:

        def found(**given: str | None) -> list[str | None]:
            wanted = {"account": None, "managed_user_id": None} | given
            named = connection_tests.find_connections(store, "mastodon-1", **wanted)
            return [target.managed_user_id for target, _ in named]

        assert found() == list(users)
        assert found(managed_user_id=users[1]) == [users[1]]
        assert found(account="another") == []
