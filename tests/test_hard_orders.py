"""Orders of happenings that lose or double a message elsewhere; each on SQLite and on PostgreSQL."""

from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.core.model import Reason, Severity
from monitor.core.outgoing import Message
from monitor.core.routes import Match, QuietHours, Route
from monitor.errors import DeliveryError
from monitor.jobs.deliver import deliver_to
from monitor.jobs.digest import digest
from monitor.jobs.oversee import oversee
from monitor.jobs.remind import remind
from monitor.storage import Database, dead_letters, outbox, people
from monitor.storage.outbox import LEASE, Notified
from tests.factories import DAY, HOUR, MINUTE, NOW, connection
from tests.fakes import FakeChannel
from tests.house import House

DOWN = DeliveryError("HTTP 500")
UNSURE = DeliveryError("no answer in time", uncertain=True)
GONE = DeliveryError("HTTP 404", permanent=True)
SOON = connection(
    platform_id="instagram-1", token_status="expiring_soon", expires_at=NOW + timedelta(days=2, hours=12)
)
WELL = replace(SOON, token_status="valid", expires_at=NOW + 60 * DAY)
EXPIRED = replace(SOON, token_status="expired", expires_at=NOW - HOUR)
AT_NIGHT = QuietHours(starts=time(20), ends=time(8), zone=ZoneInfo("Europe/Berlin"))  # NOW is 21:00 there


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def silence(house: House, match: dict[str, list[str]], *, lasts: timedelta) -> int:
    with house.database.begin() as store:
        return people.silence(
            store.connection,
            match,
            house.clock(),
            until=house.clock() + lasts,
            by="mia",
            why="maintenance",
            routing=house.routing,
        )


def end_silence(house: House, id_: int) -> None:
    with house.database.begin() as store:
        routing = replace(house.routing, silences=store.silences(house.clock()))
        assert people.end_silence(store.connection, id_, house.clock(), by="mia", routing=routing)


def acknowledge(house: House, id_: int = 1) -> None:
    with house.database.begin() as store:
        people.acknowledge(store.connection, id_, house.clock(), by="mia", why="on it", until=None)


@dataclass(slots=True)
class BusyChannel(FakeChannel):
    """A channel in the middle of whose sending something else happens."""

    meanwhile: Any = None
    late: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        happens, self.meanwhile = self.meanwhile, None
        if happens:
            happens()
        FakeChannel.send(self, message)


# What is true now


def test_an_end_that_was_held_up_is_not_told_once_the_problem_is_back(house: House) -> None:
    house.shows(EXPIRED)
    house.ops.refusal = DOWN
    house.shows(WELL)
    house.live(40 * MINUTE, step=MINUTE)
    house.ops.refusal = None
    house.shows(EXPIRED)
    house.live(3 * HOUR, step=MINUTE)
    assert all(message.severity is Severity.CRITICAL for message in house.sent)
    house.shows(WELL)
    house.live(HOUR, step=MINUTE)
    assert house.sent[-1].severity is None


def test_quiet_hours_keep_no_end_for_the_morning_that_is_wrong_by_then(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), quiet_hours=AT_NIGHT),)
    house.clock.now = NOW - 2 * HOUR
    house.shows(SOON)  # told in the evening
    house.clock.now = NOW
    house.shows(WELL)  # held: it was but a warning
    house.clock.advance(HOUR)
    house.shows(EXPIRED)  # breaks through
    house.live(DAY, step=HOUR)
    assert [message.severity for message in house.sent] == [Severity.WARNING, Severity.CRITICAL]


def test_resolved_and_opened_again_before_its_delivery_it_is_told_as_open(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=5 * MINUTE),)
    for seen in (EXPIRED, WELL, EXPIRED):
        house.shows(seen)
        house.clock.advance(MINUTE)
    house.live(10 * MINUTE, step=MINUTE)
    [told] = house.sent
    assert told.severity is Severity.CRITICAL
    assert "OVER" not in told.body


