"""Orders of happenings that lose or double a message elsewhere; each on SQLite and on PostgreSQL."""

from dataclasses import dataclass, field, replace
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.core.messages.message import Message
from monitor.core.model import Reason, Severity
from monitor.core.routing.routes import Matcher, QuietHours, Route
from monitor.errors import DeliveryError
from monitor.jobs.check_channels import check_channels
from monitor.jobs.deliver import deliver_channel
from monitor.jobs.digest import write_digests
from monitor.jobs.remind import remind
from monitor.storage import acknowledgements, dead_letters, outbox, silences
from monitor.storage.database import Database
from monitor.storage.outbox import LEASE, Notified
from tests.factories import DAY, HOUR, MINUTE, NOW, connection
from tests.fakes import FakeChannel
from tests.needs import on_sqlite
from tests.simulator import Simulator

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
def simulator(database: Database) -> Simulator:
    return Simulator(database)


def silence(simulator: Simulator, match: dict[str, list[str]], *, lasts: timedelta) -> int:
    with simulator.database.begin() as store:
        return silences.add_silence(
            store,
            match,
            simulator.clock(),
            until=simulator.clock() + lasts,
            author="mia",
            comment="maintenance",
            routing=simulator.routing,
        )


def end_silence(simulator: Simulator, id_: int) -> None:
    with simulator.database.begin() as store:
        routing = replace(simulator.routing, silences=store.active_silences(simulator.clock()))
        assert silences.expire_silence(store, id_, simulator.clock(), author="mia", routing=routing)


def acknowledge(simulator: Simulator, id_: int = 1) -> None:
    with simulator.database.begin() as store:
        acknowledgements.acknowledge(store, id_, simulator.clock(), author="mia", comment="on it", until=None)


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


def test_an_end_that_was_held_up_is_not_told_once_the_problem_is_back(simulator: Simulator) -> None:
    simulator.list_connections(EXPIRED)
    simulator.ops.refusal = DOWN
    simulator.list_connections(WELL)
    simulator.advance(40 * MINUTE, step=MINUTE)
    simulator.ops.refusal = None
    simulator.list_connections(EXPIRED)
    simulator.advance(3 * HOUR, step=MINUTE)
    assert all(message.severity is Severity.CRITICAL for message in simulator.sent)
    simulator.list_connections(WELL)
    simulator.advance(HOUR, step=MINUTE)
    assert simulator.sent[-1].severity is None


def test_quiet_hours_keep_no_end_for_the_morning_that_is_wrong_by_then(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), quiet_hours=AT_NIGHT),)
    simulator.clock.now = NOW - 2 * HOUR
    simulator.list_connections(SOON)  # told in the evening
    simulator.clock.now = NOW
    simulator.list_connections(WELL)  # held: it was but a warning
    simulator.clock.advance(HOUR)
    simulator.list_connections(EXPIRED)  # breaks through
    simulator.advance(DAY, step=HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.WARNING, Severity.CRITICAL]


def test_resolved_and_opened_again_before_its_delivery_it_is_told_as_open(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=5 * MINUTE),)
    for seen in (EXPIRED, WELL, EXPIRED):
        simulator.list_connections(seen)
        simulator.clock.advance(MINUTE)
    simulator.advance(10 * MINUTE, step=MINUTE)
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    assert "OVER" not in notified.body


def test_the_end_of_a_problem_that_was_back_for_a_while_is_told_though_a_silence_covers_all_of_that(
    simulator: Simulator,
) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=10 * MINUTE, group_by=("severity",)),)
    simulator.list_connections(SOON)
    simulator.advance(20 * MINUTE, step=MINUTE)
    assert [Severity.WARNING] == [message.severity for message in simulator.sent]
    simulator.list_connections(WELL)  # the end waits for its group
    simulator.advance(5 * MINUTE, step=MINUTE)
    simulator.list_connections(EXPIRED)  # and is wrong by the time that it is due
    simulator.advance(6 * MINUTE, step=MINUTE)
    silence(simulator, {"platform": ["instagram"]}, lasts=2 * HOUR)
    simulator.advance(20 * MINUTE, step=MINUTE)
    simulator.list_connections(WELL)
    simulator.advance(4 * HOUR, step=15 * MINUTE)
    assert [Severity.WARNING, None] == [message.severity for message in simulator.sent]


