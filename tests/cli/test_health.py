"""check-health: what a monitoring system is told, and with which exit status."""

import re
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from monitor.cli.health import Level, judge
from monitor.clock import utc_now
from monitor.core.model import Severity
from monitor.sandbox.profiles import Profile
from monitor.storage import Database
from monitor.storage.queries import Health, Watched
from tests.cli.conftest import Place
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.receivers import Answer

EVERY = {"agency": 15 * MINUTE}


def watched(ago: timedelta | None = MINUTE, ok_ago: timedelta | None = MINUTE) -> Watched:
    return Watched(
        account="agency",
        managed_user_id=None,
        first_seen_at=NOW - DAY,
        last_at=_at(ago),
        last_ok_at=_at(ok_ago),
    )


def _at(ago: timedelta | None) -> datetime | None:
    return None if ago is None else NOW - ago


def health(*targets: Watched, **given: object) -> Health:
    values = {
        "watched": targets or (watched(),),
        "connections": 3,
        "incidents": {},
        "expired": 0,
        "expiring": 0,
        "given_up": 0,
        "waiting_since": None,
    }
    return Health(**values | given)  # type: ignore[arg-type]  # each by its own name


@pytest.mark.parametrize(
    ("found", "level", "word"),
    [
        (health(), Level.OK, "3 connections"),
        (health(watched(None, None)), Level.UNKNOWN, "nothing was polled"),
        (health(incidents={Severity.NOTICE: 4}), Level.OK, "3 connections"),
        (health(incidents={Severity.WARNING: 1}), Level.WARNING, "1 warning open"),
        (health(incidents={Severity.CRITICAL: 2}), Level.CRITICAL, "2 critical incidents open"),
        (health(expiring=2), Level.WARNING, "2 tokens expiring"),
        (health(expired=1), Level.CRITICAL, "1 token expired"),
        (health(given_up=1), Level.WARNING, "1 message not delivered"),
        (health(waiting_since=NOW - 14 * MINUTE), Level.OK, ""),
        (health(waiting_since=NOW - 16 * MINUTE), Level.WARNING, "waiting for 16 minutes"),
        (health(watched(MINUTE, 49 * MINUTE)), Level.OK, ""),
        (health(watched(MINUTE, 51 * MINUTE)), Level.CRITICAL, "no good poll of 1 target (agency)"),
        (health(watched(MINUTE, None)), Level.CRITICAL, "ever"),
        (health(watched(), watched(2 * DAY, 2 * DAY)), Level.CRITICAL, "2 days"),
    ],
)
def test_the_worst_that_is_known_counts(found: Health, level: Level, word: str) -> None:
    said, line = judge(found, EVERY, NOW)
    assert said is level
    assert word in line


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (health(incidents={Severity.CRITICAL: 2}, expired=1, given_up=3), Level.OK),
        (health(watched(MINUTE, 3 * HOUR)), Level.OK),
        (health(watched(64 * MINUTE)), Level.OK),
        (health(watched(66 * MINUTE)), Level.CRITICAL),
        (health(waiting_since=NOW - HOUR), Level.WARNING),
        (health(watched(None, None)), Level.UNKNOWN),
    ],
)
def test_of_itself_it_tells_only_whether_it_does_its_work(found: Health, level: Level) -> None:
    assert judge(found, EVERY, NOW, only_itself=True)[0] is level


def test_the_worst_reason_comes_first() -> None:
    _, line = judge(health(incidents={Severity.WARNING: 1}, expired=1), EVERY, NOW)
    assert line == "1 token expired, 1 warning open"


def test_before_anything_was_polled_it_is_unknown(place: Place) -> None:
    ran = place.run("check-health")
    assert (ran.status, ran.err) == (3, "")
    assert ran.out.startswith("UNKNOWN: no history yet")
    assert not place.database.exists()
    place.run("db", "upgrade")
    assert place.run("check-health").status == 3


def test_a_configuration_that_is_wrong_is_unknown(place: Place) -> None:
    place.tree["polling"] = {"every": "often"}
    ran = place.run("check-health")
    assert (ran.status, ran.err) == (3, "")
    (line,) = ran.out.splitlines()
    assert line.startswith("UNKNOWN: ")
    assert place.run("check-health", "--account", "agincy").status == 3


def test_it_answers_in_one_line_with_performance_data(place: Place, empty_database_url: str) -> None:
    if not empty_database_url.startswith("sqlite"):
        place.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    place.run("poll")
    ran = place.run("check-health")
    assert ran.status == 1
    (line,) = ran.out.splitlines()
    said, data = line.split(" | ")
    assert said == "WARNING: 2 warnings open, 1 token expiring soon"
    assert re.fullmatch(r"connections=3 critical=0 warning=2 last_poll_age=\d+s outbox_age=0s", data)
    assert place.run("check-health", "--self").status == 0
    place.world.expire("instagram-17841412345678")
    place.run("poll")
    assert place.run("check-health").status == 2


def test_a_token_that_ended_by_the_clock_counts_before_the_api_says_so(place: Place) -> None:
    place.world.add_connection(
        Profile(platform_id="threads-1", username="t", expires_at=utc_now() + 60 * DAY)
    )
    place.run("poll")
    _change(
        place, "UPDATE connections SET expires_at = '2026-01-01 00:00:00.000' WHERE platform_id = 'threads-1'"
    )
    assert "1 token expired" in place.run("check-health").out


def test_one_account_is_not_blamed_for_another(place: Place) -> None:
    first = place.tree["accounts"][0]
    place.tree["accounts"] = [first, first | {"name": "well", "base_url": place.server.url}]
    place.receiver.answer = Answer(status=503)
    place.run("poll")
    _change(
        place,
        "DELETE FROM notifications WHERE incident_id IN (SELECT id FROM incidents WHERE account = 'well')",
    )
    _change(place, "DELETE FROM incidents WHERE account = 'well'")
    _change(place, "UPDATE notifications SET first_tried_at = '2026-01-01 00:00:00.000'")
    _change(
        place,
        "UPDATE connections SET token_status = 'valid' "
        "WHERE target_id IN (SELECT id FROM targets WHERE account = 'well')",
    )
    well = place.run("check-health", "--account", "well")
    assert (well.status, well.out.partition(" | ")[0]) == (0, "OK: 3 connections, nothing to act on")
    assert "outbox_age=0s" in well.out
    agency = place.run("check-health", "--account", "agency").out
    assert "a message has been waiting" in agency


def test_a_dead_letter_is_worth_a_word_for_a_day(place: Place) -> None:
    place.run("poll")
    _change(place, "UPDATE notifications SET state = 'failed'")
    assert "1 message not delivered" in place.run("check-health").out
    _change(place, "UPDATE notifications SET due_at = '2026-01-01 00:00:00.000'")
    assert "not delivered" not in place.run("check-health").out


def test_an_account_that_is_no_longer_configured_worries_nobody(place: Place) -> None:
    first = place.tree["accounts"][0]
    place.tree["accounts"] = [first, first | {"name": "gone"}]
    place.run("poll")
    place.tree["accounts"] = [first]
    place.run("poll")
    assert "connections=3 " in place.run("check-health").out


def _change(place: Place, statement: str) -> None:
    database = Database(place.tree["database"]["url"])
    with database.begin() as store:
        store.connection.execute(text(statement))
    database.close()
