"""What the program says of itself, and of what it can't use: one line, the right status, nothing written."""

import os
import pkgutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import requests

from monitor import __version__
from monitor import cli as package
from monitor.cli import cli
from tests.cli.conftest import CANARIES, KEY, PASSWORD, CliEnvironment

COMMANDS = (
    *("run", "poll", "status", "history", "incidents", "deliveries", "export", "check-health"),
    *("check-config", "test-channel", "db", "sandbox", "demo", "ack", "silence", "test-connection"),
)
HEAVY = (
    "sqlalchemy",
    "pydantic",
    "apprise",
    "requests",
    "rich",
    "alembic",
    "structlog",
    "apscheduler",
    "yaml",
)


def test_help_names_every_command(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("--help", bare=True)
    assert ran.status == 0
    listed = ran.out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    names = [line.split()[0] for line in listed if line[2] != " "]
    assert names == list(cli.commands)
    assert set(COMMANDS) <= set(names)


def test_a_command_takes_a_function_in_a_module_and_a_line_in_the_list() -> None:
    modules = [import_module(f"monitor.cli.{each.name}") for each in pkgutil.iter_modules(package.__path__)]
    written = {
        each for module in modules for each in vars(module).values() if isinstance(each, click.Command)
    }
    listed: set[click.Command] = set(cli.commands.values())
    for group in [each for each in listed if isinstance(each, click.Group)]:
        listed |= set(group.commands.values())
    assert written == listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(cli_env: CliEnvironment, command: str) -> None:
    ran = cli_env.run(command, "-h", bare=True)
    assert ran.status == 0
    assert ran.out.startswith(f"Usage: postpost-monitor {command}")
    assert cli.commands[command].help


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from monitor.cli import main; main(['--help']); main(['poll', '--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_version_is_told(cli_env: CliEnvironment) -> None:
    assert cli_env.run("--version", bare=True).out == f"postpost-monitor, version {__version__}\n"


def test_no_command_shows_the_help_and_is_wrong_usage(cli_env: CliEnvironment) -> None:
    ran = cli_env.run(bare=True)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("Usage: postpost-monitor")


@pytest.mark.parametrize(
    "args",
    [
        ("pol",),
        ("poll", "--acount", "agency"),
        ("export", "everything"),
        ("deliveries", "retry"),
        ("deliveries", "retry", "first"),
        ("history", "--since", "yesterday"),
        ("history", "--since", "99999999999999d"),
        ("sandbox", "--port", "70000"),
        ("sandbox", "--speed", "0"),
        ("sandbox", "--speed", "nan"),
        ("sandbox", "--contract", "2025"),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_to_look(
    cli_env: CliEnvironment, args: tuple[str, ...]
) -> None:
    ran = cli_env.run(*args)
    assert (ran.status, ran.out) == (2, "")
    assert ran.complaint.startswith("postpost-monitor: ")
    assert "--help" in ran.complaint


@pytest.mark.parametrize("command", ["run", "poll", "status", "check-config", "test-channel"])
def test_without_configuration_and_key_it_says_what_to_set(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    ran = cli_env.run(command, bare=True)
    assert (ran.status, ran.out) == (2, "")
    assert "POSTPOST_API_KEY" in ran.complaint
    assert "demo" in ran.complaint
    assert list(empty.iterdir()) == []


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"chanels": []}, ("chanels", "channels")),
    "bad duration": ({"polling": {"every": "often"}}, ("polling.every", "15m")),
    "two of one name": (
        {"accounts": [{"name": "twin", "api_key_env": "AGENCY_KEY"}] * 2},
        ("accounts[1].name",),
    ),
    "no such service": (
        {"channels": [{"name": "ops", "url": "nosuchservice://PATHCANARY7731"}]},
        ("channels[0].url", "ops", "slack://"),
    ),
    "half a service": (
        {"channels": [{"name": "ops", "url": "slack://PATHCANARY7731/x"}]},
        ("channels[0].url", "ops"),
    ),
    "a route to an unknown channel": (
        {"routes": [{"channels": ["ops"]}, {"channels": ["opps"]}]},
        ("routes[1].channels[0]", "'opps'", "the name of a channel"),
    ),
    "an impossible time zone": (
        {
            "routes": [
                {
                    "channels": ["ops"],
                    "quiet_hours": {"from": "20:00", "to": "08:00", "time_zone": "Europe/Bergin"},
                }
            ]
        },
        ("routes[0].quiet_hours.time_zone", "Europe/Bergin", "Europe/Berlin or UTC"),
    ),
    "a template with a syntax error": (
        {
            "channels": [
                {"name": "ops", "url_env": "OPS_URL", "template": {"body": "a\n{% for x in items %}"}}
            ]
        },
        ("channels[0].template.body", "line 2"),
    ),
    "a template that names what isn't there": (
        {"channels": [{"name": "ops", "url_env": "OPS_URL", "template": {"title": "{{ nope }}"}}]},
        ("channels[0].template.title", "'nope'", "want title, body, severity"),
    ),
    "a template that names what isn't there where the samples don't get to": (
        {
            "channels": [
                {
                    "name": "ops",
                    "url_env": "OPS_URL",
                    "template": {"body": "{% if severity == 'other' %}{{ nope }}{% endif %}"},
                }
            ]
        },
        ("channels[0].template.body", "'nope'"),
    ),
    "a template that asks an incident for what it doesn't have": (
        {
            "channels": [
                {
                    "name": "ops",
                    "url_env": "OPS_URL",
                    "template": {"body": "{% for each in items %}{{ each.color }}{% endfor %}"},
                }
            ]
        },
        ("channels[0].template.body", "color", "docs/alerting.md"),
    ),
    "a template that reaches for what is behind it": (
        {
            "channels": [
                {
                    "name": "ops",
                    "url_env": "OPS_URL",
                    "template": {"body": "{{ items.__class__.__mro__[1].__subclasses__() }}"},
                }
            ]
        },
        ("channels[0].template.body", "unsafe"),
    ),
    "key with a line break": (
        {"accounts": [{"name": "agency", "api_key_env": "BROKEN_KEY"}]},
        ("accounts[0].api_key_env", "line break"),
    ),
    "key beyond ASCII": (
        {"accounts": [{"name": "agency", "api_key_env": "ACCENT_KEY"}]},
        ("accounts[0].api_key_env", "ASCII"),
    ),
}


@pytest.mark.parametrize("command", ["run", "poll", "check-config"])
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_configuration_is_one_line_and_nothing_is_written(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch, bad: str, command: str
) -> None:
    monkeypatch.setenv("BROKEN_KEY", f"{KEY}\nx")
    monkeypatch.setenv("ACCENT_KEY", f"{KEY}é")
    change, words = BAD[bad]
    cli_env.tree |= change
    ran = cli_env.run(command)
    assert (ran.status, ran.out) == (2, "")
    assert ran.complaint.startswith(f"postpost-monitor: {cli_env.config}: ")
    for word in words:
        assert word in ran.complaint
    assert not any(canary in ran.err for canary in CANARIES)
    assert set(cli_env.files()) == {"config.yaml"}
    assert not cli_env.server.requests


@pytest.mark.parametrize("command", ["run", "poll"])
def test_an_incident_that_no_route_takes_is_refused_at_load(cli_env: CliEnvironment, command: str) -> None:
    cli_env.tree["routes"] = [{"channels": ["ops"], "match": {"severity": "critical"}}]
    ran = cli_env.run(command)
    assert (ran.status, ran.out) == (2, "")
    assert "config.yaml: routes: no route takes a notice token_expiry" in ran.complaint
    assert set(cli_env.files()) == {"config.yaml"}


@pytest.mark.parametrize(("text", "word"), [(b"accounts: [", "line"), (b"\xff\xfe\x00", "UTF-8"), (None, "")])
def test_a_broken_or_absent_file_is_one_line(cli_env: CliEnvironment, text: bytes | None, word: str) -> None:
    file = cli_env.folder / "other.yaml"
    if text:
        file.write_bytes(text)
    ran = cli_env.run("--config", str(file), "poll", bare=True)
    assert (ran.status, ran.out) == (2, "")
    assert str(file) in ran.complaint
    assert word in ran.complaint


def test_a_channel_of_the_environment_is_named_by_its_variable(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTPOST_API_KEY", KEY)
    monkeypatch.setenv("POSTPOST_MONITOR_NOTIFY", "nosuchservice://PATHCANARY7731")
    cli_env.config.unlink(missing_ok=True)
    monkeypatch.chdir(cli_env.folder.parent)
    ran = cli_env.run("poll", bare=True)
    assert ran.status == 2
    assert "POSTPOST_MONITOR_NOTIFY" in ran.complaint
    assert "PATHCANARY7731" not in ran.complaint


@pytest.mark.parametrize("command", ["run", "poll", "status", "db current", "db upgrade", "poll --dry-run"])
@pytest.mark.parametrize("kind", ["newer", "foreign", "no database"])
def test_a_database_that_is_not_ours_is_refused_and_left_alone(
    cli_env: CliEnvironment, command: str, kind: str
) -> None:
    if kind == "no database":
        cli_env.database.write_bytes(b"a letter to a friend, and no database at all" * 100)
    else:
        with sqlite3.connect(cli_env.database) as connection:
            if kind == "newer":
                connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
                connection.execute("INSERT INTO alembic_version VALUES ('9999')")
            else:
                connection.execute("CREATE TABLE recipes (id INTEGER)")
        connection.close()
    before = cli_env.files()
    ran = cli_env.run(*command.split())
    assert (ran.status, ran.out) == (1, "")
    *doubts, complaint = ran.err.splitlines()
    assert complaint.startswith("postpost-monitor: ")
    assert all("doesn't start with sk_" in anomaly for anomaly in doubts)
    assert {name: body for name, body in cli_env.files().items() if not name.endswith(".daemon")} == before


def test_debug_shows_where_it_failed_and_still_no_secret(cli_env: CliEnvironment) -> None:
    cli_env.tree["channels"] = [{"name": "ops", "url": f"nosuchservice://{PASSWORD}"}]
    ran = cli_env.run("--debug", "poll")
    assert ran.status == 2
    assert "Traceback" in ran.err
    assert ran.err.splitlines()[-1].startswith("postpost-monitor: ")
    assert PASSWORD not in ran.err


def test_a_mistake_of_ours_is_one_line_without_secrets(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise RuntimeError(f"{KEY}\nsecond line")

    monkeypatch.setattr("monitor.cli.check._print_channels", stumble)
    ran = cli_env.run("check-config")
    assert ran.status == 1
    assert "RuntimeError" in ran.complaint
    assert KEY not in ran.complaint


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_ends_it_quietly(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    assert cli_env.run("poll").status == 0
    for command in ("status", "export connections"):
        process = cli_env.start(*command.split())
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        process.stderr.close()
        assert (process.wait(timeout=20), errors) == (141, "")


def in_a_shell(cli_env: CliEnvironment, command: str, redirected: str) -> tuple[int, list[str]]:
    """Run a command with its streams redirected; gives its status and complaints, doubts apart."""
    cli_env.write()
    program = f"{sys.executable} -m monitor --config {cli_env.config} {command} {redirected}"
    done = subprocess.run(
        ["sh", "-c", program], capture_output=True, text=True, cwd=cli_env.folder, timeout=60, check=False
    )
    return done.returncode, [line for line in done.stderr.splitlines() if ": warning: " not in line]


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_without_standard_streams_it_does_its_work_and_no_file_takes_their_place(
    cli_env: CliEnvironment, closed: str
) -> None:
    for command in ("poll", "status", "status --json", "export connections", "check-config"):
        assert in_a_shell(cli_env, command, closed) == (0, []), command
    assert len(cli_env.run("status", "--json").json()) == 3
    with closing(sqlite3.connect(cli_env.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_output_that_takes_nothing_is_not_blamed_on_the_database(cli_env: CliEnvironment) -> None:
    assert cli_env.run("poll").status == 0
    full = ["postpost-monitor: standard output can't be written: No space left on device"]
    for command in ("poll", "status", "history --json", "export connections"):
        assert in_a_shell(cli_env, command, "> /dev/full") == (1, full), command


@pytest.mark.parametrize(
    ("folder", "reason"), [("/etc/passwd", "File exists"), ("/proc/nowhere", "No such file or directory")]
)
def test_a_folder_that_takes_no_history_is_named_with_what_to_change(
    cli_env: CliEnvironment, folder: str, reason: str
) -> None:
    cli_env.tree["database"] = {"url": f"sqlite:///{folder}/history.db"}
    ran = cli_env.run("db", "upgrade")
    assert ran.status == 1
    assert (
        f"sqlite:///{folder}/history.db: {reason}; give database.url (or $STATE_DIRECTORY)" in ran.complaint
    )


def test_ctrl_c_ends_a_command_quietly(cli_env: CliEnvironment) -> None:
    process = cli_env.start("demo")
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "")


def test_the_sandbox_says_how_to_use_it_and_ends_on_ctrl_c(cli_env: CliEnvironment) -> None:
    process = cli_env.start("sandbox", "--speed", "60")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    command = said[3].split()
    environ = dict(pair.split("=", 1) for pair in command if "=" in pair)
    elsewhere = cli_env.folder / "elsewhere"
    elsewhere.mkdir()
    polled = subprocess.run(
        [sys.executable, "-m", "monitor", command[-1]],
        env=os.environ | environ,
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert polled.returncode == 0, polled.stderr
    assert "Harbour Studio" in polled.stdout


@pytest.mark.parametrize(
    ("args", "statuses"),
    [
        ((), ["unknown", "valid", "expiring_soon"]),
        (("--contract", "seed"), ["unknown", "valid", "expiring_soon"]),
        (("--contract", "2026"), ["valid", "valid", "expiring_soon"]),
    ],
    ids=["default", "seed", "2026"],
)
def test_the_sandbox_speaks_the_contract_that_is_asked_for(
    cli_env: CliEnvironment, args: tuple[str, ...], statuses: list[str]
) -> None:
    process = cli_env.start("sandbox", *args)
    assert process.stdout is not None
    first, key = (process.stdout.readline() for _ in range(2))
    url = first.removeprefix("The sandbox answers at ").partition(";")[0]
    answer = requests.get(
        f"{url}/api/v1/platform-connections", headers={"x-api-key": key.strip()}, timeout=10
    )
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert statuses == [item["tokenStatus"] for item in answer.json()["connections"][:3]]


def test_the_daemon_watches_until_it_is_told_to_stop(cli_env: CliEnvironment) -> None:
    process = cli_env.start("run")
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "notification.delivered" in line or "daemon.stopped" in line:
            break
        if "daemon.started" in line:
            os.kill(process.pid, signal.SIGTERM)
    rest = process.communicate(timeout=30)[1]
    assert process.returncode == 0, lines
    assert "Traceback" not in "".join(lines) + rest
    assert cli_env.database.exists()
