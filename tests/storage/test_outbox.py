"""The outbox by itself: what is due, who has claimed it, how it ends."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from monitor.core.messages.render import Item
from monitor.core.model import DeliveryState, Reason, Severity
from monitor.storage import dead_letters, outbox
from monitor.storage.database import Database
from monitor.storage.notification_items import load_items
from monitor.storage.outbox import COALESCE_WINDOW, LEASE, Claim, Notified
from monitor.storage.tables import notifications
from tests.factories import DAY, MINUTE, NOW, connection, error
from tests.jobs.simulator import JobSimulator

SECOND = timedelta(seconds=1)


def write(database: Database, *rows: dict[str, Any]) -> None:
    ordinary = {
        "channel": "ops",
        "reason": Reason.TEST,
        "group_key": "account=agency",
        "state": DeliveryState.PENDING,
        "created_at": NOW,
        "due_at": NOW,
    }
    with database.begin() as store:
        for row in rows:
            store.connection.execute(insert(notifications), ordinary | row)


def claim(database: Database, at: datetime = NOW, name: str = "m", **given: Any) -> Claim | None:
    with database.begin() as store:
        return outbox.claim(store, at, channel="ops", message_key=name, **given)


def claimed(database: Database, at: datetime = NOW, name: str = "m", **given: Any) -> Claim:
    taken = claim(database, at, name, **given)
    assert taken
    return taken


def due(database: Database, at: datetime = NOW, **given: Any) -> list[str]:
    with database.read() as store:
        return outbox.due_channels(store, at, **given)


def rows(database: Database) -> list[dict[str, Any]]:
    with database.read() as store:
        found = store.connection.execute(select(notifications).order_by(notifications.c.id)).mappings()
        return [dict(row) for row in found]


def states(database: Database) -> list[str]:
    return [row["state"] for row in rows(database)]


def test_channels_are_named_by_what_has_waited_longest(database: Database) -> None:
    write(
        database,
        {"channel": "late", "due_at": NOW - MINUTE},
        {"channel": "early", "due_at": NOW - DAY},
        {"channel": "early"},
        {"channel": "future", "due_at": NOW + SECOND},
        {"channel": "done", "state": DeliveryState.DELIVERED},
        {"channel": "dead", "state": DeliveryState.FAILED},
        {"channel": "busy", "state": DeliveryState.SENDING, "message_key": "x", "leased_until": NOW + SECOND},
        {"channel": "crashed", "state": DeliveryState.SENDING, "message_key": "y", "leased_until": NOW},
    )
    assert ["early", "late", "crashed"] == due(database)
    assert ["future"] == [each for each in due(database, wait=False) if each not in due(database)]


def test_a_claim_takes_what_is_due_of_one_group_and_what_soon_will_be(database: Database) -> None:
    write(
        database,
        {"due_at": NOW},
        {"due_at": NOW + COALESCE_WINDOW},
        {"due_at": NOW + COALESCE_WINDOW + timedelta(milliseconds=1)},
        {"due_at": NOW - MINUTE, "group_key": "account=other"},
        {"due_at": NOW - MINUTE, "channel": "other"},
        {"due_at": NOW + SECOND, "attempts": 1},  # it waits for its own next attempt
    )
    assert (4,) == claimed(database, name="first").ids
    taken = claimed(database, name="second")
    assert (
        Claim(
            message_key="second",
            channel="ops",
            ids=(1, 2),
            attempts=1,
            first_attempt_at=NOW,
            leased_until=NOW + LEASE,
        )
        == taken
    )
    assert claim(database) is None


def test_a_single_pass_does_not_wait_for_groups_to_fill(database: Database) -> None:
    write(
        database, {"due_at": NOW + DAY}, {"due_at": NOW + DAY, "attempts": 1, "first_attempt_at": NOW - DAY}
    )
    assert claim(database) is None
    assert (1,) == claimed(database, wait=False).ids
    assert claim(database, wait=False) is None


def test_what_is_claimed_is_nobody_elses_until_its_lease_ends(database: Database) -> None:
    write(database, {}, {})
    claimed(database, name="first")
    write(database, {})
    assert (3,) == claimed(database, name="second").ids
    almost = NOW + LEASE - timedelta(milliseconds=1)
    assert claim(database, almost, name="third") is None
    retaken = claimed(database, NOW + LEASE, name="third")
    assert ("first", (1, 2), 2, NOW) == (
        retaken.message_key,
        retaken.ids,
        retaken.attempts,
        retaken.first_attempt_at,
    )
    assert "second" == claimed(database, NOW + LEASE, name="third").message_key
    assert claim(database, NOW + LEASE, name="third") is None


def test_a_claim_of_somebody_who_read_the_clock_later_is_not_abandoned(database: Database) -> None:
    # Whoever waits for the database's only writer goes by a time that has passed.
    write(database, {})
    claimed(database, NOW + 3 * SECOND, name="first")
    assert claim(database, NOW, name="second") is None
    assert "first" == claimed(database, NOW - DAY, name="second").message_key  # the clock was set back


def test_a_retaken_claim_is_whole_and_takes_nobody_along(database: Database) -> None:
    write(database, {}, {})
    claimed(database, name="first")
    write(database, {"due_at": NOW})
    assert (1, 2) == claimed(database, NOW + LEASE, name="late").ids
    assert (3,) == claimed(database, NOW + LEASE, name="late").ids


def test_what_was_given_back_is_grouped_anew_when_it_is_due(database: Database) -> None:
    write(database, {})
    first = claimed(database, name="first")
    write(database, {"due_at": NOW + MINUTE})
    with database.begin() as store:
        outbox.release(store, first, due_at=NOW + MINUTE, error="refused")
    assert ["pending", "pending"] == states(database)
    assert ("refused", None, None) == tuple(
        rows(database)[0][key] for key in ("error", "message_key", "leased_until")
    )
    assert due(database) == []
    again = claimed(database, NOW + MINUTE, name="second")
    assert (
        Claim(
            message_key="second",
            channel="ops",
            ids=(1, 2),
            attempts=2,
            first_attempt_at=NOW,
            leased_until=NOW + MINUTE + LEASE,
        )
        == again
    )


def test_what_may_have_been_delivered_keeps_its_name(database: Database) -> None:
    write(database, {})
    first = claimed(database, name="first")
    with database.begin() as store:
        outbox.retry_same_key(store, first, until=NOW + MINUTE, error="no answer in time")
    write(database, {})
    assert (2,) == claimed(database, name="second").ids
    assert claim(database, NOW + MINUTE - SECOND, name="third") is None
    again = claimed(database, NOW + MINUTE, name="third")
    assert ("first", (1,), 2) == (again.message_key, again.ids, again.attempts)


def test_what_is_settled_is_done(database: Database) -> None:
    write(database, {}, {})
    taken = claimed(database)
    write(database, {})
    with database.begin() as store:
        outbox.mark_delivered(store, taken, NOW + SECOND, notified={})
    assert ["delivered", "delivered", "pending"] == states(database)
    assert [NOW + SECOND] * 2 + [None] == [row["delivered_at"] for row in rows(database)]
    assert {None} == {row["leased_until"] for row in rows(database)} | {
        row["error"] for row in rows(database)
    }
    assert ["m", "m", None] == [row["message_key"] for row in rows(database)]


def test_a_sender_that_was_given_up_can_end_nothing_of_what_others_hold(database: Database) -> None:
    write(database, {})
    stale = claimed(database, name="stale")
    with database.begin() as store:
        outbox.release(store, stale, due_at=NOW, error="refused")
    claimed(database, name="fresh")
    with database.begin() as store:
        outbox.mark_delivered(store, stale, NOW, notified={})
        outbox.mark_dead(store, stale, error="given up")
        outbox.retry_same_key(store, stale, until=NOW, error="unsure")
        outbox.release(store, stale, due_at=NOW, error="refused")
    assert [("sending", "fresh")] == [(row["state"], row["message_key"]) for row in rows(database)]


def test_a_dead_letter_rests_until_it_is_revived(database: Database) -> None:
    write(database, {}, {}, {"state": DeliveryState.DELIVERED})
    taken = claimed(database)
    with database.begin() as store:
        outbox.mark_dead(store, taken, error="no such channel")
    assert ["failed", "failed", "delivered"] == states(database)
    assert {"no such channel", None} == {row["error"] for row in rows(database)}
    assert due(database, NOW + 30 * DAY, wait=False) == []
    later = NOW + DAY
    with database.begin() as store:
        assert [2] == dead_letters.requeue_on_request(store, [2, 3, 99], later)
        assert [] == dead_letters.requeue_on_request(store, [2], later)
        assert [] == dead_letters.requeue_on_request(store, [], later)
    again = claimed(database, later, name="again")
    assert (
        Claim(
            message_key="again",
            channel="ops",
            ids=(2,),
            attempts=1,
            first_attempt_at=later,
            leased_until=later + LEASE,
        )
        == again
    )
    assert ["failed", "sending", "delivered"] == states(database)


def test_times_of_the_outbox_are_written_as_all_others(simulator: JobSimulator) -> None:
    write(simulator.database, {})
    claimed(simulator.database)
    (row,) = simulator.query("SELECT due_at, first_attempt_at, leased_until FROM notifications")
    expected = {"due_at": NOW, "first_attempt_at": NOW, "leased_until": NOW + LEASE}
    if simulator.database.is_sqlite:
        assert {k: round(v.timestamp() * 1000) for k, v in expected.items()} == row
    else:
        assert expected == row


@pytest.fixture
def busy(simulator: JobSimulator) -> JobSimulator:
    """Give a house with three incidents that the channel is to be told of, one of them opened later."""
    simulator.poll_connections(
        connection(platform_id="instagram-1", token_status="expired", last_error=error()),
        connection(platform_id="threads-1", token_status="expiring_soon", expires_at=NOW + 6 * DAY),
    )
    return simulator


def items(simulator: JobSimulator, taken: Claim) -> dict[int, Item]:
    with simulator.database.begin() as store:
        loaded = load_items(store, taken, {"agency": "https://app.postpost.dev"})
    return {item.incident.id or 0: item for item in loaded}


def test_what_a_claim_tells_of_is_as_it_is_now(busy: JobSimulator) -> None:
    taken = claimed(busy.database, wait=False)
    busy.advance()
    busy.poll_connections(
        connection(platform_id="instagram-1", token_status="valid", last_error=error()),
        connection(platform_id="threads-1", token_status="expired", expires_at=NOW),
    )
    notified = items(busy, taken)
    assert [(False, "token_expiry"), (True, "publish_error"), (True, "token_expiry")] == [
        (item.incident.is_open, item.incident.rule) for item in notified.values()
    ]
    assert Severity.CRITICAL == notified[3].incident.severity
    assert all(item.reasons == {Reason.OPENED} and item.last_severity is None for item in notified.values())
    assert ["valid", "valid", "expired"] == [
        item.connection.token_status for item in notified.values() if item.connection
    ]
    assert {"https://app.postpost.dev"} == {item.dashboard_url for item in notified.values()}
    assert {"agency"} == {item.target.account for item in notified.values() if item.target}


def test_what_a_channel_was_last_told_is_remembered_by_incident_and_channel(busy: JobSimulator) -> None:
    first = claimed(busy.database, wait=False)
    with busy.database.begin() as store:
        outbox.mark_delivered(store, first, NOW, notified={1: Notified("critical"), 3: Notified("notice")})
    again = [{"incident_id": id_, "reason": Reason.UPDATED} for id_ in (1, 2, 3)]
    write(busy.database, *again, *({**each, "channel": "other"} for each in again))
    notified = items(busy, claimed(busy.database, name="second"))
    assert [Severity.CRITICAL, None, Severity.NOTICE] == [notified[id_].last_severity for id_ in (1, 2, 3)]
    with busy.database.begin() as store:
        other = outbox.claim(store, NOW, channel="other", message_key="o")
    assert other
    assert [None] * 3 == [item.last_severity for item in items(busy, other).values()]


def test_reasons_that_were_told_already_are_told_no_more(busy: JobSimulator) -> None:
    # A later message may have told all of it while an earlier one was stuck with its uncertain answer.
    stuck = claimed(busy.database, wait=False)
    with busy.database.begin() as store:
        outbox.retry_same_key(store, stuck, until=NOW + MINUTE, error="no answer in time")
    write(busy.database, {"incident_id": 1, "reason": Reason.UPDATED})
    newer = claimed(busy.database, name="newer")
    assert {Reason.UPDATED} == items(busy, newer)[1].reasons
    with busy.database.begin() as store:
        outbox.mark_delivered(store, newer, NOW, notified={1: Notified("critical")})
    notified = items(busy, claimed(busy.database, NOW + MINUTE))
    assert (Severity.CRITICAL, frozenset(), None) == (
        notified[1].last_severity,
        notified[1].reasons,
        notified[1].reason,
    )
    assert {Reason.OPENED} == notified[2].reasons


def test_the_end_of_an_incident_is_remembered_as_told(busy: JobSimulator) -> None:
    busy.poll_connections(connection(platform_id="instagram-1"), connection(platform_id="threads-1"))
    taken = claimed(busy.database, wait=False)
    with busy.database.begin() as store:
        outbox.mark_delivered(store, taken, NOW, notified={1: Notified(outbox.NOTIFIED_RESOLVED)})
    write(busy.database, {"incident_id": 1, "reason": Reason.REMINDER})
    (item,) = items(busy, claimed(busy.database, name="second")).values()
    assert (True, None, None) == (item.last_was_resolved, item.last_severity, item.reason)


def test_a_claim_of_any_size_takes_statements_of_one_size(simulator: JobSimulator) -> None:
    # A server takes 65,535 values in one statement, and a vendor's stumble is more rows than that.
    simulator.poll_connections(
        *(connection(platform_id=f"threads-{n}", token_status="expired") for n in range(300))
    )
    simulator.poll_connections(
        *(connection(platform_id=f"threads-{n}", token_status="expired") for n in range(300))
    )
    most = 0

    def note(_connection: Any, _cursor: Any, _statement: str, values: Any, _context: Any, many: bool) -> None:
        nonlocal most
        most = most if many else max(most, len(values))

    event.listen(simulator.database._writer, "before_cursor_execute", note)
    taken = claimed(simulator.database, wait=False)
    notified = items(simulator, taken)
    with simulator.database.begin() as store:
        outbox.mark_delivered(store, taken, NOW, notified=dict.fromkeys(notified, Notified("critical")))
    event.remove(simulator.database._writer, "before_cursor_execute", note)
    assert (300, 300) == (len(taken.ids), len(notified))
    assert {"delivered"} == set(states(simulator.database))
    assert most < 30
