"""Two at once: whoever comes second finds what the first has done."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, insert

from monitor.core.model import DeliveryState, Outcome, Reason, Snapshot
from monitor.jobs.deliver import deliver_channel
from monitor.jobs.poll import record_polls
from monitor.storage import outbox
from monitor.storage.database import Database
from monitor.storage.tables import notifications
from tests.factories import HOUR, NOW, connection, failure
from tests.jobs.simulator import JobSimulator

# How long whoever is first waits for the second, who may be waiting for the first.
POLITE_SECONDS = 0.3


@contextmanager
def meeting_at(database: Database, words: str) -> Iterator[None]:
    """Have two threads meet before they send a statement with these words, if nothing keeps them apart."""
    barrier = threading.Barrier(2)

    def meet(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if words in " ".join(statement.split()):
            with suppress(threading.BrokenBarrierError):
                barrier.wait(POLITE_SECONDS)

    event.listen(database._writer, "before_cursor_execute", meet)
    yield
    event.remove(database._writer, "before_cursor_execute", meet)


def both(*deeds: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(deeds)) as threads:
        return [each.result() for each in [threads.submit(deed) for deed in deeds]]


def test_two_polls_of_one_target_take_turns_and_lose_nothing(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    simulator.advance()
    (target,) = simulator.discover()
    inside, second = threading.Event(), threading.Event()

    def first_dice() -> float:
        # Asked within the transaction, when what is known was read and nothing is written yet.
        inside.set()
        second.wait(POLITE_SECONDS)
        return 0.5

    def fails() -> None:
        snapshot = Snapshot(target=target, taken_at=simulator.clock(), failure=failure(http_status=500))
        record_polls([snapshot], replace(simulator.context, random=first_dice))

    def answers() -> None:
        # The very answer that was there before the failure: nothing to decide, had there been no failure.
        assert inside.wait(5)
        listed = (connection(),)
        snapshot = Snapshot(
            target=target,
            taken_at=simulator.clock(),
            connections=listed,
            response_digest=repr(listed).encode(),
        )
        record_polls([snapshot], simulator.context)
        second.set()

    both(fails, answers)
    assert [("ok", 1), ("server_error", 1), ("ok", 1)] == [
        (run["outcome"], run["polls"]) for run in simulator.view("poll_log")
    ]
    with simulator.database.begin() as store:
        (state,) = store.target_states([target]).values()
    assert (0, None) == (state.consecutive_failures, state.failing_since)
    assert [simulator.clock()] == [row["last_seen_at"] for row in simulator.view("current_connections")]


@pytest.fixture
def pair(database: Database) -> JobSimulator:
    """Give a house in which one account has two targets."""
    return JobSimulator(database, managed={"agency": ["one"]})


def record_one(simulator: JobSimulator, index: int, **given: Any) -> Callable[[], Any]:
    target = simulator.discover()[index]
    context = simulator.context
    snapshot = Snapshot(target=target, taken_at=simulator.clock(), **given)
    return lambda: record_polls([snapshot], context)


def test_a_key_that_two_targets_lose_at_once_is_one_incident(pair: JobSimulator) -> None:
    pair.discover()
    refused = failure(Outcome.UNAUTHORIZED, http_status=401)
    with meeting_at(
        pair.database,
        "FROM targets JOIN target_schedule ON target_schedule.target_id = targets.id JOIN poll_runs",
    ):
        done = both(record_one(pair, 0, failure=refused), record_one(pair, 1, failure=refused))
    assert [1, 1] == [len(batch) for batch in done]
    assert ["api_key_rejected"] == [row["rule"] for row in pair.view("incident_log")]
    assert len(pair.deliver()) == 1


def test_an_account_whose_targets_recover_at_once_has_recovered(pair: JobSimulator) -> None:
    refused = failure(Outcome.UNAUTHORIZED, http_status=401)
    for index in (0, 1):
        record_one(pair, index, failure=refused)()
    pair.advance()
    good = {"connections": (connection(),)}
    with meeting_at(
        pair.database,
        "FROM targets JOIN target_schedule ON target_schedule.target_id = targets.id JOIN poll_runs",
    ):
        both(record_one(pair, 0, **good), record_one(pair, 1, **good))
    assert {"recovered"} == {row["resolution"] for row in pair.view("incident_log")}


def test_two_programs_that_register_the_same_accounts_at_once_agree(database: Database) -> None:
    def register() -> int:
        with database.begin() as store:
            return len(store.register([("agency", None), ("other", None)], NOW))

    with meeting_at(database, "INSERT INTO targets"):
        assert [2, 2] == both(register, register)
    with database.read() as store:
        assert len(store.due_targets(NOW, limit=10)) == 2


def write(database: Database, count: int, **given: Any) -> None:
    row = {
        "channel": "ops",
        "reason": Reason.TEST,
        "group_key": "account=agency",
        "state": DeliveryState.PENDING,
        "created_at": NOW,
        "due_at": NOW,
    }
    with database.begin() as store:
        store.connection.execute(insert(notifications), [row | given] * count)


def claim(database: Database, name: str, at: Any = NOW) -> tuple[str, tuple[int, ...]] | None:
    with database.begin() as store:
        taken = outbox.claim(store, at, channel="ops", message_key=name)
        return (taken.message_key, taken.ids) if taken else None


def test_two_senders_never_claim_one_row(database: Database) -> None:
    write(database, 5)
    with meeting_at(database, "UPDATE notifications"):
        taken = both(lambda: claim(database, "one"), lambda: claim(database, "two"))
    assert 1 == len([each for each in taken if each])


def test_two_senders_never_retake_one_abandoned_claim(database: Database) -> None:
    write(database, 3)
    assert claim(database, "crashed") == ("crashed", (1, 2, 3))
    later = NOW + HOUR
    with meeting_at(database, "UPDATE notifications"):
        taken = both(lambda: claim(database, "one", later), lambda: claim(database, "two", later))
    assert [("crashed", (1, 2, 3))] == [each for each in taken if each]
    with database.read() as store:
        found = store.connection.execute(notifications.select()).mappings().all()
    assert [2, 2, 2] == [row["attempts"] for row in found]


def test_many_senders_send_every_group_once(simulator: JobSimulator) -> None:
    simulator.poll_connections(
        *(connection(platform_id=f"threads-{n}", token_status="expired") for n in range(4))
    )
    with simulator.database.begin() as store:
        every = store.connection.execute(notifications.select()).mappings().all()
        for row in every:
            store.connection.execute(
                notifications.update()
                .where(notifications.c.id == row["id"])
                .values(group_key=f"group {row['id']}")
            )
    context = simulator.context
    for _ in range(3):  # a sender that finds another one faster comes again
        both(*[lambda: deliver_channel("ops", context, {}, wait=False)] * 4)
    assert 4 == len(simulator.sent)
    assert 4 == len({message.key for message in simulator.sent})
    assert ["delivered"] * 4 == [row["state"] for row in simulator.view("delivery_log")]
    assert [1] * 4 == [row["attempts"] for row in simulator.view("delivery_log")]


def test_an_acknowledged_race_for_a_group_leaves_the_other_groups_to_be_sent(simulator: JobSimulator) -> None:
    write(simulator.database, 2)
    write(simulator.database, 2, group_key="account=other")
    with meeting_at(simulator.database, "UPDATE notifications"):
        first = both(lambda: claim(simulator.database, "one"), lambda: claim(simulator.database, "two"))
    rest = [claim(simulator.database, "three"), claim(simulator.database, "four")]
    claimed = sorted(id_ for each in [*first, *rest] if each for id_ in each[1])
    assert [1, 2, 3, 4] == claimed
