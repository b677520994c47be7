"""An account that can't be asked: one problem however it fails, told once, and once when it is over."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.evaluation.accounts import AccountState, TargetFailure, evaluate_account, pause_scope
from monitor.core.model import (
    Failure,
    FailureScope,
    Outcome,
    Reason,
    Resolution,
    RuleName,
    Severity,
)
from monitor.core.rules.account import DEFAULT_ACCOUNT_RULES, AccountFailure
from monitor.core.rules.registry import NEEDS_TWO_RECOVERIES, Rules
from tests.core.lives import SourceLife, notified
from tests.factories import HOUR, NOW, failure, target

NOTICE, WARNING, CRITICAL = Severity
OPENED, RESOLVED = Reason.OPENED, Reason.RESOLVED
REJECTED = failure(Outcome.UNAUTHORIZED)
DENIED = failure(Outcome.FORBIDDEN)
BROKEN = failure(Outcome.SERVER_ERROR)
TIMED_OUT = failure(Outcome.TIMEOUT)
GARBLED = failure(Outcome.BAD_ANSWER)
NOT_MANAGED = failure(Outcome.FORBIDDEN, rule=RuleName.USER_NOT_MANAGED, scope=FailureScope.USER)


def failing(id_: int, how: Failure, since: datetime) -> TargetFailure:
    return TargetFailure(
        target=target(id=id_),
        consecutive_failures=1,
        failing_since=since,
        failed_at=since,
        rule=how.rule,
        error=how.error,
        remedy=how.remedy,
        scope=how.scope,
    )


@pytest.mark.parametrize(
    ("how", "polls", "severity"),
    [
        (REJECTED, 1, CRITICAL),
        (DENIED, 1, CRITICAL),
        (NOT_MANAGED, 1, WARNING),
        (GARBLED, 2, WARNING),
        (BROKEN, 3, WARNING),
        (TIMED_OUT, 3, WARNING),
        (failure(Outcome.RATE_LIMITED), 3, WARNING),
        (failure(Outcome.NETWORK_ERROR), 3, WARNING),
    ],
)
def test_each_kind_is_told_once_after_as_many_polls_as_it_needs_and_once_when_over(
    how: Failure, polls: int, severity: Severity
) -> None:
    life = SourceLife()
    heard = [life.poll(how) for _ in range(60)]
    assert [(polls, [(OPENED, severity)])] == [
        (n, notified) for n, notified in enumerate(heard, 1) if notified
    ]
    if how.rule in NEEDS_TWO_RECOVERIES:
        assert [] == life.poll(None)
    assert [(RESOLVED, severity)] == life.poll(None)
    assert life.history[-1].incident.resolution is Resolution.RECOVERED
    assert [[], []] == [life.poll(None), life.poll(None)]


def test_fewer_failures_than_it_takes_are_never_told() -> None:
    life = SourceLife()
    assert [[]] * 40 == [life.poll(how) for how in [BROKEN, TIMED_OUT, None, GARBLED, None] * 8]


@pytest.mark.parametrize(
    "kinds",
    [
        (BROKEN, TIMED_OUT),
        (REJECTED, BROKEN),
        (BROKEN, REJECTED),
        (REJECTED, DENIED),
        (GARBLED, BROKEN),
        (BROKEN, GARBLED, TIMED_OUT),
        (GARBLED, REJECTED, BROKEN, DENIED),
    ],
)
def test_an_hour_of_alternating_failures_leaves_one_incident_open_and_tells_of_one_end(
    kinds: tuple[Failure, ...],
) -> None:
    life = SourceLife()
    heard = []
    for n in range(60):
        heard += life.poll(kinds[n % len(kinds)])
        assert len(life.incidents) <= 1
    assert {reason for reason, _ in heard} == {OPENED}
    assert len(heard) <= 2
    assert [severity.rank for _, severity in heard] == sorted({severity.rank for _, severity in heard})
    worst = life.incidents[0].max_severity
    assert [(RESOLVED, worst)] == life.poll(None) + life.poll(None)
    assert () == life.incidents


def test_one_good_answer_between_failures_ends_nothing() -> None:
    life = SourceLife()
    heard = [life.poll(how) for how in [BROKEN, BROKEN, BROKEN, None] * 10]
    assert [(OPENED, WARNING)] == [notified for poll in heard for notified in poll]
    assert [[], [(RESOLVED, WARNING)]] == [life.poll(BROKEN) + life.poll(None), life.poll(None)]


def test_a_worse_failure_takes_the_place_of_a_milder_one_without_a_recovery() -> None:
    life = SourceLife()
    heard = [life.poll(BROKEN) for _ in range(3)]
    heard.append(life.poll(REJECTED))
    assert [[], [], [(OPENED, WARNING)], [(OPENED, CRITICAL)]] == heard
    assert [RuleName.API_KEY_REJECTED] == [incident.rule for incident in life.incidents]
    superseded = next(each for each in life.history if not each.incident.is_open)
    assert (Resolution.SUPERSEDED, None) == (superseded.incident.resolution, superseded.reason)


def test_a_milder_failure_opens_nothing_beside_a_worse_one_and_does_not_end_it() -> None:
    life = SourceLife()
    assert [(OPENED, CRITICAL)] == life.poll(REJECTED)
    assert [[]] * 10 == [life.poll(BROKEN) for _ in range(10)]
    assert [RuleName.API_KEY_REJECTED] == [incident.rule for incident in life.incidents]


def test_a_key_that_many_targets_share_is_one_problem() -> None:
    life = SourceLife()
    assert [(OPENED, CRITICAL)] == life.poll(*[REJECTED] * 1000)
    assert [] == life.poll(*[REJECTED] * 999, None)
    assert [(RESOLVED, CRITICAL)] == life.poll(*[None] * 1000)


def test_one_target_that_fails_while_the_others_answer_is_its_own_problem() -> None:
    life = SourceLife()
    heard = [life.poll(None, BROKEN, None) for _ in range(10)]
    assert [[], [], [(OPENED, WARNING)]] == heard[:3]
    assert [[]] * 7 == heard[3:]
    assert [2] == [incident.subject.target_id for incident in life.incidents]
    assert [(RESOLVED, WARNING)] == life.poll(None, None, None)


def test_an_outage_that_ends_for_one_after_the_other_is_no_problem_of_the_last_ones() -> None:
    life = SourceLife()
    for _ in range(5):
        life.poll(*[BROKEN] * 10)
    assert [None] == [incident.subject.target_id for incident in life.incidents]
    heard = [*life.poll(*[None] * 6, *[BROKEN] * 4), *life.poll(*[None] * 10)]
    assert [(RESOLVED, WARNING)] == heard


def test_a_key_that_works_for_one_works_again() -> None:
    life = SourceLife()
    life.poll(*[REJECTED] * 3)
    life.now += timedelta(minutes=1)
    known = AccountState(
        account="agency",
        targets=3,
        failing=(failing(2, REJECTED, life.now - timedelta(minutes=1)),),
        last_ok_at=life.now,
        incidents=life.incidents,
    )
    assert [(RESOLVED, CRITICAL)] == notified(evaluate_account(known, life.now, rules=life.rules))
    assert pause_scope(known) is None


@pytest.mark.parametrize(
    ("how", "resting"),
    [
        (REJECTED, FailureScope.KEY),
        (failure(Outcome.FORBIDDEN, scope=FailureScope.KEY), FailureScope.KEY),
        (failure(Outcome.FORBIDDEN, scope=FailureScope.USERS), FailureScope.USERS),
        (NOT_MANAGED, None),
        (BROKEN, None),
        (failure(Outcome.RATE_LIMITED, scope=FailureScope.KEY), None),
    ],
)
def test_only_what_a_person_must_mend_lets_polling_rest(how: Failure, resting: FailureScope | None) -> None:
    known = AccountState(account="agency", targets=9, failing=(failing(2, how, NOW),), last_ok_at=NOW - HOUR)
    assert resting is pause_scope(known)


def test_who_is_not_managed_is_a_problem_of_its_own_beside_that_of_the_account() -> None:
    life = SourceLife()
    life.poll(NOT_MANAGED, None, None)
    life.poll(NOT_MANAGED, REJECTED, REJECTED)
    assert {(1, RuleName.USER_NOT_MANAGED), (None, RuleName.API_KEY_REJECTED)} == {
        (incident.subject.target_id, incident.rule) for incident in life.incidents
    }


def test_a_list_of_users_that_cannot_be_had_is_a_problem_of_the_account() -> None:
    workspace = TargetFailure(
        target=None,
        consecutive_failures=1,
        failing_since=NOW,
        failed_at=NOW,
        rule=RuleName.ACCESS_DENIED,
        error="the API key has no access to managed users",
        remedy="set managed_users: none",
        scope=FailureScope.USERS,
    )
    known = AccountState(account="agency", workspace=workspace, last_ok_at=NOW + HOUR)
    (change,) = evaluate_account(known, NOW, rules=Rules())
    assert (RuleName.ACCESS_DENIED, None) == (change.incident.rule, change.incident.subject.target_id)
    assert pause_scope(known) is None


def test_what_fails_now_is_what_the_incident_says_without_telling_again() -> None:
    life = SourceLife()
    life.poll(failure(Outcome.UNAUTHORIZED, error="the API saw no API key", remedy="look at the proxy"))
    life.poll(failure(Outcome.UNAUTHORIZED, error="the API key is wrong", remedy="put another"))
    assert [("the API key is wrong", "put another")] == [
        (incident.summary, incident.remedy) for incident in life.incidents
    ]


def test_a_threshold_is_configurable() -> None:
    rules = Rules(account=(AccountFailure(name=RuleName.API_UNREACHABLE, severity=WARNING, after=5),))
    life = SourceLife(rules=rules)
    assert [[], [], [], [], [(OPENED, WARNING)]] == [life.poll(BROKEN) for _ in range(5)]


def test_a_rule_that_is_switched_off_ends_its_incident_and_tells_nobody() -> None:
    life = SourceLife()
    life.poll(REJECTED)
    without = tuple(rule for rule in DEFAULT_ACCOUNT_RULES if rule.name is not RuleName.API_KEY_REJECTED)
    life.rules = Rules(account=without)
    assert [] == life.poll(REJECTED)
    assert () == life.incidents


def test_the_servers_words_are_harmless_in_the_summary() -> None:
    life = SourceLife()
    life.poll(failure(Outcome.FORBIDDEN, error="the API denied access: 403 @everyone <!channel>"))
    assert not any(active in life.incidents[0].summary for active in ("@everyone", "<!channel"))


answers = st.sampled_from([None, REJECTED, DENIED, BROKEN, TIMED_OUT, GARBLED, NOT_MANAGED])


@given(st.lists(st.tuples(answers, answers, answers), max_size=30))
def test_whatever_happens_each_subject_has_one_incident_at_most_and_each_end_had_a_beginning(
    polls: list[tuple[Failure | None, ...]],
) -> None:
    life = SourceLife()
    for poll in polls:
        life.poll(*poll)
        subjects = [incident.subject.key for incident in life.incidents]
        assert len(subjects) == len(set(subjects))
        assert bool(life.incidents) <= any(poll)
    is_open: set[tuple[str, RuleName]] = set()
    for change in life.history:
        about = (change.incident.subject.key, change.incident.rule)
        assert (change.reason is OPENED) is (about not in is_open)
        (is_open.add if change.incident.is_open else is_open.discard)(about)
    assert is_open == {(incident.subject.key, incident.rule) for incident in life.incidents}


REVOKED = {"revoked": (2, ("LinkedIn John Doe", "X yourhandle"))}


def test_a_word_that_the_monitor_does_not_know_is_one_problem_told_at_once_until_it_is_gone() -> None:
    life = SourceLife(unheard=REVOKED)
    assert [(OPENED, WARNING)] == life.poll(None)
    assert [[]] * 20 == [life.poll(None) for _ in range(20)]
    [incident] = life.incidents
    assert (RuleName.BAD_ANSWER, None) == (incident.rule, incident.subject.target_id)
    assert incident.summary == (
        "the API reports a token status that the monitor doesn't know: "
        '"revoked" (LinkedIn John Doe, X yourhandle)'
    )
    life.unheard = {}
    assert [[], [(RESOLVED, WARNING)], []] == [life.poll(None) for _ in range(3)]


def test_another_word_is_news_and_another_connection_is_not() -> None:
    life = SourceLife(unheard=REVOKED)
    life.poll(None)
    life.unheard = {"revoked": (9, ("a", "b", "c", "d", "e", "f"))}
    assert [] == life.poll(None)
    assert '"revoked" (a, b, c, d, e and 4 more)' in life.incidents[0].summary
    life.unheard = {**life.unheard, "paused": (1, ("g",))}
    assert [(Reason.UPDATED, WARNING)] == life.poll(None)
    assert (
        'token statuses that the monitor doesn\'t know: "paused" (g), "revoked"' in life.incidents[0].summary
    )
    for unheard in (REVOKED, life.unheard, REVOKED, life.unheard):
        life.unheard = unheard
        assert [] == life.poll(None)


def test_many_words_fit_one_line_and_mention_nobody() -> None:
    life = SourceLife(unheard={f"@everyone {n}" + "x" * 60: (1, ("@here",)) for n in range(40)})
    life.poll(None)
    [incident] = life.incidents
    assert "@everyone" not in incident.summary
    assert "@here" not in incident.summary
    assert incident.summary.endswith(" and 35 more")
    assert len(incident.summary) < 600
    assert all(len(mark) <= 200 for mark in incident.notified_levels)


@pytest.mark.parametrize("how", [BROKEN, REJECTED, GARBLED])
def test_a_word_that_the_monitor_does_not_know_hides_no_failure_and_no_recovery(how: Failure) -> None:
    life = SourceLife(unheard=REVOKED)
    life.poll(None)
    heard = [each for _ in range(10) for each in life.poll(how)]
    severity = CRITICAL if how is REJECTED else WARNING
    assert heard == [(Reason.UPDATED if how is GARBLED else OPENED, severity)]
    if how is GARBLED:
        assert "token status" not in life.incidents[0].summary
    back = [each for _ in range(10) for each in life.poll(None)]
    assert back == ([] if how is GARBLED else [(RESOLVED, severity)])
    assert ["token status" in each.summary for each in life.incidents] == [True]


def test_a_failure_that_is_gone_before_it_is_told_leaves_the_word_where_it_was() -> None:
    life = SourceLife(unheard=REVOKED)
    life.poll(None)
    for how in (GARBLED, None, BROKEN, BROKEN, None, None):
        assert [] == life.poll(how)
    assert ["token status" in each.summary for each in life.incidents] == [True]


def test_without_its_rule_a_word_opens_nothing() -> None:
    others = tuple(rule for rule in DEFAULT_ACCOUNT_RULES if rule.name is not RuleName.BAD_ANSWER)
    life = SourceLife(rules=Rules(account=others), unheard=REVOKED)
    assert [] == life.poll(None)
