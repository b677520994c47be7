"""What people query: columns, types, and the same story on both databases."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from monitor.core.messages.lifecycle import Downtime
from monitor.core.model import Outcome
from monitor.core.routing.routes import Route
from monitor.storage import downtimes
from monitor.storage.database import Database
from monitor.storage.erasure import erase
from tests.conftest import NewDatabase
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.fakes import FakeChannel, FakeProvider
from tests.jobs.simulator import DAYS, VIEWS, JobSimulator, without_days

# As documented; more may follow.
COLUMNS = {
    "current_connections": "account managed_user_id managed_user platform platform_id username display_name"
    " token_status expires_at last_successful_post_at last_error last_error_at first_seen_at last_seen_at"
    " removed_at name",
    "token_transitions": "at account managed_user_id platform platform_id username from_status to_status"
    " expires_at name",
    "incident_log": "id account managed_user_id platform platform_id username rule severity summary opened_at"
    " acknowledged_at acknowledged_by resolved_at resolution name",
    "delivery_log": "id incident_id channel reason state attempts created_at delivered_at error",
    "poll_log": "account managed_user_id outcome http_status error first_at last_at polls",
    "expiring_tokens": "account managed_user_id managed_user platform platform_id username display_name"
    " token_status expires_at days_left incident_id severity id name",
    "connection_timeline": "account managed_user_id managed_user platform platform_id username token_status"
    " began_at ended_at days id name",
    "account_health": "account managed_user_id managed_user connections valid expiring_soon expired unknown"
    " worst_status last_poll_at last_ok_at failures open_incidents account_incidents worst_severity id",
    "reconnect_times": "account managed_user_id managed_user platform platform_id username warned_at"
    " expired_at reconnected_at seconds_from_warning seconds_from_expiry incident_id name",
    "erasure_log": "id at account targets connections polls transitions incidents deliveries",
    "monitor_downtimes": "began_at ended_at seconds id",
    "publish_failures": "at account managed_user_id managed_user platform platform_id username error"
    " occurred_at token_status last_successful_post_at id name",
}
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
NUMBERS = {
    *("id", "incident_id", "attempts", "polls", "http_status", "connections", "valid", "expiring_soon"),
    *("expired", "unknown", "failures", "open_incidents", "account_incidents"),
    *("seconds_from_warning", "seconds_from_expiry", "seconds"),
    *("targets", "transitions", "incidents", "deliveries"),
}


@pytest.fixture(scope="module")
def simulators(migrated_database: NewDatabase) -> Iterator[dict[str, JobSimulator]]:
    """Give the same house twice, on SQLite and on PostgreSQL, each with the same story behind it; only read."""
    with ExitStack() as stack:
        made = {}
        for kind in ("sqlite", "postgres"):
            url = stack.enter_context(migrated_database(kind))
            made[kind] = JobSimulator(stack.enter_context(closing(Database(url))))
            with structlog.testing.capture_logs():
                tell_a_story(made[kind])
        yield made


def tell_a_story(simulator: JobSimulator) -> None:
    """Let happen what can happen: expiry, errors, failures, removal, recovery, dead letters."""
    simulator.providers["studio"] = FakeProvider()
    simulator.channels["mail"] = FakeChannel(name="mail")
    simulator.managed = {"studio": ["64a1f0c2e4b0a1b2c3d4e5f6"]}
    simulator.routes = (Route(channels=("ops", "mail", "gone")),)
    instagram = connection(
        platform_id="instagram-17841412345678",
        username="@yourinstagram",
        display_name=None,
        token_status="expiring_soon",
        expires_at=NOW + 2 * DAY,
    )
    bluesky = connection(platform_id="bluesky-did:plc:abc123", token_status="unknown", expires_at=None)
    odd = connection(platform_id="tiktok-7123456789", token_status="paused ✋", display_name="Café “Zoë”")
    others = [connection(platform_id=f"threads-{n}") for n in range(3)]
    studio = simulator.providers["studio"]
    with simulator.database.begin() as store:
        downtimes.save_downtime(store, Downtime(starts_at=NOW - DAY, ends_at=NOW))
    studio.lists(connection(), user="64a1f0c2e4b0a1b2c3d4e5f6")
    simulator.poll_connections(instagram, bluesky, odd, *others)
    simulator.deliver()
    simulator.advance()
    studio.fails(failure(Outcome.UNAUTHORIZED, http_status=401, error="the key is refused"))
    simulator.poll_connections(
        connection(**_of(instagram) | {"last_error": error(), "token_status": "expired"}), bluesky, *others
    )
    simulator.deliver()
    for _ in range(3):
        simulator.advance()
        simulator.provider.fails(failure(Outcome.TIMEOUT, error="no answer within 20 seconds"))
        simulator.poll()
    simulator.advance(2 * DAY)
    simulator.review()
    simulator.deliver()
    studio.lists(connection())
    renewed = connection(**_of(instagram) | {"token_status": "valid", "expires_at": NOW + 60 * DAY})
    for _ in range(4):
        simulator.advance(HOUR)
        simulator.poll_connections(renewed, bluesky, *others)
        simulator.deliver()
    with simulator.database.begin() as store:
        store.register(
            [*((name, None) for name in simulator.providers), ("past", None), ("past", "one")], NOW
        )
    for managed_user_id in ("one", None):
        assert list(erase(simulator.database, "past", managed_user_id, simulator.clock()))


def _of(given: Any) -> dict[str, Any]:
    return {name: getattr(given, name) for name in type(given).__dataclass_fields__}


def test_both_databases_tell_the_same_story(simulators: dict[str, JobSimulator]) -> None:
    on_sqlite, on_postgres = simulators["sqlite"], simulators["postgres"]
    for name in VIEWS:
        assert without_days(on_sqlite.view(name)) == without_days(on_postgres.view(name)), name
        for one, other in zip(on_sqlite.view(name), on_postgres.view(name), strict=True):
            for column in DAYS & set(one):
                assert pytest.approx(one[column], abs=0.01) == other[column]
    assert on_sqlite.sizes() == on_postgres.sizes()
    assert [message.body for message in on_sqlite.sent] == [message.body for message in on_postgres.sent]
    # A story in which nothing happens would be the same everywhere.
    story = on_sqlite.read_views()
    assert {"ok", "unauthorized", "timeout"} == {row["outcome"] for row in story["poll_log"]}
    assert {"delivered", "failed"} == {row["state"] for row in story["delivery_log"]}
    assert {"recovered", None} <= {row["resolution"] for row in story["incident_log"]} | {None}
    assert any(row["removed_at"] for row in story["current_connections"])
    assert {None, "64a1f0c2e4b0a1b2c3d4e5f6"} == {r["managed_user_id"] for r in story["current_connections"]}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_has_the_documented_columns_and_types(
    simulators: dict[str, JobSimulator], kind: str, name: str
) -> None:
    simulator = simulators[kind]
    rows = simulator.query(f"SELECT * FROM {name}")
    assert rows
    documented = COLUMNS[name].split()
    assert documented == [column for column in rows[0] if column in documented]
    for row in rows:
        for column, value in row.items():
            if value is None:
                continue
            if column == "at" or column.endswith("_at"):
                if simulator.database.is_sqlite:
                    assert TIME.fullmatch(value), (column, value)
                else:
                    assert isinstance(value, datetime) and value.tzinfo, (column, value)
            else:
                wanted = int if column in NUMBERS else float if column in DAYS else str
                assert isinstance(value, wanted), (column, value)


def test_a_server_gives_times_with_their_zone(simulators: dict[str, JobSimulator]) -> None:
    found = simulators["postgres"].query(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND (column_name = 'at' OR column_name LIKE '%\\_at')"
    )
    in_views = [row for row in found if row["table_name"] in VIEWS]
    assert len(in_views) >= 16
    assert {"timestamp with time zone"} == {row["data_type"] for row in in_views}


def test_the_own_functions_of_sqlite_read_every_time(simulators: dict[str, JobSimulator]) -> None:
    simulator = simulators["sqlite"]
    for name in VIEWS:
        times = [
            column
            for column in simulator.query(f"SELECT * FROM {name} LIMIT 1")[0]
            if re.search("^at$|_at$", column)
        ]
        for column in times:
            wrong = simulator.query(
                f"SELECT {column} FROM {name} WHERE {column} IS NOT NULL"
                f" AND ({column} <> strftime('%Y-%m-%d %H:%M:%f', {column}) OR julianday({column}) IS NULL)"
            )
            assert wrong == [], (name, column)


def test_a_connection_at_first_sight_comes_from_nowhere(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    simulator.advance()
    simulator.poll_connections(connection(token_status="expired"))
    simulator.advance()
    simulator.poll_connections(connection(token_status="expired", last_error=error()))
    assert [(None, "valid", NOW), ("valid", "expired", NOW + 15 * MINUTE)] == [
        (row["from_status"], row["to_status"], row["at"]) for row in simulator.view("token_transitions")
    ]


def test_a_connection_is_known_by_its_account_and_its_managed_user(simulator: JobSimulator) -> None:
    simulator.managed = {"agency": ["one"]}
    simulator.provider.lists(connection())
    simulator.provider.lists(connection(), user="one")
    simulator.poll()
    assert [("agency", None), ("agency", "one")] == sorted(
        ((row["account"], row["managed_user_id"]) for row in simulator.view("current_connections")),
        key=lambda pair: pair[1] or "",
    )


def test_everything_known_of_a_connection_is_shown(simulator: JobSimulator) -> None:
    notified = error("Media upload failed: Invalid image format", occurred_at=NOW - DAY)
    simulator.poll_connections(connection(last_error=notified, last_successful_post_at=NOW - 2 * DAY))
    (row,) = simulator.view("current_connections")
    assert {key: row[key] for key in COLUMNS["current_connections"].split()} == {
        "account": "agency",
        "managed_user_id": None,
        "managed_user": None,
        "platform": "linkedin",
        "platform_id": "linkedin-Tz9W5i6ZYG",
        "username": "johndoe",
        "display_name": "John Doe",
        "token_status": "valid",
        "expires_at": NOW + 60 * DAY,
        "last_successful_post_at": NOW - 2 * DAY,
        "last_error": "Media upload failed: Invalid image format",
        "last_error_at": NOW - DAY,
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "removed_at": None,
        "name": "John Doe",
    }


def test_a_poll_to_the_millisecond_is_shown_to_the_millisecond(simulator: JobSimulator) -> None:
    simulator.clock.now = datetime(2026, 2, 22, 23, 59, 59, 999_000, tzinfo=UTC)
    simulator.poll_connections(connection())
    (run,) = simulator.view("poll_log")
    assert [simulator.clock.now] * 2 == [run["first_at"], run["last_at"]]