def test_the_end_of_a_problem_that_was_back_for_a_while_is_told_though_a_silence_covers_all_of_that(
    house: House,
) -> None:
    house.routes = (Route(channels=("ops",), group_wait=10 * MINUTE, group_by=("severity",)),)
    house.shows(SOON)
    house.live(20 * MINUTE, step=MINUTE)
    assert [Severity.WARNING] == [message.severity for message in house.sent]
    house.shows(WELL)  # the end waits for its group
    house.live(5 * MINUTE, step=MINUTE)
    house.shows(EXPIRED)  # and is wrong by the time that it is due
    house.live(6 * MINUTE, step=MINUTE)
    silence(house, {"platform": ["instagram"]}, lasts=2 * HOUR)
    house.live(20 * MINUTE, step=MINUTE)
    house.shows(WELL)
    house.live(4 * HOUR, step=15 * MINUTE)
    assert [Severity.WARNING, None] == [message.severity for message in house.sent]


# Silences and quiet hours


@pytest.mark.parametrize("ends", ["by itself", "by hand"])
def test_a_silence_that_ends_in_quiet_hours_lets_nothing_out_before_morning(house: House, ends: str) -> None:
    house.routes = (Route(channels=("ops",), group_wait=MINUTE, quiet_hours=AT_NIGHT),)
    house.shows(SOON)
    id_ = silence(house, {"platform": ["instagram"]}, lasts=2 * HOUR)
    if ends == "by hand":
        house.live(HOUR, step=HOUR)
        end_silence(house, id_)
    house.live(9 * HOUR, step=15 * MINUTE)
    assert house.sent == []
    house.live(HOUR, step=15 * MINUTE)
    house.live(2 * HOUR, step=15 * MINUTE)
    assert len(house.sent) == 1


def test_a_silence_holds_an_incident_that_only_became_what_it_silences(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=5 * MINUTE),)
    house.shows(SOON)
    silence(house, {"severity": ["critical"]}, lasts=5 * HOUR)
    house.shows(replace(SOON, expires_at=NOW + HOUR))
    house.live(4 * HOUR, step=5 * MINUTE)
    assert house.sent == []
    house.live(2 * HOUR, step=5 * MINUTE)
    assert [message.severity for message in house.sent] == [Severity.CRITICAL]


@pytest.mark.parametrize("refusal", [DOWN, UNSURE])
def test_a_silence_holds_what_is_being_retried_and_its_retries_count_anew(
    house: House, refusal: DeliveryError
) -> None:
    house.ops.refusal = refusal
    house.shows(SOON)
    silence(house, {"account": ["agency"]}, lasts=30 * HOUR)
    house.live(29 * HOUR, step=HOUR)
    tried = house.ops.tried
    assert tried == 1
    house.live(2 * HOUR, step=5 * MINUTE)
    assert house.ops.tried > tried
    assert {"failed"}.isdisjoint(row["state"] for row in house.rows("delivery_log"))
    house.ops.refusal = None
    house.live(2 * HOUR, step=5 * MINUTE)
    assert len(house.sent) == 1


def test_what_two_silences_hold_is_told_when_the_last_one_ends(house: House) -> None:
    first = silence(house, {"platform": ["instagram"]}, lasts=5 * HOUR)
    silence(house, {"account": ["agency"]}, lasts=3 * HOUR)
    house.shows(SOON)
    end_silence(house, first)
    house.live(2 * HOUR, step=15 * MINUTE)
    assert house.sent == []
    house.live(2 * HOUR, step=15 * MINUTE)
    assert len(house.sent) == 1


# Acknowledgements


def test_a_reminder_that_waits_for_morning_is_not_sent_once_somebody_has_it(house: House) -> None:
    late = QuietHours(starts=time(22), ends=time(8), zone=ZoneInfo("Europe/Berlin"), critical=False)
    house.routes = (
        Route(channels=("ops",), group_wait=timedelta(), remind_every=2 * HOUR, quiet_hours=late),
    )
    house.shows(EXPIRED)
    house.live(3 * HOUR, step=15 * MINUTE)  # the reminder is written in the night
    assert [row["reason"] for row in house.rows("delivery_log")] == ["opened", "reminder"]
    acknowledge(house)
    house.live(12 * HOUR, step=15 * MINUTE)
    assert len(house.sent) == 1


