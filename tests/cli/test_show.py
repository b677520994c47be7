"""status, history, incidents, deliveries, export: on both databases, for people and for programs."""

import os
import pty
import re
import sqlite3
import subprocess
import sys
import tracemalloc
from contextlib import closing

import pytest
from sqlalchemy import create_engine, text

from monitor.sandbox.profiles import SocialProfile
from monitor.storage import queries, views
from monitor.storage.database import Database
from tests.cli.conftest import CliEnvironment
from tests.receivers import Answer

INSTAGRAM = "instagram-17841412345678"
READING = ("status", "history", "incidents", "deliveries")
HOSTILE = "=1+1\x1b[31mred\x1b]0;title\x07\u202egnp.exe\r\nX-Forged: yes\x9b31m"
WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def polled(cli_env: CliEnvironment, empty_database_url: str) -> CliEnvironment:
    """Give a place on each kind of database where one poll has been."""
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    assert cli_env.run("poll").status == 0
    return cli_env


@pytest.mark.parametrize(
    "command", [*READING, "export connections", "db check", "db prune", "deliveries retry 1"]
)
def test_without_a_history_it_says_what_to_run_and_makes_none(cli_env: CliEnvironment, command: str) -> None:
    before = cli_env.files()
    ran = cli_env.run(*command.split())
    assert (ran.status, ran.out) == (1, "")
    assert "no history yet" in ran.complaint
    assert cli_env.files() == before


@pytest.mark.parametrize("command", READING)
def test_without_a_history_a_program_gets_an_empty_array(cli_env: CliEnvironment, command: str) -> None:
    ran = cli_env.run(command, "--json")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert "no history yet" in ran.complaint
    assert not cli_env.database.exists()


@pytest.mark.parametrize(
    "command", [*READING, "status --json", "export incidents", "check-health", "db check"]
)
def test_reading_leaves_the_database_as_it_was(cli_env: CliEnvironment, command: str) -> None:
    cli_env.run("poll")
    before = cli_env.files()
    cli_env.run(*command.split())
    assert cli_env.files() == before


