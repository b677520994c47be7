"""How a token that comes to its end is told: the API's word decides, a date only where it leaves that open."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import Connection, Reason, RenewalHistory, Resolution, RuleName, Severity
from monitor.core.rules.base import DateAhead, NoProblem, Problem, RuleResult
from monitor.core.rules.registry import Rules
from monitor.core.rules.renewal import RenewalProfile, RenewedBy
from monitor.core.rules.token_expiry import TokenExpiry, deadline_of, has_expired
from tests.core.lives import Life, Notified
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure, known

MS = timedelta(milliseconds=1)
NOTICE, WARNING, CRITICAL = Severity
OPENED, ESCALATED, UPDATED, RESOLVED = Reason.OPENED, Reason.ESCALATED, Reason.UPDATED, Reason.RESOLVED
VENDOR, PERSON = RenewedBy
EVERYWHERE = ["linkedin", "facebook", "twitter", "youtube", "tiktok", "bluesky", "newcomer"]
UNHEARD = ["revoked", "Expired ", "", "null", "7"]


def token(
    left: timedelta | None, status: str = "valid", now: datetime = NOW, platform: str = "linkedin"
) -> Connection:
    return connection(
        platform_id=f"{platform}-1", token_status=status, expires_at=None if left is None else now + left
    )


def dated(date: datetime | None, now: datetime, platform: str = "linkedin") -> Connection:
    """A token in the words of the older contract."""
    left = date - now if date else None
    if left is None:
        return token(None, "unknown", platform=platform)
    status = "valid" if left >= 7 * DAY else "expiring_soon" if left > timedelta() else "expired"
    return token(left, status, now, platform)


def look(
    seen: Connection,
    rule: TokenExpiry | None = None,
    *,
    reported: timedelta = timedelta(),
    aged: bool = False,
) -> RuleResult:
    """
    Judge a token.

    Args:
        reported: how long ago the API said so.
        aged: whether the date has been known for a year, so that one of TikTok is a refresh token's.
    """
    habit = RenewalHistory(expiry_set_at=NOW - 800 * DAY) if aged else RenewalHistory()
    return (rule or TokenExpiry()).check(known(seen, renewals=habit), NOW, NOW - reported)


def level(result: RuleResult) -> tuple[Severity, int] | None:
    return (result.severity, result.level) if isinstance(result, Problem) else None


def ladder(**rungs: Severity) -> TokenExpiry:
    """A rule whose rungs are given as ``d30=…`` or ``h6=…``."""
    units = {"d": DAY, "h": HOUR}
    return TokenExpiry(before={int(name[1:]) * units[name[0]]: step for name, step in rungs.items()})


# Expired


@pytest.mark.parametrize("left", [40 * DAY, 5 * DAY, MS, timedelta(), -3 * DAY, None])
@pytest.mark.parametrize("platform", EVERYWHERE)
@pytest.mark.parametrize("word", ["expired", "EXPIRED", "Expired"])
def test_expired_is_critical_whatever_the_date_and_the_platform(
    left: timedelta | None, platform: str, word: str
) -> None:
    assert level(look(token(left, word, platform=platform))) == (CRITICAL, 4)


def test_a_token_expired_before_its_date_has_no_deadline_to_count_down_to() -> None:
    result = look(token(40 * DAY, "expired"))
    assert isinstance(result, Problem)
    assert result.deadline_at is None
    assert result.summary == "token has expired before its date, 2026-04-03 20:00 UTC"


@pytest.mark.parametrize("left", [-30 * DAY, -MINUTE, HOUR])
@pytest.mark.parametrize("platform", ["youtube", "tiktok"])
def test_an_expired_token_is_not_said_to_have_ended_when_its_access_token_did(
    left: timedelta, platform: str
) -> None:
    result = look(token(left, "expired", platform=platform))
    assert isinstance(result, Problem)
    assert (result.summary, result.deadline_at) == ("token has expired", None)


# Expiring soon

RUNGS = [
    (30 * DAY, NOTICE, 1),
    (7 * DAY, NOTICE, 1),
    (3 * DAY + MS, NOTICE, 1),
    (3 * DAY, WARNING, 2),
    (1 * DAY + MS, WARNING, 2),
    (1 * DAY, CRITICAL, 3),
    (MS, CRITICAL, 3),
    (timedelta(), CRITICAL, 4),
    (-MS, CRITICAL, 4),
    (-400 * DAY, CRITICAL, 4),
    (None, NOTICE, 1),
]


@pytest.mark.parametrize(("left", "severity", "step"), RUNGS)
@pytest.mark.parametrize("platform", ["linkedin", "facebook", "pinterest", "twitter", "newcomer", "tiktok"])
@pytest.mark.parametrize("reported", [timedelta(), 20 * DAY])
def test_expiring_soon_is_at_least_the_first_threshold_and_climbs_by_its_date_whoever_renews(
    left: timedelta | None, severity: Severity, step: int, platform: str, reported: timedelta
) -> None:
    seen = token(left, "expiring_soon", platform=platform)
    assert level(look(seen, reported=reported, aged=True)) == (severity, step)


@pytest.mark.parametrize("left", [30 * DAY, 5 * DAY, 2 * DAY, MS, timedelta(), -3 * DAY, None])
@pytest.mark.parametrize(("platform", "aged"), [("youtube", True), ("youtube", False), ("tiktok", False)])
def test_expiring_soon_stays_at_the_first_threshold_if_the_date_may_be_an_access_tokens(
    left: timedelta | None, platform: str, aged: bool
) -> None:
    if platform == "tiktok" and left and left > 25 * HOUR:
        left = 25 * HOUR
    result = look(token(left, "expiring_soon", platform=platform), aged=aged)
    assert isinstance(result, Problem)
    assert (NOTICE, 1, None) == (result.severity, result.level, result.deadline_at)
    assert result.summary == "token expires soon"


@pytest.mark.parametrize("platform", EVERYWHERE)
def test_it_is_never_over_while_the_api_says_expiring_soon(platform: str) -> None:
    life = Life()
    assert [(OPENED, NOTICE)] == life.poll(token(8 * DAY, "expiring_soon", platform=platform))
    for left in (60 * DAY, None, 400 * DAY, 20 * DAY):
        assert [] == life.poll(token(left, "expiring_soon", life.now, platform=platform), after=6 * HOUR)
    assert [(RESOLVED, NOTICE)] == life.poll(token(60 * DAY, now=life.now, platform=platform))


def test_a_tiktok_token_that_expires_soon_throughout_is_never_good_again() -> None:
    life, date, heard = Life(), NOW + 29 * DAY, list[Notified]()
    while life.now < date + 3 * DAY:
        heard += life.poll(token(date - life.now, "expiring_soon", life.now, "tiktok"), after=13 * HOUR)
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


@pytest.mark.parametrize("platform", EVERYWHERE)
def test_what_is_first_seen_as_expiring_soon_is_told(platform: str) -> None:
    assert [(OPENED, NOTICE)] == Life().poll(token(6 * DAY, "expiring_soon", platform=platform))


# Valid


@pytest.mark.parametrize("left", [7 * DAY, 5 * DAY, HOUR, MS, timedelta(), -MS, -400 * DAY, None])
@pytest.mark.parametrize("platform", EVERYWHERE)
@pytest.mark.parametrize("aged", [True, False])
def test_valid_is_never_contradicted_by_a_date_that_has_passed_or_is_within_a_week(
    left: timedelta | None, platform: str, aged: bool
) -> None:
    assert [] == Life().poll(token(left, platform=platform))
    assert level(look(token(left, platform=platform), aged=aged)) is None


@pytest.mark.parametrize("left", [7 * DAY - 5 * MINUTE, 5 * DAY, -DAY, None])
@pytest.mark.parametrize("platform", EVERYWHERE)
def test_valid_ends_what_any_other_word_opened(left: timedelta | None, platform: str) -> None:
    for word in ("expiring_soon", "expired"):
        life = Life()
        life.poll(token(left, word, platform=platform))
        assert [RESOLVED] == [reason for reason, _ in life.poll(token(left, platform=platform))]


def test_clocks_that_differ_by_a_little_end_nothing_at_the_seventh_day() -> None:
    life, date = Life(), NOW + 7 * DAY + MINUTE
    assert [] == life.poll(connection(expires_at=date), after=timedelta())
    assert [(OPENED, NOTICE)] == life.review()
    assert [] == life.poll(connection(expires_at=date), after=MINUTE)  # the API's clock is late
    assert [] == life.poll(connection(expires_at=date, token_status="expiring_soon"), after=MINUTE)
    assert [(RESOLVED, NOTICE)] == life.poll(connection(expires_at=date), after=5 * MINUTE)


def test_the_same_word_once_more_ends_it_when_no_clock_can_be_that_late() -> None:
    life, date = Life(), NOW + 7 * DAY + MINUTE
    life.poll(connection(expires_at=date), after=timedelta())
    life.review()
    assert [] == life.poll(connection(expires_at=date), after=MINUTE)
    assert life.state.next_evaluation_at == date - 7 * DAY + 5 * MINUTE
    assert [] == life.poll(connection(expires_at=date), after=MINUTE)
    assert [(RESOLVED, NOTICE)] == life.poll(connection(expires_at=date), after=5 * MINUTE)


@pytest.mark.parametrize(
    ("platform", "profiles", "step"),
    [
        ("linkedin", {}, 1),
        ("tiktok", {}, 1),  # a date that far ahead is the refresh token's
        ("newcomer", {}, 1),
        ("facebook", {}, 0),
        ("youtube", {}, 0),
        ("facebook", {"facebook": RenewalProfile(renewed_by=PERSON)}, 1),
        ("linkedin", {"linkedin": RenewalProfile(renewed_by=VENDOR)}, 0),
        ("youtube", {"youtube": RenewalProfile(renewed_by=PERSON)}, 0),
    ],
)
def test_thresholds_beyond_a_week_are_for_valid_tokens_that_people_renew(
    platform: str, profiles: dict[str, RenewalProfile], step: int
) -> None:
    rule = TokenExpiry(before={14 * DAY: NOTICE, 7 * DAY: WARNING}, profiles=profiles)
    for left in (14 * DAY, 7 * DAY + MS):
        assert level(look(token(left, platform=platform), rule)) == ((NOTICE, 1) if step else None)
    for left in (14 * DAY + MS, 7 * DAY, DAY):
        assert level(look(token(left, platform=platform), rule)) is None


# While the API is away


def test_a_token_last_reported_valid_climbs_every_threshold_if_a_person_renews_it() -> None:
    life = Life()
    life.poll(token(8 * DAY))
    life.poll(failure=failure())
    heard = []
    while life.state.next_evaluation_at:
        heard.append((NOW + 8 * DAY - life.state.next_evaluation_at, life.review()))
    assert heard == [
        (7 * DAY, [(OPENED, NOTICE)]),
        (3 * DAY, [(ESCALATED, WARNING)]),
        (DAY, [(ESCALATED, CRITICAL)]),
        (timedelta(), [(UPDATED, CRITICAL)]),
    ]


@pytest.mark.parametrize(
    ("platform", "left"),
    [("facebook", 8 * DAY), ("youtube", 8 * DAY), ("tiktok", HOUR), ("linkedin", 7 * DAY), ("linkedin", DAY)],
)
def test_nothing_is_concluded_from_any_other_date_of_a_valid_token(platform: str, left: timedelta) -> None:
    life = Life()
    life.poll(token(left, platform=platform))
    life.poll(failure=failure())
    for _ in range(20):
        assert [] == life.review(at=life.now + DAY)


@pytest.mark.parametrize("platform", ["linkedin", "facebook", "newcomer"])
def test_a_token_last_reported_as_expiring_soon_climbs_whoever_renews_it(platform: str) -> None:
    life = Life()
    assert [(OPENED, NOTICE)] == life.poll(token(6 * DAY, "expiring_soon", platform=platform))
    life.poll(failure=failure())
    assert [(ESCALATED, WARNING)] == life.review()
    assert [(ESCALATED, CRITICAL)] == life.review()
    assert [(UPDATED, CRITICAL)] == life.review()
    assert life.state.next_evaluation_at is None


def test_an_entry_that_cannot_be_read_is_no_report_of_its_token() -> None:
    life, date = Life(), NOW + 9 * DAY
    life.poll(connection(expires_at=date), token(None, platform="twitter"))
    heard = []
    while life.now < date + DAY:
        heard += life.poll(
            token(None, platform="twitter"), unreadable=["linkedin-Tz9W5i6ZYG"], after=6 * HOUR
        )
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


def test_a_list_that_lacks_most_is_a_report_of_what_it_holds() -> None:
    life, date = Life(), NOW + 7 * DAY + HOUR
    seen, others = connection(expires_at=date), [token(None, platform=name) for name in "abcdef"]
    life.poll(seen, *others)
    for _ in range(8):
        assert [] == life.poll(seen, after=30 * MINUTE) + life.review(at=life.now)
    assert life.state.consecutive_failures == 8


# Unknown


@pytest.mark.parametrize("left", [40 * DAY, 2 * DAY, MS, None])
@pytest.mark.parametrize("platform", EVERYWHERE)
def test_unknown_is_not_judged(left: timedelta | None, platform: str) -> None:
    assert look(token(left, "unknown", platform=platform)) is NoProblem.UNKNOWN


@pytest.mark.parametrize("left", [timedelta(), -MS, -90 * DAY])
def test_an_unknown_token_whose_date_has_passed_is_a_warning_and_never_more(left: timedelta) -> None:
    life = Life()
    assert [(OPENED, WARNING)] == life.poll(token(left, "Unknown", life.now + 15 * MINUTE))
    for _ in range(50):
        assert [] == life.review(at=life.now + DAY)
    assert [WARNING] == [each.max_severity for each in life.incidents]


def test_an_unknown_token_is_told_when_its_date_passes_also_while_the_api_is_away() -> None:
    life = Life()
    assert [] == life.poll(token(2 * DAY, "unknown"))
    life.poll(failure=failure())
    assert life.state.next_evaluation_at == NOW + 2 * DAY
    assert [(OPENED, WARNING)] == life.review()


def test_unknown_opens_nothing_and_is_no_recovery() -> None:
    life = Life()
    for status in ("unknown", "valid", "unknown", "UNKNOWN", "valid"):
        assert [] == life.poll(token(None, status))
    assert [(OPENED, NOTICE)] == life.poll(token(5 * DAY, "expiring_soon"))
    assert [] == life.poll(token(5 * DAY, "unknown"))
    assert [] == life.poll(token(60 * DAY, "unknown"))
    assert [] == life.poll(token(5 * DAY, "expiring_soon"))


def test_unknown_makes_nothing_milder_and_what_is_milder_a_warning() -> None:
    for before, heard in (("expired", []), ("expiring_soon", [(ESCALATED, WARNING)])):
        life = Life()
        life.poll(token(5 * DAY, before))
        assert heard == life.poll(token(5 * DAY, "unknown"), after=6 * DAY)
        assert [CRITICAL if before == "expired" else WARNING] == [each.severity for each in life.incidents]
        assert [] == life.poll(token(5 * DAY, "unknown"))


def test_what_an_unknown_token_opened_is_over_when_the_api_says_valid() -> None:
    life = Life()
    assert [(OPENED, WARNING)] == life.poll(token(-DAY, "unknown"))
    assert [(RESOLVED, WARNING)] == life.poll(token(-DAY, "valid"))


def test_the_access_token_of_an_unknown_tiktok_token_may_pass() -> None:
    assert look(token(-HOUR, "unknown", platform="tiktok")) is NoProblem.UNKNOWN
    assert level(look(token(-HOUR, "unknown", platform="tiktok"), aged=True)) == (WARNING, 1)


# TikTok: two kinds of dates in one field


@pytest.mark.parametrize(("ahead", "is_refresh"), [(25 * HOUR, False), (25 * HOUR + MS, True), (HOUR, False)])
def test_a_date_of_tiktok_is_the_refresh_tokens_if_it_was_ever_seen_more_than_25_hours_ahead(
    ahead: timedelta, is_refresh: bool
) -> None:
    life, date = Life(), NOW + ahead
    life.poll(token(ahead, "expiring_soon", platform="tiktok"), after=timedelta())
    life.poll(failure=failure())
    while life.state.next_evaluation_at:
        life.review()
    [incident] = life.incidents
    assert (incident.severity, incident.deadline_at) == ((CRITICAL, date) if is_refresh else (NOTICE, None))


def test_an_access_token_renewed_by_the_hour_is_never_taken_for_a_refresh_token() -> None:
    life, heard = Life(), list[Notified]()
    for _ in range(200):
        date = life.now.replace(minute=7) + 24 * HOUR
        heard += life.poll(token(date - life.now, "expiring_soon", life.now, "tiktok"), after=10 * MINUTE)
    assert heard == [(OPENED, NOTICE)]


def test_a_refresh_token_is_one_until_another_date_comes() -> None:
    life, date = Life(), NOW + 20 * DAY
    life.poll(token(20 * DAY, "expiring_soon", platform="tiktok"))
    heard = life.poll(token(date - life.now, "expiring_soon", life.now, "tiktok"), after=20 * DAY - HOUR)
    assert heard == [(ESCALATED, CRITICAL)]
    shaken = date + timedelta(seconds=3)
    assert [] == life.poll(
        connection(platform_id="tiktok-1", expires_at=shaken, token_status="expiring_soon")
    )
    assert [CRITICAL] == [each.severity for each in life.incidents]
    assert [] == life.poll(token(20 * HOUR, "expiring_soon", life.now, "tiktok"))
    assert [NOTICE] == [each.severity for each in life.incidents]


# Words outside the four


@pytest.mark.parametrize("word", UNHEARD)
@pytest.mark.parametrize("platform", ["linkedin", "facebook", "newcomer"])
@pytest.mark.parametrize(("left", "severity", "step"), RUNGS[1:-1])
def test_an_unheard_word_leaves_a_token_to_its_date(
    word: str, platform: str, left: timedelta, severity: Severity, step: int
) -> None:
    assert level(look(token(left, word, platform=platform))) == (severity, step)


@pytest.mark.parametrize("word", UNHEARD)
def test_a_token_with_an_unheard_word_is_told_all_the_way_to_its_end(word: str) -> None:
    life, date, heard = Life(), NOW + 9 * DAY, list[Notified]()
    while life.now < date + 21 * DAY:
        heard += life.poll(token(date - life.now, word, life.now), after=5 * HOUR)
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


@pytest.mark.parametrize("word", UNHEARD)
def test_an_unheard_word_without_a_date_to_act_by_opens_and_ends_nothing(word: str) -> None:
    for seen in (token(None, word), *(token(-DAY, word, platform=name) for name in ("youtube", "tiktok"))):
        assert look(seen) is NoProblem.UNKNOWN
        life = Life()
        life.poll(
            connection(platform_id=seen.platform_id, token_status="expired", expires_at=seen.expires_at)
        )
        assert [] == life.poll(seen)


def test_an_unheard_word_ends_nothing_that_a_word_opened_but_a_new_date_does() -> None:
    life, date = Life(), NOW + 40 * DAY
    assert [(OPENED, CRITICAL)] == life.poll(connection(token_status="expired", expires_at=date))
    assert [] == life.poll(connection(token_status="revoked", expires_at=date))
    for status in ("expiring_soon", "revoked"):
        assert [] == life.poll(connection(token_status=status, expires_at=date))
    assert [] == life.poll(connection(token_status="revoked", expires_at=date + HOUR))
    assert [(RESOLVED, NOTICE)] == life.poll(connection(token_status="revoked", expires_at=date + DAY))


def test_what_a_date_opened_is_over_when_it_moves_on_whatever_the_word() -> None:
    life = Life()
    assert [(OPENED, WARNING)] == life.poll(token(2 * DAY, "odd"))
    assert look(token(60 * DAY, "odd")) == DateAhead(date=NOW + 60 * DAY)
    assert [(RESOLVED, WARNING)] == life.poll(token(60 * DAY, "odd"))


# Configured thresholds


def test_a_custom_ladder_takes_the_place_of_the_default() -> None:
    rule = ladder(d30=NOTICE, h6=WARNING)
    seen = {}
    for left in (31 * DAY, 30 * DAY, 7 * HOUR, 6 * HOUR, timedelta()):
        seen[left] = level(look(token(left, reported_status(left)), rule))
    assert seen == {
        31 * DAY: None,
        30 * DAY: (NOTICE, 1),
        7 * HOUR: (NOTICE, 1),
        6 * HOUR: (WARNING, 2),
        timedelta(): (CRITICAL, 3),
    }


def reported_status(left: timedelta) -> str:
    return "valid" if left >= 7 * DAY else "expiring_soon"


def test_rungs_may_be_written_in_any_order() -> None:
    backwards = TokenExpiry(before=dict(reversed(list(TokenExpiry().before.items()))))
    for left in (8 * DAY, 5 * DAY, 2 * DAY, HOUR):
        seen = token(left, "expiring_soon")
        assert look(seen, backwards) == look(seen)


def test_an_empty_ladder_still_tells_expiring_soon_and_then_expired() -> None:
    life = Life(rules=Rules(connection=(TokenExpiry(before={}),)))
    assert life.poll(token(2 * HOUR)) == []
    assert life.poll(token(2 * HOUR, "expiring_soon")) == [(OPENED, WARNING)]
    assert life.poll(token(2 * HOUR, "expired")) == [(ESCALATED, CRITICAL)]
    assert life.poll(token(2 * HOUR, "expired")) == []


# One incident, each threshold once


def test_each_rung_is_told_once_and_one_incident_lasts_from_the_first_to_the_reconnect() -> None:
    life, date = Life(), NOW + 8 * DAY
    heard = [life.poll(dated(date, life.now + HOUR), after=HOUR) for _ in range(9 * 24)]
    assert [each for each in heard if each] == [
        [(OPENED, NOTICE)],
        [(ESCALATED, WARNING)],
        [(ESCALATED, CRITICAL)],
        [(UPDATED, CRITICAL)],
    ]
    assert [(RESOLVED, CRITICAL)] == life.poll(token(60 * DAY, now=life.now))
    assert {1} == {change.incident.id for _, change in life.history}
    assert life.history[-1][1].incident.resolution is Resolution.RECOVERED


@pytest.mark.parametrize(
    ("left", "notified"),
    [
        (2 * DAY, (OPENED, WARNING)),
        (HOUR, (OPENED, CRITICAL)),
        (-DAY, (OPENED, CRITICAL)),
    ],
)
def test_several_rungs_passed_at_once_are_told_as_the_highest(
    left: timedelta, notified: tuple[Reason, Severity]
) -> None:
    life = Life()
    assert [notified] == life.poll(token(left, "expiring_soon"))
    assert [] == life.poll(token(left, "expiring_soon"))


def test_several_rungs_passed_between_two_looks_are_told_as_the_highest() -> None:
    life, date = Life(), NOW + 8 * DAY
    assert [] == life.poll(token(8 * DAY))
    assert [(OPENED, CRITICAL)] == life.poll(dated(date, date - 23 * HOUR), after=date - 23 * HOUR - life.now)


def test_expiry_dates_that_alternate_are_told_once_for_each_rung() -> None:
    life = Life()
    dates = (NOW + 6 * DAY, NOW + 6 * DAY + 12 * HOUR)
    heard = []
    for hour in range(7 * 24):
        heard += life.poll(connection(expires_at=dates[hour % 2], token_status="expiring_soon"), after=HOUR)
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


def test_a_date_that_trembles_from_poll_to_poll_is_told_once_for_each_rung() -> None:
    life, date = Life(), NOW + 6 * DAY
    heard = []
    for hour in range(7 * 24):
        seen = connection(expires_at=date + hour % 7 * 23 * MINUTE, token_status="expiring_soon")
        heard += life.poll(seen, after=HOUR)
    assert heard == [(OPENED, NOTICE), (ESCALATED, WARNING), (ESCALATED, CRITICAL), (UPDATED, CRITICAL)]


def test_a_renewal_to_a_date_within_the_ladder_keeps_the_incident_and_climbs_anew() -> None:
    life = Life()
    assert [(OPENED, CRITICAL)] == life.poll(token(12 * HOUR, "expiring_soon"))
    assert [] == life.poll(token(6 * DAY, "expiring_soon", life.now))
    assert [(NOTICE, CRITICAL)] == [(incident.severity, incident.max_severity) for incident in life.incidents]
    assert [(ESCALATED, WARNING)] == life.review()
    assert [(ESCALATED, CRITICAL)] == life.review()
    assert [(UPDATED, CRITICAL)] == life.review()
    assert 1 == len(life.incidents)


def test_a_date_that_moves_backwards_is_told_when_it_is_worse_and_only_then() -> None:
    life = Life()
    assert [(OPENED, NOTICE)] == life.poll(token(6 * DAY, "expiring_soon"))
    assert [] == life.poll(token(5 * DAY, "expiring_soon"))
    assert [(ESCALATED, CRITICAL)] == life.poll(token(20 * HOUR, "expiring_soon"))
    assert [(UPDATED, CRITICAL)] == life.poll(token(-HOUR, "expiring_soon"))


@pytest.mark.parametrize(
    ("left", "status", "is_over"),
    [
        (60 * DAY, "valid", True),
        (None, "valid", True),
        (8 * DAY, "valid", True),
        (6 * DAY, "valid", True),  # the word decides: the date is an access token's
        (-HOUR, "valid", True),
        (60 * DAY, "expiring_soon", False),
        (60 * DAY, "expired", False),
        (60 * DAY, "unknown", False),
        (None, "unknown", False),
        (None, "fine", False),
        (-HOUR, "fine", False),
        (60 * DAY, "fine", True),  # by its date, which is another one
    ],
)
def test_only_valid_ends_it_or_a_new_date_where_the_word_says_nothing(
    left: timedelta | None, status: str, is_over: bool
) -> None:
    life = Life()
    life.poll(token(-HOUR, "expired"))
    assert ([(RESOLVED, CRITICAL)] if is_over else []) == life.poll(token(left, status))
    assert is_over is (not life.incidents)


def test_a_flicker_of_the_status_is_not_told_again() -> None:
    life = Life()
    date = life.now + 6 * DAY
    heard = []
    for status in ("expiring_soon", "unknown", "expiring_soon", "expired", "unknown", "expiring_soon", "odd"):
        heard += life.poll(connection(token_status=status, expires_at=date))
    assert heard == [(OPENED, NOTICE), (ESCALATED, CRITICAL)]


def test_a_date_that_comes_back_worse_than_what_was_heard_last_is_told_once_more_and_then_never() -> None:
    life = Life()
    ended = connection(expires_at=NOW - DAY, token_status="expiring_soon")
    later = connection(expires_at=NOW + 5 * DAY, token_status="expiring_soon")
    assert [(OPENED, CRITICAL)] == life.poll(ended)
    assert [] == life.poll(later)
    assert [(ESCALATED, WARNING)] == life.review()
    assert [(ESCALATED, CRITICAL)] == life.poll(ended)
    assert [[]] * 6 == [life.poll(each) for each in (later, ended) * 3]


# Whatever the API may say


@pytest.mark.parametrize("date", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize("platform", EVERYWHERE)
@pytest.mark.parametrize("status", ["valid", "expiring_soon", "expired", "unknown", "odd"])
def test_a_date_at_the_end_of_the_calendar_is_survived(date: datetime, status: str, platform: str) -> None:
    life, seen = Life(), connection(platform_id=f"{platform}-1", expires_at=date, token_status=status)
    life.poll(seen)
    life.poll(seen)
    life.review(at=life.now + DAY)
    assert not life.incidents or status != "valid"


lefts = st.integers(-10 * 24 * 60, 40 * 24 * 60).map(lambda minutes: minutes * MINUTE)
ladders = st.dictionaries(
    st.integers(1, 30 * 24).map(lambda hours: hours * HOUR), st.sampled_from(Severity), max_size=5
).map(lambda rungs: TokenExpiry(before=rungs))


@given(
    left=lefts,
    rule=ladders,
    status=st.sampled_from(["valid", "expiring_soon", "expired", "unknown", "odd"]),
    platform=st.sampled_from(EVERYWHERE),
    reported=st.integers(0, 9).map(lambda days: days * DAY),
    aged=st.booleans(),
)
def test_the_verdict_stands_until_the_moment_it_names(  # noqa: PLR0917 - hypothesis gives them by name
    left: timedelta, rule: TokenExpiry, status: str, platform: str, reported: timedelta, aged: bool
) -> None:
    habit = RenewalHistory(expiry_set_at=NOW - 800 * DAY) if aged else RenewalHistory()
    one, reported_at = known(token(left, status, platform=platform), renewals=habit), NOW - reported
    result, changes_at = rule.check(one, NOW, reported_at), rule.next_change_at(one, NOW, reported_at)
    if changes_at is None:
        assert result == rule.check(one, NOW + 100 * DAY, reported_at)
        return
    assert changes_at > NOW
    assert result == rule.check(one, changes_at - MS, reported_at)
    if not reported:  # nor does the same report again, made at any moment before
        again = changes_at - MS
        assert result == rule.check(one, again, again)


@given(left=st.integers(7 * 24 * 60 + 1, 40 * 24 * 60).map(lambda minutes: minutes * MINUTE), rule=ladders)
def test_reviews_at_the_moments_asked_for_meet_every_rung(left: timedelta, rule: TokenExpiry) -> None:
    life = Life(rules=Rules(connection=(rule,)))
    date = NOW + left
    life.poll(connection(expires_at=date), after=timedelta())
    visited = []
    while life.state.next_evaluation_at:
        assert life.state.next_evaluation_at > life.now
        visited.append(life.state.next_evaluation_at)
        is_rung = date - life.state.next_evaluation_at in {*rule.before, timedelta()}
        assert len(life.review()) == is_rung
        assert [] == life.review(at=life.now)
    moments = {*rule.before, timedelta(), 7 * DAY}
    assert visited == sorted({moment for b in moments if (moment := date - b) > NOW})
    assert [RuleName.TOKEN_EXPIRY] == [incident.rule for incident in life.incidents]


@given(
    left=lefts,
    status=st.sampled_from(["valid", "expiring_soon", "expired", "unknown", "odd"]),
    platform=st.sampled_from(EVERYWHERE),
    reported=st.integers(0, 9).map(lambda days: days * DAY),
    aged=st.booleans(),
)
def test_what_has_expired_is_what_is_told_as_expired(
    left: timedelta, status: str, platform: str, reported: timedelta, aged: bool
) -> None:
    habit = RenewalHistory(expiry_set_at=NOW - 800 * DAY) if aged else RenewalHistory()
    one, reported_at = known(token(left, status, platform=platform), renewals=habit), NOW - reported
    notified = level(TokenExpiry().check(one, NOW, reported_at))
    assert has_expired(one, NOW, reported_at=reported_at) is (notified == (CRITICAL, 4))
    if notified and notified[1] > 1 and status != "expired":
        assert deadline_of(one, reported_at) == one.connection.expires_at