def test_taken_in_hand_then_worse_then_milder_then_worse_again(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    house.shows(SOON)
    acknowledge(house)
    house.shows(replace(SOON, expires_at=house.clock.now + 5 * DAY))  # milder: it stays in hand
    [incident] = house.rows("incident_log")
    assert incident["acknowledged_by"] == "mia"
    house.shows(replace(SOON, expires_at=house.clock.now + 6 * HOUR))  # worse: it doesn't
    [incident] = house.rows("incident_log")
    assert (incident["acknowledged_by"], incident["severity"]) == (None, "critical")
    house.shows(replace(SOON, expires_at=house.clock.now + 5 * DAY))
    house.shows(WELL)
    assert [message.severity for message in house.sent] == [Severity.WARNING, Severity.CRITICAL, None]
    history = house.rows("acknowledgements")
    assert [(row["by"], row["why"], row["ended_at"] is not None) for row in history] == [
        ("mia", "on it", True)
    ]


def test_what_people_say_is_not_lost_to_a_poll_that_began_before_they_said_it(house: House) -> None:
    house.shows(SOON)
    with house.database.read() as store:
        [target] = store.watched()
    from monitor.core.decide import decide
    from monitor.jobs import record_changes
    from tests.factories import snapshot

    with house.database.read() as store:
        known = store.completed(store.states_of([target]), recent_since=NOW)[target.id]
    acknowledge(house)
    seen = snapshot(replace(SOON, expires_at=NOW + timedelta(days=2, hours=11)), target=target)
    decision = decide(known, seen, rules=house.rules)
    assert decision.incidents
    with house.database.begin() as store:
        changes = [(change, target) for change in decision.incidents]
        record_changes(changes, store=store, routing=house.routing, now=house.clock())
    [incident] = house.rows("incident_log")
    assert incident["acknowledged_by"] == "mia"


# Channels and routes that change


def test_a_channel_that_is_renamed_with_news_on_its_way_loses_none_of_it(house: House) -> None:
    house.ops.refusal = DOWN
    house.shows(SOON)
    house.channels = {"team": FakeChannel(name="team")}
    house.routes = (Route(channels=("team",), group_wait=timedelta()),)
    house.restart()
    house.live(HOUR, step=MINUTE)
    [told] = house.channels["team"].sent
    assert told.severity is Severity.WARNING
    for _ in range(5):
        house.restart()
        house.live(HOUR, step=15 * MINUTE)
    assert len(house.channels["team"].sent) == 1


def test_a_channel_that_was_left_out_for_a_while_is_told_when_it_is_back(house: House) -> None:
    house.ops.refusal = DOWN
    house.shows(SOON)
    ops, routes = house.channels, house.routes
    house.channels, house.routes = {}, ()
    house.restart()
    house.live(HOUR, step=MINUTE)
    assert [row["state"] for row in house.rows("delivery_log")] == ["failed"]
    house.channels, house.routes = ops, routes
    house.ops.refusal = None
    house.restart()
    house.live(HOUR, step=MINUTE)
    assert len(house.sent) == 1


def test_a_route_that_is_edited_tells_only_those_who_never_heard(house: House) -> None:
    house.shows(SOON)
    house.channels["mail"] = FakeChannel(name="mail")
    house.routes = (
        Route(
            channels=("ops", "mail"),
            group_by=("platform", "severity"),
            group_wait=MINUTE,
            match=Match(platform=("insta*",)),
        ),
    )
    house.restart()
    house.live(HOUR, step=MINUTE)
    assert (1, 1) == (len(house.sent), len(house.channels["mail"].sent))
    house.shows(WELL)
    house.live(HOUR, step=MINUTE)
    assert [Severity.WARNING, None] == [message.severity for message in house.sent]
    assert [Severity.WARNING, None] == [message.severity for message in house.channels["mail"].sent]


def test_what_was_given_up_and_is_still_wrong_is_told_once_the_channel_takes_messages(house: House) -> None:
    house.ops.refusal = GONE
    house.shows(SOON)
    house.live(3 * HOUR, step=5 * MINUTE)
    assert [row["state"] for row in house.rows("delivery_log")] == ["failed"]
    house.ops.refusal = None
    house.shows(SOON, connection(platform_id="threads-1", token_status="expired", expires_at=NOW - DAY))
    house.live(10 * MINUTE, step=MINUTE)
    assert {"delivered"} == {row["state"] for row in house.rows("delivery_log")}
    assert ["Threads" in message.title for message in house.sent] == [True, False]


def test_a_recovery_that_is_refused_twice_an_hour_apart_is_sent(house: House) -> None:
    house.shows(EXPIRED)
    house.ops.refusal = GONE
    house.shows(WELL)
    house.clock.advance(62 * MINUTE)
    house.tick()
    assert house.ops.tried == 3
    house.ops.refusal = None
    house.live(2 * HOUR)
    assert [Severity.CRITICAL, None] == [message.severity for message in house.sent]


OTHER = connection(platform_id="threads-1", token_status="expired", expires_at=NOW - DAY)


def test_a_recovery_that_was_given_up_is_sent_once_the_channel_takes_messages(house: House) -> None:
    house.shows(EXPIRED)
    house.ops.refusal = GONE
    house.shows(WELL)
    house.live(3 * HOUR, step=5 * MINUTE)
    assert ["delivered", "failed"] == [row["state"] for row in house.rows("delivery_log")]
    house.ops.refusal = None
    house.shows(WELL, OTHER)
    house.live(10 * MINUTE, step=MINUTE)
    assert {"delivered"} == {row["state"] for row in house.rows("delivery_log")}
    assert [True, True, False] == [message.severity is not None for message in house.sent]
    assert "token is good again" in house.sent[-1].body
    house.restart()
    house.live(HOUR)
    assert len(house.sent) == 3


def test_a_problem_that_came_and_went_while_the_channel_refused_all_stays_among_the_dead_letters(
    house: House,
) -> None:
    house.ops.refusal = GONE
    house.shows(EXPIRED)
    house.live(3 * HOUR, step=5 * MINUTE)
    house.shows(WELL)
    house.live(3 * HOUR, step=5 * MINUTE)
    house.ops.refusal = None
    house.shows(WELL, OTHER)
    house.restart()
    house.live(HOUR, step=MINUTE)
    assert ["failed", "failed", "delivered"] == [row["state"] for row in house.rows("delivery_log")]
    assert len(house.sent) == 1


@dataclass(slots=True)
class KeyedChannel(FakeChannel):
    """A channel that keeps the key of each attempt."""

    keys: list[str] = field(default_factory=list)

    def send(self, message: Message) -> None:
        self.keys.append(message.key)
        FakeChannel.send(self, message)


@pytest.mark.parametrize("by_hand", [False, True], ids=["requeued by itself", "deliveries retry"])
@pytest.mark.parametrize(
    ("refusal", "keeps_key"), [(UNSURE, True), (DOWN, False)], ids=["may have arrived", "surely refused"]
)
def test_a_dead_letter_keeps_its_key_if_its_message_may_have_arrived(
    house: House, refusal: DeliveryError, keeps_key: bool, by_hand: bool
) -> None:
    channel = house.channels["ops"] = KeyedChannel(refusal=refusal)
    house.shows(EXPIRED)
    while [row["state"] for row in house.rows("delivery_log")] != ["failed"]:
        house.live(HOUR, step=20 * MINUTE)
    tried = set(channel.keys)
    channel.refusal = None
    if by_hand:
        with house.database.begin() as store:
            assert [1] == dead_letters.revive(store.connection, [1], house.clock())
    else:
        house.restart()
    house.tick()
    [message] = house.sent
    assert keeps_key is (message.key in tried)
    assert {"delivered"} == {row["state"] for row in house.rows("delivery_log")}


def test_what_changed_since_a_dead_letter_is_sent_under_another_key(house: House) -> None:
    channel = house.channels["ops"] = KeyedChannel(refusal=UNSURE)
    house.shows(SOON)
    while [row["state"] for row in house.rows("delivery_log")] != ["failed"]:
        house.live(HOUR, step=20 * MINUTE)
    tried = set(channel.keys)
    house.shows(EXPIRED)
    channel.refusal = None
    house.restart()
    house.live(2 * HOUR, step=20 * MINUTE)
    [message] = house.sent
    assert message.severity is Severity.CRITICAL
    assert message.key not in tried


def test_a_message_that_may_be_out_keeps_its_key_through_a_silence(house: House) -> None:
    channel = house.channels["ops"] = KeyedChannel(refusal=UNSURE)
    house.shows(EXPIRED)
    silence(house, {"platform": ["instagram"]}, lasts=2 * HOUR)
    channel.refusal = None
    house.live(HOUR, step=MINUTE)
    assert house.sent == []
    house.live(2 * HOUR, step=MINUTE)
    [message] = house.sent
    assert set(channel.keys) == {message.key}


def test_what_gets_worse_after_a_milder_message_is_sent_though_it_was_as_bad_before(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=10 * MINUTE),)
    week, day = (replace(SOON, expires_at=NOW + left) for left in (5 * DAY, 20 * HOUR))
    house.shows(week)
    house.live(15 * MINUTE, step=MINUTE)
    house.shows(day)
    house.shows(week)
    house.live(15 * MINUTE, step=MINUTE)
    assert [Severity.NOTICE] == [message.severity for message in house.sent]  # the same again is no news
    house.shows(day)
    house.live(15 * MINUTE, step=MINUTE)
    assert [Severity.NOTICE, Severity.CRITICAL] == [message.severity for message in house.sent]
    house.live(HOUR)
    assert len(house.sent) == 2


