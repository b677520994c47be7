"""From a row of the outbox to a message that somebody got: at least once, and never as stale news."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from monitor.core.messages.message import Message
from monitor.core.model import Severity
from monitor.core.routing.routes import Route
from monitor.errors import DeliveryError, StorageError
from monitor.jobs import deliver
from monitor.jobs.deliver import UnsavedDeliveries, deliver_channel
from monitor.storage import dead_letters, outbox
from monitor.storage.outbox import LEASE
from tests.factories import DAY, HOUR, MINUTE, NOW, connection
from tests.fakes import FakeChannel
from tests.jobs.simulator import JobSimulator

DEAD = connection(token_status="expired", expires_at=NOW - HOUR)
REFUSED = DeliveryError("the service answered 500")
UNSURE = DeliveryError("no answer in time", uncertain=True)
GONE = DeliveryError("the service answered 404", permanent=True)


class Killed(BaseException):
    """The process ends here and now."""


@dataclass(slots=True)
class DyingChannel(FakeChannel):
    """A channel during which the process dies: before the message is out, or after."""

    dies_after: bool = False
    alive: bool = False

    def send(self, message: Message) -> None:
        if self.alive or self.dies_after:
            FakeChannel.send(self, message)
        if not self.alive:
            raise Killed


def dying(simulator: JobSimulator, *, dies_after: bool) -> DyingChannel:
    channel = DyingChannel(dies_after=dies_after)
    simulator.channels["ops"] = channel
    return channel


def states(simulator: JobSimulator) -> list[str]:
    return [row["state"] for row in simulator.view("delivery_log")]


def test_killed_before_the_commit_nothing_was_seen_and_all_is_told_later(
    simulator: JobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    simulator.discover()
    monkeypatch.setattr("monitor.storage.recording.save_incidents", die)
    with pytest.raises(Killed):
        simulator.poll_connections(DEAD)
    monkeypatch.undo()
    assert (
        []
        == simulator.view("current_connections")
        == simulator.view("poll_log")
        == simulator.view("incident_log")
    )
    simulator.poll_connections(DEAD)
    assert 1 == len(simulator.deliver())


def test_killed_between_commit_and_claim_the_message_is_sent_by_the_next(simulator: JobSimulator) -> None:
    simulator.poll_connections(DEAD)
    simulator.database.close()
    assert 1 == len(simulator.deliver())


@pytest.mark.parametrize("dies_after", [False, True])
def test_killed_while_sending_it_is_sent_again_under_the_same_key(
    simulator: JobSimulator, dies_after: bool
) -> None:
    simulator.poll_connections(DEAD)
    channel = dying(simulator, dies_after=dies_after)
    with pytest.raises(Killed):
        simulator.deliver()
    assert ["sending"] == states(simulator)
    channel.alive = True
    assert [] == simulator.deliver()  # another one may be at it still
    simulator.advance(LEASE)
    simulator.poll_connections(DEAD)
    simulator.deliver()
    assert ["delivered"] == states(simulator)
    assert (2 if dies_after else 1) == len(channel.sent)
    assert {"message-1"} == {message.key for message in channel.sent}
    for _ in range(3):
        simulator.advance()
        assert [] == simulator.deliver()


def test_killed_while_sending_and_again_while_sending_it_is_sent_at_last(simulator: JobSimulator) -> None:
    simulator.poll_connections(DEAD)
    channel = dying(simulator, dies_after=False)
    for _ in range(5):
        with pytest.raises(Killed):
            simulator.deliver()
        simulator.advance(LEASE)
    channel.alive = True
    assert ["message-1"] == [message.key for message in simulator.deliver()]


def test_killed_before_settling_and_resolved_meanwhile_the_end_is_told(simulator: JobSimulator) -> None:
    simulator.poll_connections(DEAD)
    channel = dying(simulator, dies_after=True)
    with pytest.raises(Killed):
        simulator.deliver()
    channel.alive = True
    simulator.advance(LEASE)
    simulator.poll_connections(connection())
    simulator.deliver()
    assert Severity.CRITICAL == channel.sent[0].severity
    assert {None} == {message.severity for message in channel.sent[1:]}
    assert 2 == len(channel.sent)
    assert {"delivered"} == set(states(simulator))


@pytest.mark.parametrize(("refusal", "same_key"), [(REFUSED, False), (UNSURE, True)])
def test_what_is_not_taken_is_tried_again_from_seconds_to_an_hour(
    simulator: JobSimulator, refusal: DeliveryError, same_key: bool
) -> None:
    simulator.poll_connections(DEAD)
    simulator.channel.refusal = refusal
    gaps, last = [], simulator.clock()
    while simulator.clock() < NOW + 4 * HOUR:
        tried = simulator.channel.tried
        simulator.deliver()
        if simulator.channel.tried > tried:
            gaps.append(simulator.clock() - last)
            last = simulator.clock()
        simulator.advance(timedelta(seconds=5) if simulator.clock() < NOW + 10 * MINUTE else 5 * MINUTE)
    assert [0, 5, 10, 20, 40, 80, 160] == [gap.total_seconds() for gap in gaps[:7]]
    assert gaps[7:] and max(gaps) <= HOUR + 5 * MINUTE
    assert len(gaps) <= 13
    simulator.channel.refusal = None
    simulator.advance(HOUR)
    (message,) = simulator.deliver()
    (row,) = simulator.view("delivery_log")
    assert ("delivered", len(gaps) + 1, None) == (row["state"], row["attempts"], row["error"])
    assert same_key == (message.key == "message-1")


def test_a_service_that_asks_for_patience_is_given_it(simulator: JobSimulator) -> None:
    simulator.poll_connections(DEAD)
    simulator.channel.refusal = DeliveryError("the service answered 429", retry_after=20 * MINUTE)
    simulator.deliver()
    simulator.channel.refusal = None
    simulator.advance(19 * MINUTE)
    assert [] == simulator.deliver()
    simulator.advance(MINUTE)
    assert 1 == len(simulator.deliver())


@pytest.mark.parametrize(("refusal", "given_up_after"), [(REFUSED, DAY), (UNSURE, DAY), (GONE, HOUR)])
def test_what_is_never_taken_ends_as_a_dead_letter(
    simulator: JobSimulator, refusal: DeliveryError, given_up_after: timedelta
) -> None:
    simulator.poll_connections(DEAD)
    simulator.channel.refusal = refusal
    while simulator.clock() < NOW + given_up_after:
        simulator.deliver()
        assert {"pending", "sending"} >= set(states(simulator))
        simulator.advance(20 * MINUTE)
    while simulator.clock() < NOW + given_up_after + 2 * HOUR:
        simulator.deliver()
        simulator.advance(20 * MINUTE)
    (row,) = simulator.view("delivery_log")
    assert ("failed", str(refusal), None) == (row["state"], row["error"], row["delivered_at"])
    simulator.channel.refusal = None
    simulator.advance(DAY)
    assert [] == simulator.deliver()


def test_one_channel_that_fails_neither_delays_nor_repeats_another(simulator: JobSimulator) -> None:
    simulator.channels["mail"] = FakeChannel(name="mail", refusal=REFUSED)
    simulator.routes = (Route(channels=("mail", "ops")),)
    simulator.poll_connections(DEAD)
    for _ in range(5):
        simulator.deliver()
        simulator.advance(5 * MINUTE)
    assert (1, 5) == (len(simulator.sent), simulator.channels["mail"].tried)
    assert {("ops", "delivered", 1), ("mail", "pending", 5)} == {
        (row["channel"], row["state"], row["attempts"]) for row in simulator.view("delivery_log")
    }


def recovers(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())


def expires(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(token_status="expired", expires_at=NOW + 2 * DAY))


@pytest.mark.parametrize(
    ("meanwhile", "severity", "says"),
    [
        (recovers, None, "The token is valid again"),
        (expires, Severity.CRITICAL, "expired"),
    ],
)
def test_news_that_could_not_be_told_in_time_is_told_as_it_is_now(
    simulator: JobSimulator, meanwhile: Callable[[JobSimulator], None], severity: Severity | None, says: str
) -> None:
    simulator.poll_connections(connection(token_status="expiring_soon", expires_at=NOW + 2 * DAY + HOUR))
    simulator.channel.refusal = REFUSED
    simulator.deliver()
    simulator.advance(3 * HOUR)
    simulator.channel.refusal = None
    meanwhile(simulator)
    (message,) = simulator.deliver()
    assert severity == message.severity
    assert says in message.body
    assert {"delivered"} == set(states(simulator))
    assert [] == simulator.deliver()


def test_an_incident_that_grew_worse_while_the_channel_was_down_is_one_message(
    simulator: JobSimulator,
) -> None:
    simulator.channel.refusal = REFUSED
    for step in (6, 2, 0.5):
        simulator.poll_connections(
            connection(token_status="expiring_soon", expires_at=simulator.clock() + step * DAY)
        )
        simulator.deliver()
        simulator.advance(HOUR)
    simulator.channel.refusal = None
    (message,) = simulator.deliver()
    assert Severity.CRITICAL == message.severity
    assert ["delivered"] * 3 == states(simulator)
    assert 1 == len({row["message"] for row in simulator.view("delivery_log")})


def test_a_dead_letter_that_is_tried_again_says_what_is_true_then(simulator: JobSimulator) -> None:
    simulator.poll_connections(DEAD)
    simulator.channel.refusal = GONE
    while "failed" not in states(simulator):
        simulator.deliver()
        simulator.advance(10 * MINUTE)
    simulator.channel.refusal = None
    simulator.poll_connections(connection())
    (message,) = simulator.deliver()
    assert "The token is valid again" in message.body
    with simulator.database.begin() as store:
        assert [1] == dead_letters.requeue_on_request(store, [1], simulator.clock())
    assert [] == simulator.deliver()  # all of it is told already
    assert ["delivered", "delivered"] == states(simulator)


def test_a_channel_stops_at_the_first_refusal_and_goes_on_later(simulator: JobSimulator) -> None:
    simulator.routes = (Route(channels=("ops",), group_by=("platform",)),)
    simulator.poll_connections(
        *(connection(platform_id=f"{name}-1", token_status="expired") for name in ("x", "y", "z"))
    )
    simulator.channel.refusal = REFUSED
    assert (0, 1) == deliver_channel("ops", simulator.context, {}, wait=False)
    assert 1 == simulator.channel.tried
    simulator.channel.refusal = None
    assert (2, 0) == deliver_channel("ops", simulator.context, {}, wait=False)
    simulator.advance(MINUTE)
    assert (1, 0) == deliver_channel("ops", simulator.context, {}, wait=False)
    assert 3 == len({message.key for message in simulator.sent})


def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(
    simulator: JobSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The disk is full from the moment of sending on, for longer than a sender is patient and its lease lasts.
    monkeypatch.setattr(deliver, "SAVE_RETRY_SECONDS", (0, 0))
    settle = outbox.mark_delivered

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("database or disk is full", transient=True)

    simulator.poll_connections(DEAD)
    context, unsaved = simulator.context, UnsavedDeliveries()
    monkeypatch.setattr(outbox, "mark_delivered", refuse)
    for _ in range(3):
        with pytest.raises(StorageError):
            deliver_channel("ops", context, unsaved, wait=False)
        simulator.advance(LEASE)
    assert len(simulator.sent) == 1
    monkeypatch.setattr(outbox, "mark_delivered", settle)
    deliver_channel("ops", context, unsaved, wait=False)
    assert len(simulator.sent) == 1
    assert unsaved == {}
    assert {row["state"] for row in simulator.view("delivery_log")} == {"delivered"}
