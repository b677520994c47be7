"""Whole lives of tokens, told by walking the clock; each on SQLite and on PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from monitor.core.model import Connection, Failure, Outcome, Severity
from monitor.core.routing.routes import Matcher, QuietHours, Route, Routing, Schedule
from monitor.errors import DeliveryError
from monitor.jobs.deliver import deliver_channel
from monitor.storage import acknowledgements, silences
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.fakes import FakeChannel
from tests.needs import on_sqlite
from tests.simulator import Simulator, moment

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
def simulator(database: Database) -> Simulator:
    return Simulator(database)


def test_restarted_a_hundred_times_inside_one_threshold_it_tells_once(simulator: Simulator) -> None:
    simulator.list_connections(SOON)
    for n in range(100):
        simulator.clock.advance(MINUTE)
        if n == 50:  # the configuration was edited in between
            simulator.routes = (Route(channels=("ops",), group_wait=timedelta(seconds=10)),)
        simulator.restart()
        simulator.poll_all()
    assert len(simulator.sent) == 1


def test_an_expiry_date_that_alternates_is_told_once(simulator: Simulator) -> None:
    other = replace(SOON, expires_at=NOW + timedelta(days=2, hours=9))
    for n in range(20):
        simulator.clock.advance(MINUTE)
        simulator.list_connections(other if n % 2 else SOON)
    assert len(simulator.sent) == 1


def test_rungs_passed_before_the_first_look_are_told_as_one_at_the_worst(simulator: Simulator) -> None:
    simulator.list_connections(replace(SOON, expires_at=NOW + 3 * HOUR))
    assert len(simulator.sent) == 1
    assert simulator.sent[0].severity is Severity.CRITICAL


def test_a_token_is_told_at_each_rung_once_and_when_it_is_well_again(simulator: Simulator) -> None:
    token = dated(NOW + 9 * DAY)
    simulator.follow(token, 4 * DAY, step=HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.NOTICE]
    simulator.follow(token, 2 * DAY + 2 * HOUR, step=HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.NOTICE, Severity.WARNING]
    simulator.follow(token, 4 * DAY, step=HOUR)
    assert [message.severity for message in simulator.sent] == [
        Severity.NOTICE,
        Severity.WARNING,
        Severity.CRITICAL,
        Severity.CRITICAL,
    ]
    assert "expired" in simulator.sent[-1].title
    simulator.list_connections(replace(WELL, expires_at=simulator.clock.now + 60 * DAY))
    assert len(simulator.sent) == 5
    assert simulator.sent[-1].title.startswith("[RESOLVED]")
    [incident] = simulator.rows("incident_log")
    assert incident["resolution"] == "recovered"


def test_a_deadline_passes_while_the_api_is_down_and_is_told_within_a_minute(simulator: Simulator) -> None:
    simulator.list_connections(replace(WELL, expires_at=NOW + 8 * DAY))
    simulator.api.fails(failure(Outcome.SERVER_ERROR))
    simulator.advance(DAY - 2 * MINUTE, step=HOUR)
    before = len(simulator.sent)
    simulator.advance(3 * MINUTE, step=timedelta(seconds=20))
    [notified] = simulator.sent[before:]
    assert "expires" in notified.title
    [incident] = simulator.rows("incident_log", "WHERE rule = 'token_expiry'")
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
def test_an_hour_without_answers_is_one_problem_of_the_source(simulator: Simulator, broken: Failure) -> None:
    simulator.list_connections(SOON, connection())
    simulator.api.failing[None] = broken
    simulator.advance(HOUR, step=MINUTE)
    simulator.api.failing.clear()
    simulator.advance(17 * MINUTE, step=MINUTE)
    about_the_source = simulator.rows("incident_log", "WHERE platform_id IS NULL")
    assert len(about_the_source) == 1
    assert len(simulator.sent) == 3  # Instagram at first, the source, the source again
    assert [row["resolution"] for row in about_the_source] == ["recovered"]


def test_an_empty_list_for_an_hour_is_one_problem_of_the_source(simulator: Simulator) -> None:
    simulator.list_connections(SOON, connection())
    simulator.api.lists()
    simulator.advance(HOUR, step=MINUTE)
    simulator.api.lists(SOON, connection())
    simulator.advance(17 * MINUTE, step=MINUTE)
    assert [row["rule"] for row in simulator.rows("incident_log", "WHERE platform_id IS NULL")] == [
        "bad_answer"
    ]
    assert len(simulator.sent) == 3
    assert all(row["removed_at"] is None for row in simulator.rows("current_connections"))


def test_a_connection_that_nobody_can_read_is_told_once_and_the_others_are_watched_as_ever(
    simulator: Simulator,
) -> None:
    simulator.list_connections(WELL)
    simulator.api.unreadable = frozenset({SOON.platform_id})
    simulator.advance(HOUR, step=MINUTE)
    [notified] = simulator.sent
    assert f"1 of 2 connections can't be read: {SOON.platform_id}" in notified.body
    runs = simulator.rows("poll_runs")
    simulator.advance(HOUR, step=MINUTE)
    assert len(simulator.sent) == 1
    assert simulator.rows("poll_runs") == runs
    [seen] = simulator.rows("targets")
    assert simulator.clock.now - moment(seen["last_ok_at"]) <= simulator.every
    simulator.api.lists(replace(WELL, token_status="expired"))
    simulator.advance(HOUR, step=MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.WARNING, Severity.CRITICAL]
    simulator.api.unreadable = frozenset()
    simulator.advance(HOUR, step=MINUTE)
    assert simulator.sent[-1].title.startswith("[RESOLVED]")
    about_the_source = simulator.rows("incident_log", "WHERE platform_id IS NULL")
    assert [row["resolution"] for row in about_the_source] == ["recovered"]


def test_failures_of_every_kind_in_turn_are_one_problem(simulator: Simulator) -> None:
    simulator.list_connections(WELL)
    kinds = (Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.BAD_ANSWER, Outcome.NETWORK_ERROR)
    for n in range(60):
        simulator.api.fails(failure(kinds[n % 4]))
        simulator.advance(MINUTE, step=MINUTE)
    simulator.api.failing.clear()
    simulator.advance(HOUR, step=MINUTE)
    assert len(simulator.sent) == 2


def test_a_revoked_key_shared_by_many_targets_is_told_once(database: Database) -> None:
    users = tuple(f"{n:024x}" for n in range(30))
    simulator = Simulator(database, users=users)
    for user in (None, *users):
        simulator.api.listed[user] = (connection(),)
    simulator.poll_all()
    for user in (None, *users):
        simulator.api.fails(failure(Outcome.UNAUTHORIZED), user)
    simulator.advance(HOUR, step=MINUTE)
    assert len(simulator.sent) == 1
    simulator.api.failing.clear()
    simulator.advance(HOUR, step=MINUTE)
    assert len(simulator.sent) == 2


def test_a_channel_down_for_hours_learns_what_is_true_when_it_is_back(simulator: Simulator) -> None:
    simulator.ops.refusal = DeliveryError("HTTP 500")
    simulator.list_connections(SOON)
    simulator.advance(90 * MINUTE, step=MINUTE)
    simulator.api.lists(WELL)
    simulator.advance(90 * MINUTE, step=MINUTE)
    simulator.ops.refusal = None
    simulator.advance(2 * HOUR, step=MINUTE)
    [notified] = [message for message in simulator.sent if "Instagram" in message.title]
    assert "The problem began and ended before this message could be sent." in notified.body
    assert "expires in" not in notified.title


def test_a_warning_that_was_renewed_before_its_delivery_is_not_told_as_news(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=MINUTE),)
    simulator.list_connections(SOON)
    assert simulator.sent == []
    simulator.clock.advance(timedelta(seconds=30))
    simulator.list_connections(WELL)
    simulator.advance(5 * MINUTE, step=MINUTE)
    [notified] = simulator.sent
    assert notified.severity is None


def test_one_failing_channel_is_retried_alone_and_told_through_the_other(simulator: Simulator) -> None:
    simulator.channels["mail"] = FakeChannel(name="mail")
    simulator.routes = (Route(channels=("ops", "mail"), group_wait=timedelta()),)
    simulator.ops.refusal = DeliveryError("HTTP 500")
    simulator.list_connections(SOON)
    simulator.advance(30 * MINUTE, step=timedelta(seconds=10))
    mails = simulator.channels["mail"].sent
    assert len(mails) == 2
    assert "Instagram" in mails[0].title
    assert "Channel ops" in mails[1].title
    simulator.ops.refusal = None
    simulator.advance(2 * HOUR, step=MINUTE)
    assert len([message for message in simulator.sent if "Instagram" in message.title]) == 1
    assert len(mails) == 3
    assert mails[2].title.startswith("[RESOLVED]")


@on_sqlite
def test_five_thousand_tokens_that_expire_at_once_are_one_message(simulator: Simulator) -> None:
    simulator.ops.body_limit = 2000
    simulator.ops.takes_attachments = True
    many = [
        connection(platform_id=f"linkedin-{n:05}", expires_at=NOW + 60 * DAY, display_name=f"Client {n}")
        for n in range(5000)
    ]
    simulator.list_connections(*many)
    assert simulator.sent == []
    simulator.api.lists(*(replace(each, token_status="expired", expires_at=NOW - HOUR) for each in many))
    simulator.advance(20 * MINUTE, step=MINUTE)
    [notified] = simulator.sent
    assert len(notified.body) <= 2000
    assert "and 4998 more" in notified.title
    assert notified.attachment is not None
    assert len(notified.attachment.content.decode("utf-8-sig").splitlines()) == 5001


def test_a_list_that_claims_for_one_poll_that_all_has_expired_is_not_believed(simulator: Simulator) -> None:
    many = [connection(platform_id=f"linkedin-{n:05}") for n in range(30)]
    simulator.list_connections(*many)
    simulator.list_connections(*(replace(each, token_status="expired") for each in many))
    simulator.clock.advance(MINUTE)
    simulator.list_connections(*many)
    simulator.advance(HOUR, step=MINUTE)
    assert simulator.sent == []
    assert simulator.rows("token_transitions", "WHERE to_status = 'expired'") == []


@on_sqlite
def test_an_open_incident_is_reminded_of_evenly_across_restarts(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    simulator.list_connections(EXPIRED)
    for _ in range(30):
        simulator.advance(DAY, step=HOUR)
        simulator.restart()
    reminders = simulator.rows("delivery_log", "WHERE reason = 'reminder'")
    assert len(reminders) == 30
    written = [moment(row["created_at"]) for row in reminders]
    assert all(abs(b - a - DAY) <= HOUR for a, b in pairwise(written))
    assert all(message.title.endswith(" (reminder)") for message in simulator.sent[1:])


def test_nobody_is_reminded_of_what_is_in_hand_until_it_gets_worse(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=6 * HOUR),)
    simulator.list_connections(SOON)
    [incident] = simulator.rows("incident_log")
    with simulator.database.begin() as store:
        acknowledgements.acknowledge(
            store,
            incident["id"],
            simulator.clock(),
            author="mia",
            comment="called the client",
            until=None,
        )
    simulator.advance(DAY, step=HOUR)
    assert len(simulator.sent) == 1
    [incident] = simulator.rows("incident_log")
    assert incident["acknowledged_by"] == "mia"
    simulator.advance(DAY, step=HOUR)  # the one-day rung passes
    assert simulator.sent[1].severity is Severity.CRITICAL
    [incident] = simulator.rows("incident_log")
    assert incident["acknowledged_by"] is None
    simulator.advance(7 * HOUR, step=HOUR)
    assert simulator.sent[-1].title.endswith(" (reminder)")


def test_an_acknowledgement_ends_when_it_said(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    simulator.list_connections(EXPIRED)
    [incident] = simulator.rows("incident_log")
    with simulator.database.begin() as store:
        acknowledgements.acknowledge(
            store,
            incident["id"],
            simulator.clock(),
            author="mia",
            comment="back on Thursday",
            until=simulator.clock() + timedelta(days=2, hours=12),
        )
    simulator.advance(2 * DAY, step=HOUR)
    assert len(simulator.sent) == 1
    simulator.advance(13 * HOUR, step=HOUR)
    assert len(simulator.sent) == 2
    assert simulator.sent[-1].title.endswith(" (reminder)")


def test_a_silence_holds_back_and_what_is_still_wrong_at_its_end_is_told_then(simulator: Simulator) -> None:
    _silence(simulator, {"platform": ["instagram"]}, until=simulator.clock() + 5 * HOUR)
    simulator.list_connections(SOON, connection())
    simulator.advance(4 * HOUR, step=HOUR)
    assert simulator.sent == []
    assert len(simulator.rows("incident_log")) == 1
    simulator.advance(2 * HOUR, step=HOUR)
    [notified] = simulator.sent
    assert "Instagram" in notified.title


def test_what_came_and_went_within_a_silence_is_never_told(simulator: Simulator) -> None:
    _silence(simulator, {"platform": ["instagram"]}, until=simulator.clock() + 5 * HOUR)
    simulator.list_connections(SOON)
    simulator.advance(HOUR, step=HOUR)
    simulator.list_connections(WELL)
    simulator.advance(6 * HOUR, step=HOUR)
    assert simulator.sent == []
    assert [row["state"] for row in simulator.rows("delivery_log")] == ["delivered", "delivered"]


def test_a_silence_that_is_ended_lets_out_what_it_held_at_once(simulator: Simulator) -> None:
    id_ = _silence(simulator, {"account": ["age*"]}, until=simulator.clock() + 5 * HOUR)
    simulator.list_connections(SOON)
    assert simulator.sent == []
    with simulator.database.begin() as store:
        assert silences.expire_silence(
            store, id_, simulator.clock(), author="mia", routing=Routing(routes=simulator.routes)
        )
    simulator.tick()
    assert len(simulator.sent) == 1


def test_a_silence_that_begins_later_holds_what_is_waiting(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=MINUTE),)
    simulator.list_connections(SOON)
    _silence(simulator, {"rule": ["token_*"]}, until=simulator.clock() + HOUR)
    simulator.advance(30 * MINUTE, step=MINUTE)
    assert simulator.sent == []
    simulator.advance(HOUR, step=MINUTE)
    assert len(simulator.sent) == 1


def test_a_problem_that_comes_and_goes_is_told_as_flapping_once_and_then_at_its_end(
    simulator: Simulator,
) -> None:
    for _ in range(12):
        simulator.clock.advance(10 * MINUTE)
        simulator.list_connections(EXPIRED)
        simulator.clock.advance(10 * MINUTE)
        simulator.list_connections(WELL)
    assert len(simulator.sent) == 7  # three times there and back, then flapping
    assert "4 times" in simulator.sent[-1].body
    simulator.advance(7 * HOUR, step=MINUTE * 15)
    assert len(simulator.sent) == 8
    assert simulator.sent[-1].title.startswith("[RESOLVED]")


def test_quiet_hours_hold_a_warning_and_let_what_is_critical_through(simulator: Simulator) -> None:
    quiet = QuietHours(starts=time(20), ends=time(8), zone=ZoneInfo("Europe/Berlin"))
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), quiet_hours=quiet),)
    simulator.list_connections(SOON)  # NOW is 21:00 in Berlin
    assert simulator.sent == []
    simulator.list_connections(SOON, replace(EXPIRED, platform_id="threads-1"))
    assert [message.severity for message in simulator.sent] == [Severity.CRITICAL]
    simulator.advance(11 * HOUR + MINUTE, step=MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.CRITICAL, Severity.WARNING]


def test_a_clock_that_steps_back_and_forth_repeats_nothing_and_misses_no_rung(simulator: Simulator) -> None:
    token = dated(NOW + 8 * DAY)
    simulator.follow(token, 2 * HOUR, step=MINUTE)
    simulator.clock.advance(-HOUR)
    simulator.follow(token, 2 * HOUR, step=MINUTE)
    simulator.clock.advance(DAY)
    simulator.follow(token, 2 * HOUR, step=MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.NOTICE]
    simulator.clock.advance(-DAY)
    simulator.follow(token, 2 * DAY, step=15 * MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.NOTICE]
    simulator.follow(token, 3 * DAY, step=15 * MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.NOTICE, Severity.WARNING]


def test_a_single_pass_waits_for_no_group_but_for_quiet_hours_and_silences(simulator: Simulator) -> None:
    quiet = QuietHours(starts=time(20), ends=time(8), zone=ZoneInfo("Europe/Berlin"))
    simulator.channels |= {name: FakeChannel(name=name) for name in ("night", "later")}
    simulator.routes = (
        Route(channels=("night",), group_wait=HOUR, quiet_hours=quiet),
        Route(channels=("later",), group_wait=HOUR),
    )
    simulator.list_connections(SOON)
    for channel in ("night", "later"):
        deliver_channel(channel, simulator.context, {}, wait=False)
    assert len(simulator.channels["later"].sent) == 1
    assert simulator.channels["night"].sent == []


def test_the_end_of_an_incident_is_told_to_whoever_was_told_of_it_at_its_worst(simulator: Simulator) -> None:
    simulator.channels["boss"] = FakeChannel(name="boss")
    simulator.routes = (
        Route(channels=("boss",), match=Matcher(severity=("critical",)), group_wait=timedelta()),
        Route(channels=("ops",), group_wait=timedelta()),
    )
    simulator.list_connections(SOON)
    simulator.advance(2 * DAY, step=HOUR)
    simulator.list_connections(WELL)
    assert len(simulator.channels["boss"].sent) == 2
    assert simulator.channels["boss"].sent[-1].title.startswith("[RESOLVED]")


def test_a_route_may_leave_recoveries_out(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), send_resolved=False),)
    simulator.list_connections(SOON)
    simulator.list_connections(WELL)
    simulator.advance(HOUR)
    assert len(simulator.sent) == 1


def test_a_digest_comes_daily_and_says_what_is_open_coming_and_well(simulator: Simulator) -> None:
    schedule = Schedule(time_of_day=time(9), zone=ZoneInfo("Europe/Berlin"))
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), digest=schedule),)
    simulator.list_connections(
        SOON,
        connection(expires_at=NOW + 20 * DAY),
        connection(platform_id="twitter-1", token_status="unknown"),
    )
    assert len(simulator.sent) == 1
    simulator.advance(3 * DAY, step=HOUR)
    digests = [message for message in simulator.sent if message.title.startswith("[DIGEST]")]
    assert len(digests) == 3
    assert "Open (1)" in digests[0].body
    assert "Expiring within 30 days (1)" in digests[0].body
    assert "1 other connection has no problems." in digests[0].body


def test_after_a_day_an_empty_list_is_believed_and_its_incidents_end_as_removed(simulator: Simulator) -> None:
    simulator.list_connections(SOON, connection())
    simulator.api.lists()
    simulator.advance(2 * DAY, step=15 * MINUTE)
    assert all(row["removed_at"] is not None for row in simulator.rows("current_connections"))
    [expiry, *gone] = simulator.rows("incident_log", "WHERE platform_id IS NOT NULL")
    assert expiry["resolution"] == "removed"
    assert [each["rule"] for each in gone] == ["connection_removed"] * 2


def test_an_expired_token_that_comes_back_after_it_was_gone_is_the_same_connection(
    simulator: Simulator,
) -> None:
    others = [connection(platform_id=f"linkedin-{n}") for n in range(4)]
    simulator.list_connections(EXPIRED, *others)
    simulator.api.lists(*others)
    simulator.advance(HOUR, step=5 * MINUTE)
    [gone] = simulator.rows("current_connections", "WHERE removed_at IS NOT NULL")
    simulator.list_connections(WELL, *others)
    back = simulator.rows("current_connections", "WHERE platform = 'instagram'")
    assert [row["id"] for row in back] == [gone["id"]]
    assert back[0]["removed_at"] is None


def test_a_publish_error_is_told_and_cleared_by_the_next_good_post(simulator: Simulator) -> None:
    failed = replace(WELL, last_error=error(occurred_at=NOW - HOUR))
    simulator.list_connections(failed)
    simulator.list_connections(replace(failed, last_successful_post_at=NOW))
    assert [message.severity for message in simulator.sent] == [Severity.WARNING, None]


def _silence(simulator: Simulator, match: dict[str, list[str]], *, until: datetime) -> int:
    with simulator.database.begin() as store:
        return silences.add_silence(
            store,
            match,
            simulator.clock(),
            until=until,
            author="mia",
            comment="maintenance",
            routing=Routing(routes=simulator.routes),
        )


def test_an_account_whose_tokens_all_turn_at_once_is_one_incident_that_says_how_many_and_which(
    simulator: Simulator,
) -> None:
    many = [connection(platform_id=f"{name}-{n}") for n in range(20) for name in ("linkedin", "tiktok")]
    simulator.list_connections(*many)
    simulator.list_connections(*(replace(each, token_status="expired") for each in many))
    [anomaly] = simulator.rows("incident_log")
    assert (anomaly["rule"], anomaly["platform_id"], anomaly["resolved_at"]) == ("bad_answer", None, None)
    assert "40 of 40 tokens got worse at once (linkedin 20, tiktok 20)" in anomaly["summary"]
    assert simulator.sent == []
    simulator.advance(5 * MINUTE, step=MINUTE)
    [notified] = simulator.sent
    assert "and 38 more" in notified.title
    assert {row["rule"] for row in simulator.rows("incident_log", "WHERE resolved_at IS NULL")} == {
        "token_expiry"
    }


def test_a_doubt_hides_no_failure_that_comes_after_it(simulator: Simulator) -> None:
    many = [connection(platform_id=f"linkedin-{n}") for n in range(20)]
    simulator.list_connections(*many)
    simulator.list_connections(*(replace(each, token_status="expired") for each in many))
    simulator.api.fails(failure(Outcome.SERVER_ERROR))
    simulator.advance(HOUR, step=MINUTE)
    [notified] = simulator.sent
    assert notified.title.endswith("API is returning errors")


def test_an_api_that_answers_now_and_then_is_one_problem(simulator: Simulator) -> None:
    simulator.list_connections(WELL)
    for n in range(60):
        if n % 4 == 3:
            simulator.api.failing.clear()
        else:
            simulator.api.fails(failure(Outcome.SERVER_ERROR))
        simulator.clock.advance(MINUTE)
        simulator.poll_all()
    simulator.api.failing.clear()
    simulator.advance(HOUR, step=MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.WARNING, None]