def test_what_gets_worse_after_a_milder_message_ends_its_acknowledgement(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=10 * MINUTE),)
    week, day = (replace(SOON, expires_at=NOW + left) for left in (5 * DAY, 20 * HOUR))
    house.shows(week)
    house.live(15 * MINUTE, step=MINUTE)
    house.shows(day)
    house.shows(week)
    house.live(15 * MINUTE, step=MINUTE)
    acknowledge(house)
    house.shows(day)
    house.live(15 * MINUTE, step=MINUTE)
    assert [Severity.NOTICE, Severity.CRITICAL] == [message.severity for message in house.sent]
    assert house.rows("incident_log")[0]["acknowledged_by"] is None
    assert house.rows("acknowledgements")[0]["ended_at"] is not None


def test_a_severity_that_a_channel_is_not_to_be_told_of_is_not_sent_to_it(house: House) -> None:
    house.routes = (
        Route(channels=("ops",), match=Match(severity=("notice",)), group_wait=timedelta()),
        Route(channels=("pager",), match=Match(severity=("critical",)), group_wait=timedelta()),
    )
    house.channels["pager"] = FakeChannel(name="pager")
    house.shows(replace(SOON, expires_at=NOW + 5 * DAY))
    house.shows(EXPIRED)
    house.live(HOUR)
    assert [Severity.NOTICE] == [message.severity for message in house.sent]
    assert len(house.channels["pager"].sent) == 1


