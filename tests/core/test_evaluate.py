"""The decision as a whole: random lives of many connections, and what must hold in every one of them."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.core.evaluation.evaluate import evaluate, is_stale, is_unchanged, reevaluate
from monitor.core.model import (
    Connection,
    ConnectionState,
    Failure,
    Outcome,
    Reason,
    Resolution,
    RuleName,
    Severity,
    TargetState,
    TokenStatus,
)
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.damping import MassChange
from monitor.core.rules.publish_error import PublishErrorRule
from monitor.core.rules.registry import Rules
from monitor.core.rules.token_expiry import TokenExpiry
from tests.core.lives import Life
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure, snapshot, target

RULES = Rules(connection=(TokenExpiry(), PublishErrorRule()))
FAILURES = [failure(outcome) for outcome in Outcome if outcome is not Outcome.OK]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One look in a life: a list, a failure, or neither: then the clock alone decides."""

    after: timedelta
    listed: tuple[Connection, ...] | None = None
    failure: Failure | None = None


dates = st.sampled_from([None, *(NOW + days * DAY for days in (-1, 2, 4, 8, 9, 30))])
connections = st.builds(
    connection,
    platform_id=st.sampled_from(["linkedin-a", "instagram-b", "twitter-c", "bluesky-did:plc:d"]),
    token_status=st.sampled_from(["valid", "valid", "valid", "expiring_soon", "expired", "unknown", "odd"]),
    expires_at=dates,
    last_successful_post_at=st.sampled_from([None, NOW - DAY, NOW + DAY, NOW + 5 * DAY]),
    last_error=st.sampled_from(
        [
            None,
            None,
            error(),
            error("Invalid or expired token.", occurred_at=NOW + 2 * DAY),
            error(occurred_at=None),
        ]
    ),
)
lists = st.lists(connections, max_size=4, unique_by=lambda each: each.platform_id).map(tuple)
pauses = st.sampled_from([timedelta(), MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 3 * DAY])


@st.composite
def lives(draw: st.DrawFn) -> list[Step]:
    """Lists that mostly repeat one another, as they do; failures and reviews in between."""
    answers = draw(st.lists(lists, min_size=1, max_size=3))
    step = st.one_of(
        st.builds(Step, after=pauses, listed=st.sampled_from(answers)),
        st.builds(Step, after=pauses, listed=st.sampled_from(answers)),
        st.builds(Step, after=pauses, failure=st.sampled_from(FAILURES)),
        st.builds(Step, after=pauses),
    )
    return draw(st.lists(step, max_size=25))


def lived(steps: list[Step], *, shortcut: bool = True) -> Life:
    life = Life(rules=RULES, shortcut=shortcut)
    for step in steps:
        take(life, step)
    return life


def take(life: Life, step: Step) -> None:
    if step.listed is not None or step.failure:
        life.poll(*(step.listed or ()), after=step.after, failure=step.failure)
    else:
        life.review(at=life.now + step.after)


@given(lives())
def test_deciding_the_same_snapshot_twice_only_counts_what_is_missing_the_second_time(
    steps: list[Step],
) -> None:
    life = Life(rules=RULES, shortcut=False)
    for step in steps:
        take(life, step)
        if step.listed is None or life.state.consecutive_failures:
            continue
        before = life.state
        again = evaluate(before, snapshot(*step.listed, taken_at=life.now), rules=RULES)
        assert all(
            change.incident.resolution is Resolution.REMOVED
            or change.incident.rule is RuleName.CONNECTION_REMOVED
            for change in again.incidents
        )
        assert all(change.after.missed_polls for change in again.changes)


@given(lives())
def test_a_failed_fetch_touches_no_connection_and_no_incident_of_one(steps: list[Step]) -> None:
    life = lived(steps)
    for failed in FAILURES:
        seen = snapshot(taken_at=life.now + 30 * DAY, failure=failed)
        evaluation = evaluate(life.state, seen, rules=RULES)
        assert ((), (), failed) == (evaluation.changes, evaluation.incidents, evaluation.failure)
        assert life.state.next_evaluation_at == evaluation.next_evaluation_at


