"""What each rule answers, in full: its severity, its words, what it asks for, and what makes it news."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.core.evaluation.accounts import AccountState, TargetFailure, evaluate_account
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import (
    Cause,
    ConnectionTestHistory,
    ConnectionTestResult,
    FailureScope,
    Incident,
    PublishError,
    Reason,
    Resolution,
    RuleName,
    Severity,
    Subject,
)
from monitor.core.rules.base import ConnectionRule, NoProblem, Problem, RuleResult, Superseded
from monitor.core.rules.clock_skew import check_clock, date_offset, describe_skew
from monitor.core.rules.connection_removed import ConnectionRemoved
from monitor.core.rules.connection_test import ConnectionTestFailed, add_test_result
from monitor.core.rules.publish_error import PublishErrorRule
from monitor.core.rules.registry import Rules
from monitor.core.rules.renewal import RenewalOverdue, RenewalProfile, RenewedBy
from monitor.core.rules.token_expiry import TokenExpiry, has_expired
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, known, target

NOTICE, WARNING, CRITICAL = Severity
SECOND = timedelta(seconds=1)
VENDOR = RenewalProfile(renewed_by=RenewedBy.VENDOR)
POLICY = "check the account on the platform"


def failed_post(message: str, platform: str = "linkedin", **given: Any) -> Any:
    error = PublishError(message=message, occurred_at=NOW - HOUR)
    return known(connection(platform_id=f"{platform}-1", last_error=error), **given)


def failed_test(message: str, **given: Any) -> Any:
    result = ConnectionTestHistory(
        result=ConnectionTestResult.FAILED, result_at=NOW - HOUR, message=message, **given
    )
    return known(last_test=result)


def lost_permissions(*names: str) -> Any:
    result = ConnectionTestHistory(
        result=ConnectionTestResult.PASSED, result_at=NOW - HOUR, missing_permissions=names
    )
    return known(last_test=result)


def token(status: str, left: Any, platform: str = "linkedin", **given: Any) -> Any:
    expires_at = None if left is None else NOW + left
    return known(connection(platform_id=f"{platform}-1", token_status=status, expires_at=expires_at), **given)


def expiry(severity: Severity, summary: str, **given: Any) -> Problem:
    return Problem(
        rule=RuleName.TOKEN_EXPIRY,
        severity=severity,
        summary=summary,
        cause=Cause.AUTHORIZATION,
        **given,
    )


def publishing(severity: Severity, what: str, key: str, cause: Cause, remedy: str, *, level: int) -> Problem:
    return Problem(
        rule=RuleName.PUBLISH_ERROR,
        severity=severity,
        summary=f"publishing failed at 2026-02-22 19:00 UTC{what}",
        remedy=remedy,
        level=level,
        dedup_key=key,
        is_new_key=True,
        cause=cause,
    )


def of_test(severity: Severity, what: str, key: str, cause: Cause, remedy: str, *, level: int) -> Problem:
    return Problem(
        rule=RuleName.CONNECTION_TEST_FAILED,
        severity=severity,
        summary=f"the connection test {what}",
        remedy=remedy,
        level=level,
        dedup_key=key,
        is_new_key=True,
        cause=cause,
    )


RESULTS: list[tuple[str, ConnectionRule, Any, RuleResult]] = [
    # The dates of tokens: each threshold counts from its very moment.
    ("valid", TokenExpiry(), token("valid", 60 * DAY), NoProblem.OK),
    ("no-date", TokenExpiry(), token("valid", None), NoProblem.OK),
    (
        "seven-days",
        TokenExpiry(),
        token("expiring_soon", 7 * DAY),
        expiry(
            NOTICE,
            "token expires at 2026-03-01 20:00 UTC",
            deadline_at=NOW + 7 * DAY,
            dedup_key="2026-03-01 20:00 UTC",
            level=1,
        ),
    ),
    (
        "soon-without-a-date",
        TokenExpiry(),
        token("expiring_soon", None),
        expiry(NOTICE, "token expires soon", dedup_key="no date", level=1),
    ),
    (
        "soon-without-thresholds",
        TokenExpiry(before={}),
        token("expiring_soon", None),
        expiry(WARNING, "token expires soon", dedup_key="no date", level=1),
    ),
    (
        "three-days",
        TokenExpiry(),
        token("expiring_soon", 3 * DAY),
        expiry(
            WARNING,
            "token expires at 2026-02-25 20:00 UTC",
            deadline_at=NOW + 3 * DAY,
            dedup_key="2026-02-25 20:00 UTC",
            level=2,
        ),
    ),
    (
        "a-minute-more-than-three-days",
        TokenExpiry(),
        token("expiring_soon", 3 * DAY + MINUTE),
        expiry(
            NOTICE,
            "token expires at 2026-02-25 20:01 UTC",
            deadline_at=NOW + 3 * DAY + MINUTE,
            dedup_key="2026-02-25 20:01 UTC",
            level=1,
        ),
    ),
    (
        "one-day",
        TokenExpiry(),
        token("expiring_soon", DAY),
        expiry(
            CRITICAL,
            "token expires at 2026-02-23 20:00 UTC",
            deadline_at=NOW + DAY,
            dedup_key="2026-02-23 20:00 UTC",
            level=3,
        ),
    ),
    (
        "now",
        TokenExpiry(),
        token("expiring_soon", 0 * DAY),
        expiry(
            CRITICAL,
            "token expired at 2026-02-22 20:00 UTC",
            deadline_at=NOW,
            dedup_key="2026-02-22 20:00 UTC",
            level=4,
        ),
    ),
    (
        "expired",
        TokenExpiry(),
        token("expired", None),
        expiry(CRITICAL, "token has expired", dedup_key="no date", level=4),
    ),
    (
        "expired-without-thresholds",
        TokenExpiry(before={}),
        token("expired", None),
        expiry(CRITICAL, "token has expired", dedup_key="no date", level=2),
    ),
    (
        "expired-before-its-date",
        TokenExpiry(),
        token("expired", DAY),
        expiry(
            CRITICAL,
            "token has expired before its date, 2026-02-23 20:00 UTC",
            dedup_key="2026-02-23 20:00 UTC",
            level=4,
        ),
    ),
    (
        "unknown-at-its-date",
        TokenExpiry(),
        token("unknown", 0 * DAY),
        expiry(
            WARNING,
            "token may have expired, because the API reports no status after its date, 2026-02-22 20:00 UTC",
            dedup_key="2026-02-22 20:00 UTC",
            keeps_worse=True,
        ),
    ),
    ("unknown-before-its-date", TokenExpiry(), token("unknown", MINUTE), NoProblem.UNKNOWN),
    (
        "not-renewed",
        RenewalOverdue(),
        token("valid", 8 * DAY, "facebook", first_seen_at=NOW - 92 * DAY),
        Problem(
            rule=RuleName.RENEWAL_OVERDUE,
            severity=WARNING,
            summary="the token was not renewed by 2026-02-20 20:00 UTC as expected, "
            "and expires at 2026-03-02 20:00 UTC",
            deadline_at=NOW + 8 * DAY,
            dedup_key="2026-03-02 20:00 UTC",
            cause=Cause.AUTHORIZATION,
        ),
    ),
    (
        "renewed-by-people",
        RenewalOverdue(),
        token("valid", 8 * DAY, first_seen_at=NOW - 92 * DAY),
        Superseded(resolution=Resolution.SUPERSEDED, is_notified=False),
    ),
    (
        "renewed-in-time",
        RenewalOverdue(),
        token("valid", 40 * DAY, "facebook", first_seen_at=NOW - 60 * DAY),
        NoProblem.OK,
    ),
    ("without-a-date", RenewalOverdue(), token("valid", None, "facebook"), NoProblem.OK),
    ("expired-itself", RenewalOverdue(), token("expired", 8 * DAY, "facebook"), NoProblem.UNKNOWN),
    # Posts
    (
        "authorization",
        PublishErrorRule(),
        failed_post("Token has been revoked"),
        publishing(
            CRITICAL,
            ", because the platform rejected the login: Token has been revoked",
            "token has been revoked",
            Cause.AUTHORIZATION,
            "",
            level=3,
        ),
    ),
    (
        "policy",
        PublishErrorRule(),
        failed_post("Your account is suspended"),
        publishing(
            WARNING,
            ", because the platform restricts the account: Your account is suspended",
            "your account is suspended",
            Cause.POLICY,
            POLICY,
            level=2,
        ),
    ),
    (
        "transient",
        PublishErrorRule(),
        failed_post("Service temporarily unavailable"),
        publishing(
            NOTICE,
            ", probably for a short time: Service temporarily unavailable",
            "service temporarily unavailable",
            Cause.TRANSIENT,
            "publish the post again",
            level=1,
        ),
    ),
    (
        "content",
        PublishErrorRule(),
        failed_post("Media upload failed: Invalid image format"),
        publishing(
            WARNING,
            ", because the platform refused the content: Media upload failed: Invalid image format",
            "media upload failed: invalid image format",
            Cause.CONTENT,
            "correct the post and publish it again",
            level=2,
        ),
    ),
    (
        "not-recognized",
        PublishErrorRule(),
        failed_post("Something is wrong"),
        publishing(
            WARNING,
            ": Something is wrong",
            "something is wrong",
            Cause.UNKNOWN,
            "publish the post again, or reconnect the account if the error asks for it",
            level=2,
        ),
    ),
    (
        "without-a-word",
        PublishErrorRule(),
        failed_post(""),
        publishing(
            WARNING,
            ": no reason given",
            "",
            Cause.UNKNOWN,
            "publish the post again, or reconnect the account if the error asks for it",
            level=2,
        ),
    ),
    (
        "with-an-explanation",
        PublishErrorRule(),
        failed_post("PUBLISH_OUTCOME_UNKNOWN"),
        publishing(
            WARNING,
            ", but the post may be published, whole or in parts: PUBLISH_OUTCOME_UNKNOWN",
            "publish_outcome_unknown",
            Cause.UNKNOWN,
            "check the account on the platform before you publish anything again",
            level=2,
        ),
    ),
    # Tests
    (
        "test-authorization",
        ConnectionTestFailed(),
        failed_test("Token has been revoked"),
        of_test(
            CRITICAL,
            "failed, because the platform rejected the login: Token has been revoked",
            "token has been revoked",
            Cause.AUTHORIZATION,
            "",
            level=3,
        ),
    ),
    (
        "test-policy",
        ConnectionTestFailed(),
        failed_test("Your account is suspended"),
        of_test(
            WARNING,
            "failed, because the platform restricts the account: Your account is suspended",
            "your account is suspended",
            Cause.POLICY,
            POLICY,
            level=2,
        ),
    ),
    (
        "test-without-a-word",
        ConnectionTestFailed(),
        failed_test(""),
        of_test(WARNING, "failed: no reason given", "", Cause.UNKNOWN, "", level=2),
    ),
    (
        "lost-permissions",
        ConnectionTestFailed(),
        lost_permissions("read", "write"),
        of_test(
            WARNING,
            "shows missing permissions: read, write",
            "lost read write",
            Cause.PERMISSION,
            "",
            level=1,
        ),
    ),
    ("nothing-lost", ConnectionTestFailed(), lost_permissions(), NoProblem.OK),
    # Connections that are gone
    (
        "removed",
        ConnectionRemoved(),
        known(removed_at=NOW, last_seen_at=NOW - HOUR),
        Problem(
            rule=RuleName.CONNECTION_REMOVED,
            severity=NOTICE,
            summary="the API no longer lists this connection (last seen at 2026-02-22 19:00 UTC)",
            remedy="connect the account again, unless it was disconnected on purpose",
        ),
    ),
    (
        "removed-and-never-seen",
        ConnectionRemoved(),
        known(removed_at=NOW - DAY + MINUTE),
        Problem(
            rule=RuleName.CONNECTION_REMOVED,
            severity=NOTICE,
            summary="the API no longer lists this connection",
            remedy="connect the account again, unless it was disconnected on purpose",
        ),
    ),
    (
        "removed-a-day-ago",
        ConnectionRemoved(),
        known(removed_at=NOW - DAY),
        Superseded(resolution=Resolution.REMOVED, is_notified=False),
    ),
    ("missed-once", ConnectionRemoved(), known(missed_polls=1), NoProblem.UNKNOWN),
    ("listed", ConnectionRemoved(), known(), NoProblem.OK),
]


@pytest.mark.parametrize(
    ("rule", "subject", "result"), [pytest.param(*each, id=id_) for id_, *each in RESULTS]
)
def test_a_rule_answers_with_all_that_a_message_needs(
    rule: ConnectionRule, subject: Any, result: RuleResult
) -> None:
    assert rule.check(subject, NOW) == result


def test_a_removed_connection_is_over_after_a_day() -> None:
    rule = ConnectionRemoved()
    assert rule.next_change_at(known(removed_at=NOW), NOW) == NOW + DAY
    assert rule.next_change_at(known(removed_at=NOW), NOW + DAY) is None
    assert rule.next_change_at(known(), NOW) is None


def test_a_clock_that_is_wrong_is_told_in_full() -> None:
    assert check_clock("https://api.example.com", -11 * MINUTE) == Problem(
        rule=RuleName.CLOCK_SKEW,
        severity=WARNING,
        summary="this machine's clock is 10 minutes ahead of the clock of https://api.example.com",
        remedy="turn on time synchronization (NTP) on this machine",
        dedup_key="https://api.example.com",
    )


def test_a_test_is_remembered_with_all_that_it_showed() -> None:
    passed = add_test_result(
        ConnectionTestHistory(permissions=("b", "c"), missing_permissions=("c",), passed_at=NOW - DAY),
        ConnectionTestResult.PASSED,
        message="ok",
        permissions=["b", "a"],
        now=NOW,
        is_new=False,
    )
    assert passed == ConnectionTestHistory(
        result=ConnectionTestResult.PASSED,
        result_at=NOW,
        message="ok",
        permissions=("a", "b", "c"),
        missing_permissions=("c",),
        passed_at=NOW,
    )
    failed = add_test_result(
        passed, ConnectionTestResult.FAILED, message="no", permissions=["z"], now=NOW + HOUR, is_new=True
    )
    assert failed == ConnectionTestHistory(
        result=ConnectionTestResult.FAILED,
        result_at=NOW + HOUR,
        message="no",
        permissions=("a", "b", "c"),
        missing_permissions=("c",),
        passed_at=NOW,
    )


# Accounts


def failure_of(
    target_id: int | None, rule: RuleName = RuleName.API_UNREACHABLE, **given: Any
) -> TargetFailure:
    usual: dict[str, Any] = {
        "target": None if target_id is None else target(id=target_id),
        "consecutive_failures": 3,
        "failing_since": NOW - HOUR,
        "failed_at": NOW,
        "rule": rule,
        "error": "the API does not answer",
        "remedy": "wait",
    }
    return TargetFailure(**usual | given)


def incident(rule: RuleName, severity: Severity, **given: Any) -> Incident:
    usual: dict[str, Any] = {
        "rule": rule,
        "subject": Subject(account="agency"),
        "severity": severity,
        "max_severity": severity,
        "summary": "the API does not answer",
        "remedy": "wait",
        "opened_at": NOW,
        "notified_levels": {rule.value: 1},
        "notified_severity": severity,
    }
    return Incident(**usual | given)


def evaluated(*failing: TargetFailure, **given: Any) -> tuple[IncidentChange, ...]:
    return evaluate_account(AccountState(account="agency", failing=failing, **given), NOW, rules=Rules())


def test_an_account_that_fails_is_one_incident_with_the_words_of_who_fails_longest() -> None:
    failing = [failure_of(1, error="shorter"), failure_of(2, consecutive_failures=4), failure_of(3)]
    assert evaluated(*failing, targets=3) == (
        IncidentChange(incident=incident(RuleName.API_UNREACHABLE, WARNING), reason=Reason.OPENED),
    )


@pytest.mark.parametrize(
    ("failing", "given", "is_account_wide"),
    [
        pytest.param([failure_of(1)], {"targets": 1}, True, id="the-only-one"),
        pytest.param([failure_of(1)], {"targets": 2}, False, id="one-of-two"),
        pytest.param([failure_of(1), failure_of(2)], {"targets": 4}, True, id="half-and-nobody-answers"),
        pytest.param(
            [failure_of(1), failure_of(2)],
            {"targets": 4, "last_ok_at": NOW - HOUR},
            False,
            id="half-and-others-answered-since",
        ),
        pytest.param(
            [failure_of(1), failure_of(2)],
            {"targets": 4, "last_ok_at": NOW - HOUR - MINUTE},
            True,
            id="half-and-others-answered-before",
        ),
        pytest.param([failure_of(1), failure_of(2)], {"targets": 3, "last_ok_at": NOW}, True, id="most"),
        pytest.param(
            [failure_of(1, scope=FailureScope.KEY)], {"targets": 9, "last_ok_at": NOW}, True, id="the-key"
        ),
        pytest.param(
            [failure_of(1, scope=FailureScope.KEY)],
            {"targets": 9, "last_ok_at": NOW + MINUTE},
            False,
            id="the-key-has-worked-since",
        ),
        pytest.param(
            [failure_of(1, scope=FailureScope.USERS)],
            {"targets": 9, "last_user_ok_at": NOW},
            True,
            id="the-users",
        ),
        pytest.param(
            [failure_of(1, scope=FailureScope.USERS)],
            {"targets": 9, "last_user_ok_at": NOW + MINUTE},
            False,
            id="a-user-has-answered-since",
        ),
        pytest.param([failure_of(1, scope=FailureScope.USER)], {"targets": 1}, False, id="one-user-alone"),
        pytest.param([], {"targets": 9, "workspace": failure_of(None)}, True, id="the-user-list"),
        pytest.param(
            [],
            {"targets": 9, "workspace": failure_of(None, scope=FailureScope.KEY), "last_ok_at": NOW},
            True,
            id="the-user-list-with-the-key",
        ),
        pytest.param(
            [],
            {"targets": 9, "workspace": failure_of(None, scope=FailureScope.KEY), "last_ok_at": NOW + MINUTE},
            False,
            id="the-user-list-before-the-key-worked",
        ),
    ],
)
def test_a_failure_is_the_accounts_own_if_it_says_so_or_most_fail(
    failing: list[TargetFailure], given: dict[str, Any], is_account_wide: bool
) -> None:
    about = {change.incident.subject.target_id for change in evaluated(*failing, **given)}
    assert (None in about) is is_account_wide


@pytest.mark.parametrize(
    ("count", "names"),
    [
        pytest.param(1, "", id="one"),
        pytest.param(5, "", id="five"),
        pytest.param(6, " and 1 more", id="six"),
    ],
)
def test_a_word_that_nobody_knows_is_told_with_the_first_connections(count: int, names: str) -> None:
    unheard = {"paused": (count, [f"Page {n}" for n in range(min(count, 5))])}
    [change] = evaluated(unheard=unheard)
    shown = ", ".join(f"Page {n}" for n in range(min(count, 5)))
    assert change == IncidentChange(
        incident=incident(
            RuleName.BAD_ANSWER,
            WARNING,
            summary=f'the API reports a token status that the monitor doesn\'t know: "paused" ({shown}{names})',
            remedy="check these connections in the dashboard, because only their expiry dates count here",
            notified_levels={"words paused": 1},
        ),
        reason=Reason.OPENED,
    )


@pytest.mark.parametrize(("opens", "is_flapping"), [(2, False), (3, True)])
def test_what_comes_a_fourth_time_in_a_day_is_flapping(opens: int, is_flapping: bool) -> None:
    for rule, given in (
        (RuleName.BAD_ANSWER, {"unheard": {"paused": (1, ["Page"])}}),
        (RuleName.API_UNREACHABLE, {"failing_": [failure_of(1)]}),
    ):
        failing: Any = given.pop("failing_", [])
        recent = {("account:agency", rule): opens}
        [change] = evaluated(*failing, recent_opens=recent, **given)
        assert change.incident.flap_count == (opens + 1 if is_flapping else 0)


def test_a_worse_failure_takes_the_place_of_a_milder_one() -> None:
    milder = incident(RuleName.API_UNREACHABLE, WARNING, id=1)
    rejected = failure_of(1, RuleName.API_KEY_REJECTED, scope=FailureScope.KEY)
    ended, opened = evaluated(rejected, incidents=(milder,))
    assert (ended.incident.id, ended.incident.resolution, ended.reason) == (1, Resolution.SUPERSEDED, None)
    assert opened == IncidentChange(
        incident=incident(RuleName.API_KEY_REJECTED, CRITICAL), reason=Reason.OPENED
    )


def test_a_failure_that_is_no_worse_opens_nothing_beside_the_first() -> None:
    first = incident(RuleName.API_UNREACHABLE, WARNING, id=1)
    assert () == evaluated(failure_of(1, RuleName.BAD_ANSWER), incidents=(first,))


def test_an_incident_whose_rule_was_switched_off_ends_without_a_word() -> None:
    stale = incident(RuleName.RECONNECT_LINK_EXPIRING, WARNING, id=1)
    [change] = evaluated(incidents=(stale,))
    assert (change.incident.id, change.incident.resolution, change.reason) == (1, Resolution.SUPERSEDED, None)
    assert change.incident.resolved_at == NOW


def test_a_doubt_is_remembered_and_nobody_hears_of_it() -> None:
    doubted = failure_of(1, RuleName.BAD_ANSWER, consecutive_failures=1, suspect_changes=12)
    opened = incident(
        RuleName.BAD_ANSWER,
        WARNING,
        subject=Subject(account="agency", target_id=1),
        notified_levels={"bad_answer": 0},
    )
    assert evaluated(doubted, targets=9) == (IncidentChange(incident=opened, reason=None),)
    # The second look shows the same: then it is told.
    [change] = evaluated(
        replace(doubted, consecutive_failures=2), targets=9, incidents=(replace(opened, id=1),)
    )
    assert (change.reason, change.incident.notified_levels) == (Reason.UPDATED, {"bad_answer": 1})


def test_a_doubt_ends_without_a_word_when_another_failure_hides_it() -> None:
    doubt = incident(
        RuleName.BAD_ANSWER,
        WARNING,
        id=1,
        subject=Subject(account="agency", target_id=1),
        notified_levels={"bad_answer": 0},
    )
    [change] = evaluated(
        failure_of(1, consecutive_failures=1, isolated_failures=1), targets=9, incidents=(doubt,)
    )
    assert change == IncidentChange(
        incident=replace(doubt, resolved_at=NOW, resolution=Resolution.SUPERSEDED, notified_severity=None),
        reason=None,
    )
    # What was told stays open: an answer alone proves that it is over.
    told = replace(doubt, notified_levels={"bad_answer": 1})
    assert () == evaluated(
        failure_of(1, consecutive_failures=1, isolated_failures=1), targets=9, incidents=(told,)
    )


@pytest.mark.parametrize(
    ("given", "opens"),
    [
        pytest.param({"isolated_failures": 1}, True, id="alone"),
        pytest.param({"suspect_changes": 1}, True, id="with-many-changes"),
        pytest.param({}, False, id="with-the-others"),
        pytest.param({"scope": FailureScope.USER}, True, id="for-this-user"),
        pytest.param({"scope": FailureScope.USERS, "isolated_failures": 1}, False, id="for-all-users"),
    ],
)
def test_a_target_has_a_problem_of_its_own_if_the_account_has_none(
    given: dict[str, Any], opens: bool
) -> None:
    state: dict[str, Any] = {"targets": 9, "last_user_ok_at": NOW + MINUTE}
    opened = incident(RuleName.API_UNREACHABLE, WARNING, subject=Subject(account="agency", target_id=1))
    expected = (IncidentChange(incident=opened, reason=Reason.OPENED),) if opens else ()
    assert evaluated(failure_of(1, **given), **state) == expected


def test_the_accounts_problem_covers_those_of_its_targets() -> None:
    failing = failure_of(1, isolated_failures=1)
    assert [None] == [each.incident.subject.target_id for each in evaluated(failing, targets=1)]


@pytest.mark.parametrize(
    ("apart", "words"),
    [
        pytest.param(12 * MINUTE + 29 * SECOND, "10 minutes", id="to-five-minutes"),
        pytest.param(3 * HOUR - MINUTE, "3 hours", id="just-under-three-hours"),
        pytest.param(3 * HOUR, "3 hours", id="three-hours"),
        pytest.param(3 * HOUR + 7 * MINUTE, "3 hours", id="to-the-hour"),
        pytest.param(4 * HOUR, "4 hours", id="four-hours"),
        pytest.param(2 * DAY - HOUR, "1 day 23 hours", id="just-under-two-days"),
        pytest.param(2 * DAY + HOUR, "2 days", id="to-the-day"),
        pytest.param(3 * DAY - HOUR, "3 days", id="just-under-three-days"),
    ],
)
def test_a_skew_is_told_no_more_exactly_than_it_lasts(apart: timedelta, words: str) -> None:
    assert describe_skew(apart) == f"{words} behind"
    assert describe_skew(-apart) == f"{words} ahead"


@pytest.mark.parametrize(
    ("status", "left", "profiles", "expired"),
    [
        pytest.param("expired", DAY, {}, True, id="by-the-apis-word"),
        pytest.param("expiring_soon", 0 * DAY, {}, True, id="at-its-date"),
        pytest.param("expiring_soon", MINUTE, {}, False, id="before-its-date"),
        pytest.param("unknown", -DAY, {}, False, id="unknown"),
        pytest.param("valid", None, {}, False, id="without-a-date"),
        pytest.param("valid", 0 * DAY, {}, True, id="reported-valid-long-before"),
        pytest.param("valid", 0 * DAY, {"linkedin": VENDOR}, False, id="renewed-by-the-vendor"),
    ],
)
def test_a_token_has_expired_by_the_word_or_by_a_date_that_counts(
    status: str, left: Any, profiles: dict[str, RenewalProfile], expired: bool
) -> None:
    reported_at = NOW - 30 * DAY
    assert has_expired(token(status, left), NOW, reported_at=reported_at, profiles=profiles) is expired


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        pytest.param(NOW - SECOND, 0 * SECOND, id="cut-to-the-second"),
        pytest.param(NOW - 1.5 * SECOND, -1.5 * SECOND, id="before-it-was-sent"),
        pytest.param(NOW + MINUTE, 0 * SECOND, id="when-it-was-answered"),
        pytest.param(NOW + MINUTE + SECOND, SECOND, id="after-it-was-answered"),
    ],
)
def test_a_date_header_counts_from_the_nearer_end_of_the_request(date: datetime, offset: timedelta) -> None:
    assert date_offset(date, sent_at=NOW, answered_at=NOW + MINUTE) == offset