def test_what_is_still_wrong_is_sent_however_long_the_channel_was_out_of_order(house: House) -> None:
    house.ops.refusal = GONE
    house.shows(EXPIRED)
    for _ in range(200):
        house.live(HOUR, step=30 * MINUTE)
        house.restart()
    tried = house.ops.tried
    house.live(5 * DAY, step=HOUR)
    assert tried < house.ops.tried < tried + 10
    house.ops.refusal = None
    house.live(3 * DAY, step=HOUR)
    assert [Severity.CRITICAL] == [message.severity for message in house.sent]
    assert {"delivered"} == {row["state"] for row in house.rows("delivery_log")}


def test_what_is_never_taken_is_not_tried_for_ever(house: House) -> None:
    house.ops.refusal = GONE
    house.shows(EXPIRED)
    for _ in range(40):
        house.live(2 * HOUR, step=20 * MINUTE)
        house.restart()
    assert house.ops.tried < 80
    assert [row["state"] for row in house.rows("delivery_log")] == ["failed"]


def test_a_failing_channel_is_told_through_the_others_whatever_the_routes_say(house: House) -> None:
    house.channels["pager"] = FakeChannel(name="pager")
    house.routes = (
        Route(channels=("pager",), match=Match(severity=("critical",)), group_wait=timedelta()),
        Route(channels=("ops",), match=Match(account=("agency",)), group_wait=timedelta()),
    )
    house.ops.refusal = DOWN
    house.shows(SOON)
    house.live(30 * MINUTE, step=MINUTE)
    [told] = house.channels["pager"].sent
    assert "a channel takes no messages" in told.title
    house.ops.refusal = None
    house.live(2 * HOUR, step=MINUTE)
    assert house.channels["pager"].sent[-1].title.startswith("OK")
    assert not [message for message in house.sent if "a channel takes" in message.title]


