"""An API that says no, says nothing, or says nonsense: one problem of the account, none of its connections."""

from datetime import timedelta

import pytest

from monitor.core.model import Failure, Outcome, RuleName, Severity
from monitor.core.rules.registry import NEEDS_TWO_RECOVERIES
from tests.factories import HOUR, MINUTE, NOW, connection, failure
from tests.fakes import FakeProvider
from tests.jobs.simulator import EVERY, JobSimulator


@pytest.fixture
def seen(simulator: JobSimulator) -> JobSimulator:
    """Give a house in which all was well an hour ago."""
    simulator.poll_connections(connection(), connection(platform_id="threads-1"))
    simulator.advance(HOUR)
    return simulator


# The failure, after how many polls it is told, and how long until the next poll after the first failure.
BAD = [
    (failure(Outcome.BAD_REQUEST, http_status=400, error="Invalid x-postpost-user-id"), 1, EVERY),
    (failure(Outcome.UNAUTHORIZED, http_status=401, error="Invalid API key"), 1, EVERY),
    (failure(Outcome.FORBIDDEN, http_status=403, error="API access is not enabled"), 1, EVERY),
    (failure(Outcome.RATE_LIMITED, http_status=429), 3, MINUTE),
    (failure(Outcome.RATE_LIMITED, http_status=429, retry_after=10 * MINUTE), 3, 10 * MINUTE),
    (failure(Outcome.RATE_LIMITED, http_status=429, retry_after=48 * HOUR), 3, HOUR),
    (failure(Outcome.SERVER_ERROR, http_status=500), 3, MINUTE),
    (failure(Outcome.SERVER_ERROR, http_status=503, retry_after=2 * MINUTE), 3, 2 * MINUTE),
    (failure(Outcome.TIMEOUT), 3, MINUTE),
    (failure(Outcome.NETWORK_ERROR), 3, MINUTE),
    (failure(Outcome.BAD_ANSWER, http_status=200), 2, MINUTE),
]


@pytest.mark.parametrize(("given", "after", "wait"), BAD)
def test_a_failure_is_told_once_and_so_is_its_end(
    seen: JobSimulator, given: Failure, after: int, wait: timedelta
) -> None:
    before = seen.view("current_connections"), seen.view("token_transitions")
    seen.provider.fails(given)
    (polled,) = seen.poll()
    assert seen.clock() + wait == polled.next_poll_at
    notified = [len(seen.deliver())]
    for _ in range(5):
        seen.advance()
        seen.poll()
        seen.review()
        notified.append(len(seen.deliver()))
    assert [int(poll == after) for poll in range(1, 7)] == notified
    assert before == (seen.view("current_connections"), seen.view("token_transitions"))
    (incident,) = seen.view("incident_log")
    assert (given.rule, "agency", None, None) == tuple(
        incident[key] for key in ("rule", "account", "platform_id", "resolution")
    )
    assert given.error[1:] in seen.sent[0].body
    assert given.remedy in seen.sent[0].body
    (run,) = (run for run in seen.view("poll_log") if run["outcome"] != "ok")
    assert (given.outcome, given.http_status, given.error, 6) == tuple(
        run[key] for key in ("outcome", "http_status", "error", "polls")
    )
    seen.advance()
    (polled,) = seen.poll_connections(connection(), connection(platform_id="threads-1"))
    assert polled.next_poll_at == seen.clock() + MINUTE
    if given.rule in NEEDS_TWO_RECOVERIES:  # one good answer proves little
        assert [] == seen.deliver()
        seen.advance(MINUTE)
        seen.poll()
    (message,) = seen.deliver()
    assert message.severity is None
    assert ["recovered"] == [row["resolution"] for row in seen.view("incident_log")]


def test_a_failure_too_short_to_be_told_is_not_told(seen: JobSimulator) -> None:
    for _ in range(4):
        seen.provider.fails(failure())
        seen.poll()
        seen.advance()
        seen.poll()
        seen.advance()
        seen.poll_connections(connection(), connection(platform_id="threads-1"))
        seen.advance()
    assert seen.view("incident_log") == []
    assert 9 == len(seen.view("poll_log"))


def test_a_key_that_many_targets_share_is_one_incident(simulator: JobSimulator) -> None:
    users = [f"{n:024x}" for n in range(50)]
    simulator.managed = {"agency": users}
    refused = failure(Outcome.UNAUTHORIZED, http_status=401, error="Invalid API key")
    for user in (None, *users):
        simulator.provider.fails(refused, user)
    for _ in range(3):
        simulator.poll()
        simulator.deliver()
        simulator.advance()
    assert ["api_key_rejected"] == [row["rule"] for row in simulator.view("incident_log")]
    assert 1 == len(simulator.sent)
    for user in (None, *users):
        simulator.provider.lists(connection(), user=user)
    simulator.poll()
    assert ["recovered"] == [row["resolution"] for row in simulator.view("incident_log")]
    assert 1 == len(simulator.deliver())


def test_the_failure_of_one_account_is_none_of_another(seen: JobSimulator) -> None:
    seen.providers["other"] = FakeProvider()
    seen.provider.fails(failure(Outcome.UNAUTHORIZED, http_status=401))
    seen.providers["other"].lists(connection(token_status="expired"))
    seen.poll()
    assert [("agency", "api_key_rejected"), ("other", "token_expiry")] == sorted(
        (row["account"], row["rule"]) for row in seen.view("incident_log")
    )
    assert 2 == len(seen.deliver())


def test_a_worse_failure_takes_the_place_of_a_milder_one(seen: JobSimulator) -> None:
    seen.provider.fails(failure(Outcome.SERVER_ERROR, http_status=500))
    for _ in range(3):
        seen.poll()
        seen.advance()
    seen.deliver()
    seen.provider.fails(failure(Outcome.UNAUTHORIZED, http_status=401))
    seen.poll()
    (message,) = seen.deliver()
    assert Severity.CRITICAL == message.severity
    assert [("api_unreachable", "superseded"), ("api_key_rejected", None)] == [
        (row["rule"], row["resolution"]) for row in seen.view("incident_log")
    ]


def test_an_empty_list_is_not_believed(seen: JobSimulator) -> None:
    for _ in range(10):
        seen.poll_connections()
        seen.advance()
    assert {None} == {row["removed_at"] for row in seen.view("current_connections")}
    assert [(RuleName.BAD_ANSWER, None)] == [
        (row["rule"], row["platform_id"]) for row in seen.view("incident_log")
    ]
    assert {NOW} == {row["last_seen_at"] for row in seen.view("current_connections")}