# Silences and quiet hours


@pytest.mark.parametrize("ends", ["by itself", "by hand"])
def test_a_silence_that_ends_in_quiet_hours_lets_nothing_out_before_morning(
    simulator: Simulator, ends: str
) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=MINUTE, quiet_hours=AT_NIGHT),)
    simulator.list_connections(SOON)
    id_ = silence(simulator, {"platform": ["instagram"]}, lasts=2 * HOUR)
    if ends == "by hand":
        simulator.advance(HOUR, step=HOUR)
        end_silence(simulator, id_)
    simulator.advance(9 * HOUR, step=15 * MINUTE)
    assert simulator.sent == []
    simulator.advance(HOUR, step=15 * MINUTE)
    simulator.advance(2 * HOUR, step=15 * MINUTE)
    assert len(simulator.sent) == 1


def test_a_silence_holds_an_incident_that_only_became_what_it_silences(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=5 * MINUTE),)
    simulator.list_connections(SOON)
    silence(simulator, {"severity": ["critical"]}, lasts=5 * HOUR)
    simulator.list_connections(replace(SOON, expires_at=NOW + HOUR))
    simulator.advance(4 * HOUR, step=5 * MINUTE)
    assert simulator.sent == []
    simulator.advance(2 * HOUR, step=5 * MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.CRITICAL]


@pytest.mark.parametrize("refusal", [DOWN, UNSURE])
def test_a_silence_holds_what_is_being_retried_and_its_retries_count_anew(
    simulator: Simulator, refusal: DeliveryError
) -> None:
    simulator.ops.refusal = refusal
    simulator.list_connections(SOON)
    silence(simulator, {"account": ["agency"]}, lasts=30 * HOUR)
    simulator.advance(29 * HOUR, step=HOUR)
    tried = simulator.ops.tried
    assert tried == 1
    simulator.advance(2 * HOUR, step=5 * MINUTE)
    assert simulator.ops.tried > tried
    assert {"failed"}.isdisjoint(row["state"] for row in simulator.rows("delivery_log"))
    simulator.ops.refusal = None
    simulator.advance(2 * HOUR, step=5 * MINUTE)
    assert len(simulator.sent) == 1


def test_what_two_silences_hold_is_told_when_the_last_one_ends(simulator: Simulator) -> None:
    first = silence(simulator, {"platform": ["instagram"]}, lasts=5 * HOUR)
    silence(simulator, {"account": ["agency"]}, lasts=3 * HOUR)
    simulator.list_connections(SOON)
    end_silence(simulator, first)
    simulator.advance(2 * HOUR, step=15 * MINUTE)
    assert simulator.sent == []
    simulator.advance(2 * HOUR, step=15 * MINUTE)
    assert len(simulator.sent) == 1


# Acknowledgements


def test_a_reminder_that_waits_for_morning_is_not_sent_once_somebody_has_it(simulator: Simulator) -> None:
    late = QuietHours(starts=time(22), ends=time(8), zone=ZoneInfo("Europe/Berlin"), critical=False)
    simulator.routes = (
        Route(channels=("ops",), group_wait=timedelta(), remind_every=2 * HOUR, quiet_hours=late),
    )
    simulator.list_connections(EXPIRED)
    simulator.advance(3 * HOUR, step=15 * MINUTE)  # the reminder is written in the night
    assert [row["reason"] for row in simulator.rows("delivery_log")] == ["opened", "reminder"]
    acknowledge(simulator)
    simulator.advance(12 * HOUR, step=15 * MINUTE)
    assert len(simulator.sent) == 1


