"""ack and silence, as people type them."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.clock import utc_now
from monitor.storage.database import Database
from tests.factories import DAY
from tests.fakes import FrozenClock
from tests.simulator import Simulator
from tests.test_scenarios import SOON


@pytest.fixture
def database_file(tmp_path: Path, sqlite_template: Path) -> Path:
    """Give a history in which one incident is open."""
    file = tmp_path / "history.db"
    shutil.copy(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    simulator = Simulator(database, clock=FrozenClock(utc_now()), account="default")
    simulator.list_connections(replace(SOON, expires_at=utc_now() + 2 * DAY))
    database.close()
    return file


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def monitor(
    database_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Give a way to run a command on that history, in this process."""
    for name in [name for name in os.environ if name.startswith(("POSTPOST", "PUBLORA"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("POSTPOST_API_KEY", "sk_test_0.0")
    monkeypatch.setenv("POSTPOST_MONITOR_NOTIFY", "json://127.0.0.1:9")
    monkeypatch.setenv("POSTPOST_MONITOR_DATABASE_URL", f"sqlite:///{database_file}")
    monkeypatch.chdir(database_file.parent)

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        return Ended(main(arguments), *capfd.readouterr())

    return run


def test_an_incident_is_taken_in_hand_and_shown_so(monitor: Callable[..., Ended]) -> None:
    done = monitor("ack", "1", "--author", "mia", "--comment", "called the client", "--until", "2h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "acknowledged by mia" in done.stdout
    [shown] = json.loads(monitor("incidents", "--json").stdout)
    assert shown["acknowledged_by"] == "mia"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ack", "99", "--author", "mia", "--comment", "x"), "no incident 99"),
        (("ack", "one", "--author", "mia", "--comment", "x"), "'one' is not a valid integer"),
        (("ack", "1", "--author", "mia"), "--comment"),
        (("ack", "1", "--author", "m", "--comment", "x", "--until", "2020-01-01"), "in the past"),
        (("ack", "1", "--author", "m", "--comment", "x", "--until", "soon"), "found 'soon'"),
        (("silence", "add", "--until", "2h", "--author", "m", "--comment", "x"), "--match"),
        (
            ("silence", "add", "--match", "platfrom=x", "--until", "2h", "--author", "m", "--comment", "x"),
            "platfrom",
        ),
        (
            ("silence", "add", "--match", "threads", "--until", "2h", "--author", "m", "--comment", "x"),
            "KEY=PATTERN",
        ),
        (
            ("silence", "add", "--match", "rule=nope", "--until", "2h", "--author", "m", "--comment", "x"),
            "no rule",
        ),
        (
            (
                "silence",
                "add",
                "--match",
                "rule=*",
                "--until",
                "2020-01-01T00:00Z",
                "--author",
                "m",
                "--comment",
                "x",
            ),
            "in the past",
        ),
        (("silence", "expire", "7"), "no silence 7"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    database_file: Path, monitor: Callable[..., Ended], arguments: tuple[str, ...], words: str
) -> None:
    before = database_file.read_bytes()
    done = monitor(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert database_file.read_bytes() == before


def test_a_silence_is_added_listed_and_ended(monitor: Callable[..., Ended]) -> None:
    added = monitor(
        *("silence", "add", "--match", "platform=insta*", "--match", "account=default"),
        *("--until", "2h", "--author", "mia", "--comment", "maintenance"),
    )
    assert (added.returncode, added.stderr) == (0, "")
    [listed] = json.loads(monitor("silence", "list", "--json").stdout)
    assert listed["match"] == {"platform": ["insta*"], "account": ["default"]}
    assert "mia" in monitor("silence", "list").stdout
    assert monitor("silence", "expire", "1", "--author", "tom").returncode == 0
    assert json.loads(monitor("silence", "list", "--json").stdout) == []
    [over] = json.loads(monitor("silence", "list", "--all", "--json").stdout)
    assert over["ended_by"] == "tom"


def test_a_resolved_incident_is_not_taken_in_hand(database_file: Path, monitor: Callable[..., Ended]) -> None:
    database = Database(f"sqlite:///{database_file}")
    with database.begin() as store:
        store.connection.exec_driver_sql(
            "UPDATE incidents SET resolved_at = '2026-01-01 00:00:00.000', resolution = 'recovered'"
        )
    database.close()
    done = monitor("ack", "1", "--author", "mia", "--comment", "late")
    assert done.returncode == 2
    assert "resolved at 2026-01-01" in done.stderr
