"""The ladder of a token that comes to its end: every rung, told once for each date."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import Connection, Reason, Resolution, RuleName, Severity
from monitor.core.rules import Answer, Problem, Rules, TokenExpiry, Verdict
from tests.core.lives import Life
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, known

MS = timedelta(milliseconds=1)
NOTICE, WARNING, CRITICAL = Severity
OPENED, ESCALATED, UPDATED, RESOLVED = Reason.OPENED, Reason.ESCALATED, Reason.UPDATED, Reason.RESOLVED


def token(left: timedelta | None, status: str = "valid", now: datetime = NOW) -> Connection:
    return connection(token_status=status, expires_at=None if left is None else now + left)


def look(seen: Connection, rule: TokenExpiry | None = None) -> Verdict:
    return (rule or TokenExpiry()).look(known(seen), NOW)


def ladder(**rungs: Severity) -> TokenExpiry:
    """A rule whose rungs are given as ``d30=…`` or ``h6=…``."""
    units = {"d": DAY, "h": HOUR}
    return TokenExpiry(before={int(name[1:]) * units[name[0]]: step for name, step in rungs.items()})


@pytest.mark.parametrize(
    ("left", "severity", "step"),
    [
        (7 * DAY + MS, None, 0),
        (7 * DAY, NOTICE, 1),
        (3 * DAY + MS, NOTICE, 1),
        (3 * DAY, WARNING, 2),
        (1 * DAY + MS, WARNING, 2),
        (1 * DAY, CRITICAL, 3),
        (MS, CRITICAL, 3),
        (timedelta(), CRITICAL, 4),
        (-MS, CRITICAL, 4),
        (-400 * DAY, CRITICAL, 4),
        (60 * DAY, None, 0),
        (None, None, 0),
    ],
)
def test_a_rung_is_reached_at_its_very_moment(
    left: timedelta | None, severity: Severity | None, step: int
) -> None:
    verdict = look(token(left))
    if severity is None:
        assert verdict is Answer.CLEAR
    else:
        assert isinstance(verdict, Problem)
        assert (severity, step) == (verdict.severity, verdict.step)


@pytest.mark.parametrize("left", [30 * DAY, 7 * DAY, 5 * DAY, None])
def test_expiring_soon_is_at_least_the_first_rung(left: timedelta | None) -> None:
    verdict = look(token(left, "expiring_soon"))
    assert isinstance(verdict, Problem)
    assert (NOTICE, 1) == (verdict.severity, verdict.step)


def test_expiring_soon_does_not_hold_back_a_higher_rung() -> None:
    verdict = look(token(2 * DAY, "expiring_soon"))
    assert isinstance(verdict, Problem)
    assert (WARNING, 2) == (verdict.severity, verdict.step)


@pytest.mark.parametrize("left", [40 * DAY, 5 * DAY, MS, timedelta(), -3 * DAY, None])
def test_expired_is_critical_whatever_the_date_says(left: timedelta | None) -> None:
    verdict = look(token(left, "expired"))
    assert isinstance(verdict, Problem)
    assert (CRITICAL, 4) == (verdict.severity, verdict.step)


def test_a_token_expired_before_its_date_has_no_deadline_to_count_down_to() -> None:
    verdict = look(token(40 * DAY, "expired"))
    assert isinstance(verdict, Problem)
    assert verdict.deadline_at is None
    assert verdict.summary == "token has expired before its date, 2026-04-03 20:00 UTC"


@pytest.mark.parametrize("status", ["unknown", "revoked", "VALID", "", "Expired "])
@pytest.mark.parametrize("left", [40 * DAY, 2 * DAY, -DAY, None])
def test_what_is_not_one_of_the_words_is_not_judged(status: str, left: timedelta | None) -> None:
    assert look(token(left, status)) is Answer.HOLD


def test_a_custom_ladder_takes_the_place_of_the_default() -> None:
    rule = ladder(d30=NOTICE, h6=WARNING)
    steps = {}
    for left in (31 * DAY, 30 * DAY, 7 * HOUR, 6 * HOUR, timedelta()):
        verdict = look(token(left), rule)
        steps[left] = (verdict.severity, verdict.step) if isinstance(verdict, Problem) else None
    assert steps == {
        31 * DAY: None,
        30 * DAY: (NOTICE, 1),
        7 * HOUR: (NOTICE, 1),
        6 * HOUR: (WARNING, 2),
        timedelta(): (CRITICAL, 3),
    }


def test_rungs_may_be_written_in_any_order() -> None:
    backwards = TokenExpiry(before=dict(reversed(list(TokenExpiry().before.items()))))
    for left in (8 * DAY, 5 * DAY, 2 * DAY, HOUR):
        assert look(token(left), backwards) == look(token(left))


def test_an_empty_ladder_still_tells_expiring_soon_and_then_expired() -> None:
    life = Life(rules=Rules(connection=(TokenExpiry(before={}),)))
    assert life.poll(token(2 * HOUR)) == []
    assert life.poll(token(2 * HOUR, "expiring_soon")) == [(OPENED, WARNING)]
    assert life.poll(token(2 * HOUR, "expired")) == [(ESCALATED, CRITICAL)]
    assert life.poll(token(2 * HOUR, "expired")) == []


def test_each_rung_is_told_once_and_one_incident_lasts_from_the_first_to_the_reconnect() -> None:
    life, date = Life(), NOW + 8 * DAY
    seen = connection(expires_at=date)
    heard = [life.poll(seen, after=HOUR) for _ in range(9 * 24)]
    assert [each for each in heard if each] == [
        [(OPENED, NOTICE)],
        [(ESCALATED, WARNING)],
        [(ESCALATED, CRITICAL)],
        [(UPDATED, CRITICAL)],
    ]
    assert [(RESOLVED, CRITICAL)] == life.poll(connection(expires_at=life.now + 60 * DAY))
    assert {1} == {change.incident.id for _, change in life.history}
    assert life.history[-1][1].incident.resolution is Resolution.RECOVERED


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (2 * DAY, (OPENED, WARNING)),
        (HOUR, (OPENED, CRITICAL)),
        (-DAY, (OPENED, CRITICAL)),
    ],
)
def test_several_rungs_passed_at_once_are_told_as_the_highest(
    left: timedelta, told: tuple[Reason, Severity]
) -> None:
    life = Life()
    assert [told] == life.poll(token(left))
    assert [] == life.poll(token(left))


def test_several_rungs_passed_between_two_looks_are_told_as_the_highest() -> None:
    life, seen = Life(), token(8 * DAY)
    assert [] == life.poll(seen)
    assert [(OPENED, CRITICAL)] == life.poll(seen, after=7 * DAY + HOUR)


def test_expiry_dates_that_alternate_are_told_once_for_each_rung() -> None:
    life = Life()
    dates = (NOW + 6 * DAY, NOW + 6 * DAY + 12 * HOUR)
    heard = []
    for hour in range(7 * 24):
        heard += life.poll(connection(expires_at=dates[hour % 2]), after=HOUR)
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


def test_a_date_that_trembles_from_poll_to_poll_is_told_once_for_each_rung() -> None:
    life, date = Life(), NOW + 6 * DAY
    heard = []
    for hour in range(7 * 24):
        heard += life.poll(connection(expires_at=date + hour % 7 * 23 * MINUTE), after=HOUR)
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


def test_a_renewal_to_a_date_within_the_ladder_keeps_the_incident_and_climbs_anew() -> None:
    life = Life()
    assert [(OPENED, CRITICAL)] == life.poll(token(12 * HOUR))
    renewed = connection(expires_at=life.now + 6 * DAY)
    assert [] == life.poll(renewed)
    assert [(NOTICE, CRITICAL)] == [(incident.severity, incident.worst) for incident in life.incidents]
    assert [(ESCALATED, WARNING)] == life.review()
    assert [(ESCALATED, CRITICAL)] == life.review()
    assert [(UPDATED, CRITICAL)] == life.review()
    assert 1 == len(life.incidents)


def test_a_date_that_moves_backwards_is_told_when_it_is_worse_and_only_then() -> None:
    life = Life()
    assert [(OPENED, NOTICE)] == life.poll(token(6 * DAY))
    assert [] == life.poll(token(5 * DAY))
    assert [(ESCALATED, CRITICAL)] == life.poll(token(20 * HOUR))
    assert [(UPDATED, CRITICAL)] == life.poll(token(-HOUR))


@pytest.mark.parametrize(
    ("left", "status", "is_over"),
    [
        (60 * DAY, "valid", True),
        (None, "valid", True),
        (8 * DAY, "valid", True),
        (6 * DAY, "valid", False),
        (60 * DAY, "expiring_soon", False),
        (60 * DAY, "expired", False),
        (60 * DAY, "unknown", False),
        (None, "unknown", False),
        (60 * DAY, "fine", False),
    ],
)
def test_only_valid_with_a_date_beyond_the_rungs_ends_it(
    left: timedelta | None, status: str, is_over: bool
) -> None:
    life = Life()
    life.poll(token(-HOUR, "expired"))
    assert ([(RESOLVED, CRITICAL)] if is_over else []) == life.poll(token(left, status))
    assert is_over is (not life.incidents)


def test_unknown_opens_nothing_and_is_no_recovery() -> None:
    life = Life()
    for status in ("unknown", "valid", "unknown", "strange", "valid"):
        assert [] == life.poll(token(None, status))
    assert [(OPENED, NOTICE)] == life.poll(token(5 * DAY))
    assert [] == life.poll(token(5 * DAY, "unknown"))
    assert [] == life.poll(token(5 * DAY))


def test_a_flicker_of_the_status_is_not_told_again() -> None:
    life = Life()
    date = life.now + 6 * DAY
    heard = []
    for status in ("valid", "expiring_soon", "unknown", "valid", "expired", "valid", "expired"):
        heard += life.poll(connection(token_status=status, expires_at=date))
    assert heard == [(OPENED, NOTICE), (ESCALATED, CRITICAL)]


@pytest.mark.parametrize("date", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize("status", ["valid", "expiring_soon", "expired", "unknown"])
def test_a_date_at_the_end_of_the_calendar_is_survived(date: datetime, status: str) -> None:
    life = Life()
    life.poll(connection(expires_at=date, token_status=status))
    life.poll(connection(expires_at=date, token_status=status))
    assert len(life.incidents) == (status != "unknown" and (date.year == 1 or status != "valid"))


lefts = st.integers(-10 * 24 * 60, 40 * 24 * 60).map(lambda minutes: minutes * MINUTE)
ladders = st.dictionaries(
    st.integers(1, 30 * 24).map(lambda hours: hours * HOUR), st.sampled_from(Severity), max_size=5
).map(lambda rungs: TokenExpiry(before=rungs))


@given(left=lefts, rule=ladders, status=st.sampled_from(["valid", "expiring_soon", "expired", "unknown"]))
def test_the_verdict_stands_until_the_moment_it_names(
    left: timedelta, rule: TokenExpiry, status: str
) -> None:
    one = known(token(left, status))
    verdict, changes_at = rule.look(one, NOW), rule.changes_at(one, NOW)
    if changes_at is None:
        assert status == "unknown" or left <= timedelta()
        assert _step(verdict) == _step(rule.look(one, NOW + 100 * DAY))
        return
    assert changes_at > NOW
    assert verdict == rule.look(one, changes_at - MS)
    if status != "expiring_soon":  # its word may stand for the rung already
        assert verdict != rule.look(one, changes_at)
    if status == "valid":
        assert _step(verdict) < _step(rule.look(one, changes_at))


@given(left=st.integers(1, 40 * 24 * 60).map(lambda minutes: minutes * MINUTE), rule=ladders)
def test_reviews_at_the_moments_asked_for_meet_every_rung(left: timedelta, rule: TokenExpiry) -> None:
    life = Life(rules=Rules(connection=(rule,)))
    date = NOW + left
    life.poll(connection(expires_at=date), after=timedelta())
    visited = []
    while life.state.next_review_at:
        assert life.state.next_review_at > life.now
        visited.append(life.state.next_review_at)
        assert len(life.review()) == 1
        assert [] == life.review(at=life.now)
    assert visited == sorted({moment for b in (*rule.before, timedelta()) if (moment := date - b) > NOW})
    assert [RuleName.TOKEN_EXPIRY] == [incident.rule for incident in life.incidents]


def _step(verdict: Verdict) -> int:
    return verdict.step if isinstance(verdict, Problem) else 0


def test_a_date_that_comes_back_worse_than_what_was_heard_last_is_told_once_more_and_then_never() -> None:
    life = Life()
    ended, later = connection(expires_at=NOW - DAY), connection(expires_at=NOW + 5 * DAY)
    assert [(OPENED, CRITICAL)] == life.poll(ended)
    assert [] == life.poll(later)
    assert [(ESCALATED, WARNING)] == life.review()
    assert [(ESCALATED, CRITICAL)] == life.poll(ended)
    assert [[]] * 6 == [life.poll(each) for each in (later, ended) * 3]
