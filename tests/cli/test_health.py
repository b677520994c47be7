"""check-health: what a monitoring system is told, and with which exit status."""

import re
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from monitor.cli.health import Level, assess
from monitor.clock import utc_now
from monitor.core.model import Severity
from monitor.sandbox.profiles import SocialProfile
from monitor.storage.database import Database
from monitor.storage.queries import Health, TargetStatus
from tests.cli.conftest import CliEnvironment
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.receivers import Answer
from tests.sandbox.faults import Fault

EVERY = {"agency": 15 * MINUTE}


def watched(
    ago: timedelta | None = MINUTE, ok_ago: timedelta | None = MINUTE, *, is_resting: bool = False
) -> TargetStatus:
    return TargetStatus(
        is_paused=is_resting,
        account="agency",
        managed_user_id=None,
        first_seen_at=NOW - DAY,
        last_polled_at=_at(ago),
        last_ok_at=_at(ok_ago),
    )


def _at(ago: timedelta | None) -> datetime | None:
    return None if ago is None else NOW - ago


def health(*targets: TargetStatus, **given: object) -> Health:
    values = {
        "targets": targets or (watched(),),
        "connections": 3,
        "incidents": {},
        "expired": 0,
        "expiring": 0,
        "dead_letters": 0,
        "pending_since": None,
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
        (health(dead_letters=1), Level.WARNING, "1 message not delivered"),
        (health(pending_since=NOW - 14 * MINUTE), Level.OK, ""),
        (health(pending_since=NOW - 16 * MINUTE), Level.WARNING, "waiting for 16 minutes"),
        (health(watched(MINUTE, 49 * MINUTE)), Level.OK, ""),
        (health(watched(MINUTE, 51 * MINUTE)), Level.CRITICAL, "no successful poll of 1 target (agency)"),
        (health(watched(MINUTE, None)), Level.CRITICAL, "ever"),
        (health(watched(), watched(2 * DAY, 2 * DAY)), Level.CRITICAL, "2 days"),
    ],
)
def test_the_worst_that_is_known_counts(found: Health, level: Level, word: str) -> None:
    said, line = assess(found, EVERY, NOW)
    assert said is level
    assert word in line


@pytest.mark.parametrize(
    ("found", "level"),
    [
        (health(incidents={Severity.CRITICAL: 2}, expired=1, dead_letters=3), Level.OK),
        (health(watched(MINUTE, 3 * HOUR)), Level.OK),
        (health(watched(64 * MINUTE)), Level.OK),
        (health(watched(66 * MINUTE)), Level.CRITICAL),
        (health(watched(), watched(66 * MINUTE, is_resting=True)), Level.OK),
        (health(pending_since=NOW - HOUR), Level.WARNING),
        (health(watched(None, None)), Level.UNKNOWN),
    ],
)
def test_of_itself_it_tells_only_whether_it_does_its_work(found: Health, level: Level) -> None:
    assert assess(found, EVERY, NOW, only_itself=True)[0] is level


def test_the_worst_reason_comes_first() -> None:
    _, line = assess(health(incidents={Severity.WARNING: 1}, expired=1), EVERY, NOW)
    assert line == "1 token expired, 1 warning open"