@pytest.mark.parametrize(
    ("command", "view"),
    [
        (("status",), "current_connections"),
        (("history",), "token_transitions"),
        (("incidents",), "incident_log"),
        (("deliveries",), "delivery_log"),
    ],
)
def test_the_keys_of_the_json_are_the_columns_of_the_view(
    polled: CliEnvironment, command: tuple[str, ...], view: str
) -> None:
    rows = polled.run(*command, "--json").json()
    engine = create_engine(polled.tree["database"]["url"].replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        columns = list(connection.execute(text(f"SELECT * FROM {view}")).keys())
    engine.dispose()
    if view in {"current_connections", "token_transitions"}:
        columns.remove("id")
    assert list(rows[0]) == columns
    for row in rows:
        times = [value for key, value in row.items() if (key == "at" or key.endswith("_at")) and value]
        assert times
        assert all(WHEN.fullmatch(moment) for moment in times)


def test_status_shows_the_example_as_it_is(polled: CliEnvironment) -> None:
    rows = polled.run("status", "--json").json()
    shown = [(row["platform_id"], row["token_status"], row["last_error"], row["removed_at"]) for row in rows]
    assert shown == [
        (INSTAGRAM, "expiring_soon", "Media upload failed: Invalid image format", None),
        ("linkedin-Tz9W5i6ZYG", "valid", None, None),
        ("twitter-123456789", "unknown", None, None),
    ]


def test_status_of_problems_leaves_out_what_is_well(polled: CliEnvironment) -> None:
    assert [row["platform_id"] for row in polled.run("status", "--problems", "--json").json()] == [INSTAGRAM]
    out = polled.run("status", "--problems").out
    assert ("Instagram" in out, "LinkedIn" in out) == (True, False)


def test_status_of_problems_shows_a_status_that_the_monitor_does_not_know(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    with closing(sqlite3.connect(cli_env.database)) as history, history:
        history.execute("UPDATE connections SET token_status = 'revoked' WHERE platform = 'linkedin'")
    shown = cli_env.run("status", "--problems", "--json").json()
    assert ["expiring_soon", "revoked"] == sorted(row["token_status"] for row in shown)


def test_status_of_one_platform_or_account_is_that_alone(polled: CliEnvironment) -> None:
    assert len(polled.run("status", "--platform", "linkedin", "--json").json()) == 1
    assert len(polled.run("status", "--account", "agency", "--json").json()) == 3


@pytest.mark.parametrize(
    "args",
    [
        ("status", "--account", "nobody"),
        ("status", "--platform", "orkut"),
        ("history", "orkut-1"),
        ("history", "--account", "nobody"),
    ],
)
def test_what_matches_nothing_is_said_and_is_no_failure(
    polled: CliEnvironment, args: tuple[str, ...]
) -> None:
    ran = polled.run(*args, "--json")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert args[-1] in ran.complaint
    assert polled.run(*args).status == 0


def test_a_removed_connection_is_in_the_json_alone(polled: CliEnvironment) -> None:
    polled.fake_service.remove_connection("twitter-123456789")
    for _ in range(4):
        polled.run("poll")
    removed = [row["platform_id"] for row in polled.run("status", "--json").json() if row["removed_at"]]
    assert removed == ["twitter-123456789"]
    assert "yourhandle" not in polled.run("status").out


def test_history_tells_transitions_and_incidents_in_their_order(polled: CliEnvironment) -> None:
    polled.fake_service.expire(INSTAGRAM)
    polled.run("poll")
    polled.fake_service.reconnect(INSTAGRAM)
    polled.run("poll")
    lines = polled.run("history", INSTAGRAM).out.splitlines()
    story = [
        "first seen, expiring_soon",
        "opened: ",
        "expiring_soon → expired",
        "expired → valid",
        "recovered: ",
    ]
    places = [next(n for n, line in enumerate(lines) if word in line) for word in story]
    assert places == sorted(places)
    assert "linkedin" not in "".join(lines).lower()
    statuses = [row["to_status"] for row in polled.run("history", INSTAGRAM, "--json").json()]
    assert statuses == ["expiring_soon", "expired", "valid"]


def test_history_since_leaves_out_what_was_before(polled: CliEnvironment) -> None:
    assert len(polled.run("history", "--since", "1h", "--json").json()) == 3
    assert polled.run("history", "--since", "2099-01-01", "--json").json() == []
    assert polled.run("history", "--since", "2099-01-01T00:00:00+02:00").out == "Nothing happened.\n"


def test_incidents_are_the_open_ones_unless_all_are_asked_for(polled: CliEnvironment) -> None:
    assert {row["rule"] for row in polled.run("incidents", "--json").json()} == {
        "token_expiry",
        "publish_error",
    }
    polled.fake_service.reconnect(INSTAGRAM)
    polled.fake_service.clear_error(INSTAGRAM)
    polled.run("poll")
    assert polled.run("incidents", "--json").json() == []
    assert polled.run("incidents").out == "Nothing is open.\n"
    assert len(polled.run("incidents", "--all", "--json").json()) == 2
    header, first, _ = polled.run("incidents", "--all").out.splitlines()
    assert header.split() == ["ID", "SEVERITY", "RULE", "WHO", "SUMMARY", "SINCE", "DEADLINE", "OVER"]
    assert first.startswith("1 ")


def test_a_dead_letter_is_shown_and_sent_after_all(polled: CliEnvironment) -> None:
    polled.receiver.answer = Answer(status=503)
    polled.fake_service.expire(INSTAGRAM)
    assert polled.run("poll").status == 1
    database = Database(polled.tree["database"]["url"].replace("postgresql:", "postgresql+psycopg:"))
    with database.begin() as store:
        store.connection.execute(text("UPDATE notifications SET state = 'failed' WHERE state = 'pending'"))
    database.close()
    dead = polled.run("deliveries", "--failed", "--json").json()
    assert [(row["state"], row["reason"]) for row in dead] == [("failed", "escalated")]
    id_ = str(dead[0]["id"])
    ran = polled.run("deliveries", "retry", id_, "4711")
    assert ran.status == 1
    assert ran.out == f"{id_}: will be sent again\n"
    assert "4711: no dead letter" in ran.err
    polled.receiver.answer = Answer()
    assert polled.run("poll").out.splitlines()[-1] == "1 message sent."
    assert polled.run("deliveries", "--failed").out == "None.\n"
    assert polled.run("deliveries", "retry", id_).status == 1


def test_text_from_outside_steers_no_terminal_and_forges_no_line(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.add_connection(
        SocialProfile(platform_id="x-1", username=HOSTILE, display_name=HOSTILE)
    )
    cli_env.fake_service.fail("x-1", HOSTILE)
    outputs = [cli_env.run("poll", "--dry-run").out, cli_env.run("poll").out]
    commands = (
        *READING,
        *(f"{each} --json" for each in READING),
        "export connections",
        "export incidents",
        "check-health",
    )
    outputs += [cli_env.run(*command.split()).out for command in commands]
    for output in outputs:
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", output)
        assert not re.search(r"^X-Forged", output, re.MULTILINE)
    assert sum("gnp.exe" in output for output in outputs) > 5


def test_on_a_terminal_tables_are_drawn_within_its_width(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.fail("linkedin-Tz9W5i6ZYG", f"{HOSTILE} {'long ' * 60}")
    cli_env.run("poll")
    shown = on_a_terminal(cli_env, "status", COLUMNS="80")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    assert "─" in shown
    assert "\x1b[33m" in shown  # the warning
    assert max(len(line) for line in lines) <= 80
    assert "\x1b]0;" not in shown
    assert "\x1b[31mred" not in shown
    assert "\x1b[33m" not in on_a_terminal(cli_env, "status", COLUMNS="80", NO_COLOR="1")


def test_on_a_narrow_terminal_each_row_is_a_block_that_can_be_read(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(cli_env, "status", COLUMNS="30"))
    lines = shown.splitlines()
    assert "platform: Instagram" in lines
    assert "token: expiring_soon" in lines
    assert "incident: warning token_expiry" in lines
    assert max(map(len, lines)) <= 30


def test_many_targets_show_how_far_they_are_on_a_terminal(cli_env: CliEnvironment) -> None:
    first = cli_env.tree["accounts"][0]
    cli_env.tree["accounts"] = [first | {"name": f"account-{number}"} for number in range(8)]
    assert "polling" in on_a_terminal(cli_env, "poll", COLUMNS="100")


def on_a_terminal(cli_env: CliEnvironment, *args: str, **environ: str) -> str:
    """Run a command with a terminal for all its output, and give what it wrote."""
    cli_env.write()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", "--config", str(cli_env.config), *args],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", **environ},
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the last writer has gone
        pass
    os.close(ours)
    process.wait(timeout=20)
    return shown.decode()


def test_a_narrow_encoding_costs_no_output(cli_env: CliEnvironment) -> None:
    cli_env.fake_service.add_connection(
        SocialProfile(platform_id="x-1", username="Žluťoučký", display_name="日本")
    )
    cli_env.run("poll")
    cli_env.write()
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "--config", str(cli_env.config), "history"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"\\u65e5\\u672c" in done.stdout


def test_a_long_export_takes_no_more_memory_than_a_short_one(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    with closing(sqlite3.connect(cli_env.database)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
            "INSERT INTO notifications (channel, reason, group_key, state, created_at, due_at, error) "
            "SELECT 'ops', 'test', '', 'failed', 1767225600000, 1767225600000, "
            "printf('%.*c', 200, 'x') FROM n"
        )
    database = Database(cli_env.tree["database"]["url"])
    served = 0
    with database.read() as store:
        tracemalloc.start()
        for _ in queries.rows(store, views.DELIVERIES):
            served += 1
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    database.close()
    assert served > 20_000
    assert peak < 3_000_000


def test_a_server_hands_out_a_long_export_in_pieces(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.upgrade()
    with database.begin() as store:
        store.connection.execute(
            text(
                "INSERT INTO notifications (channel, reason, group_key, state, created_at, due_at) "
                "SELECT 'ops', 'test', '', 'failed', now(), now() FROM generate_series(1, 2000)"
            )
        )
    with database.read() as store:
        rows = iter(queries.rows(store, views.DELIVERIES))
        next(rows)
        cursors = store.connection.execute(text("SELECT count(*) FROM pg_cursors WHERE name <> ''")).scalar()
        assert sum(1 for _ in rows) == 1999
    database.close()
    assert cursors == 1