def test_taken_in_hand_then_worse_then_milder_then_worse_again(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    simulator.list_connections(SOON)
    acknowledge(simulator)
    simulator.list_connections(
        replace(SOON, expires_at=simulator.clock.now + 5 * DAY)
    )  # milder: it stays in hand
    [incident] = simulator.rows("incident_log")
    assert incident["acknowledged_by"] == "mia"
    simulator.list_connections(replace(SOON, expires_at=simulator.clock.now + 6 * HOUR))  # worse: it doesn't
    [incident] = simulator.rows("incident_log")
    assert (incident["acknowledged_by"], incident["severity"]) == (None, "critical")
    simulator.list_connections(replace(SOON, expires_at=simulator.clock.now + 5 * DAY))
    simulator.list_connections(WELL)
    assert [message.severity for message in simulator.sent] == [Severity.WARNING, Severity.CRITICAL, None]
    history = simulator.rows("acknowledgements")
    assert [(row["created_by"], row["comment"], row["ended_at"] is not None) for row in history] == [
        ("mia", "on it", True)
    ]


def test_what_people_say_is_not_lost_to_a_poll_that_began_before_they_said_it(simulator: Simulator) -> None:
    simulator.list_connections(SOON)
    with simulator.database.read() as store:
        [target] = store.active_targets()
    from monitor.core.evaluation.evaluate import evaluate
    from monitor.jobs.incident_changes import record_changes
    from tests.factories import snapshot

    with simulator.database.read() as store:
        known = store.with_connections(store.target_states([target]), recent_since=NOW)[target.id]
    acknowledge(simulator)
    seen = snapshot(replace(SOON, expires_at=NOW + timedelta(days=2, hours=11)), target=target)
    evaluation = evaluate(known, seen, rules=simulator.rules)
    assert evaluation.incidents
    with simulator.database.begin() as store:
        changes = [(change, target) for change in evaluation.incidents]
        record_changes(changes, store, simulator.context, simulator.clock())
    [incident] = simulator.rows("incident_log")
    assert incident["acknowledged_by"] == "mia"


# Channels and routes that change


def test_a_channel_that_is_renamed_with_news_on_its_way_loses_none_of_it(simulator: Simulator) -> None:
    simulator.ops.refusal = DOWN
    simulator.list_connections(SOON)
    simulator.channels = {"team": FakeChannel(name="team")}
    simulator.routes = (Route(channels=("team",), group_wait=timedelta()),)
    simulator.restart()
    simulator.advance(HOUR, step=MINUTE)
    [notified] = simulator.channels["team"].sent
    assert notified.severity is Severity.WARNING
    for _ in range(5):
        simulator.restart()
        simulator.advance(HOUR, step=15 * MINUTE)
    assert len(simulator.channels["team"].sent) == 1


def test_a_channel_that_was_left_out_for_a_while_is_told_when_it_is_back(simulator: Simulator) -> None:
    simulator.ops.refusal = DOWN
    simulator.list_connections(SOON)
    ops, routes = simulator.channels, simulator.routes
    simulator.channels, simulator.routes = {}, ()
    simulator.restart()
    simulator.advance(HOUR, step=MINUTE)
    assert [row["state"] for row in simulator.rows("delivery_log")] == ["failed"]
    simulator.channels, simulator.routes = ops, routes
    simulator.ops.refusal = None
    simulator.restart()
    simulator.advance(HOUR, step=MINUTE)
    assert len(simulator.sent) == 1


def test_a_route_that_is_edited_tells_only_those_who_never_heard(simulator: Simulator) -> None:
    simulator.list_connections(SOON)
    simulator.channels["mail"] = FakeChannel(name="mail")
    simulator.routes = (
        Route(
            channels=("ops", "mail"),
            group_by=("platform", "severity"),
            group_wait=MINUTE,
            match=Matcher(platform=("insta*",)),
        ),
    )
    simulator.restart()
    simulator.advance(HOUR, step=MINUTE)
    assert (1, 1) == (len(simulator.sent), len(simulator.channels["mail"].sent))
    simulator.list_connections(WELL)
    simulator.advance(HOUR, step=MINUTE)
    assert [Severity.WARNING, None] == [message.severity for message in simulator.sent]
    assert [Severity.WARNING, None] == [message.severity for message in simulator.channels["mail"].sent]


def test_what_was_given_up_and_is_still_wrong_is_told_once_the_channel_takes_messages(
    simulator: Simulator,
) -> None:
    simulator.ops.refusal = GONE
    simulator.list_connections(SOON)
    simulator.advance(3 * HOUR, step=5 * MINUTE)
    assert [row["state"] for row in simulator.rows("delivery_log")] == ["failed"]
    simulator.ops.refusal = None
    simulator.list_connections(
        SOON, connection(platform_id="threads-1", token_status="expired", expires_at=NOW - DAY)
    )
    simulator.advance(10 * MINUTE, step=MINUTE)
    assert {"delivered"} == {row["state"] for row in simulator.rows("delivery_log")}
    assert ["Threads" in message.title for message in simulator.sent] == [True, False]


def test_a_recovery_that_is_refused_twice_an_hour_apart_is_sent(simulator: Simulator) -> None:
    simulator.list_connections(EXPIRED)
    simulator.ops.refusal = GONE
    simulator.list_connections(WELL)
    simulator.clock.advance(62 * MINUTE)
    simulator.tick()
    assert simulator.ops.tried == 3
    simulator.ops.refusal = None
    simulator.advance(2 * HOUR)
    assert [Severity.CRITICAL, None] == [message.severity for message in simulator.sent]


OTHER = connection(platform_id="threads-1", token_status="expired", expires_at=NOW - DAY)


def test_a_recovery_that_was_given_up_is_sent_once_the_channel_takes_messages(simulator: Simulator) -> None:
    simulator.list_connections(EXPIRED)
    simulator.ops.refusal = GONE
    simulator.list_connections(WELL)
    simulator.advance(3 * HOUR, step=5 * MINUTE)
    assert ["delivered", "failed"] == [row["state"] for row in simulator.rows("delivery_log")]
    simulator.ops.refusal = None
    simulator.list_connections(WELL, OTHER)
    simulator.advance(10 * MINUTE, step=MINUTE)
    assert {"delivered"} == {row["state"] for row in simulator.rows("delivery_log")}
    assert [True, True, False] == [message.severity is not None for message in simulator.sent]
    assert "token is valid again" in simulator.sent[-1].body
    simulator.restart()
    simulator.advance(HOUR)
    assert len(simulator.sent) == 3


def test_a_problem_that_came_and_went_while_the_channel_refused_all_stays_among_the_dead_letters(
    simulator: Simulator,
) -> None:
    simulator.ops.refusal = GONE
    simulator.list_connections(EXPIRED)
    simulator.advance(3 * HOUR, step=5 * MINUTE)
    simulator.list_connections(WELL)
    simulator.advance(3 * HOUR, step=5 * MINUTE)
    simulator.ops.refusal = None
    simulator.list_connections(WELL, OTHER)
    simulator.restart()
    simulator.advance(HOUR, step=MINUTE)
    assert ["failed", "failed", "delivered"] == [row["state"] for row in simulator.rows("delivery_log")]
    assert len(simulator.sent) == 1


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
    simulator: Simulator, refusal: DeliveryError, keeps_key: bool, by_hand: bool
) -> None:
    channel = simulator.channels["ops"] = KeyedChannel(refusal=refusal)
    simulator.list_connections(EXPIRED)
    while [row["state"] for row in simulator.rows("delivery_log")] != ["failed"]:
        simulator.advance(HOUR, step=20 * MINUTE)
    tried = set(channel.keys)
    channel.refusal = None
    if by_hand:
        with simulator.database.begin() as store:
            assert [1] == dead_letters.requeue_on_request(store, [1], simulator.clock())
    else:
        simulator.restart()
    simulator.tick()
    [message] = simulator.sent
    assert keeps_key is (message.key in tried)
    assert {"delivered"} == {row["state"] for row in simulator.rows("delivery_log")}


