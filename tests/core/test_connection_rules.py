"""Connections that are gone, and connections that were tested: what is wrong with them, and for how long."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.messages.render import Item, render
from monitor.core.model import (
    NEVER_TESTED,
    Cause,
    ConnectionState,
    ConnectionTestHistory,
    ConnectionTestResult,
    PublishError,
    Reason,
    RenewalHistory,
    Resolution,
    RuleName,
    Severity,
)
from monitor.core.routing.routes import Routing, labels_of
from monitor.core.rules.base import NoProblem, Problem, Superseded
from monitor.core.rules.connection_removed import ConnectionRemoved
from monitor.core.rules.connection_test import (
    UNTESTABLE,
    ConnectionTestFailed,
    add_test_result,
    interpret_test,
)
from monitor.core.rules.registry import Rules
from monitor.core.scheduling.connection_tests import is_new_since, next_test_at, should_test_connection
from tests.core.lives import Life
from tests.factories import DAY, HOUR, NOW, connection, known, target

MS = timedelta(milliseconds=1)
NOTICE, WARNING, CRITICAL = Severity
OPENED, RESOLVED = Reason.OPENED, Reason.RESOLVED
BROKEN = ConnectionTestHistory(
    result=ConnectionTestResult.FAILED, result_at=NOW - HOUR, message="Token has been revoked"
)


def probed(status: str = "unknown", platform: str = "mastodon", **given: Any) -> ConnectionState:
    seen = connection(platform_id=f"{platform}-1", token_status=status, expires_at=None)
    return known(seen, **given)


# Gone


@pytest.mark.parametrize(("since", "is_shown"), [(timedelta(), True), (DAY - MS, True), (DAY, False)])
def test_what_is_gone_is_shown_for_a_day(since: timedelta, is_shown: bool) -> None:
    gone = known(removed_at=NOW - since, last_seen_at=NOW - since - HOUR)
    result = ConnectionRemoved().check(gone, NOW)
    if is_shown:
        assert isinstance(result, Problem)
        assert result.severity is NOTICE
        assert ConnectionRemoved().next_change_at(gone, NOW) == NOW - since + DAY
    else:
        assert result == Superseded(resolution=Resolution.REMOVED, is_notified=False)
        assert ConnectionRemoved().next_change_at(gone, NOW) is None


def test_what_is_listed_is_not_gone_and_what_was_missed_is_neither() -> None:
    assert ConnectionRemoved().check(known(), NOW) is NoProblem.OK
    assert ConnectionRemoved().check(known(missed_polls=2), NOW) is NoProblem.UNKNOWN
    assert ConnectionRemoved().next_change_at(known(), NOW) is None


def test_a_life_of_going_and_coming_back() -> None:
    life = Life()
    others = [connection(platform_id=f"linkedin-{n}") for n in range(3)]
    assert [] == life.poll(*others, connection())
    assert [[], [], [(OPENED, NOTICE)]] == [life.poll(*others) for _ in range(3)]
    assert [] == life.poll(*others)
    assert [[], [(RESOLVED, NOTICE)]] == [life.poll(*others, connection()) for _ in range(2)]
    assert [[], [], [(OPENED, NOTICE)]] == [life.poll(*others) for _ in range(3)]
    assert [] == life.review()
    assert () == life.incidents
    ends = [change.incident.resolution for _, change in life.history if change.incident.resolution]
    assert [Resolution.RECOVERED, Resolution.REMOVED] == ends
    assert [] == life.poll(*others, connection())


def test_the_rule_may_be_left_out() -> None:
    life = Life(rules=Rules(connection=()))
    life.poll(*(others := [connection(platform_id=f"linkedin-{n}") for n in range(3)]), connection())
    assert [] == [notified for _ in range(5) for notified in life.poll(*others)]


# What a test means


@pytest.mark.parametrize(
    ("platform", "passed", "message", "meaning"),
    [
        ("twitter", True, "Connected as @ann", ConnectionTestResult.PASSED),
        ("twitter", False, "Invalid or expired token", ConnectionTestResult.FAILED),
        ("twitter", False, "Something is wrong", ConnectionTestResult.FAILED),
        ("twitter", False, "timeout of 30000ms exceeded", ConnectionTestResult.INCONCLUSIVE),
        ("twitter", False, "Too Many Requests", ConnectionTestResult.INCONCLUSIVE),
        ("pinterest", False, "Unknown platform: pinterest", ConnectionTestResult.INCONCLUSIVE),
        ("newcomer", False, "Unknown platform: newcomer", ConnectionTestResult.INCONCLUSIVE),
        ("bluesky", False, "Missing credentials", ConnectionTestResult.INCONCLUSIVE),
        ("bluesky", False, "Invalid identifier or password", ConnectionTestResult.INCONCLUSIVE),
        ("telegram", False, "Invalid bot token", ConnectionTestResult.INCONCLUSIVE),
        ("telegram", False, "Invalid bot connection", ConnectionTestResult.INCONCLUSIVE),
        ("telegram", True, "Bot can post to Harbour News", ConnectionTestResult.PASSED),
        ("telegram", False, "Bot needs channel administrator posting rights", ConnectionTestResult.FAILED),
        ("telegram", False, "Channel is unavailable", ConnectionTestResult.FAILED),
        ("telegram", False, "Request failed with status code 401", ConnectionTestResult.FAILED),
        ("telegram", False, "Request failed with status code 403", ConnectionTestResult.FAILED),
        ("telegram", False, "Request failed with status code 429", ConnectionTestResult.INCONCLUSIVE),
        ("facebook", False, "Authorization Error; code=100; subcode=33", ConnectionTestResult.INCONCLUSIVE),
        ("telegram", False, "Forbidden: bot was kicked from the channel chat", ConnectionTestResult.FAILED),
        ("mastodon", False, "Invalid bot token", ConnectionTestResult.FAILED),
    ],
)
def test_what_a_test_means_depends_on_the_platform(
    platform: str, passed: bool, message: str, meaning: ConnectionTestResult
) -> None:
    assert interpret_test(platform, passed=passed, message=message) is meaning


@pytest.mark.parametrize("message", ["Invalid bot token", "Invalid bot connection"])
def test_a_bot_is_known_from_its_tests_and_then_a_lost_token_is_real(message: str) -> None:
    def meaning(before: ConnectionTestHistory, *permissions: str) -> ConnectionTestResult:
        return interpret_test(
            "telegram", passed=False, message=message, permissions=permissions, before=before
        )

    bot = add_test_result(
        NEVER_TESTED, ConnectionTestResult.PASSED, message="ok", permissions=(), now=NOW - DAY, is_new=False
    )
    broken = add_test_result(
        bot, ConnectionTestResult.FAILED, message=message, permissions=(), now=NOW, is_new=False
    )
    assert [ConnectionTestResult.FAILED] * 2 == [meaning(bot), meaning(broken)]
    assert meaning(NEVER_TESTED, "Bot can post to Harbour News") is ConnectionTestResult.FAILED
    assert (
        meaning(replace(BROKEN, permissions=("Bot can post to Harbour News",))) is ConnectionTestResult.FAILED
    )
    assert [ConnectionTestResult.INCONCLUSIVE] * 2 == [meaning(NEVER_TESTED), meaning(BROKEN)]


def test_when_a_test_last_passed_is_remembered_whatever_follows() -> None:
    findings = passed(NEVER_TESTED)
    for meaning in (ConnectionTestResult.FAILED, ConnectionTestResult.INCONCLUSIVE):
        findings = add_test_result(findings, meaning, message="?", permissions=(), now=NOW + DAY, is_new=True)
        assert NOW == findings.passed_at


def test_a_test_that_proves_nothing_leaves_everything_as_it_was() -> None:
    assert (
        add_test_result(
            BROKEN, ConnectionTestResult.INCONCLUSIVE, message="?", permissions=("a",), now=NOW, is_new=False
        )
        is BROKEN
    )


def passed(before: ConnectionTestHistory, *permissions: str, is_new: bool = False) -> ConnectionTestHistory:
    return add_test_result(
        before, ConnectionTestResult.PASSED, message="ok", permissions=permissions, now=NOW, is_new=is_new
    )


def test_permissions_that_were_there_before_and_are_no_more_are_lost() -> None:
    first = passed(NEVER_TESTED, "read", "write")
    assert ((), ("read", "write")) == (first.missing_permissions, first.permissions)
    second = passed(first, "read")
    assert ("write",) == second.missing_permissions
    assert ("write",) == passed(second, "read").missing_permissions
    assert () == passed(second, "write", "read").missing_permissions
    assert () == passed(second, "read", is_new=True).missing_permissions  # whoever reconnected has chosen
    assert (
        second.missing_permissions == passed(second).missing_permissions
    )  # an API that names none says nothing of them


names = st.lists(st.sampled_from("abcd"), max_size=4)


@given(tests=st.lists(st.tuples(st.sampled_from(ConnectionTestResult), names, st.booleans()), max_size=12))
def test_what_is_lost_was_there_once(tests: list[tuple[ConnectionTestResult, list[str], bool]]) -> None:
    now, at_all = NEVER_TESTED, set[str]()
    for meaning, permissions, is_new in tests:
        now = add_test_result(now, meaning, message="", permissions=permissions, now=NOW, is_new=is_new)
        at_all |= {*permissions}
        assert {*now.missing_permissions} <= {*now.permissions} <= at_all
        if meaning is ConnectionTestResult.PASSED and permissions:
            assert not {*now.missing_permissions} & {*permissions}


# The rule


def test_nobody_who_was_never_tested_is_judged() -> None:
    assert ConnectionTestFailed().check(probed(), NOW) is NoProblem.UNKNOWN


@pytest.mark.parametrize(
    ("message", "severity", "cause"),
    [
        ("Token has been revoked", CRITICAL, Cause.AUTHORIZATION),
        ("(#200) Permissions error", CRITICAL, Cause.PERMISSION),
        ("Your account is suspended", WARNING, Cause.POLICY),
        ("Request failed with status code 403", WARNING, Cause.UNKNOWN),
        ("Something is wrong", WARNING, Cause.UNKNOWN),
        ("", WARNING, Cause.UNKNOWN),
    ],
)
def test_a_broken_connection_is_as_bad_as_what_lies_behind_it(
    message: str, severity: Severity, cause: Cause
) -> None:
    broken = ConnectionTestHistory(result=ConnectionTestResult.FAILED, result_at=NOW, message=message)
    result = ConnectionTestFailed().check(probed(last_test=broken), NOW)
    assert isinstance(result, Problem)
    assert (severity, cause) == (result.severity, result.cause)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Bot needs channel administrator posting rights", Cause.PERMISSION),
        ("Channel is unavailable", Cause.PERMISSION),
        ("Request failed with status code 403", Cause.PERMISSION),
        ("Request failed with status code 401", Cause.AUTHORIZATION),
        ("Invalid bot token", Cause.AUTHORIZATION),
        ("Invalid bot connection", Cause.AUTHORIZATION),
    ],
)
def test_what_is_wrong_with_a_bot_is_critical_and_says_why(message: str, cause: Cause) -> None:
    broken = ConnectionTestHistory(result=ConnectionTestResult.FAILED, result_at=NOW, message=message)
    result = ConnectionTestFailed().check(probed(platform="telegram", last_test=broken), NOW)
    assert isinstance(result, Problem)
    assert (CRITICAL, cause) == (result.severity, result.cause)


def test_lost_permissions_are_a_matter_of_permission() -> None:
    lost = ConnectionTestHistory(
        result=ConnectionTestResult.PASSED,
        result_at=NOW,
        permissions=("read", "write"),
        missing_permissions=("write",),
    )
    result = ConnectionTestFailed().check(probed(last_test=lost), NOW)
    assert isinstance(result, Problem)
    assert (WARNING, Cause.PERMISSION) == (result.severity, result.cause)


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Token has been revoked", ""),  # reconnect the account
        ("Something is wrong", ""),
        (
            "Your account is suspended",
            "check the account on the platform",
        ),
    ],
)
def test_nobody_is_asked_to_reconnect_an_account_that_the_platform_blocks(message: str, remedy: str) -> None:
    broken = ConnectionTestHistory(result=ConnectionTestResult.FAILED, result_at=NOW, message=message)
    result = ConnectionTestFailed().check(probed(last_test=broken), NOW)
    assert isinstance(result, Problem)
    assert remedy == result.remedy


def test_something_good_that_was_seen_since_takes_it_back() -> None:
    rule = ConnectionTestFailed()
    posted = connection(last_successful_post_at=NOW)
    assert rule.check(known(posted, last_test=BROKEN), NOW) is NoProblem.OK
    assert (
        rule.check(known(last_test=BROKEN, renewals=RenewalHistory(expiry_set_at=NOW)), NOW) is NoProblem.OK
    )
    earlier = connection(last_successful_post_at=NOW - DAY)
    assert isinstance(rule.check(known(earlier, last_test=BROKEN), NOW), Problem)


def test_words_of_the_api_are_harmless_in_the_summary() -> None:
    for shown in (
        ConnectionTestHistory(
            result=ConnectionTestResult.FAILED, result_at=NOW, message="@everyone\n<!channel>"
        ),
        ConnectionTestHistory(
            result=ConnectionTestResult.PASSED,
            result_at=NOW,
            permissions=("@everyone",),
            missing_permissions=("@everyone\n<!channel>",),
        ),
    ):
        result = ConnectionTestFailed().check(probed(last_test=shown), NOW)
        assert isinstance(result, Problem)
        assert not {"@everyone", "<!channel", "\n"} & {result.summary} and "@everyone" not in result.summary


# Which are tested


def dated(status: str, **given: Any) -> ConnectionState:
    return known(connection(platform_id="mastodon-1", token_status=status), **given)


@pytest.mark.parametrize(
    ("subject", "is_wanted"),
    [
        *(
            (probed(status), True)
            for status in ("valid", "expiring_soon", "expired", "unknown", "a new word")
        ),
        *(
            (probed("valid", platform), True)
            for platform in ("twitter", "facebook", "mastodon", "youtube", "telegram", "newcomer")
        ),
        *((probed(status, platform), False) for platform in UNTESTABLE for status in ("valid", "unknown")),
        (probed("valid", removed_at=NOW), False),
        (probed("valid", missed_polls=1), False),
        (
            probed(
                "valid", last_test=ConnectionTestHistory(result=ConnectionTestResult.PASSED, result_at=NOW)
            ),
            True,
        ),
        (dated("valid"), False),
        (dated("expiring_soon"), False),
        (dated("expired"), False),  # that much is known
        (dated("unknown"), True),
        (dated("valid", last_test=BROKEN), True),
        (
            dated(
                "valid",
                last_test=ConnectionTestHistory(
                    result=ConnectionTestResult.PASSED, result_at=NOW, missing_permissions=("write",)
                ),
            ),
            True,
        ),
        (
            dated(
                "valid", last_test=ConnectionTestHistory(result=ConnectionTestResult.PASSED, result_at=NOW)
            ),
            False,
        ),
    ],
)
def test_those_are_tested_of_which_the_list_says_too_little(
    subject: ConnectionState, is_wanted: bool
) -> None:
    assert should_test_connection(subject, NOW) is is_wanted


def test_only_bluesky_and_pinterest_cannot_be_tested() -> None:
    assert {"bluesky", "pinterest"} == set(UNTESTABLE)


@pytest.mark.parametrize(
    ("message", "posted_at", "is_wanted"),
    [
        ("invalid_grant", None, True),
        ("invalid_grant", NOW - 2 * HOUR, True),
        ("invalid_grant", NOW, False),
        ("Invalid image format", None, False),
        ("(#10) Denied", None, True),
    ],
)
def test_an_error_is_tested_when_it_sounds_like_a_lost_login_and_nothing_was_posted_since(
    message: str, posted_at: datetime | None, is_wanted: bool
) -> None:
    error = PublishError(message=message, occurred_at=NOW - HOUR)
    assert (
        should_test_connection(known(connection(last_error=error, last_successful_post_at=posted_at)), NOW)
        is is_wanted
    )


def test_each_is_tested_at_its_own_pace_and_no_sooner_than_the_server_asks() -> None:
    assert next_test_at(NOW, every=DAY) == NOW + DAY
    assert next_test_at(NOW, every=DAY, retry_after=HOUR) == NOW + DAY
    assert next_test_at(NOW, every=HOUR, retry_after=DAY) == NOW + DAY


def test_what_is_new_since_a_test_is_seen() -> None:
    assert not is_new_since(probed())
    assert not is_new_since(probed(last_test=BROKEN))
    assert is_new_since(probed(last_test=BROKEN, renewals=RenewalHistory(expiry_set_at=NOW)))


# What it looks like


def test_causes_are_what_routes_match_and_at_the_end_also_those_of_the_worst() -> None:
    life = Life()
    error = PublishError(message="invalid_grant", occurred_at=NOW)
    life.poll(connection(last_error=error))
    [incident] = life.incidents
    assert labels_of(incident, target(), Routing(routes=())).cause == ("authorization",)
    life.poll(connection(last_error=PublishError(message="too long", occurred_at=NOW + HOUR)))
    [incident] = life.incidents
    assert labels_of(incident, target(), Routing(routes=())).cause == ("content",)
    life.poll(connection())
    ended = life.history[-1][1].incident
    causes = labels_of(ended, target(), Routing(routes=())).cause
    assert {"content", "authorization", "permission"} == {*causes}


@pytest.mark.parametrize("rule", [RuleName.RENEWAL_OVERDUE, RuleName.CONNECTION_REMOVED])
def test_a_message_names_the_problem_in_words_of_our_own(rule: RuleName) -> None:
    life = Life()
    others = [connection(platform_id=f"linkedin-{n}") for n in range(3)]
    seen = connection(platform_id="facebook-1", expires_at=NOW + 100 * DAY)
    life.poll(*others, seen)
    for _ in range(3):
        life.poll(*others, *([seen] if rule is RuleName.RENEWAL_OVERDUE else []), after=30 * DAY + 8 * HOUR)
    [incident] = [each for each in life.incidents if each.rule is rule]
    item = Item(incident=incident, reasons=frozenset({OPENED}), target=target(), connection=seen)
    message = render([item], now=life.now, key="k")
    assert message
    words = {
        RuleName.RENEWAL_OVERDUE: ": token was not renewed, expires in 9 days",
        RuleName.CONNECTION_REMOVED: ": connection is no longer listed",
    }
    assert message.title.partition("] ")[2].startswith("Facebook @")
    assert message.title.endswith(words[rule])
