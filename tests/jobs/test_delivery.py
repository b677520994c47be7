"""From a row of the outbox to a message that somebody got: at least once, and never as stale news."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from monitor.core.model import Severity
from monitor.core.outgoing import Message
from monitor.core.routes import Route
from monitor.errors import DeliveryError, StorageError
from monitor.jobs import deliver
from monitor.jobs.deliver import deliver_to
from monitor.storage import dead_letters, outbox
from monitor.storage.outbox import LEASE
from tests.factories import DAY, HOUR, MINUTE, NOW, connection
from tests.fakes import FakeChannel
from tests.jobs.house import House

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


def dying(house: House, *, dies_after: bool) -> DyingChannel:
    channel = DyingChannel(dies_after=dies_after)
    house.channels["ops"] = channel
    return channel


def states(house: House) -> list[str]:
    return [row["state"] for row in house.view("delivery_log")]


def test_killed_before_the_commit_nothing_was_seen_and_all_is_told_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    house.discover()
    monkeypatch.setattr("monitor.storage.recording.record_incidents", die)
    with pytest.raises(Killed):
        house.sees(DEAD)
    monkeypatch.undo()
    assert [] == house.view("current_connections") == house.view("poll_log") == house.view("incident_log")
    house.sees(DEAD)
    assert 1 == len(house.deliver())


def test_killed_between_commit_and_claim_the_message_is_sent_by_the_next(house: House) -> None:
    house.sees(DEAD)
    house.database.close()
    assert 1 == len(house.deliver())


@pytest.mark.parametrize("dies_after", [False, True])
def test_killed_while_sending_it_is_sent_again_under_the_same_key(house: House, dies_after: bool) -> None:
    house.sees(DEAD)
    channel = dying(house, dies_after=dies_after)
    with pytest.raises(Killed):
        house.deliver()
    assert ["sending"] == states(house)
    channel.alive = True
    assert [] == house.deliver()  # another one may be at it still
    house.later(LEASE)
    house.sees(DEAD)
    house.deliver()
    assert ["delivered"] == states(house)
    assert (2 if dies_after else 1) == len(channel.sent)
    assert {"message-1"} == {message.key for message in channel.sent}
    for _ in range(3):
        house.later()
        assert [] == house.deliver()


def test_killed_while_sending_and_again_while_sending_it_is_sent_at_last(house: House) -> None:
    house.sees(DEAD)
    channel = dying(house, dies_after=False)
    for _ in range(5):
        with pytest.raises(Killed):
            house.deliver()
        house.later(LEASE)
    channel.alive = True
    assert ["message-1"] == [message.key for message in house.deliver()]


def test_killed_before_settling_and_resolved_meanwhile_the_end_is_told(house: House) -> None:
    house.sees(DEAD)
    channel = dying(house, dies_after=True)
    with pytest.raises(Killed):
        house.deliver()
    channel.alive = True
    house.later(LEASE)
    house.sees(connection())
    house.deliver()
    assert Severity.CRITICAL == channel.sent[0].severity
    assert {None} == {message.severity for message in channel.sent[1:]}
    assert 2 == len(channel.sent)
    assert {"delivered"} == set(states(house))


@pytest.mark.parametrize(("refusal", "same_key"), [(REFUSED, False), (UNSURE, True)])
def test_what_is_not_taken_is_tried_again_from_seconds_to_an_hour(
    house: House, refusal: DeliveryError, same_key: bool
) -> None:
    house.sees(DEAD)
    house.channel.refusal = refusal
    gaps, last = [], house.clock()
    while house.clock() < NOW + 4 * HOUR:
        tried = house.channel.tried
        house.deliver()
        if house.channel.tried > tried:
            gaps.append(house.clock() - last)
            last = house.clock()
        house.later(timedelta(seconds=5) if house.clock() < NOW + 10 * MINUTE else 5 * MINUTE)
    assert [0, 5, 10, 20, 40, 80, 160] == [gap.total_seconds() for gap in gaps[:7]]
    assert gaps[7:] and max(gaps) <= HOUR + 5 * MINUTE
    assert len(gaps) <= 13
    house.channel.refusal = None
    house.later(HOUR)
    (message,) = house.deliver()
    (row,) = house.view("delivery_log")
    assert ("delivered", len(gaps) + 1, None) == (row["state"], row["attempts"], row["error"])
    assert same_key == (message.key == "message-1")


def test_a_service_that_asks_for_patience_is_given_it(house: House) -> None:
    house.sees(DEAD)
    house.channel.refusal = DeliveryError("the service answered 429", retry_after=20 * MINUTE)
    house.deliver()
    house.channel.refusal = None
    house.later(19 * MINUTE)
    assert [] == house.deliver()
    house.later(MINUTE)
    assert 1 == len(house.deliver())


@pytest.mark.parametrize(("refusal", "given_up_after"), [(REFUSED, DAY), (UNSURE, DAY), (GONE, HOUR)])
def test_what_is_never_taken_ends_as_a_dead_letter(
    house: House, refusal: DeliveryError, given_up_after: timedelta
) -> None:
    house.sees(DEAD)
    house.channel.refusal = refusal
    while house.clock() < NOW + given_up_after:
        house.deliver()
        assert {"pending", "sending"} >= set(states(house))
        house.later(20 * MINUTE)
    while house.clock() < NOW + given_up_after + 2 * HOUR:
        house.deliver()
        house.later(20 * MINUTE)
    (row,) = house.view("delivery_log")
    assert ("failed", str(refusal), None) == (row["state"], row["error"], row["delivered_at"])
    house.channel.refusal = None
    house.later(DAY)
    assert [] == house.deliver()


def test_one_channel_that_fails_neither_delays_nor_repeats_another(house: House) -> None:
    house.channels["mail"] = FakeChannel(name="mail", refusal=REFUSED)
    house.routes = (Route(channels=("mail", "ops")),)
    house.sees(DEAD)
    for _ in range(5):
        house.deliver()
        house.later(5 * MINUTE)
    assert (1, 5) == (len(house.sent), house.channels["mail"].tried)
    assert {("ops", "delivered", 1), ("mail", "pending", 5)} == {
        (row["channel"], row["state"], row["attempts"]) for row in house.view("delivery_log")
    }


def recovers(house: House) -> None:
    house.sees(connection())


def expires(house: House) -> None:
    house.sees(connection(token_status="expired", expires_at=NOW + 2 * DAY))


@pytest.mark.parametrize(
    ("meanwhile", "severity", "says"),
    [
        (recovers, None, "OVER: the token is good again"),
        (expires, Severity.CRITICAL, "expired"),
    ],
)
def test_news_that_could_not_be_told_in_time_is_told_as_it_is_now(
    house: House, meanwhile: Callable[[House], None], severity: Severity | None, says: str
) -> None:
    house.sees(connection(token_status="expiring_soon", expires_at=NOW + 2 * DAY + HOUR))
    house.channel.refusal = REFUSED
    house.deliver()
    house.later(3 * HOUR)
    house.channel.refusal = None
    meanwhile(house)
    (message,) = house.deliver()
    assert severity == message.severity
    assert says in message.body
    assert {"delivered"} == set(states(house))
    assert [] == house.deliver()


def test_an_incident_that_grew_worse_while_the_channel_was_down_is_one_message(house: House) -> None:
    house.channel.refusal = REFUSED
    for step in (6, 2, 0.5):
        house.sees(connection(token_status="expiring_soon", expires_at=house.clock() + step * DAY))
        house.deliver()
        house.later(HOUR)
    house.channel.refusal = None
    (message,) = house.deliver()
    assert Severity.CRITICAL == message.severity
    assert ["delivered"] * 3 == states(house)
    assert 1 == len({row["message"] for row in house.view("delivery_log")})


def test_a_dead_letter_that_is_tried_again_says_what_is_true_then(house: House) -> None:
    house.sees(DEAD)
    house.channel.refusal = GONE
    while "failed" not in states(house):
        house.deliver()
        house.later(10 * MINUTE)
    house.channel.refusal = None
    house.sees(connection())
    (message,) = house.deliver()
    assert "OVER: the token is good again" in message.body
    with house.database.begin() as store:
        assert [1] == dead_letters.revive(store.connection, [1], house.clock())
    assert [] == house.deliver()  # all of it is told already
    assert ["delivered", "delivered"] == states(house)


def test_a_channel_stops_at_the_first_refusal_and_goes_on_later(house: House) -> None:
    house.routes = (Route(channels=("ops",), group_by=("platform",)),)
    house.sees(*(connection(platform_id=f"{name}-1", token_status="expired") for name in ("x", "y", "z")))
    house.channel.refusal = REFUSED
    assert (0, 1) == deliver_to("ops", house.post, wait=False)
    assert 1 == house.channel.tried
    house.channel.refusal = None
    assert (2, 0) == deliver_to("ops", house.post, wait=False)
    house.later(MINUTE)
    assert (1, 0) == deliver_to("ops", house.post, wait=False)
    assert 3 == len({message.key for message in house.sent})


def test_what_was_sent_and_could_not_be_written_down_is_not_sent_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The disk is full from the moment of sending on, for longer than a sender is patient and its lease lasts.
    monkeypatch.setattr(deliver, "PATIENCE_SECONDS", (0, 0))
    settle = outbox.settle

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("database or disk is full", passing=True)

    house.sees(DEAD)
    post = house.post
    monkeypatch.setattr(outbox, "settle", refuse)
    for _ in range(3):
        with pytest.raises(StorageError):
            deliver_to("ops", post, wait=False)
        house.later(LEASE)
    assert len(house.sent) == 1
    monkeypatch.setattr(outbox, "settle", settle)
    deliver_to("ops", post, wait=False)
    assert len(house.sent) == 1
    assert post.unwritten == {}
    assert {row["state"] for row in house.view("delivery_log")} == {"delivered"}