def test_what_changed_since_a_dead_letter_is_sent_under_another_key(simulator: Simulator) -> None:
    channel = simulator.channels["ops"] = KeyedChannel(refusal=UNSURE)
    simulator.list_connections(SOON)
    while [row["state"] for row in simulator.rows("delivery_log")] != ["failed"]:
        simulator.advance(HOUR, step=20 * MINUTE)
    tried = set(channel.keys)
    simulator.list_connections(EXPIRED)
    channel.refusal = None
    simulator.restart()
    simulator.advance(2 * HOUR, step=20 * MINUTE)
    [message] = simulator.sent
    assert message.severity is Severity.CRITICAL
    assert message.key not in tried


def test_a_message_that_may_be_out_keeps_its_key_through_a_silence(simulator: Simulator) -> None:
    channel = simulator.channels["ops"] = KeyedChannel(refusal=UNSURE)
    simulator.list_connections(EXPIRED)
    silence(simulator, {"platform": ["instagram"]}, lasts=2 * HOUR)
    channel.refusal = None
    simulator.advance(HOUR, step=MINUTE)
    assert simulator.sent == []
    simulator.advance(2 * HOUR, step=MINUTE)
    [message] = simulator.sent
    assert set(channel.keys) == {message.key}


def test_what_gets_worse_after_a_milder_message_is_sent_though_it_was_as_bad_before(
    simulator: Simulator,
) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=10 * MINUTE),)
    week, day = (replace(SOON, expires_at=NOW + left) for left in (5 * DAY, 20 * HOUR))
    simulator.list_connections(week)
    simulator.advance(15 * MINUTE, step=MINUTE)
    simulator.list_connections(day)
    simulator.list_connections(week)
    simulator.advance(15 * MINUTE, step=MINUTE)
    assert [Severity.NOTICE] == [message.severity for message in simulator.sent]  # the same again is no news
    simulator.list_connections(day)
    simulator.advance(15 * MINUTE, step=MINUTE)
    assert [Severity.NOTICE, Severity.CRITICAL] == [message.severity for message in simulator.sent]
    simulator.advance(HOUR)
    assert len(simulator.sent) == 2


