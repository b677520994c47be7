"""The views that answer the usual questions: what is in them, told by stories, on both databases."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from monitor.clock import utc_now
from monitor.core.model import Connection, Outcome
from monitor.storage.tables import snapshots
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.jobs.simulator import JobSimulator

# So that a list without one of them isn't suddenly short.
OTHERS = [connection(platform_id=f"threads-{n}", expires_at=None) for n in range(4)]


def live(simulator: JobSimulator, *states: dict[str, Any], every: timedelta = DAY) -> None:
    """Let one LinkedIn connection be in one state after the other."""
    for state in states:
        simulator.poll_connections(connection(**{"expires_at": NOW + 3 * DAY} | state), *OTHERS)
        simulator.advance(every)


def of_it(simulator: JobSimulator, view: str, *columns: str) -> list[tuple[Any, ...]]:
    """Give what a view says of that connection."""
    rows = [row for row in simulator.view(view) if row["platform_id"] == connection().platform_id]
    return [tuple(row[column] for column in columns) for row in rows]


def test_a_reconnect_is_timed_from_its_warning_and_from_the_expiry_itself(simulator: JobSimulator) -> None:
    live(
        simulator,
        {"token_status": "expiring_soon"},
        {"token_status": "expiring_soon"},
        {"token_status": "expiring_soon"},
        {"token_status": "expired", "expires_at": NOW + 2 * DAY + HOUR},
        {"token_status": "expired", "expires_at": NOW + 2 * DAY + HOUR},
        {"expires_at": NOW + 60 * DAY},
    )
    found = of_it(
        simulator,
        "reconnect_times",
        *("warned_at", "expired_at", "reconnected_at", "seconds_from_warning", "seconds_from_expiry"),
    )
    five, three = 5 * 86400, 3 * 86400 - 3600
    assert [(NOW, NOW + 2 * DAY + HOUR, NOW + 5 * DAY, five, three)] == found


def test_a_token_reconnected_in_time_has_no_expiry(simulator: JobSimulator) -> None:
    live(simulator, {"token_status": "expiring_soon"}, {"expires_at": NOW + 60 * DAY})
    found = of_it(simulator, "reconnect_times", "expired_at", "seconds_from_warning", "seconds_from_expiry")
    assert [(None, 86400, None)] == found


def test_a_token_without_a_date_expired_when_the_api_first_said_so(simulator: JobSimulator) -> None:
    live(
        simulator,
        {"token_status": "expiring_soon", "expires_at": None},
        {"token_status": "expired", "expires_at": None},
        {"token_status": "expired", "expires_at": None},
        {"expires_at": None},
    )
    assert [(NOW + DAY, 3 * 86400, 2 * 86400)] == of_it(
        simulator, "reconnect_times", "expired_at", "seconds_from_warning", "seconds_from_expiry"
    )


def test_seconds_are_whole_and_never_rounded_up(simulator: JobSimulator) -> None:
    live(simulator, {"token_status": "expiring_soon"}, every=timedelta(seconds=59, milliseconds=999))
    live(simulator, {"expires_at": NOW + 60 * DAY})
    assert [(59,)] == of_it(simulator, "reconnect_times", "seconds_from_warning")


def test_a_flapping_token_was_reconnected_when_it_went_quiet(simulator: JobSimulator) -> None:
    soon: dict[str, Any] = {"token_status": "expiring_soon"}
    good: dict[str, Any] = {"expires_at": NOW + 60 * DAY}
    live(simulator, *[soon, good] * 3, soon, every=MINUTE)
    quiet_since = simulator.clock.now
    live(simulator, *[good] * 8, every=HOUR)
    found = of_it(simulator, "reconnect_times", "warned_at", "reconnected_at")
    assert (NOW + 6 * MINUTE, quiet_since) == found[-1]
    assert 4 == len(found)


def test_what_was_removed_or_renews_itself_is_no_reconnect(simulator: JobSimulator) -> None:
    page = connection(platform_id="facebook-1", expires_at=NOW + 6 * DAY)
    live(simulator, {"token_status": "expired"})
    simulator.poll_connections(page, *OTHERS)
    for _ in range(4):
        simulator.advance()
        simulator.poll_connections(connection(platform_id="facebook-1", expires_at=NOW + 59 * DAY), *OTHERS)
    simulator.advance(2 * DAY)
    simulator.poll()
    assert "removed" in {row["resolution"] for row in simulator.view("incident_log")}
    assert [] == simulator.view("reconnect_times")


def test_a_timeline_is_the_periods_of_each_status(simulator: JobSimulator) -> None:
    live(
        simulator,
        {},
        {"last_successful_post_at": NOW + HOUR},
        {"token_status": "expiring_soon"},
        {"token_status": "expired"},
        {"token_status": "valid", "expires_at": NOW + 60 * DAY},
        {"token_status": "valid", "expires_at": NOW + 61 * DAY},
    )
    days = [NOW + n * DAY for n in range(6)]
    found = of_it(simulator, "connection_timeline", "token_status", "began_at", "ended_at")
    assert [
        ("valid", days[0], days[2]),
        ("expiring_soon", days[2], days[3]),
        ("expired", days[3], days[4]),
        ("valid", days[4], None),
    ] == found
    lengths = [row[0] for row in of_it(simulator, "connection_timeline", "days")]
    assert [2.0, 1.0, 1.0] == lengths[:3]
    assert lengths[3] > 100  # that was long ago


def test_a_timeline_has_a_gap_while_a_connection_is_gone(simulator: JobSimulator) -> None:
    live(simulator, {})
    for _ in range(5):
        simulator.poll_connections(*OTHERS)
        gone = [row["removed_at"] for row in simulator.view("current_connections") if row["removed_at"]]
        simulator.advance(HOUR)
    back = simulator.clock.now
    live(simulator, {"token_status": "valid"})
    found = of_it(simulator, "connection_timeline", "token_status", "began_at", "ended_at")
    assert [("valid", NOW, gone[0]), ("valid", back, None)] == found


def test_a_timeline_begins_where_what_is_remembered_begins(simulator: JobSimulator) -> None:
    live(
        simulator,
        {},
        {"expires_at": NOW + 90 * DAY},
        {"token_status": "expired"},
        {"token_status": "expired"},
    )
    with simulator.database.begin() as store:
        store.connection.execute(delete(snapshots).where(snapshots.c.taken_at == NOW))
    found = of_it(simulator, "connection_timeline", "token_status", "began_at", "ended_at")
    assert [("valid", NOW + DAY, NOW + 2 * DAY), ("expired", NOW + 2 * DAY, None)] == found


def test_a_failure_to_publish_is_there_once_however_often_it_was_seen(simulator: JobSimulator) -> None:
    refused = {"last_error": error("Media upload failed", occurred_at=NOW - HOUR)}
    again = {"last_error": error("Media upload failed", occurred_at=NOW + DAY)}
    bare = {"last_error": error("rate limited", occurred_at=None)}
    live(
        simulator,
        refused,
        refused | {"token_status": "expiring_soon"},
        again | {"token_status": "expiring_soon"},
        again | {"token_status": "expired"},
        {},
        bare,
        bare | {"token_status": "expiring_soon"},
    )
    found = of_it(simulator, "publish_failures", "at", "error", "occurred_at", "token_status")
    assert [
        (NOW, "Media upload failed", NOW - HOUR, "valid"),
        (NOW + 2 * DAY, "Media upload failed", NOW + DAY, "expiring_soon"),
        (NOW + 5 * DAY, "rate limited", None, "valid"),
    ] == found


def test_the_health_of_a_target_counts_what_it_lists(simulator: JobSimulator) -> None:
    simulator.managed = {"agency": ["one", "none"]}
    simulator.provider.lists(
        connection(token_status="expired", expires_at=NOW - DAY),
        connection(platform_id="bluesky-1", token_status="unknown", expires_at=None),
        connection(platform_id="tiktok-1", token_status="paused", expires_at=None),
        connection(platform_id="threads-1"),
    )
    simulator.provider.lists(connection(token_status="expiring_soon", expires_at=NOW + DAY), user="one")
    simulator.provider.lists(user="none")
    simulator.poll()
    counts = ("connections", "valid", "expiring_soon", "expired", "unknown", "worst_status")
    incidents = ("open_incidents", "worst_severity")
    found = {
        row["managed_user_id"]: tuple(row[each] for each in counts + incidents)
        for row in simulator.view("account_health")
    }
    assert {
        None: (4, 1, 0, 1, 2, "expired", 1, "critical"),
        "one": (1, 0, 1, 0, 0, "expiring_soon", 1, "critical"),
        "none": (0, 0, 0, 0, 0, None, 0, None),
    } == found


def test_the_health_of_a_target_says_how_looking_at_it_goes(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    simulator.advance()
    simulator.provider.fails(failure(Outcome.UNAUTHORIZED, error="the key is refused"))
    simulator.poll()
    (row,) = simulator.view("account_health")
    assert (NOW + 15 * MINUTE, NOW, 1) == (row["last_poll_at"], row["last_ok_at"], row["failures"])
    # The key is the account's: no incident of one target, but one that concerns every target of it.
    assert (0, 1) == (row["open_incidents"], row["account_incidents"])


def test_only_what_is_watched_and_listed_can_expire_or_be_ill(simulator: JobSimulator) -> None:
    simulator.managed = {"agency": ["one"]}
    simulator.provider.lists(connection(expires_at=NOW + DAY), *OTHERS)
    simulator.provider.lists(connection(expires_at=NOW + DAY), user="one")
    simulator.poll()
    assert 2 == len(simulator.view("expiring_tokens"))
    simulator.provider.lists(*OTHERS)
    for _ in range(5):
        simulator.advance(HOUR)
        simulator.poll()
    assert ["one"] == [row["managed_user_id"] for row in simulator.view("expiring_tokens")]
    simulator.managed = {}
    simulator.advance()
    simulator.discover()
    assert [] == simulator.view("expiring_tokens")
    assert [None] == [row["managed_user_id"] for row in simulator.view("account_health")]


@pytest.mark.parametrize(
    ("seen", "days", "severity"),
    [
        (connection(expires_at=NOW + 60 * DAY), 60, None),
        (connection(expires_at=NOW + 2 * DAY, token_status="expiring_soon"), 2, "warning"),
        (connection(expires_at=NOW - DAY, token_status="expired"), -1, "critical"),
        (connection(expires_at=None, token_status="expired"), None, "critical"),
        # The vendor renews it.
        (connection(platform_id="youtube-1", expires_at=NOW + HOUR), 1 / 24, None),
    ],
)
def test_a_token_that_ends_has_its_days_and_the_incident_if_somebody_must_act(
    simulator: JobSimulator, seen: Connection, days: float | None, severity: str | None
) -> None:
    simulator.poll_connections(seen, *OTHERS)
    (row,) = simulator.view("expiring_tokens")
    assert severity == row["severity"]
    assert (severity is None) == (row["incident_id"] is None)
    if days is None:
        assert row["days_left"] is None
    else:
        passed = (utc_now() - NOW) / DAY
        assert pytest.approx(days - passed, abs=0.01) == row["days_left"]
