"""Tokens that renew by themselves: what is learned of them, and when their silence is broken."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import (
    NO_HISTORY,
    Connection,
    Outcome,
    Reason,
    Renewal,
    RenewalHistory,
    Resolution,
    RuleName,
    Severity,
)
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.registry import Rules
from monitor.core.rules.renewal import (
    MAX_RENEWALS,
    PLATFORMS,
    RenewalOverdue,
    RenewalProfile,
    RenewedBy,
    observe_renewal,
    renewal_due_at,
    renewed_by,
)
from monitor.core.rules.token_expiry import TokenExpiry
from tests.core.lives import Life, Notified
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure, known

NOTICE, WARNING, CRITICAL = Severity
OPENED, ESCALATED, UPDATED, RESOLVED = Reason.OPENED, Reason.ESCALATED, Reason.UPDATED, Reason.RESOLVED
POLL = 15 * MINUTE
VENDOR, PERSON = RenewedBy


def dated(date: datetime | None, platform: str = "facebook", status: str = "valid") -> Connection:
    return connection(platform_id=f"{platform}-1", expires_at=date, token_status=status)


def renewals(*leads: timedelta, lifetime: timedelta = 59 * DAY, gap: timedelta = POLL) -> RenewalHistory:
    return RenewalHistory(
        count=len(leads),
        renewed_at=NOW,
        expiry_set_at=NOW,
        recent=tuple(Renewal(lead=lead, lifetime=lifetime, gap=gap) for lead in leads),
    )


def who(history: RenewalHistory, platform: str = "facebook", **profiles: RenewalProfile) -> RenewedBy:
    return renewed_by(platform, history, profiles)


def due_before(
    history: RenewalHistory,
    left: timedelta = 59 * DAY,
    platform: str = "facebook",
    **profiles: RenewalProfile,
) -> timedelta:
    """Return how long before its end a token is overdue."""
    end = NOW + left
    return end - renewal_due_at(platform, history, expires_at=end, first_seen_at=NOW, profiles=profiles)


def look(
    history: RenewalHistory, before: datetime | None, after: datetime | None, now: datetime = NOW
) -> RenewalHistory:
    return observe_renewal(
        history, before=before, after=after, first_seen_at=NOW - 50 * DAY, observed_at=now - POLL, now=now
    )


# What is learned


def test_a_date_that_moves_later_is_a_renewal() -> None:
    after = look(NO_HISTORY, NOW + 9 * DAY, NOW + 59 * DAY)
    assert after == RenewalHistory(
        count=1,
        renewed_at=NOW,
        expiry_set_at=NOW,
        recent=(Renewal(lead=9 * DAY, lifetime=59 * DAY, gap=POLL),),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NOW + 9 * DAY, NOW + 9 * DAY + HOUR),  # it trembles
        (NOW + 9 * DAY, NOW + 9 * DAY),
        (NOW + 9 * DAY, NOW + 8 * DAY),
        (NOW + 9 * DAY, None),
        (None, NOW + 9 * DAY),
        (NOW - 9 * DAY, NOW - DAY),  # what is over already is no new token
        (NOW - 51 * DAY, NOW + 59 * DAY),  # it was over when it was first seen: a person came back
    ],
)
def test_what_is_not_a_renewal_teaches_nothing(before: datetime | None, after: datetime | None) -> None:
    history = look(NO_HISTORY, before, after)
    assert (0, ()) == (history.count, history.recent)


def test_a_token_of_an_hour_is_renewed_by_less_than_an_hour() -> None:
    history = RenewalHistory(expiry_set_at=NOW - 50 * MINUTE)
    assert look(history, NOW + 10 * MINUTE, NOW + HOUR).count == 1
    assert look(history, NOW + 50 * MINUTE, NOW + HOUR).count == 0


def test_dates_that_alternate_are_no_renewals() -> None:
    history, dates = NO_HISTORY, (NOW + 6 * DAY, NOW + 6 * DAY + 12 * HOUR)
    for hour in range(5 * 24):
        now = NOW + hour * HOUR
        history = look(history, dates[hour % 2], dates[(hour + 1) % 2], now)
    assert history.count <= 1  # the first one may well have been


def test_a_date_that_moves_back_leaves_what_was_learned_and_begins_a_new_life() -> None:
    history = renewals(9 * DAY, 9 * DAY, 9 * DAY)
    after = look(history, NOW + 59 * DAY, NOW + 30 * DAY, NOW + DAY)
    assert (history.recent, NOW + DAY) == (after.recent, after.expiry_set_at)


def test_only_the_newest_are_remembered_and_all_are_counted() -> None:
    history, now, date = NO_HISTORY, NOW, NOW + DAY
    for _ in range(12):
        now += 20 * HOUR
        history = observe_renewal(
            history, before=date, after=now + DAY, first_seen_at=NOW, observed_at=now - POLL, now=now
        )
        date = now + DAY
    assert (12, MAX_RENEWALS) == (history.count, len(history.recent))


def test_a_renewal_that_nobody_saw_for_too_long_is_counted_and_teaches_nothing() -> None:
    history = observe_renewal(
        NO_HISTORY,
        before=NOW + HOUR,
        after=NOW + 3 * DAY + HOUR,
        first_seen_at=NOW,
        observed_at=NOW,
        now=NOW + 3 * DAY,
    )
    assert (1, ()) == (history.count, history.recent)


def test_a_date_that_moves_on_with_the_clock_in_small_steps_is_never_far_ahead() -> None:
    history, now, date = NO_HISTORY, NOW, NOW + DAY
    for minutes in (60, 55, 61, 15, 30, 60) * 20:
        observed_at, now = now, now + minutes * MINUTE
        after = NOW + (now - NOW) // HOUR * HOUR + DAY  # renewed every hour, and good for a day
        history = observe_renewal(
            history, before=date, after=after, first_seen_at=NOW, observed_at=observed_at, now=now
        )
        date = after
        assert date - (history.expiry_set_at or NOW) <= 25 * HOUR
    assert history.count == 0  # none of them had a quarter of its life


def test_a_date_that_trembles_is_as_old_as_it_was() -> None:
    history, now, date = RenewalHistory(expiry_set_at=NOW - 40 * DAY), NOW, NOW + 20 * HOUR
    for seconds in (5, -5, 60, -300, 240):
        now += POLL
        after = date + timedelta(seconds=seconds)
        history = observe_renewal(
            history, before=date, after=after, first_seen_at=NOW, observed_at=now - POLL, now=now
        )
        date = after
    assert history.expiry_set_at == NOW - 40 * DAY


# Who renews it


def _profile(platform: str, by: RenewedBy) -> dict[str, Any]:
    return {platform: RenewalProfile(renewed_by=by)}


@pytest.mark.parametrize(("platform", "by"), PLATFORMS.items())
def test_before_there_is_a_past_the_platform_says_who_renews(platform: str, by: RenewedBy) -> None:
    assert who(NO_HISTORY, platform) is by


def test_a_platform_nobody_knows_is_renewed_by_people() -> None:
    assert who(NO_HISTORY, "newcomer") is PERSON


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    "history", [NO_HISTORY, renewals(9 * DAY, 9 * DAY, 9 * DAY), renewals(HOUR, -DAY, 30 * DAY)]
)
def test_a_configured_profile_stands_above_all_that_is_learned(
    platform: str, history: RenewalHistory
) -> None:
    assert who(history, platform, **_profile(platform, PERSON)) is PERSON
    assert who(history, platform, **_profile(platform, VENDOR)) is VENDOR


def test_a_configured_time_stands_above_the_habit() -> None:
    profile = RenewalProfile(renewed_by=VENDOR, overdue_before=15 * DAY)
    assert due_before(renewals(30 * DAY, 30 * DAY, 30 * DAY), facebook=profile) == 15 * DAY


@pytest.mark.parametrize(
    ("platform", "history", "by"),
    [
        # a person renews when the last week begins, and that can be very regular
        ("linkedin", renewals(6 * DAY, 6 * DAY, 6 * DAY), PERSON),
        ("linkedin", renewals(30 * DAY, 30 * DAY, 30 * DAY), VENDOR),
        ("linkedin", renewals(30 * DAY, 30 * DAY), PERSON),  # twice may be chance
        ("instagram", renewals(45 * DAY, 10 * DAY, 20 * DAY), PERSON),
        ("tiktok", renewals(300 * DAY, 300 * DAY, 300 * DAY, lifetime=365 * DAY), PERSON),  # always
        ("facebook", renewals(9 * DAY, 8 * DAY, 10 * DAY), VENDOR),
        ("facebook", renewals(2 * DAY, 2 * DAY, 2 * DAY), VENDOR),
        ("facebook", renewals(-2 * DAY, -3 * DAY, -2 * DAY), PERSON),  # somebody comes after it is over
        ("facebook", renewals(2 * DAY, -20 * DAY, 40 * DAY), PERSON),
    ],
)
def test_a_past_that_is_long_enough_says_who_renews(
    platform: str, history: RenewalHistory, by: RenewedBy
) -> None:
    assert who(history, platform) is by


# By when


def test_the_first_token_is_due_when_a_tenth_of_its_life_as_seen_is_left() -> None:
    assert due_before(NO_HISTORY, 50 * DAY) == 5 * DAY
    assert due_before(NO_HISTORY, 400 * DAY) == 40 * DAY
    assert due_before(NO_HISTORY, -DAY) == timedelta()


def test_after_one_renewal_it_is_due_a_tenth_of_a_life_after_the_usual() -> None:
    assert due_before(renewals(9 * DAY)) == 9 * DAY - 59 * DAY / 10


def test_after_many_it_is_due_soon_after_the_usual_and_before_the_api_speaks_up() -> None:
    assert due_before(renewals(30 * DAY, 30 * DAY, 30 * DAY)) == 30 * DAY - 59 * DAY / 20
    assert due_before(renewals(9 * DAY, 9 * DAY, 9 * DAY)) == 8 * DAY
    assert due_before(renewals(9 * DAY, 9 * DAY, 9 * DAY, gap=2 * DAY)) == 7 * DAY


def test_one_renewal_that_came_early_or_late_changes_nothing() -> None:
    steady = due_before(renewals(*[9 * DAY] * 5))
    for odd in (30 * DAY, DAY, -DAY):
        assert due_before(renewals(9 * DAY, 9 * DAY, odd, 9 * DAY, 9 * DAY)) == steady


def test_a_habit_that_changes_is_the_habit_once_most_of_the_newest_show_it() -> None:
    assert due_before(renewals(*[9 * DAY] * 3, *[20 * DAY] * 2)) < 9 * DAY
    assert due_before(renewals(*[9 * DAY] * 2, *[20 * DAY] * 3)) > 9 * DAY


spans = st.integers(-200, 2000).map(lambda hours: hours * HOUR)
histories = st.lists(
    st.builds(Renewal, lead=spans, lifetime=spans.map(lambda each: abs(each) + MINUTE), gap=spans.map(abs)),
    max_size=MAX_RENEWALS,
).map(lambda newest: RenewalHistory(count=len(newest), recent=tuple(newest)))


@given(history=histories, platform=st.sampled_from([*PLATFORMS, "newcomer"]), left=spans)
def test_a_token_is_overdue_at_its_end_at_the_latest(
    history: RenewalHistory, platform: str, left: timedelta
) -> None:
    assert due_before(history, left, platform) >= timedelta()


moves = st.tuples(
    st.sampled_from([MINUTE, POLL, HOUR, DAY, 10 * DAY, 100 * DAY]),
    st.none() | st.sampled_from([-DAY, timedelta(), HOUR, 2 * HOUR, DAY, 59 * DAY]),
)


@given(moves=st.lists(moves, max_size=30))
def test_whatever_the_dates_do_what_is_learned_stays_small_and_is_about_renewals(
    moves: list[tuple[timedelta, timedelta | None]],
) -> None:
    history, now, date = NO_HISTORY, NOW, None
    for after, left in moves:
        observed_at, now = now, now + after
        then = None if left is None else now + left
        learned = observe_renewal(
            history, before=date, after=then, first_seen_at=NOW, observed_at=observed_at, now=now
        )
        is_later = date is not None and then is not None and then > max(date, now)
        assert learned.count - history.count in ({0, 1} if is_later else {0})
        assert len(learned.recent) <= MAX_RENEWALS
        assert all(each.lifetime > timedelta() and each.gap >= timedelta() for each in learned.recent)
        history, date = learned, then


# The rules


def lived(
    life: Life, seen: Callable[[datetime], Connection], *, until: datetime, step: timedelta
) -> list[Notified]:
    """Look again and again, let the clock decide in between, and give what was told."""
    heard: list[Notified] = []
    while life.now < until:
        ahead = life.state.next_evaluation_at
        if ahead and ahead < life.now + step:
            then = life.now + step
            heard += life.review(at=ahead)
            heard += life.poll(seen(then), after=then - life.now)
        else:
            heard += life.poll(seen(life.now + step), after=step)
    return heard


def every(
    period: timedelta, lifetime: timedelta, platform: str, *, stops: datetime, status: str | None = None
) -> Callable[[datetime], Connection]:
    """A token that is renewed at even times until it isn't any more; in the words of the older contract."""

    def seen(now: datetime) -> Connection:
        date = NOW + (min(now, stops) - NOW) // period * period + lifetime
        word = status or ("valid" if date - now >= 7 * DAY else "expiring_soon")
        return dated(date, platform, "expired" if date <= now and not status else word)

    return seen