# Two at once


def test_news_does_not_overtake_what_another_process_is_telling_right_now(house: House) -> None:
    other = replace(house, channels={"ops": BusyChannel()})
    busy = other.channels["ops"]
    assert isinstance(busy, BusyChannel)

    def recovers() -> None:
        house.clock.advance(MINUTE)
        house.shows(WELL)

    busy.meanwhile = recovers
    house.api.lists(EXPIRED)
    house.review()
    house.poll()
    deliver_to("ops", other.post)
    assert house.sent == []  # the end waits for the beginning
    assert [Severity.CRITICAL, None] == [message.severity for message in busy.sent]


def test_two_processes_that_work_at_once_say_nothing_twice(house: House) -> None:
    house.routes = (
        Route(
            channels=("ops",),
            group_wait=timedelta(),
            remind_every=DAY,
        ),
    )
    twin = replace(house, channels=house.channels)
    house.shows(EXPIRED)
    for _ in range(10):
        house.clock.advance(DAY)
        for each in (house, twin):
            remind(database=each.database, routing=each.routing, clock=each.clock)
            digest(database=each.database, routing=each.routing, clock=each.clock)
        twin.deliver()
        house.deliver()
        oversee(house.channels, database=house.database, routing=house.routing, clock=house.clock)
    assert len(house.sent) == 11


def test_a_sender_whose_lease_has_ended_cannot_undo_what_another_does(house: House) -> None:
    house.shows()
    house.api.lists(EXPIRED)
    house.look_quietly()
    with house.database.begin() as store:
        slow = outbox.claim(store.connection, house.clock(), channel="ops", name="m1")
    house.clock.advance(LEASE)
    with house.database.begin() as store:
        fast = outbox.claim(store.connection, house.clock(), channel="ops", name="m2")
    assert slow
    assert fast
    assert (fast.name, fast.may_be_out, slow.may_be_out) == ("m1", True, False)
    with house.database.begin() as store:
        assert outbox.renew(store.connection, slow, house.clock()) is None
        outbox.put_back(store.connection, slow, due_at=house.clock(), error="late")
        outbox.bury(store.connection, slow, error="late")
        outbox.keep(store.connection, slow, until=house.clock(), error="late")
    assert [row["state"] for row in house.rows("delivery_log")] == ["sending"]
    with house.database.begin() as store:
        outbox.keep(store.connection, fast, until=house.clock() + MINUTE, error="no answer in time")
        outbox.settle(
            store.connection, slow, house.clock(), told={1: Notified("critical")}
        )  # it got through after all
    assert [row["state"] for row in house.rows("delivery_log")] == ["delivered"]


def test_what_a_killed_sender_may_have_sent_keeps_its_key_though_the_next_attempt_is_refused(
    house: House,
) -> None:
    house.api.lists(EXPIRED)
    house.look_quietly()
    with house.database.begin() as store:
        assert outbox.claim(store.connection, house.clock(), channel="ops", name="first")
    house.ops.refusal = DOWN
    house.live(3 * HOUR, step=MINUTE)
    house.ops.refusal = None
    house.live(2 * HOUR, step=MINUTE)
    assert [message.key for message in house.sent] == ["first"]


# Clocks


def test_what_was_written_by_a_clock_that_ran_ahead_is_told_when_it_is_set_right(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_wait=MINUTE),)
    house.clock.advance(DAY)
    house.shows(EXPIRED)
    house.clock.advance(-DAY)
    house.live(5 * MINUTE, step=MINUTE)
    assert len(house.sent) == 1