def test_what_gets_worse_after_a_milder_message_ends_its_acknowledgement(simulator: Simulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=10 * MINUTE),)
    week, day = (replace(SOON, expires_at=NOW + left) for left in (5 * DAY, 20 * HOUR))
    simulator.list_connections(week)
    simulator.advance(15 * MINUTE, step=MINUTE)
    simulator.list_connections(day)
    simulator.list_connections(week)
    simulator.advance(15 * MINUTE, step=MINUTE)
    acknowledge(simulator)
    simulator.list_connections(day)
    simulator.advance(15 * MINUTE, step=MINUTE)
    assert [Severity.NOTICE, Severity.CRITICAL] == [message.severity for message in simulator.sent]
    assert simulator.rows("incident_log")[0]["acknowledged_by"] is None
    assert simulator.rows("acknowledgements")[0]["ended_at"] is not None


def test_a_severity_that_a_channel_is_not_to_be_told_of_is_not_sent_to_it(simulator: Simulator) -> None:
    simulator.routes = (
        Route(channels=("ops",), match=Matcher(severity=("notice",)), group_wait=timedelta()),
        Route(channels=("pager",), match=Matcher(severity=("critical",)), group_wait=timedelta()),
    )
    simulator.channels["pager"] = FakeChannel(name="pager")
    simulator.list_connections(replace(SOON, expires_at=NOW + 5 * DAY))
    simulator.list_connections(EXPIRED)
    simulator.advance(HOUR)
    assert [Severity.NOTICE] == [message.severity for message in simulator.sent]
    assert len(simulator.channels["pager"].sent) == 1


@on_sqlite
def test_what_is_still_wrong_is_sent_however_long_the_channel_was_out_of_order(simulator: Simulator) -> None:
    simulator.ops.refusal = GONE
    simulator.list_connections(EXPIRED)
    for _ in range(200):
        simulator.advance(HOUR, step=30 * MINUTE)
        simulator.restart()
    tried = simulator.ops.tried
    simulator.advance(5 * DAY, step=HOUR)
    assert tried < simulator.ops.tried < tried + 10
    simulator.ops.refusal = None
    simulator.advance(3 * DAY, step=HOUR)
    assert [Severity.CRITICAL] == [message.severity for message in simulator.sent]
    assert {"delivered"} == {row["state"] for row in simulator.rows("delivery_log")}