@given(lives())
def test_every_end_had_a_beginning_and_nothing_happens_after_it(steps: list[Step]) -> None:
    life = lived(steps)
    is_open: dict[int | None, bool] = {}
    for _, change in life.history:
        id_ = change.incident.id
        assert is_open.get(id_, change.reason is Reason.OPENED)
        assert (change.reason is Reason.OPENED) is (id_ not in is_open)
        is_open[id_] = change.incident.is_open
        assert (change.incident.resolution is None) is change.incident.is_open
    assert {incident.id for incident in life.incidents} == {id_ for id_, still in is_open.items() if still}


@given(lives())
def test_there_is_at_most_one_open_incident_for_each_rule_and_subject(steps: list[Step]) -> None:
    life = Life(rules=RULES)
    for step in steps:
        take(life, step)
        about = [(incident.rule, incident.subject.key) for incident in life.incidents]
        assert len(about) == len(set(about))


@given(lives())
def test_the_shortcut_hides_nothing(steps: list[Step]) -> None:
    short, full = lived(steps, shortcut=True), lived(steps, shortcut=False)
    assert full.history == short.history
    assert full.known == short.known
    assert full.incidents == short.incidents
    assert full.state.next_evaluation_at == short.state.next_evaluation_at


def test_the_shortcut_is_taken_by_most_polls_of_a_quiet_life() -> None:
    life = Life(rules=RULES)
    for _ in range(100):
        life.poll(connection(), connection(platform_id="twitter-1", token_status="unknown", expires_at=None))
    assert life.steady == 99


@given(lives())
@example([Step(after=timedelta(), listed=(connection(expires_at=NOW + 7 * DAY),))])
def test_the_next_review_is_always_ahead_and_skips_no_rung(steps: list[Step]) -> None:
    life = Life(rules=RULES)
    for step in steps:
        take(life, step)
        if step.failure or life.state.consecutive_failures:
            continue
        asked_for = life.state.next_evaluation_at
        ahead = [
            moment
            for each in life.known.values()
            for moment in deadlines(each, life.now, life.state.last_ok_at or life.now)
            if moment > life.now
        ]
        assert asked_for is None or asked_for > life.now
        assert min(ahead, default=None) == asked_for


def deadlines(known: ConnectionState, now: datetime, observed_at: datetime) -> list[datetime]:
    """Give every moment at which the clock, or the same report once more, may change what is said of one."""
    if known.removed_at:
        return []
    date, status = known.connection.expires_at, known.connection.status
    if date is None:
        return []
    if status is TokenStatus.VALID:
        left = date - (known.last_seen_at or observed_at)
        if known.connection.platform == "twitter" or left <= 7 * DAY - 5 * MINUTE:
            return []  # the vendor renews it, or the date is an access token's
        if left <= 7 * DAY:
            return [date - 7 * DAY + 5 * MINUTE]
    return [
        date - days * DAY
        for days in ((0,) if status in {TokenStatus.UNKNOWN, TokenStatus.EXPIRED} else (0, 1, 3, 7))
    ]


@given(lives())
def test_no_rung_is_told_twice_for_one_date_while_an_incident_lasts(steps: list[Step]) -> None:
    life, rule, heard = Life(rules=RULES), TokenExpiry(), defaultdict(list)
    for step in steps:
        news = len(life.history)
        take(life, step)
        for at, change in life.history[news:]:
            incident = change.incident
            if incident.rule is RuleName.TOKEN_EXPIRY and change.reason and incident.is_open:
                seen = life.known[incident.subject.platform_id or ""]
                result = rule.check(seen, at, seen.last_seen_at or life.state.last_ok_at)
                assert isinstance(result, Problem)
                heard[incident.id].append((result.dedup_key, result.level, incident.severity))
    for notified in heard.values():
        for place, (*rung, severity) in enumerate(notified):
            before = [earlier for earlier, each in enumerate(notified[:place]) if each[:2] == tuple(rung)]
            # A date that comes back is told again only to who has heard of something milder since.
            assert not before or any(
                each.rank < severity.rank for *_, each in notified[before[-1] + 1 : place]
            )