def test_a_lease_or_a_retry_of_a_clock_that_ran_ahead_ends_when_it_is_set_right(house: House) -> None:
    house.clock.advance(DAY)
    house.ops.refusal = DOWN
    house.shows(EXPIRED)
    house.ops.refusal = None
    house.clock.advance(-DAY)
    house.live(5 * MINUTE, step=MINUTE)
    assert len(house.sent) == 1
    house.clock.advance(DAY)
    house.api.lists(EXPIRED, replace(EXPIRED, platform_id="threads-1"))
    house.look_quietly()
    with house.database.begin() as store:
        assert outbox.claim(store.connection, house.clock(), channel="ops", name="dead")
    house.clock.advance(-DAY)
    house.live(5 * MINUTE, step=MINUTE)
    assert (2, "dead") == (len(house.sent), house.sent[-1].key)


def test_quiet_hours_end_once_and_for_good_on_the_days_when_the_clocks_change() -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"):
        for starts, ends in ((time(20), time(8)), (time(1), time(2, 30)), (time(22), time(2, 30))):
            quiet = QuietHours(starts=starts, ends=ends, zone=ZoneInfo(zone))
            starts_of_days = (NOW + timedelta(days=day) for day in range(366))
            changing = [
                day
                for day in starts_of_days
                if (day - DAY).astimezone(quiet.zone).utcoffset()
                != (day + DAY).astimezone(quiet.zone).utcoffset()
            ]
            assert len(changing) == 4
            for day in changing:
                for minutes in range(0, 24 * 60, 10):
                    now = day + timedelta(minutes=minutes)
                    until = quiet.until(now)
                    if until is not None:
                        assert now < until <= now + timedelta(hours=14)
                        assert quiet.until(until) is None


@pytest.mark.parametrize(("month", "day"), [(3, 28), (10, 24)])
def test_quiet_hours_in_the_night_the_clocks_change_hold_and_let_go_once(
    house: House, month: int, day: int
) -> None:
    quiet = QuietHours(starts=time(22), ends=time(2, 30), zone=ZoneInfo("Europe/Berlin"))
    house.routes = (Route(channels=("ops",), group_wait=timedelta(), quiet_hours=quiet),)
    house.clock.now = NOW.replace(month=month, day=day, hour=22)
    house.shows(replace(SOON, expires_at=house.clock.now + 60 * HOUR))
    assert house.sent == []
    house.live(6 * HOUR, step=5 * MINUTE)
    assert len(house.sent) == 1


# Reminders


def test_reminders_keep_their_beat_through_restarts_and_edits_of_the_routes(house: House) -> None:
    def route(**given: Any) -> Route:
        return Route(channels=("ops",), group_wait=timedelta(), **given)

    house.routes = (route(remind_every=DAY),)
    house.shows(EXPIRED)
    for day in range(10):
        house.live(DAY, step=HOUR)
        if day == 3:
            house.routes = (route(remind_every=DAY, group_by=("platform",)),)
        if day == 6:
            house.routes = (
                Route(channels=("ops",), match=Match(platform=("linkedin",)), remind_every=HOUR),
                route(remind_every=DAY, match=Match(severity=("critical",))),
            )
        house.restart()
    assert len([row for row in house.rows("delivery_log") if row["reason"] == Reason.REMINDER]) == 10
    house.routes = (route(remind_every=12 * HOUR, remind_at_most=1),)
    house.live(5 * DAY, step=HOUR)
    assert len([row for row in house.rows("delivery_log") if row["reason"] == Reason.REMINDER]) == 10


def test_each_route_reminds_at_its_own_pace(house: House) -> None:
    house.channels["boss"] = FakeChannel(name="boss")
    house.routes = (
        Route(channels=("ops",), group_wait=timedelta(), remind_every=6 * HOUR),
        Route(channels=("boss",), group_wait=timedelta(), remind_every=DAY, remind_at_most=2),
    )
    house.shows(EXPIRED)
    house.live(4 * DAY, step=HOUR)
    assert (17, 3) == (len(house.sent), len(house.channels["boss"].sent))
