"""A channel fails after several attempts and some minutes, and is well when it takes a message again."""

from typing import Any

import pytest

from monitor.core.model import Incident, RuleName, Severity, Subject
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.channel_failing import ChannelState, check_channel
from tests.factories import HOUR, MINUTE, NOW, target

LONG_AGO = NOW - 10 * MINUTE
INCIDENT = Incident(
    rule=RuleName.CHANNEL_FAILING,
    subject=Subject(channel="ops"),
    severity=Severity.WARNING,
    max_severity=Severity.WARNING,
    summary="channel ops takes no messages",
    opened_at=NOW - HOUR,
)


def check(**given: Any) -> Problem | NoProblem:
    result = check_channel(ChannelState(channel="ops", **given), NOW)
    assert isinstance(result, Problem | NoProblem)
    return result


@pytest.mark.parametrize(
    ("given", "fails"),
    [
        pytest.param({"attempts": 3, "failing_since": LONG_AGO}, True, id="three-attempts-in-ten-minutes"),
        pytest.param({"attempts": 2, "failing_since": LONG_AGO}, False, id="two-attempts"),
        pytest.param({"attempts": 3, "failing_since": LONG_AGO + MINUTE}, False, id="nine-minutes"),
        pytest.param({"attempts": 3}, False, id="nothing-failed"),
        pytest.param({"dead": 1, "failing_since": NOW}, True, id="one-given-up"),
        pytest.param({"dead": 1}, False, id="given-up-before-it-took-one"),
        pytest.param(
            {"dead": 1, "failing_since": LONG_AGO, "delivered_at": LONG_AGO}, True, id="for-all-and-delivered"
        ),
        pytest.param(
            {"dead": 1, "failing_since": LONG_AGO, "delivered_at": LONG_AGO, "notifies_clients": True},
            False,
            id="one-client-of-many",
        ),
        pytest.param(
            {
                "dead": 1,
                "failing_since": LONG_AGO,
                "delivered_at": LONG_AGO - MINUTE,
                "notifies_clients": True,
            },
            True,
            id="every-client",
        ),
        pytest.param(
            {"dead": 1, "failing_since": LONG_AGO, "notifies_clients": True}, True, id="no-client-ever"
        ),
    ],
)
def test_a_channel_fails_after_some_attempts_and_minutes(given: dict[str, Any], fails: bool) -> None:
    assert isinstance(check(**given), Problem) is fails


def test_a_failing_channel_is_named_with_its_error_and_what_to_do() -> None:
    assert check(dead=1, failing_since=LONG_AGO, error="450 try later") == Problem(
        rule=RuleName.CHANNEL_FAILING,
        severity=Severity.WARNING,
        summary="channel ops has not accepted messages since 2026-02-22 19:50 UTC: 450 try later",
        remedy="test the channel with `postpost-monitor test-channel`",
        level=2,
        dedup_key="ops",
    )
    silent = check(dead=1, failing_since=LONG_AGO)
    assert isinstance(silent, Problem)
    assert silent.summary.endswith("since 2026-02-22 19:50 UTC: no reason given")


@pytest.mark.parametrize(
    ("given", "result"),
    [
        pytest.param({}, NoProblem.UNKNOWN, id="nothing-was-sent"),
        pytest.param({"delivered_at": NOW}, NoProblem.UNKNOWN, id="nothing-was-wrong"),
        pytest.param({"incident": INCIDENT}, NoProblem.UNKNOWN, id="nothing-was-sent-since"),
        pytest.param(
            {"incident": INCIDENT, "delivered_at": INCIDENT.opened_at}, NoProblem.UNKNOWN, id="taken-before"
        ),
        pytest.param(
            {"incident": INCIDENT, "delivered_at": INCIDENT.opened_at + MINUTE},
            NoProblem.OK,
            id="taken-since",
        ),
        pytest.param({"notifies_clients": True}, NoProblem.OK, id="no-client-fails"),
        pytest.param(
            {"notifies_clients": True, "failing_since": NOW}, NoProblem.UNKNOWN, id="a-client-may-fail"
        ),
    ],
)
def test_only_a_message_that_was_taken_ends_it(given: dict[str, Any], result: NoProblem) -> None:
    assert check(**given) is result


@pytest.mark.parametrize(
    ("count", "names"),
    [
        pytest.param(1, "1 managed user has no valid address for channel ops: User 1", id="one"),
        pytest.param(2, "2 managed users have no valid address for channel ops: User 1, User 2", id="two"),
        pytest.param(
            20,
            "20 managed users have no valid address for channel ops: "
            + ", ".join(f"User {n}" for n in range(1, 21)),
            id="twenty",
        ),
        pytest.param(
            22,
            "22 managed users have no valid address for channel ops: "
            + ", ".join(f"User {n}" for n in range(1, 21))
            + " and 2 more",
            id="more-than-are-named",
        ),
    ],
)
def test_clients_without_an_address_are_named(count: int, names: str) -> None:
    users = tuple(
        target(id=n, managed_user=f"User {n}", managed_user_id=f"{n:024}") for n in range(1, count + 1)
    )
    assert check(notifies_clients=True, unreachable_users=users) == Problem(
        rule=RuleName.CHANNEL_FAILING,
        severity=Severity.NOTICE,
        summary=names,
        remedy="set the user name of each to a valid address",
        dedup_key=" ".join(str(n) for n in range(1, min(count, 20) + 1)) + f" of {count}",
        is_new_key=True,
    )


def test_a_client_without_a_name_is_called_by_its_id() -> None:
    problem = check(notifies_clients=True, unreachable_users=(target(managed_user_id="5" * 24),))
    assert isinstance(problem, Problem)
    assert problem.summary.endswith(f"no valid address for channel ops: {'5' * 24}")
