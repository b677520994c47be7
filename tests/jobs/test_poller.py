"""Jobs on threads, with a database that comes and goes: polling waits, and nothing is lost."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic

import pytest
from sqlalchemy import create_engine, event, text
from structlog.testing import capture_logs

from monitor.errors import StorageError
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.providers.base import ConnectionList
from monitor.storage.recording import PollRecord
from monitor.workers.poller import Poller
from tests.factories import NOW, connection
from tests.fakes import FakeProvider
from tests.jobs.simulator import JobSimulator
from tests.storage.lock_holder import locked_by_another_program

SOON = timedelta(seconds=20)
DEAD = connection(token_status="expired")


@dataclass(slots=True)
class SlowProvider(FakeProvider):
    """An API that answers when it is let."""

    let: threading.Event = field(default_factory=threading.Event)
    inside: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        self.inside.set()
        self.entered.release()
        self.let.wait(20)
        return FakeProvider.connections(self, managed_user_id)


@dataclass(slots=True)
class Running:
    """A poller at work, and what it said it has recorded."""

    poller: Poller
    recorded: list[PollRecord]


Start = Callable[[JobSimulator], Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a way to start pollers that are closed when the test ends."""
    started: list[Poller] = []
    before = set(threading.enumerate())

    def begin(simulator: JobSimulator) -> Running:
        recorded: list[PollRecord] = []
        poller = Poller(
            simulator.context,
            concurrency=4,
            on_recorded=recorded.extend,
        )
        started.append(poller)
        return Running(poller=poller, recorded=recorded)

    yield begin
    for each in started:
        each.close(timedelta(seconds=5))
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert left == []


def crowded(simulator: JobSimulator) -> JobSimulator:
    """Have fifty targets, one of them with a token that is dead."""
    simulator.managed = {"agency": [f"{n:024x}" for n in range(49)]}
    for user in simulator.managed["agency"]:
        simulator.provider.lists(connection(), user=user)
    simulator.provider.lists(DEAD)
    simulator.discover()
    return simulator


@pytest.fixture
def crowd(simulator: JobSimulator) -> JobSimulator:
    return crowded(simulator)


def all_well(simulator: JobSimulator, running: Running) -> None:
    assert running.poller.wait(SOON)
    assert 50 == len({polled.target.id for polled in running.recorded})
    assert 50 == len(simulator.view("current_connections"))
    assert ["token_expiry"] == [row["rule"] for row in simulator.view("incident_log")]
    assert 1 == len(simulator.deliver())


def test_what_is_due_is_polled_once_each(crowd: JobSimulator, start: Start) -> None:
    running = start(crowd)
    assert 50 == running.poller.dispatch()
    all_well(crowd, running)
    assert 0 == running.poller.dispatch()
    assert 50 == len(crowd.provider.asked)
    crowd.advance()
    assert 50 == running.poller.dispatch()
    assert running.poller.wait(SOON)
    assert {2} == {row["polls"] for row in crowd.view("poll_log")}


def test_an_unchanged_answer_is_evaluated_only_after_a_threshold_has_passed(
    simulator: JobSimulator,
) -> None:
    seen = connection(expires_at=NOW + timedelta(days=3, minutes=5), token_status="expiring_soon")
    simulator.poll_connections(seen)
    simulator.advance(timedelta(minutes=2))
    (early,) = simulator.poll_connections(seen)
    assert early.evaluation is None
    assert ["notice"] == [row["severity"] for row in simulator.view("incident_log")]
    simulator.advance(timedelta(minutes=8))
    (late,) = simulator.poll_connections(seen)
    assert late.evaluation
    assert ["warning"] == [row["severity"] for row in simulator.view("incident_log")]


def test_unknown_fields_are_logged_when_the_answer_changes(simulator: JobSimulator) -> None:
    (polled,) = simulator.poll_connections(connection())
    seen = take_snapshot(polled.target, simulator.context).decoded()
    with capture_logs() as logged:
        for digest in (b"changed", b"changed", b"again"):
            simulator.advance()
            odd = replace(
                seen, taken_at=simulator.clock(), response_digest=digest, unknown_fields=frozenset({"plan"})
            )
            record_polls([odd], simulator.context)
    assert [["plan"]] * 2 == [
        line["unknown_fields"] for line in logged if line["event"] == "response.unknown_fields"
    ]


def test_what_is_in_flight_is_not_handed_over_twice(crowd: JobSimulator, start: Start) -> None:
    slow = SlowProvider(listed=crowd.provider.listed)
    crowd.providers["agency"] = slow
    running = start(crowd)
    assert 50 == running.poller.dispatch()
    assert slow.inside.wait(5)
    assert 0 == running.poller.dispatch()
    assert 50 == len(running.poller.in_flight)
    assert not running.poller.wait(timedelta(milliseconds=10))
    slow.let.set()
    all_well(crowd, running)
    assert frozenset() == running.poller.in_flight


def test_a_target_without_a_provider_is_left_alone(crowd: JobSimulator, start: Start) -> None:
    targets = crowd.discover()
    crowd.providers = {}
    assert 0 == start(crowd).poller.submit(targets)