@pytest.mark.parametrize("platform", ["youtube", "twitter", "tiktok", "pinterest"])
@pytest.mark.parametrize("lifetime", [2 * HOUR, 61 * MINUTE, HOUR, -30 * DAY])
def test_a_valid_token_is_never_told_of_however_near_its_date(platform: str, lifetime: timedelta) -> None:
    life = Life()
    token = every(HOUR, lifetime, platform, stops=NOW + 2 * DAY, status="valid")
    assert [] == lived(life, token, until=NOW + 5 * DAY, step=7 * MINUTE)


@pytest.mark.parametrize("platform", ["youtube", "tiktok"])
def test_an_access_token_that_expires_soon_is_told_once_whatever_its_date_does(platform: str) -> None:
    life = Life()
    token = every(HOUR, 2 * HOUR, platform, stops=NOW + 2 * DAY, status="expiring_soon")
    assert [(OPENED, NOTICE)] == lived(life, token, until=NOW + 5 * DAY, step=7 * MINUTE)


def test_a_facebook_date_that_stops_moving_is_told_before_the_api_says_so_and_then_as_the_api_says() -> None:
    life, stops = Life(), NOW + 205 * DAY
    token = every(50 * DAY, 59 * DAY, "facebook", stops=stops)
    heard = lived(life, token, until=NOW + 300 * DAY, step=6 * HOUR)
    assert heard == [
        (OPENED, WARNING),
        (OPENED, NOTICE),
        (ESCALATED, WARNING),
        (ESCALATED, CRITICAL),
        (UPDATED, CRITICAL),
    ]
    end = NOW + 259 * DAY
    (overdue_at, overdue), (expiring_at, expiring) = (
        (at, change.incident) for at, change in life.history if change.reason is OPENED
    )
    assert (RuleName.RENEWAL_OVERDUE, RuleName.TOKEN_EXPIRY) == (overdue.rule, expiring.rule)
    assert 7 * DAY < end - overdue_at < 9 * DAY
    assert timedelta() <= expiring_at - (end - 7 * DAY) <= 6 * HOUR
    [ended] = [change for _, change in life.history if not change.incident.is_open]
    assert (Resolution.SUPERSEDED, None) == (ended.incident.resolution, ended.reason)