@on_sqlite
def test_what_is_never_taken_is_not_tried_for_ever(simulator: Simulator) -> None:
    simulator.ops.refusal = GONE
    simulator.list_connections(EXPIRED)
    for _ in range(40):
        simulator.advance(2 * HOUR, step=20 * MINUTE)
        simulator.restart()
    assert simulator.ops.tried < 80
    assert [row["state"] for row in simulator.rows("delivery_log")] == ["failed"]


def test_a_failing_channel_is_told_through_the_others_whatever_the_routes_say(simulator: Simulator) -> None:
    simulator.channels["pager"] = FakeChannel(name="pager")
    simulator.routes = (
        Route(channels=("pager",), match=Matcher(severity=("critical",)), group_wait=timedelta()),
        Route(channels=("ops",), match=Matcher(account=("agency",)), group_wait=timedelta()),
    )
    simulator.ops.refusal = DOWN
    simulator.list_connections(SOON)
    simulator.advance(30 * MINUTE, step=MINUTE)
    [notified] = simulator.channels["pager"].sent
    assert "messages are not delivered" in notified.title
    simulator.ops.refusal = None
    simulator.advance(2 * HOUR, step=MINUTE)
    assert simulator.channels["pager"].sent[-1].title.startswith("[RESOLVED]")
    assert not [message for message in simulator.sent if "a channel takes" in message.title]


# Two at once


def test_news_does_not_overtake_what_another_process_is_telling_right_now(simulator: Simulator) -> None:
    other = replace(simulator, channels={"ops": BusyChannel()})
    busy = other.channels["ops"]
    assert isinstance(busy, BusyChannel)

    def recovers() -> None:
        simulator.clock.advance(MINUTE)
        simulator.list_connections(WELL)

    busy.meanwhile = recovers
    simulator.api.lists(EXPIRED)
    simulator.review()
    simulator.poll()
    deliver_channel("ops", other.context, {})
    assert simulator.sent == []  # the end waits for the beginning
    assert [Severity.CRITICAL, None] == [message.severity for message in busy.sent]


def test_two_processes_that_work_at_once_say_nothing_twice(simulator: Simulator) -> None:
    simulator.routes = (
        Route(
            channels=("ops",),
            group_wait=timedelta(),
            remind_every=DAY,
        ),
    )
    twin = replace(simulator, channels=simulator.channels)
    simulator.list_connections(EXPIRED)
    for _ in range(10):
        simulator.clock.advance(DAY)
        for each in (simulator, twin):
            remind(each.context)
            write_digests(each.context)
        twin.deliver()
        simulator.deliver()
        check_channels(simulator.context)
    assert len(simulator.sent) == 11


def test_a_sender_whose_lease_has_ended_cannot_undo_what_another_does(simulator: Simulator) -> None:
    simulator.list_connections()
    simulator.api.lists(EXPIRED)
    simulator.poll_quietly()
    with simulator.database.begin() as store:
        slow = outbox.claim(store, simulator.clock(), channel="ops", message_key="m1")
    simulator.clock.advance(LEASE)
    with simulator.database.begin() as store:
        fast = outbox.claim(store, simulator.clock(), channel="ops", message_key="m2")
    assert slow
    assert fast
    assert (fast.message_key, fast.may_be_delivered, slow.may_be_delivered) == ("m1", True, False)
    with simulator.database.begin() as store:
        assert outbox.renew_lease(store, slow, simulator.clock()) is None
        outbox.release(store, slow, due_at=simulator.clock(), error="late")
        outbox.mark_dead(store, slow, error="late")
        outbox.retry_same_key(store, slow, until=simulator.clock(), error="late")
    assert [row["state"] for row in simulator.rows("delivery_log")] == ["sending"]
    with simulator.database.begin() as store:
        outbox.retry_same_key(store, fast, until=simulator.clock() + MINUTE, error="no answer in time")
        outbox.mark_delivered(
            store, slow, simulator.clock(), notified={1: Notified("critical")}
        )  # it got through after all
    assert [row["state"] for row in simulator.rows("delivery_log")] == ["delivered"]