def test_an_answer_that_breaks_us_costs_only_its_own_target(crowd: JobSimulator, start: Start) -> None:
    class BrokenProvider(FakeProvider):
        __slots__ = ()

        def connections(self, managed_user_id: str | None = None) -> ConnectionList:
            if managed_user_id == f"{7:024x}":
                raise ZeroDivisionError("sk_secret")
            if managed_user_id == f"{8:024x}":  # it can be fetched and not be recorded
                return ConnectionList(connections=(connection(username=None),))
            return FakeProvider.connections(self, managed_user_id)

    crowd.providers["agency"] = BrokenProvider(listed=crowd.provider.listed)
    running = start(crowd)
    running.poller.dispatch()
    assert running.poller.wait(SOON)
    assert 49 == len(running.recorded)
    assert 48 == len(crowd.view("current_connections"))
    assert "bad_answer" in {row["outcome"] for row in crowd.view("poll_log")}
    assert "sk_secret" not in str(crowd.read_views())
    assert 0 == running.poller.dispatch()  # nor is it asked again at once, for ever


def test_a_locked_file_is_waited_for_and_nothing_is_lost(file_simulator: JobSimulator, start: Start) -> None:
    crowd = crowded(file_simulator)
    file = crowd.file
    running = start(crowd)
    targets = crowd.discover()
    with locked_by_another_program(file):
        assert 50 == running.poller.submit(targets)
        assert not running.poller.wait(timedelta(seconds=0.8))
        assert [] == running.recorded
        assert 50 == len(running.poller.in_flight)
    all_well(crowd, running)
    assert 50 == len(crowd.provider.asked)  # what was fetched is kept, and not asked for again


def test_a_file_that_is_gone_is_waited_for_and_nothing_is_lost(
    file_simulator: JobSimulator, start: Start
) -> None:
    crowd = crowded(file_simulator)
    file = crowd.file
    running = start(crowd)
    targets = crowd.discover()
    crowd.database.close()
    shutil.copy(file, copy := file.with_suffix(".copy"))
    for each in file.parent.glob("history.db*"):
        if each != copy:
            each.unlink()
    running.poller.submit(targets)
    assert not running.poller.wait(timedelta(seconds=0.8))
    with pytest.raises(StorageError, match="is gone"):
        running.poller.dispatch()
    assert not file.exists()
    copy.rename(file)
    all_well(crowd, running)
    assert 50 == len(crowd.provider.asked)


def test_a_server_that_ends_our_connections_midway_loses_nothing(
    server_simulator: JobSimulator, start: Start
) -> None:
    crowd = crowded(server_simulator)
    administrator = create_engine(crowd.database.url, isolation_level="AUTOCOMMIT")
    ended = 0

    def end_all(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal ended
        if statement.startswith("INSERT INTO snapshots") and ended < 2:
            ended += 1
            with administrator.connect() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

    event.listen(crowd.database._writer, "before_cursor_execute", end_all)
    running = start(crowd)
    running.poller.dispatch()
    all_well(crowd, running)
    assert 2 == ended
    assert 50 == len(crowd.provider.asked)
    assert {1} == {row["polls"] for row in crowd.view("poll_log")}
    administrator.dispose()


def test_closing_finishes_what_is_in_flight(crowd: JobSimulator, start: Start) -> None:
    slow = SlowProvider(listed=crowd.provider.listed)
    crowd.providers["agency"] = slow
    running = start(crowd)
    running.poller.dispatch()
    for _ in range(4):  # where one hangs, the others are let pass
        assert slow.entered.acquire(timeout=5)
    threading.Timer(0.1, slow.let.set).start()
    running.poller.close(SOON)
    # Those that were being asked are recorded; those that waited in line are due still.
    assert 4 <= len(running.recorded) <= 50
    with crowd.database.read() as store:
        assert 50 - len(running.recorded) == len(store.due_targets(crowd.clock(), limit=100))
    assert 0 == running.poller.submit(crowd.discover())


def test_closing_does_not_wait_for_ever(crowd: JobSimulator, start: Start) -> None:
    slow = SlowProvider(listed=crowd.provider.listed)
    crowd.providers["agency"] = slow
    running = start(crowd)
    running.poller.dispatch()
    assert slow.inside.wait(5)
    began = monotonic()
    running.poller.close(timedelta(seconds=0.5))
    assert monotonic() - began < 5
    slow.let.set()


def test_closing_while_the_database_is_away_does_not_wait_for_it(
    file_simulator: JobSimulator, start: Start
) -> None:
    crowd = crowded(file_simulator)
    file = crowd.file
    running = start(crowd)
    targets = crowd.discover()
    with locked_by_another_program(file):
        running.poller.submit(targets)
        assert not running.poller.wait(timedelta(seconds=0.3))
        began = monotonic()
        running.poller.close(timedelta(seconds=1))
        assert monotonic() - began < 6
    with crowd.database.read() as store:
        assert 50 == len(store.due_targets(crowd.clock(), limit=100))


def test_a_listener_that_stumbles_does_not_end_the_recording(crowd: JobSimulator) -> None:
    def stumble(_batch: Sequence[PollRecord]) -> None:
        raise ZeroDivisionError

    poller = Poller(
        crowd.context,
        concurrency=2,
        on_recorded=stumble,
    )
    for _ in range(2):
        assert 50 == poller.dispatch()
        assert poller.wait(SOON)
        crowd.advance()
    poller.close(SOON)
    assert {2} == {row["polls"] for row in crowd.view("poll_log")}