def test_a_token_that_is_renewed_after_all_is_told_as_renewed() -> None:
    life = Life()
    life.poll(dated(NOW + 100 * DAY))
    assert [(OPENED, WARNING)] == life.poll(dated(NOW + 100 * DAY), after=91 * DAY)
    assert [(RESOLVED, WARNING)] == life.poll(dated(life.now + 59 * DAY))
    assert life.history[-1][1].incident.resolution is Resolution.RECOVERED


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("left", [7 * DAY, 3 * DAY, HOUR, timedelta(), -30 * DAY])
def test_a_valid_token_with_a_week_or_less_is_never_overdue(platform: str, left: timedelta) -> None:
    result = RenewalOverdue().check(known(dated(NOW + left, platform), first_seen_at=NOW - 400 * DAY), NOW)
    assert not isinstance(result, Problem)


@pytest.mark.parametrize("platform", ["youtube", "tiktok", "linkedin", "instagram", "threads", "newcomer"])
@pytest.mark.parametrize("profile", [None, VENDOR])
def test_only_a_token_that_the_vendor_renews_is_overdue(platform: str, profile: RenewedBy | None) -> None:
    profiles = {platform: RenewalProfile(renewed_by=profile)} if profile else {}
    seen = known(dated(NOW + 8 * DAY, platform), first_seen_at=NOW - 400 * DAY)
    result = RenewalOverdue(profiles=profiles).check(seen, NOW)
    assert isinstance(result, Problem) is (profile is VENDOR and platform != "youtube")