@given(lives())
def test_what_is_open_is_what_the_rules_see_now(steps: list[Step]) -> None:
    life = lived([*steps, Step(after=timedelta())])
    open_ones = {(each.subject.platform_id, each.rule): each for each in life.incidents}
    for platform_id, known in life.known.items():
        for rule in (TokenExpiry(), PublishErrorRule()):
            # What is hoped for is missed only once a look has shown it; a list without it shows nothing.
            result = rule.check(known, life.now, known.last_seen_at or life.state.last_ok_at)
            incident = open_ones.get((platform_id, rule.name))
            if known.removed_at:
                assert incident is None
            elif isinstance(result, Problem):
                assert incident
                if result.keeps_worse and result.severity.rank <= incident.severity.rank:
                    continue
                assert (result.severity, result.summary) == (incident.severity, incident.summary)
                assert incident.max_severity.rank >= incident.severity.rank
            elif result is NoProblem.OK:
                assert incident is None


@settings(max_examples=settings().max_examples // 2)
@given(lives())
def test_replaying_a_life_gives_the_same_life(steps: list[Step]) -> None:
    assert lived(steps).history == lived(steps).history


def test_deadlines_are_met_while_the_api_is_away() -> None:
    life = Life(rules=RULES)
    life.poll(connection(expires_at=NOW + 7 * DAY + HOUR))
    heard = []
    while life.state.next_evaluation_at:
        for _ in range(3):
            life.poll(failure=failure(), after=MINUTE)
        heard.append((NOW + 7 * DAY + HOUR - life.state.next_evaluation_at, life.review()))
    assert heard == [
        (7 * DAY, [(Reason.OPENED, Severity.NOTICE)]),
        (3 * DAY, [(Reason.ESCALATED, Severity.WARNING)]),
        (DAY, [(Reason.ESCALATED, Severity.CRITICAL)]),
        (timedelta(), [(Reason.UPDATED, Severity.CRITICAL)]),
    ]


def test_a_poll_at_the_very_moment_of_a_rung_is_not_taken_for_steady() -> None:
    life = Life(rules=RULES)
    seen = connection(expires_at=NOW + 3 * DAY + HOUR, token_status="expiring_soon")
    life.poll(seen, after=timedelta())
    assert [(Reason.ESCALATED, Severity.WARNING)] == life.poll(seen, after=HOUR)


def test_a_review_later_than_asked_for_tells_the_highest_rung_alone() -> None:
    life = Life(rules=RULES)
    life.poll(connection(expires_at=NOW + 8 * DAY))
    assert [(Reason.OPENED, Severity.CRITICAL)] == life.review(at=NOW + 20 * DAY)
    assert life.state.next_evaluation_at is None


def test_the_first_look_tells_all_that_is_already_wrong() -> None:
    life = Life(rules=RULES)
    instagram = connection(
        platform_id="instagram-17841412345678",
        token_status="expiring_soon",
        expires_at=NOW + timedelta(days=2, hours=12),
        last_error=error(occurred_at=NOW - DAY),
    )
    x = connection(platform_id="twitter-123456789", token_status="unknown", expires_at=None)
    assert [(Reason.OPENED, Severity.WARNING)] * 2 == life.poll(x, connection(), instagram, after=timedelta())
    assert {RuleName.TOKEN_EXPIRY, RuleName.PUBLISH_ERROR} == {each.rule for each in life.incidents}
    assert {"instagram-17841412345678"} == {each.subject.platform_id for each in life.incidents}
    assert [[]] * 10 == [life.poll(x, connection(), instagram) for _ in range(10)]


def test_incidents_of_other_connections_are_left_alone() -> None:
    life = Life(rules=RULES)
    expired = [connection(platform_id=f"linkedin-{n}", token_status="expired") for n in range(3)]
    life.poll(*expired)
    life.poll(connection(platform_id="linkedin-0"), *expired[1:])
    assert {"linkedin-1", "linkedin-2"} == {each.subject.platform_id for each in life.incidents}
    assert [
        (each.resolution, each.subject.platform_id)
        for _, c in life.history
        if not (each := c.incident).is_open
    ] == [(Resolution.RECOVERED, "linkedin-0")]


@pytest.mark.parametrize(
    ("recorded", "taken", "now", "late"),
    [
        (None, 0, 0, False),
        (0, 0, 0, False),
        (0, -1, 0, True),
        (0, 1, 1, False),
        (5, 1, 2, False),  # recorded in the future: the clock was set back
        (5, 1, 5, True),
    ],
)
def test_an_older_snapshot_is_late_unless_the_clock_was_set_back(
    recorded: int | None, taken: int, now: int, late: bool
) -> None:
    recorded_at = None if recorded is None else NOW + recorded * MINUTE
    assert late is is_stale(recorded_at, snapshot(taken_at=NOW + taken * MINUTE), NOW + now * MINUTE)


STEADY = TargetState(target=target(), taken_at=NOW - HOUR, last_ok_at=NOW - HOUR, response_digest=b"same")


@pytest.mark.parametrize(
    ("known", "fingerprint", "steady"),
    [
        (STEADY, b"same", True),
        (STEADY, b"other", False),
        (STEADY, b"", False),
        (replace(STEADY, response_digest=b""), b"", False),
        (replace(STEADY, consecutive_failures=1), b"same", False),
        (replace(STEADY, taken_at=None), b"same", False),
        (replace(STEADY, next_evaluation_at=NOW + MINUTE), b"same", True),
        (replace(STEADY, next_evaluation_at=NOW), b"same", False),
        (replace(STEADY, next_evaluation_at=NOW - MINUTE), b"same", False),
    ],
)
def test_a_poll_is_steady_only_when_nothing_can_have_changed(
    known: TargetState, fingerprint: bytes, steady: bool
) -> None:
    assert steady is is_unchanged(known, snapshot(connection(), response_digest=fingerprint))


def test_an_answer_with_complaints_or_missing_connections_is_looked_at_again() -> None:
    life = Life(rules=RULES)
    listed = [connection(platform_id=f"linkedin-{n}") for n in range(4)]
    complete = evaluate(life.state, snapshot(*listed), rules=RULES)
    complained = evaluate(life.state, snapshot(*listed, warnings=("connections[4]: odd",)), rules=RULES)
    life.poll(*listed)
    lacking = evaluate(life.state, snapshot(*listed[1:]), rules=RULES)
    doubted = evaluate(life.state, snapshot(), rules=RULES)
    asked_nobody = reevaluate(life.state, NOW, rules=RULES)
    assert (True, False, False, False, False) == tuple(
        each.is_stable for each in (complete, complained, lacking, doubted, asked_nobody)
    )


def test_many_tokens_that_get_worse_at_once_are_held_for_a_second_look() -> None:
    rules = Rules(mass_change=MassChange(share=0.5, count=4))
    well = [connection(platform_id=f"linkedin-{n}") for n in range(6)]
    ill = [replace(each, token_status="expired") for each in well]
    stumble, real = Life(rules=rules), Life(rules=rules)
    for life in (stumble, real):
        life.poll(*well)
        assert [] == life.poll(*ill)
        assert well == [each.connection for each in life.known.values()]
    assert [] == stumble.poll(*well)
    assert [(Reason.OPENED, Severity.CRITICAL)] * 6 == real.poll(*ill)
    assert [] == real.poll(*ill)


def test_few_tokens_that_get_worse_are_told_at_once() -> None:
    life = Life(rules=Rules(mass_change=MassChange(share=0.5, count=4)))
    well = [connection(platform_id=f"linkedin-{n}") for n in range(6)]
    life.poll(*well)
    ill = [replace(each, token_status="expired") for each in well[:3]]
    assert [(Reason.OPENED, Severity.CRITICAL)] * 3 == life.poll(*ill, *well[3:])
