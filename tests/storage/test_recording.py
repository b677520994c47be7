"""What a poll costs and what it leaves: nothing for what is as it was, one run for what goes on failing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from monitor.core.model import Outcome, Snapshot, Target
from monitor.jobs.poll import record_polls
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.jobs.simulator import EVERY, JobSimulator

DYING = connection(platform_id="instagram-1", token_status="expiring_soon", expires_at=NOW + 2 * DAY)


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    """Note every statement that is sent to the database."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(database._writer, "before_cursor_execute", note)
    yield seen
    event.remove(database._writer, "before_cursor_execute", note)


def crowd(simulator: JobSimulator, size: int) -> list[Target]:
    with simulator.database.begin() as store:
        return store.register([("agency", f"user {n}") for n in range(size)], simulator.clock())


def snapshots(targets: list[Target], at: datetime, **given: Any) -> list[Snapshot]:
    return [Snapshot(target=target, taken_at=at, **given) for target in targets]


def test_a_batch_of_any_size_takes_the_same_number_of_statements(simulator: JobSimulator) -> None:
    targets = crowd(simulator, 221)
    groups = [targets[:1], targets[1:21], targets[21:]]
    polls: dict[str, dict[str, Any]] = {
        "first sight": {"connections": (connection(), DYING), "response_digest": b"1"},
        "steady": {"connections": (connection(), DYING), "response_digest": b"1"},
        "changed": {"connections": (connection(last_error=error()), DYING), "response_digest": b"2"},
        "missing": {"connections": (connection(last_error=error()),), "response_digest": b"3"},
        "failed": {"failure": failure(Outcome.UNAUTHORIZED, http_status=401)},
        "failed alike": {"failure": failure(Outcome.UNAUTHORIZED, http_status=401)},
        "back": {"connections": (connection(), DYING), "response_digest": b"4"},
    }
    for kind, given in polls.items():
        spent = []
        simulator.advance()
        for group in groups:
            with statements_of(simulator.database) as seen:
                batch = snapshots(group, simulator.clock(), **given)
                done = record_polls(batch, simulator.context)
            assert len(done) == len(group)
            spent.append(len(seen))
        # The first group also opens the account's own incident; after that, size makes no difference.
        assert spent[1] == spent[2], (kind, spent)
        assert max(spent) <= 30, (kind, spent)
        if kind == "steady":
            assert spent == [spent[0]] * 3
            assert spent[0] <= 3


def test_a_poll_that_sees_nothing_new_adds_no_row_and_moves_the_hands(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(), DYING)
    simulator.deliver()
    before, since = simulator.sizes(), simulator.clock()
    for _ in range(10):
        simulator.advance()
        simulator.poll_connections(connection(), DYING)
        assert simulator.deliver() == []
    assert before == simulator.sizes()
    (run,) = simulator.view("poll_log")
    assert (since, simulator.clock(), 11) == (run["first_at"], run["last_at"], run["polls"])
    assert {simulator.clock()} == {row["last_seen_at"] for row in simulator.view("current_connections")}
    assert {since} == {row["first_seen_at"] for row in simulator.view("current_connections")}


def test_an_answer_without_a_fingerprint_is_decided_each_time_and_adds_no_row_either(
    simulator: JobSimulator,
) -> None:
    (target,) = simulator.discover()
    before = None
    for _ in range(5):
        simulator.advance()
        simulator.database.close()  # a restart between any two
        (polled,) = record_polls(
            snapshots([target], simulator.clock(), connections=(connection(), DYING)), simulator.context
        )
        assert polled.evaluation is not None
        assert before in {None, (before := tuple(simulator.sizes().items()))}
    assert [5] == [run["polls"] for run in simulator.view("poll_log")]