def test_before_anything_was_polled_it_is_unknown(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("check-health")
    assert (ran.status, ran.err) == (3, "")
    assert ran.out.startswith("UNKNOWN: no history yet")
    assert not cli_env.database.exists()
    cli_env.run("db", "upgrade")
    assert cli_env.run("check-health").status == 3


def test_a_configuration_that_is_wrong_is_unknown(cli_env: CliEnvironment) -> None:
    cli_env.tree["polling"] = {"every": "often"}
    ran = cli_env.run("check-health")
    assert (ran.status, ran.err) == (3, "")
    (line,) = ran.out.splitlines()
    assert line.startswith("UNKNOWN: ")
    assert cli_env.run("check-health", "--account", "agincy").status == 3


def test_a_mistake_of_ours_is_unknown_and_not_a_warning(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli_env.run("db", "upgrade")

    def broken(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("monitor.storage.queries.health", broken)
    ran = cli_env.run("check-health")
    assert (ran.status, ran.err) == (3, "")
    assert ran.out == "UNKNOWN: this is a bug in the monitor, please report it: KeyError\n"


def test_it_answers_in_one_line_with_performance_data(
    cli_env: CliEnvironment, empty_database_url: str
) -> None:
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    cli_env.run("poll")
    ran = cli_env.run("check-health")
    assert ran.status == 1
    (line,) = ran.out.splitlines()
    said, data = line.split(" | ")
    assert said == "WARNING: 2 warnings open, 1 token expiring soon"
    assert re.fullmatch(r"connections=3 critical=0 warning=2 last_poll_age=\d+s outbox_age=0s", data)
    assert cli_env.run("check-health", "--self").status == 0
    cli_env.fake_service.expire("instagram-17841412345678")
    cli_env.run("poll")
    assert cli_env.run("check-health").status == 2


def test_a_token_that_ended_by_the_clock_counts_before_the_api_says_so(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.add_connection(
        SocialProfile(platform_id="threads-1", username="t", expires_at=utc_now() + 60 * DAY)
    )
    cli_env.run("poll")
    _change(
        cli_env,
        "UPDATE connections SET expires_at = '2026-01-01 00:00:00.000' WHERE platform_id = 'threads-1'",
    )
    # Reported as valid after that date: then it is an access token's.
    assert "expired" not in cli_env.run("check-health").out
    _change(cli_env, "UPDATE target_schedule SET last_polled_at = 1766000000000")  # two weeks before it
    assert "1 token expired" in cli_env.run("check-health").out


def test_one_account_is_not_blamed_for_another(cli_env: CliEnvironment) -> None:
    first = cli_env.tree["accounts"][0]
    cli_env.tree["accounts"] = [first, first | {"name": "well", "base_url": cli_env.server.url}]
    cli_env.receiver.answer = Answer(status=503)
    cli_env.run("poll")
    _change(
        cli_env,
        "DELETE FROM notifications WHERE incident_id IN (SELECT id FROM incidents WHERE account = 'well')",
    )
    _change(cli_env, "DELETE FROM incidents WHERE account = 'well'")
    _change(cli_env, "UPDATE notifications SET first_attempt_at = 1767225600000")
    _change(
        cli_env,
        "UPDATE connections SET token_status = 'valid' "
        "WHERE target_id IN (SELECT id FROM targets WHERE account = 'well')",
    )
    well = cli_env.run("check-health", "--account", "well")
    assert (well.status, well.out.partition(" | ")[0]) == (0, "OK: 3 connections, nothing to do")
    assert "outbox_age=0s" in well.out
    agency = cli_env.run("check-health", "--account", "agency").out
    assert "a message has been waiting" in agency


def test_who_rests_since_the_key_is_refused_is_no_fault_of_the_monitor(
    cli_env: CliEnvironment, empty_database_url: str
) -> None:
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    users = ["64f1a2b3c4d5e6f7a8b9c0d1", "64f1a2b3c4d5e6f7a8b9c0d2"]
    cli_env.tree["accounts"][0]["managed_users"] = users
    cli_env.run("poll")
    cli_env.server.faults.set(Fault.error(401, "Invalid API key"))
    cli_env.run("poll")
    old = "'2026-01-01 00:00:00.000'" if "sqlite" in cli_env.tree["database"]["url"] else "'2026-01-01Z'"
    _change(cli_env, f"UPDATE targets SET first_seen_at = {old}, last_ok_at = {old}")
    _change(cli_env, "UPDATE target_schedule SET last_polled_at = NULL WHERE target_id > 1")
    assert cli_env.run("check-health", "--self").status == 0
    assert "no successful poll of 3 targets (agency)" in cli_env.run("check-health").out


def test_nobody_is_late_at_the_pace_that_the_budget_keeps(cli_env: CliEnvironment) -> None:
    users = [f"64f1a2b3c4d5e6f7a8b9{n:04x}" for n in range(200)]
    cli_env.tree["accounts"][0]["managed_users"] = users
    cli_env.tree["polling"] = {"requests_per_minute": 2}
    cli_env.run("db", "upgrade")
    with Database(cli_env.tree["database"]["url"]).begin() as store:
        store.register([("agency", None), *(("agency", user) for user in users)], utc_now())
    _change(cli_env, "UPDATE targets SET consecutive_failures = 0")
    _change(
        cli_env,
        f"UPDATE target_schedule SET last_polled_at = {int((utc_now() - 4 * HOUR).timestamp() * 1000)}",
    )
    for how in ((), ("--self",)):
        assert cli_env.run("check-health", *how).status == 0  # 201 targets at 1.92 a minute
    cli_env.tree["polling"] = {"requests_per_minute": 200}
    for how in ((), ("--self",)):
        assert cli_env.run("check-health", *how).status == 2


def test_a_dead_letter_is_worth_a_word_for_a_day(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    _change(cli_env, "UPDATE notifications SET state = 'failed', delivered_at = NULL")
    assert "1 message not delivered" in cli_env.run("check-health").out
    _change(cli_env, "UPDATE notifications SET due_at = 1767225600000")
    assert "not delivered" not in cli_env.run("check-health").out


def test_an_account_that_is_no_longer_configured_worries_nobody(cli_env: CliEnvironment) -> None:
    first = cli_env.tree["accounts"][0]
    cli_env.tree["accounts"] = [first, first | {"name": "gone"}]
    cli_env.run("poll")
    cli_env.tree["accounts"] = [first]
    cli_env.run("poll")
    assert "connections=3 " in cli_env.run("check-health").out


def _change(cli_env: CliEnvironment, statement: str) -> None:
    database = Database(cli_env.tree["database"]["url"])
    with database.begin() as store:
        store.connection.execute(text(statement))
    database.close()