def test_a_date_that_was_overdue_and_is_an_access_tokens_now_is_no_problem_any_more() -> None:
    life, date = Life(), NOW + 100 * DAY
    life.poll(dated(date))
    assert [(OPENED, WARNING)] == life.poll(dated(date), after=91 * DAY)
    assert [] == life.poll(dated(date), after=date - 7 * DAY + MINUTE - life.now)  # the clocks may differ
    assert [(RESOLVED, WARNING)] == life.poll(dated(date), after=5 * MINUTE)


def test_the_ladder_stands_where_people_renew() -> None:
    life = Life()
    assert [(OPENED, NOTICE)] == life.poll(dated(NOW + 6 * DAY, "linkedin", "expiring_soon"))


def test_nobody_knows_while_the_api_is_down_whether_a_token_was_renewed() -> None:
    life = Life()
    life.poll(dated(NOW + 100 * DAY))
    while life.now < NOW + 120 * DAY:
        assert [] == life.poll(failure=failure(Outcome.SERVER_ERROR), after=DAY)
        assert [] == life.review(at=life.now)
    assert [] == life.poll(dated(life.now + 59 * DAY))


@pytest.mark.parametrize("shortcut", [True, False])
def test_the_first_look_after_it_was_due_tells_though_it_shows_nothing_new(shortcut: bool) -> None:
    life, seen = Life(shortcut=shortcut), dated(NOW + 100 * DAY)
    life.poll(seen)
    due_at = life.state.next_evaluation_at
    assert [] == life.review()  # nobody has looked since
    assert due_at == life.now
    assert [(OPENED, WARNING)] == life.poll(seen)


