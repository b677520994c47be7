"""poll: one pass, what it prints, what it leaves, and what it only rehearses."""

import re
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from monitor.clock import utc_now
from monitor.sandbox.profiles import SocialProfile
from tests.cli.conftest import CliEnvironment
from tests.receivers import Answer
from tests.sandbox.faults import Fault

INSTAGRAM = "instagram-17841412345678"


def dump(cli_env: CliEnvironment) -> list[str]:
    """Everything that is in the database."""
    with closing(sqlite3.connect(f"file:{cli_env.database}?mode=ro", uri=True)) as connection:
        return list(connection.iterdump())


def test_a_poll_shows_what_is_known_and_tells_what_is_wrong(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("poll")
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0].split() == [
        "ACCOUNT",
        "PLATFORM",
        "NAME",
        "TOKEN",
        "EXPIRES",
        "LAST",
        "POST",
        "LAST",
        "ERROR",
        "INCIDENT",
    ]
    assert [line.split()[1] for line in lines[1:4]] == ["Instagram", "LinkedIn", "X"]
    assert "expiring_soon" in lines[1]
    assert "warning" in lines[1]
    assert lines[-1] == "1 message sent."
    (request,) = cli_env.receiver.requests
    assert "and 1 more problem" in request.json()["title"]


def test_polling_again_sends_nothing_and_says_so(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    for _ in range(2):
        ran = cli_env.run("poll")
        assert (ran.status, ran.out.splitlines()[-1]) == (0, "0 messages sent.")
    assert len(cli_env.receiver.requests) == 1


def test_a_target_that_cannot_be_polled_is_named_with_its_remedy(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.revoke_key()
    ran = cli_env.run("poll")
    assert ran.status == 1
    (line,) = (line for line in ran.out.splitlines() if line.startswith("not polled: agency: "))
    assert "key" in line
    assert "CRITICAL: agency: " in ran.out  # and what it means is an incident of the account
    assert ran.out.splitlines()[-1] == "1 message sent."


def test_what_was_known_is_still_shown_when_the_api_is_away(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    cli_env.server.faults.set(Fault.error(500, "Internal server error"))
    ran = cli_env.run("poll")
    assert ran.status == 1
    assert "LinkedIn" in ran.out
    assert "not polled: agency" in ran.out


def test_a_message_that_is_not_taken_is_a_failure_and_stays_due(cli_env: CliEnvironment) -> None:
    cli_env.receiver.answer = Answer(status=503)
    ran = cli_env.run("poll")
    assert ran.status == 1
    assert "0 messages sent, 1 not" in ran.out.splitlines()[-1]
    states = {row["state"] for row in cli_env.run("deliveries", "--json").json()}
    assert states == {"pending"}


def test_one_account_may_be_polled_alone(cli_env: CliEnvironment) -> None:
    first = cli_env.tree["accounts"][0]
    cli_env.tree["accounts"] = [first, first | {"name": "other"}]
    ran = cli_env.run("poll", "--account", "other")
    assert ran.status == 0
    assert len(cli_env.server.requests) == 1
    assert {row["account"] for row in cli_env.run("status", "--json").json()} == {"other"}


def test_an_unknown_account_is_wrong_and_the_known_are_named(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("poll", "--account", "agincy")
    assert ran.status == 2
    assert "agency" in ran.complaint
    assert not cli_env.database.exists()


def test_more_targets_than_fit_in_flight_are_all_polled(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.workers.poller.MAX_IN_FLIGHT", 3)
    first = cli_env.tree["accounts"][0]
    cli_env.tree["accounts"] = [first | {"name": f"account-{number}"} for number in range(8)]
    ran = cli_env.run("poll")
    assert ran.status == 0
    assert len(cli_env.server.requests) == 8


def test_a_rehearsal_without_a_history_shows_everything_and_leaves_nothing(cli_env: CliEnvironment) -> None:
    before = cli_env.files()
    ran = cli_env.run("poll", "--dry-run")
    assert ran.status == 0
    assert cli_env.files() == before
    assert not cli_env.receiver.requests
    assert f"would record: agency {INSTAGRAM} (Your Brand): first seen, expiring_soon" in ran.out
    assert f"would open: incident 1, warning token_expiry, {INSTAGRAM}" in ran.out
    assert re.search(r"^would notify ops: \[WARNING\] .*and 1 more problem", ran.out, re.MULTILINE)
    assert "What to do: " in ran.out
    assert ran.out.splitlines()[-1] == "Dry run: nothing was written, nothing was sent."


def test_a_rehearsal_starts_from_what_is_known_and_changes_none_of_it(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    cli_env.fake_service.expire(INSTAGRAM)
    before, files = dump(cli_env), set(cli_env.files())
    ran = cli_env.run("poll", "--dry-run")
    assert ran.status == 0
    assert (dump(cli_env), set(cli_env.files())) == (before, files)
    assert f"would record: agency {INSTAGRAM} (Your Brand): expiring_soon → expired" in ran.out
    assert f"would change: incident 1, critical token_expiry, {INSTAGRAM}" in ran.out
    assert "first seen" not in ran.out
    assert len(cli_env.receiver.requests) == 1
    cli_env.run("poll")  # and then it really comes to that
    assert cli_env.receiver.requests[1].json()["title"].replace("\u200b", "") in ran.out


def test_a_rehearsal_is_silent_about_what_is_silenced(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    silence = ("--match", "platform=instagram", "--until", "2h", "--author", "me", "--comment", "known")
    assert cli_env.run("silence", "add", *silence).status == 0
    cli_env.fake_service.expire(INSTAGRAM)
    ran = cli_env.run("poll", "--dry-run")
    assert "expiring_soon → expired" in ran.out
    assert "would notify" not in ran.out


def test_a_rehearsal_gives_new_incidents_the_ids_they_would_get(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    cli_env.fake_service.reconnect(INSTAGRAM)
    cli_env.fake_service.post(INSTAGRAM)
    cli_env.run("poll")
    cli_env.fake_service.fail(INSTAGRAM, "Media upload failed again")
    assert "would open: incident 3, " in cli_env.run("poll", "--dry-run").out


def test_a_rehearsal_of_a_poll_that_fails_fails(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.revoke_key()
    before = cli_env.files()
    ran = cli_env.run("poll", "--dry-run")
    assert ran.status == 1
    assert "would open: incident 1, critical api_key_rejected, agency" in ran.out
    assert cli_env.files() == before


def test_a_poll_beside_a_daemon_shares_its_database(cli_env: CliEnvironment) -> None:
    process = cli_env.start("run")
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "daemon.started" in line:
                break
        ran = cli_env.run("poll")
        assert (ran.status, ran.err.count("Traceback")) == (0, 0), ran
        assert "LinkedIn" in ran.out
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
    cli_env.run("poll")
    assert len(cli_env.receiver.requests) == 1


def test_a_token_near_its_end_by_the_clock_alone_is_told_while_the_api_is_away(
    cli_env: CliEnvironment,
) -> None:
    soon = utc_now() + timedelta(days=1, minutes=10)
    cli_env.fake_service.add_connection(SocialProfile(platform_id="threads-1", username="t", expires_at=soon))
    cli_env.run("poll")
    cli_env.server.faults.set(Fault.error(500, "Internal server error"))
    with closing(sqlite3.connect(cli_env.database)) as connection, connection:
        past = (utc_now() + timedelta(hours=20)).isoformat(" ", "milliseconds").removesuffix("+00:00")
        connection.execute("UPDATE connections SET expires_at = ? WHERE platform_id = 'threads-1'", [past])
    ran = cli_env.run("poll")
    assert ran.status == 1
    assert "CRITICAL" in cli_env.receiver.requests[1].json()["title"]