def test_failures_alike_are_one_run_and_another_outcome_begins_the_next(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    notified = {
        "busy": failure(Outcome.SERVER_ERROR, http_status=503, error="the API is busy"),
        "broken": failure(Outcome.SERVER_ERROR, http_status=500, error="the API is broken"),
        "silent": failure(Outcome.TIMEOUT, error="no answer within 20 seconds"),
    }
    moments = []
    for kind in ("busy", "busy", "broken", "silent", "silent", "silent"):
        moments.append(simulator.advance())
        simulator.provider.fails(notified[kind])
        simulator.poll()
    moments.append(simulator.advance())
    simulator.poll_connections(connection())
    assert [
        ("ok", 200, None, NOW, NOW, 1),
        ("server_error", 503, "the API is busy", moments[0], moments[1], 2),
        ("server_error", 500, "the API is broken", moments[2], moments[2], 1),
        ("timeout", None, "no answer within 20 seconds", moments[3], moments[5], 3),
        ("ok", 200, None, moments[6], moments[6], 1),
    ] == [
        tuple(run[key] for key in ("outcome", "http_status", "error", "first_at", "last_at", "polls"))
        for run in simulator.view("poll_log")
    ]


def test_a_failed_fetch_keeps_what_was_known(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(), DYING)
    before = simulator.read_views()
    simulator.provider.fails(failure())
    for _ in range(5):
        simulator.advance()
        simulator.poll()
        after = simulator.read_views()
        # While nothing is seen, the connections were last seen by the last good poll.
        assert before["current_connections"] == after["current_connections"]
        assert before["token_transitions"] == after["token_transitions"]
    assert ["token_expiry", "api_unreachable"] == [row["rule"] for row in after["incident_log"]]
    simulator.advance()
    simulator.poll_connections(connection(), DYING)
    assert {simulator.clock()} == {row["last_seen_at"] for row in simulator.view("current_connections")}


def test_what_is_known_survives_a_restart(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(last_error=error()), DYING)
    simulator.advance()
    (target,) = simulator.discover()
    with simulator.database.begin() as store:
        (before,) = store.with_connections(store.target_states([target]), recent_since=NOW - DAY).values()
    simulator.database.close()
    with simulator.database.begin() as store:
        (after,) = store.with_connections(store.target_states([target]), recent_since=NOW - DAY).values()
    assert before == after
    assert {"instagram-1": DYING, "linkedin-Tz9W5i6ZYG": connection(last_error=error())} == {
        name: each.connection for name, each in after.connections.items()
    }
    assert {"token_expiry", "publish_error"} == {incident.rule for incident in after.incidents}
    assert all(incident.notified_levels for incident in after.incidents)
    assert (NOW, NOW, 0, None) == (
        after.taken_at,
        after.last_ok_at,
        after.consecutive_failures,
        after.failing_since,
    )


def test_a_snapshot_that_comes_too_late_is_dropped(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(token_status="valid"))
    (target,) = simulator.discover()
    newer = snapshots([target], simulator.advance(), connections=(connection(token_status="expired"),))
    older = snapshots([target], simulator.clock() - MINUTE, connections=(connection(token_status="valid"),))
    simulator.advance(MINUTE)
    assert len(record_polls(newer, simulator.context)) == 1
    before = simulator.read_views(), simulator.sizes()
    assert record_polls(older, simulator.context) == []
    assert before == (simulator.read_views(), simulator.sizes())


def test_a_clock_that_was_set_back_does_not_blind_the_monitor(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    simulator.advance(-HOUR)
    simulator.poll_connections(connection(token_status="expired", expires_at=None))
    assert ["expired"] == [row["token_status"] for row in simulator.view("current_connections")]
    assert [simulator.clock()] == [row["last_seen_at"] for row in simulator.view("current_connections")]
    simulator.advance()
    assert len(simulator.poll_connections(connection())) == 1
    assert ["valid"] == [row["token_status"] for row in simulator.view("current_connections")]


def test_a_target_seen_twice_in_one_batch_is_recorded_once(simulator: JobSimulator) -> None:
    (target,) = simulator.discover()
    twice = [
        *snapshots([target], NOW, connections=(connection(),)),
        *snapshots([target], NOW, connections=(connection(token_status="expired", expires_at=None),)),
    ]
    assert len(record_polls(twice, simulator.context)) == 1
    assert ["expired"] == [row["token_status"] for row in simulator.view("current_connections")]


def test_a_target_that_was_erased_meanwhile_costs_nobody_else(simulator: JobSimulator) -> None:
    targets = crowd(simulator, 2)
    batch = snapshots([*targets, replace(targets[0], id=999)], NOW, connections=(connection(),))
    done = record_polls(batch, simulator.context)
    assert [target.id for target in targets] == [polled.target.id for polled in done]


def test_a_connection_that_is_no_longer_listed_is_removed_after_three_good_polls(
    simulator: JobSimulator,
) -> None:
    others = [connection(platform_id=f"threads-{n}") for n in range(3)]
    simulator.poll_connections(DYING, *others)
    seen_at = simulator.clock()
    removed = []
    for _ in range(4):
        simulator.advance()
        simulator.poll_connections(*others)
        (row,) = (row for row in simulator.view("current_connections") if row["platform_id"] == "instagram-1")
        assert row["last_seen_at"] == seen_at
        removed.append(row["removed_at"])
    assert [None, None, NOW + 3 * EVERY, NOW + 3 * EVERY] == removed
    expiry = [row for row in simulator.view("incident_log") if row["rule"] == "token_expiry"]
    assert ["removed"] == [row["resolution"] for row in expiry]
    simulator.advance()
    simulator.poll_connections(DYING, *others)
    (row,) = (row for row in simulator.view("current_connections") if row["platform_id"] == "instagram-1")
    assert (None, simulator.clock()) == (row["removed_at"], row["last_seen_at"])
    assert 1 == sum(row["platform_id"] == "instagram-1" for row in simulator.view("token_transitions"))


@pytest.mark.parametrize("broken", ["next_poll_at", "run"])
def test_a_batch_is_recorded_whole_or_not_at_all(
    simulator: JobSimulator, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.poll_connections(connection())
    before = simulator.read_views(), simulator.sizes()

    def stumble(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    where = "save_incidents" if broken == "run" else "save_runs"
    monkeypatch.setattr(f"monitor.storage.recording.{where}", stumble)
    simulator.advance()
    with pytest.raises(ZeroDivisionError):
        simulator.poll_connections(connection(), DYING)
    monkeypatch.undo()
    assert before == (simulator.read_views(), simulator.sizes())
    simulator.poll_connections(connection(), DYING)
    assert simulator.sizes()["snapshots"] == 2


def test_a_target_is_polled_again_when_its_interval_is_over(simulator: JobSimulator) -> None:
    (target,) = simulator.discover()
    simulator.poll_connections(connection())
    for wait, is_due in ((EVERY - timedelta(milliseconds=1), False), (timedelta(milliseconds=1), True)):
        simulator.advance(wait)
        with simulator.database.read() as store:
            assert ([target] if is_due else []) == store.due_targets(simulator.clock(), limit=10)