def test_nothing_is_concluded_of_an_overdue_token_while_the_api_is_away() -> None:
    life = Life()
    life.poll(dated(NOW + 100 * DAY))
    life.poll(dated(NOW + 100 * DAY), after=91 * DAY)
    life.poll(failure=failure(Outcome.SERVER_ERROR))
    while life.state.next_evaluation_at:
        assert [] == life.review()
    assert [] == life.review(at=NOW + 130 * DAY)
    assert [RuleName.RENEWAL_OVERDUE] == [each.rule for each in life.incidents]


@pytest.mark.parametrize("platform", ["facebook", "youtube", "linkedin"])
def test_the_word_expired_is_believed_before_its_date(platform: str) -> None:
    seen = known(dated(NOW + 20 * DAY, platform, "expired"), renewals=renewals(9 * DAY, 9 * DAY, 9 * DAY))
    result = TokenExpiry().check(seen, NOW)
    assert isinstance(result, Problem)
    assert result.severity is CRITICAL


@pytest.mark.parametrize("status", ["unknown", "expiring_soon", "expired", "revoked", "null"])
@pytest.mark.parametrize("date", [None, NOW - DAY, NOW + DAY, NOW + 8 * DAY])
def test_only_a_valid_token_says_anything_of_a_renewal(date: datetime | None, status: str) -> None:
    seen = known(dated(date, status=status), first_seen_at=NOW - 400 * DAY)
    assert RenewalOverdue().check(seen, NOW) is NoProblem.UNKNOWN
    assert RenewalOverdue().next_change_at(seen, NOW) is None


def test_a_profile_that_changes_hands_the_token_over_without_a_word() -> None:
    life = Life()
    life.poll(dated(NOW + 100 * DAY))
    assert [(OPENED, WARNING)] == life.poll(dated(NOW + 100 * DAY), after=91 * DAY)
    profiles = {"facebook": RenewalProfile(renewed_by=PERSON)}
    expiry = TokenExpiry(profiles=profiles, before={14 * DAY: NOTICE})
    life.rules = Rules(connection=(RenewalOverdue(profiles=profiles), expiry))
    assert [(OPENED, NOTICE)] == life.review(at=life.now)
    assert [RuleName.TOKEN_EXPIRY] == [each.rule for each in life.incidents]


tokens = st.builds(
    every,
    st.sampled_from([HOUR, DAY, 50 * DAY]),
    st.sampled_from([HOUR, 2 * HOUR, 2 * DAY, 59 * DAY]),
    st.sampled_from(["youtube", "facebook", "linkedin", "tiktok"]),
    stops=st.integers(0, 100).map(lambda hours: NOW + hours * HOUR),
    status=st.sampled_from([None, "valid", "expiring_soon", "unknown", "odd"]),
)
pauses = st.sampled_from([MINUTE, POLL, HOUR, 7 * HOUR, DAY, 3 * DAY, 20 * DAY])


@given(token=tokens, steps=st.lists(st.tuples(pauses, st.sampled_from("llrf")), max_size=25))
def test_the_shortcut_of_steady_polls_hides_nothing_of_a_renewal(
    token: Callable[[datetime], Connection], steps: list[tuple[timedelta, str]]
) -> None:
    lives = Life(shortcut=True), Life(shortcut=False)
    for after, what in steps:
        for life in lives:
            if what == "l":
                life.poll(token(life.now + after), after=after)
            elif what == "f":
                life.poll(after=after, failure=failure(Outcome.TIMEOUT))
            else:
                life.review(at=life.now + after)
            open_ones = [each.rule for each in life.incidents]
            assert {RuleName.TOKEN_EXPIRY, RuleName.RENEWAL_OVERDUE} - {*open_ones}
            assert what == "f" or (life.state.next_evaluation_at or NOW + 9999 * DAY) > life.now
    assert lives[0].history == lives[1].history
    assert lives[0].known == lives[1].known