def test_what_a_killed_sender_may_have_sent_keeps_its_key_though_the_next_attempt_is_refused(
    simulator: Simulator,
) -> None:
    simulator.api.lists(EXPIRED)
    simulator.poll_quietly()
    with simulator.database.begin() as store:
        assert outbox.claim(store, simulator.clock(), channel="ops", message_key="first")
    simulator.ops.refusal = DOWN
    simulator.advance(3 * HOUR, step=MINUTE)
    simulator.ops.refusal = None
    simulator.advance(2 * HOUR, step=MINUTE)
    assert [message.key for message in simulator.sent] == ["first"]


# Clocks


def test_what_was_written_by_a_clock_that_ran_ahead_is_told_when_it_is_set_right(
    simulator: Simulator,
) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=MINUTE),)
    simulator.clock.advance(DAY)
    simulator.list_connections(EXPIRED)
    simulator.clock.advance(-DAY)
    simulator.advance(5 * MINUTE, step=MINUTE)
    assert len(simulator.sent) == 1


def test_a_lease_or_a_retry_of_a_clock_that_ran_ahead_ends_when_it_is_set_right(simulator: Simulator) -> None:
    simulator.clock.advance(DAY)
    simulator.ops.refusal = DOWN
    simulator.list_connections(EXPIRED)
    simulator.ops.refusal = None
    simulator.clock.advance(-DAY)
    simulator.advance(5 * MINUTE, step=MINUTE)
    assert len(simulator.sent) == 1
    simulator.clock.advance(DAY)
    simulator.api.lists(EXPIRED, replace(EXPIRED, platform_id="threads-1"))
    simulator.poll_quietly()
    with simulator.database.begin() as store:
        assert outbox.claim(store, simulator.clock(), channel="ops", message_key="dead")
    simulator.clock.advance(-DAY)
    simulator.advance(5 * MINUTE, step=MINUTE)
    assert (2, "dead") == (len(simulator.sent), simulator.sent[-1].key)


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
    simulator: Simulator, month: int, day: int
) -> None:
    quiet = QuietHours(starts=time(22), ends=time(2, 30), zone=ZoneInfo("Europe/Berlin"))
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), quiet_hours=quiet),)
    simulator.clock.now = NOW.replace(month=month, day=day, hour=22)
    simulator.list_connections(replace(SOON, expires_at=simulator.clock.now + 60 * HOUR))
    assert simulator.sent == []
    simulator.advance(6 * HOUR, step=5 * MINUTE)
    assert len(simulator.sent) == 1


# Reminders


def test_reminders_keep_their_beat_through_restarts_and_edits_of_the_routes(simulator: Simulator) -> None:
    def route(**given: Any) -> Route:
        return Route(channels=("ops",), group_wait=timedelta(), **given)

    simulator.routes = (route(remind_every=DAY),)
    simulator.list_connections(EXPIRED)
    for day in range(10):
        simulator.advance(DAY, step=HOUR)
        if day == 3:
            simulator.routes = (route(remind_every=DAY, group_by=("platform",)),)
        if day == 6:
            simulator.routes = (
                Route(channels=("ops",), match=Matcher(platform=("linkedin",)), remind_every=HOUR),
                route(remind_every=DAY, match=Matcher(severity=("critical",))),
            )
        simulator.restart()
    assert len([row for row in simulator.rows("delivery_log") if row["reason"] == Reason.REMINDER]) == 10
    simulator.routes = (route(remind_every=12 * HOUR, remind_at_most=1),)
    simulator.advance(5 * DAY, step=HOUR)
    assert len([row for row in simulator.rows("delivery_log") if row["reason"] == Reason.REMINDER]) == 10


def test_each_route_reminds_at_its_own_pace(simulator: Simulator) -> None:
    simulator.channels["boss"] = FakeChannel(name="boss")
    simulator.routes = (
        Route(channels=("ops",), group_wait=timedelta(), remind_every=6 * HOUR),
        Route(channels=("boss",), group_wait=timedelta(), remind_every=DAY, remind_at_most=2),
    )
    simulator.list_connections(EXPIRED)
    simulator.advance(4 * DAY, step=HOUR)
    assert (17, 3) == (len(simulator.sent), len(simulator.channels["boss"].sent))
