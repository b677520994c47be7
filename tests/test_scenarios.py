"""Whole lives of tokens, told by walking the clock; each on SQLite and on PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from monitor.core.model import Connection, Failure, Outcome, Severity
from monitor.core.routes import Match, QuietHours, Route, Routing, Schedule
from monitor.errors import DeliveryError
from monitor.jobs.deliver import deliver_to
from monitor.storage import Database, people
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.fakes import FakeChannel
from tests.house import House, moment

SOON = connection(
    platform_id="instagram-17841412345678",
    username="yourinstagram",
    display_name="Your Brand",
    token_status="expiring_soon",
    expires_at=NOW + timedelta(days=2, hours=12),
)
WELL = replace(SOON, token_status="valid", expires_at=NOW + 60 * DAY)
EXPIRED = replace(SOON, token_status="expired", expires_at=NOW - HOUR)


def dated(date: datetime) -> Callable[[datetime], Connection]:
    """A token in the words of the older contract, for which the date is all that counts."""

    def seen(now: datetime) -> Connection:
        left = date - now
        word = "valid" if left >= 7 * DAY else "expiring_soon" if left > timedelta() else "expired"
        return replace(SOON, expires_at=date, token_status=word)

    return seen


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def test_restarted_a_hundred_times_inside_one_threshold_it_tells_once(house: House) -> None:
    house.shows(SOON)
    for n in range(100):
        house.clock.advance(MINUTE)
        if n == 50:  # the configuration was edited in between
            house.routes = (Route(channels=("ops",), group_wait=timedelta(seconds=10)),)
        house.restart()
        house.look()
    assert len(house.sent) == 1


def test_an_expiry_date_that_alternates_is_told_once(house: House) -> None:
    other = replace(SOON, expires_at=NOW + timedelta(days=2, hours=9))
    for n in range(20):
        house.clock.advance(MINUTE)
        house.shows(other if n % 2 else SOON)
    assert len(house.sent) == 1


def test_rungs_passed_before_the_first_look_are_told_as_one_at_the_worst(house: House) -> None:
    house.shows(replace(SOON, expires_at=NOW + 3 * HOUR))
    assert len(house.sent) == 1
    assert house.sent[0].severity is Severity.CRITICAL


def test_a_token_is_told_at_each_rung_once_and_when_it_is_well_again(house: House) -> None:
    token = dated(NOW + 9 * DAY)
    house.follow(token, 4 * DAY, step=HOUR)
    assert [message.severity for message in house.sent] == [Severity.NOTICE]
    house.follow(token, 2 * DAY + 2 * HOUR, step=HOUR)
    assert [message.severity for message in house.sent] == [Severity.NOTICE, Severity.WARNING]
    house.follow(token, 4 * DAY, step=HOUR)
    assert [message.severity for message in house.sent] == [
        Severity.NOTICE,
        Severity.WARNING,
        Severity.CRITICAL,
        Severity.CRITICAL,
    ]
    assert "expired" in house.sent[-1].title
    house.shows(replace(WELL, expires_at=house.clock.now + 60 * DAY))
    assert len(house.sent) == 5
    assert house.sent[-1].title.startswith("OK")
    [incident] = house.rows("incident_log")
    assert incident["resolution"] == "recovered"


def test_a_deadline_passes_while_the_api_is_down_and_is_told_within_a_minute(house: House) -> None:
    house.shows(replace(WELL, expires_at=NOW + 8 * DAY))
    house.api.fails(failure(Outcome.SERVER_ERROR))
    house.live(DAY - 2 * MINUTE, step=HOUR)
    before = len(house.sent)
    house.live(3 * MINUTE, step=timedelta(seconds=20))
    [told] = house.sent[before:]
    assert "expires" in told.title
    [incident] = house.rows("incident_log", "WHERE rule = 'token_expiry'")
    assert timedelta() <= moment(incident["opened_at"]) - (NOW + DAY) <= MINUTE


@pytest.mark.parametrize(
    "broken",
    [
        failure(Outcome.UNAUTHORIZED),
        failure(Outcome.SERVER_ERROR),
        failure(Outcome.BAD_ANSWER),
        failure(Outcome.TIMEOUT),
    ],
    ids=lambda each: str(each.outcome),
)
def test_an_hour_without_answers_is_one_problem_of_the_source(house: House, broken: Failure) -> None:
    house.shows(SOON, connection())
    house.api.failing[None] = broken
    house.live(HOUR, step=MINUTE)
    house.api.failing.clear()
    house.live(17 * MINUTE, step=MINUTE)
    about_the_source = house.rows("incident_log", "WHERE platform_id IS NULL")
    assert len(about_the_source) == 1
    assert len(house.sent) == 3  # Instagram at first, the source, the source again
    assert [row["resolution"] for row in about_the_source] == ["recovered"]


def test_an_empty_list_for_an_hour_is_one_problem_of_the_source(house: House) -> None:
    house.shows(SOON, connection())
    house.api.lists()
    house.live(HOUR, step=MINUTE)
    house.api.lists(SOON, connection())
    house.live(17 * MINUTE, step=MINUTE)
    assert [row["rule"] for row in house.rows("incident_log", "WHERE platform_id IS NULL")] == ["bad_answer"]
    assert len(house.sent) == 3
    assert all(row["removed_at"] is None for row in house.rows("current_connections"))


def test_a_connection_that_nobody_can_read_is_told_once_and_the_others_are_watched_as_ever(
    house: House,
) -> None:
    house.shows(WELL)
    house.api.unreadable = frozenset({SOON.platform_id})
    house.live(HOUR, step=MINUTE)
    [told] = house.sent
    assert f"1 of 2 connections can't be read: {SOON.platform_id}" in told.body
    runs = house.rows("poll_runs")
    house.live(HOUR, step=MINUTE)
    assert len(house.sent) == 1
    assert house.rows("poll_runs") == runs
    [seen] = house.rows("targets")
    assert house.clock.now - moment(seen["last_ok_at"]) <= house.every
    house.api.lists(replace(WELL, token_status="expired"))
    house.live(HOUR, step=MINUTE)
    assert [message.severity for message in house.sent] == [Severity.WARNING, Severity.CRITICAL]
    house.api.unreadable = frozenset()
    house.live(HOUR, step=MINUTE)
    assert house.sent[-1].title.startswith("OK")
    about_the_source = house.rows("incident_log", "WHERE platform_id IS NULL")
    assert [row["resolution"] for row in about_the_source] == ["recovered"]


def test_failures_of_every_kind_in_turn_are_one_problem(house: House) -> None:
    house.shows(WELL)
    kinds = (Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.BAD_ANSWER, Outcome.NETWORK_ERROR)
    for n in range(60):
        house.api.fails(failure(kinds[n % 4]))
        house.live(MINUTE, step=MINUTE)
    house.api.failing.clear()
    house.live(HOUR, step=MINUTE)
    assert len(house.sent) == 2


def test_a_revoked_key_shared_by_many_targets_is_told_once(database: Database) -> None:
    users = tuple(f"{n:024x}" for n in range(30))
    house = House(database, users=users)
    for user in (None, *users):
        house.api.listed[user] = (connection(),)
    house.look()
    for user in (None, *users):
        house.api.fails(failure(Outcome.UNAUTHORIZED), user)
    house.live(HOUR, step=MINUTE)
    assert len(house.sent) == 1
    house.api.failing.clear()
    house.live(HOUR, step=MINUTE)
    assert len(house.sent) == 2


def test_a_channel_down_for_hours_learns_what_is_true_when_it_is_back(house: House) -> None:
    house.ops.refusal = DeliveryError("HTTP 500")
    house.shows(SOON)
    house.live(90 * MINUTE, step=MINUTE)
    house.api.lists(WELL)
    house.live(90 * MINUTE, step=MINUTE)
    house.ops.refusal = None
    house.live(2 * HOUR, step=MINUTE)
    [told] = [message for message in house.sent if "Instagram" in message.title]
    assert "OVER" in told.body
    assert "expires in" not in told.title


def test_a_warning_that_was_renewed_before_its_delivery_is_not_told_as_news(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=MINUTE),)
    house.shows(SOON)
    assert house.sent == []
    house.clock.advance(timedelta(seconds=30))
    house.shows(WELL)
    house.live(5 * MINUTE, step=MINUTE)
    [told] = house.sent
    assert told.severity is None


def test_one_failing_channel_is_retried_alone_and_told_through_the_other(house: House) -> None:
    house.channels["mail"] = FakeChannel(name="mail")
    house.routes = (Route(channels=("ops", "mail"), group_wait=timedelta()),)
    house.ops.refusal = DeliveryError("HTTP 500")
    house.shows(SOON)
    house.live(30 * MINUTE, step=timedelta(seconds=10))
    mails = house.channels["mail"].sent
    assert len(mails) == 2
    assert "Instagram" in mails[0].title
    assert "channel" in mails[1].title
    house.ops.refusal = None
    house.live(2 * HOUR, step=MINUTE)
    assert len([message for message in house.sent if "Instagram" in message.title]) == 1
    assert len(mails) == 3
    assert mails[2].title.startswith("OK")


def test_five_thousand_tokens_that_expire_at_once_are_one_message(house: House) -> None:
    house.ops.body_limit = 2000
    house.ops.takes_attachments = True
    many = [
        connection(platform_id=f"linkedin-{n:05}", expires_at=NOW + 60 * DAY, display_name=f"Client {n}")
        for n in range(5000)
    ]
    house.shows(*many)
    assert house.sent == []
    house.api.lists(*(replace(each, token_status="expired", expires_at=NOW - HOUR) for each in many))
    house.live(20 * MINUTE, step=MINUTE)
    [told] = house.sent
    assert len(told.body) <= 2000
    assert "5000 problems" in told.title
    assert told.attachment is not None
    assert len(told.attachment.content.decode("utf-8-sig").splitlines()) == 5001


def test_a_list_that_claims_for_one_poll_that_all_has_expired_is_not_believed(house: House) -> None:
    many = [connection(platform_id=f"linkedin-{n:05}") for n in range(30)]
    house.shows(*many)
    house.shows(*(replace(each, token_status="expired") for each in many))
    house.clock.advance(MINUTE)
    house.shows(*many)
    house.live(HOUR, step=MINUTE)
    assert house.sent == []
    assert house.rows("token_transitions", "WHERE to_status = 'expired'") == []


def test_an_open_incident_is_reminded_of_evenly_across_restarts(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    house.shows(EXPIRED)
    for _ in range(30):
        house.live(DAY, step=HOUR)
        house.restart()
    reminders = house.rows("delivery_log", "WHERE reason = 'reminder'")
    assert len(reminders) == 30
    written = [moment(row["created_at"]) for row in reminders]
    assert all(abs(b - a - DAY) <= HOUR for a, b in pairwise(written))
    assert all("REMINDER" in message.title for message in house.sent[1:])


def test_nobody_is_reminded_of_what_is_in_hand_until_it_gets_worse(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=6 * HOUR),)
    house.shows(SOON)
    [incident] = house.rows("incident_log")
    with house.database.begin() as store:
        people.acknowledge(
            store.connection, incident["id"], house.clock(), by="mia", why="called the client", until=None
        )
    house.live(DAY, step=HOUR)
    assert len(house.sent) == 1
    [incident] = house.rows("incident_log")
    assert incident["acknowledged_by"] == "mia"
    house.live(DAY, step=HOUR)  # the one-day rung passes
    assert house.sent[1].severity is Severity.CRITICAL
    [incident] = house.rows("incident_log")
    assert incident["acknowledged_by"] is None
    house.live(7 * HOUR, step=HOUR)
    assert "REMINDER" in house.sent[-1].title


def test_an_acknowledgement_ends_when_it_said(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    house.shows(EXPIRED)
    [incident] = house.rows("incident_log")
    with house.database.begin() as store:
        people.acknowledge(
            store.connection,
            incident["id"],
            house.clock(),
            by="mia",
            why="back on Thursday",
            until=house.clock() + timedelta(days=2, hours=12),
        )
    house.live(2 * DAY, step=HOUR)
    assert len(house.sent) == 1
    house.live(13 * HOUR, step=HOUR)
    assert len(house.sent) == 2
    assert "REMINDER" in house.sent[-1].title


def test_a_silence_holds_back_and_what_is_still_wrong_at_its_end_is_told_then(house: House) -> None:
    _silence(house, {"platform": ["instagram"]}, until=house.clock() + 5 * HOUR)
    house.shows(SOON, connection())
    house.live(4 * HOUR, step=HOUR)
    assert house.sent == []
    assert len(house.rows("incident_log")) == 1
    house.live(2 * HOUR, step=HOUR)
    [told] = house.sent
    assert "Instagram" in told.title


def test_what_came_and_went_within_a_silence_is_never_told(house: House) -> None:
    _silence(house, {"platform": ["instagram"]}, until=house.clock() + 5 * HOUR)
    house.shows(SOON)
    house.live(HOUR, step=HOUR)
    house.shows(WELL)
    house.live(6 * HOUR, step=HOUR)
    assert house.sent == []
    assert [row["state"] for row in house.rows("delivery_log")] == ["delivered", "delivered"]


def test_a_silence_that_is_ended_lets_out_what_it_held_at_once(house: House) -> None:
    id_ = _silence(house, {"account": ["age*"]}, until=house.clock() + 5 * HOUR)
    house.shows(SOON)
    assert house.sent == []
    with house.database.begin() as store:
        assert people.end_silence(
            store.connection, id_, house.clock(), by="mia", routing=Routing(routes=house.routes)
        )
    house.tick()
    assert len(house.sent) == 1


def test_a_silence_that_begins_later_holds_what_is_waiting(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=MINUTE),)
    house.shows(SOON)
    _silence(house, {"rule": ["token_*"]}, until=house.clock() + HOUR)
    house.live(30 * MINUTE, step=MINUTE)
    assert house.sent == []
    house.live(HOUR, step=MINUTE)
    assert len(house.sent) == 1


def test_a_problem_that_comes_and_goes_is_told_as_flapping_once_and_then_at_its_end(house: House) -> None:
    for _ in range(12):
        house.clock.advance(10 * MINUTE)
        house.shows(EXPIRED)
        house.clock.advance(10 * MINUTE)
        house.shows(WELL)
    assert len(house.sent) == 7  # three times there and back, then flapping
    assert "4 times" in house.sent[-1].body
    house.live(7 * HOUR, step=MINUTE * 15)
    assert len(house.sent) == 8
    assert house.sent[-1].title.startswith("OK")


def test_quiet_hours_hold_a_warning_and_let_what_is_critical_through(house: House) -> None:
    quiet = QuietHours(starts=time(20), ends=time(8), zone=ZoneInfo("Europe/Berlin"))
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), quiet_hours=quiet),)
    house.shows(SOON)  # NOW is 21:00 in Berlin
    assert house.sent == []
    house.shows(SOON, replace(EXPIRED, platform_id="threads-1"))
    assert [message.severity for message in house.sent] == [Severity.CRITICAL]
    house.live(11 * HOUR + MINUTE, step=MINUTE)
    assert [message.severity for message in house.sent] == [Severity.CRITICAL, Severity.WARNING]


def test_a_clock_that_steps_back_and_forth_repeats_nothing_and_misses_no_rung(house: House) -> None:
    token = dated(NOW + 8 * DAY)
    house.follow(token, 2 * HOUR, step=MINUTE)
    house.clock.advance(-HOUR)
    house.follow(token, 2 * HOUR, step=MINUTE)
    house.clock.advance(DAY)
    house.follow(token, 2 * HOUR, step=MINUTE)
    assert [message.severity for message in house.sent] == [Severity.NOTICE]
    house.clock.advance(-DAY)
    house.follow(token, 2 * DAY, step=15 * MINUTE)
    assert [message.severity for message in house.sent] == [Severity.NOTICE]
    house.follow(token, 3 * DAY, step=15 * MINUTE)
    assert [message.severity for message in house.sent] == [Severity.NOTICE, Severity.WARNING]


def test_a_single_pass_waits_for_no_group_but_for_quiet_hours_and_silences(house: House) -> None:
    quiet = QuietHours(starts=time(20), ends=time(8), zone=ZoneInfo("Europe/Berlin"))
    house.channels |= {name: FakeChannel(name=name) for name in ("night", "later")}
    house.routes = (
        Route(channels=("night",), group_wait=HOUR, quiet_hours=quiet),
        Route(channels=("later",), group_wait=HOUR),
    )
    house.shows(SOON)
    for channel in ("night", "later"):
        deliver_to(channel, house.post, wait=False)
    assert len(house.channels["later"].sent) == 1
    assert house.channels["night"].sent == []


def test_the_end_of_an_incident_is_told_to_whoever_was_told_of_it_at_its_worst(house: House) -> None:
    house.channels["boss"] = FakeChannel(name="boss")
    house.routes = (
        Route(channels=("boss",), match=Match(severity=("critical",)), group_wait=timedelta()),
        Route(channels=("ops",), group_wait=timedelta()),
    )
    house.shows(SOON)
    house.live(2 * DAY, step=HOUR)
    house.shows(WELL)
    assert len(house.channels["boss"].sent) == 2
    assert house.channels["boss"].sent[-1].title.startswith("OK")


def test_a_route_may_leave_recoveries_out(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), resolved=False),)
    house.shows(SOON)
    house.shows(WELL)
    house.live(HOUR)
    assert len(house.sent) == 1


def test_a_digest_comes_daily_and_says_what_is_open_coming_and_well(house: House) -> None:
    schedule = Schedule(at=time(9), zone=ZoneInfo("Europe/Berlin"))
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), digest=schedule),)
    house.shows(
        SOON,
        connection(expires_at=NOW + 20 * DAY),
        connection(platform_id="twitter-1", token_status="unknown"),
    )
    assert len(house.sent) == 1
    house.live(3 * DAY, step=HOUR)
    digests = [message for message in house.sent if message.title.startswith("Digest")]
    assert len(digests) == 3
    assert "Open (1)" in digests[0].body
    assert "Expiring within 30 days (1)" in digests[0].body
    assert "1 connection is as they should be" in digests[0].body


def test_after_a_day_an_empty_list_is_believed_and_its_incidents_end_as_removed(house: House) -> None:
    house.shows(SOON, connection())
    house.api.lists()
    house.live(2 * DAY, step=15 * MINUTE)
    assert all(row["removed_at"] is not None for row in house.rows("current_connections"))
    [expiry, *gone] = house.rows("incident_log", "WHERE platform_id IS NOT NULL")
    assert expiry["resolution"] == "removed"
    assert [each["rule"] for each in gone] == ["connection_removed"] * 2


def test_an_expired_token_that_comes_back_after_it_was_gone_is_the_same_connection(house: House) -> None:
    others = [connection(platform_id=f"linkedin-{n}") for n in range(4)]
    house.shows(EXPIRED, *others)
    house.api.lists(*others)
    house.live(HOUR, step=5 * MINUTE)
    [gone] = house.rows("current_connections", "WHERE removed_at IS NOT NULL")
    house.shows(WELL, *others)
    back = house.rows("current_connections", "WHERE platform = 'instagram'")
    assert [row["id"] for row in back] == [gone["id"]]
    assert back[0]["removed_at"] is None


def test_a_publish_error_is_told_and_cleared_by_the_next_good_post(house: House) -> None:
    failed = replace(WELL, last_error=error(occurred_at=NOW - HOUR))
    house.shows(failed)
    house.shows(replace(failed, last_successful_post_at=NOW))
    assert [message.severity for message in house.sent] == [Severity.WARNING, None]


def _silence(house: House, match: dict[str, list[str]], *, until: datetime) -> int:
    with house.database.begin() as store:
        return people.silence(
            store.connection,
            match,
            house.clock(),
            until=until,
            by="mia",
            why="maintenance",
            routing=Routing(routes=house.routes),
        )


def test_an_account_whose_tokens_all_turn_at_once_is_one_incident_that_says_how_many_and_which(
    house: House,
) -> None:
    many = [connection(platform_id=f"{name}-{n}") for n in range(20) for name in ("linkedin", "tiktok")]
    house.shows(*many)
    house.shows(*(replace(each, token_status="expired") for each in many))
    [doubt] = house.rows("incident_log")
    assert (doubt["rule"], doubt["platform_id"], doubt["resolved_at"]) == ("bad_answer", None, None)
    assert "40 of 40 tokens got worse at once (linkedin 20, tiktok 20)" in doubt["summary"]
    assert house.sent == []
    house.live(5 * MINUTE, step=MINUTE)
    [told] = house.sent
    assert "40 problems" in told.title
    assert {row["rule"] for row in house.rows("incident_log", "WHERE resolved_at IS NULL")} == {
        "token_expiry"
    }


def test_a_doubt_hides_no_failure_that_comes_after_it(house: House) -> None:
    many = [connection(platform_id=f"linkedin-{n}") for n in range(20)]
    house.shows(*many)
    house.shows(*(replace(each, token_status="expired") for each in many))
    house.api.fails(failure(Outcome.SERVER_ERROR))
    house.live(HOUR, step=MINUTE)
    [told] = house.sent
    assert "the API can't be reached" in told.title


def test_an_api_that_answers_now_and_then_is_one_problem(house: House) -> None:
    house.shows(WELL)
    for n in range(60):
        if n % 4 == 3:
            house.api.failing.clear()
        else:
            house.api.fails(failure(Outcome.SERVER_ERROR))
        house.clock.advance(MINUTE)
        house.look()
    house.api.failing.clear()
    house.live(HOUR, step=MINUTE)
    assert [message.severity for message in house.sent] == [Severity.WARNING, None]
