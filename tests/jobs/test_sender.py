"""Many channels at once, each at its own pace."""

import threading
from dataclasses import dataclass, field
from datetime import timedelta

from monitor.core.messages.message import Message
from monitor.core.routing.routes import Route
from monitor.errors import StorageError
from monitor.workers.sender import Sender
from tests.factories import MINUTE, connection
from tests.fakes import FakeChannel
from tests.jobs.simulator import JobSimulator
from tests.storage.lock_holder import locked_by_another_program

SOON = timedelta(seconds=20)
DEAD = connection(token_status="expired")


@dataclass(slots=True)
class HangingChannel(FakeChannel):
    """A channel that takes its time."""

    let: threading.Event = field(default_factory=threading.Event)
    inside: threading.Event = field(default_factory=threading.Event)

    def send(self, message: Message) -> None:
        self.inside.set()
        self.let.wait(20)
        FakeChannel.send(self, message)


def test_a_channel_that_hangs_holds_up_no_other(simulator: JobSimulator) -> None:
    hanging = HangingChannel(name="slow")
    simulator.channels["slow"] = hanging
    simulator.routes = (Route(channels=("slow", "ops")),)
    simulator.poll_connections(DEAD)
    simulator.advance(MINUTE)
    sender = Sender(simulator.context)
    first = sender.dispatch()
    assert 2 == len(first)
    assert hanging.inside.wait(5)
    while not simulator.sent:
        threading.Event().wait(0.01)
    assert [] == sender.dispatch()  # the one is done, the other is at it
    hanging.let.set()
    assert [(1, 0), (1, 0)] == [each.result(20) for each in first]
    sender.close(SOON)
    assert [] == sender.dispatch()
    assert {"delivered"} == {row["state"] for row in simulator.view("delivery_log")}


def test_a_database_that_is_away_fails_the_delivery_and_not_the_sender(file_simulator: JobSimulator) -> None:
    simulator, file = file_simulator, file_simulator.file
    simulator.poll_connections(DEAD)
    simulator.advance(MINUTE)
    sender = Sender(simulator.context)
    with locked_by_another_program(file):
        # The lock keeps writers away, and in this mode no readers.
        try:
            assert [(0, 1)] == [each.result(20) for each in sender.dispatch()]
        except StorageError as error:
            assert error.transient
    assert [] == simulator.sent
    assert [(1, 0)] == [each.result(20) for each in sender.dispatch()]
    sender.close(SOON)
