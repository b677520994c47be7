"""A damaged SQLite file is named as damaged, with what to do, by whatever meets it."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from monitor.cli import main
from monitor.jobs.check_file import check_file
from monitor.jobs.context import JobContext
from monitor.storage.database import Database
from monitor.web.readiness import readiness_problems
from tests.factories import NOW

COMMANDS = [
    ["poll"],
    ["status"],
    ["history"],
    ["incidents"],
    ["deliveries"],
    ["check-health"],
    ["db", "check"],
    ["db", "backup", "copy.db"],
    ["export", "connections"],
]


def with_history(file: Path) -> None:
    with closing(Database(f"sqlite:///{file}")) as database:
        database.upgrade()
        with database.begin() as store:
            store.register([(f"account-{n:04}", None) for n in range(500)], NOW)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def damage(file: Path) -> None:
    """Overwrite the pages of the data as a bad disk would, and leave the schema's own page."""
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    content[half:] = b"\xa5" * (len(content) - half)
    file.write_bytes(content)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEY", "sk_abc_0.0")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "history.db"
    with_history(file)
    damage(file)
    path = tmp_path / "config.yaml"
    tree = {
        "database": {"url": f"sqlite:///{file}"},
        "accounts": [{"name": "agency", "base_url": "http://127.0.0.1:9", "api_key_env": "KEY"}],
    }
    path.write_text(json.dumps(tree))
    return path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_names_the_damage_and_fails(
    config: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--config", str(config), *command])
    out, err = capsys.readouterr()
    assert status not in {0, None}
    assert "damaged" in out + err
    assert "backup" in out + err
    assert "Traceback" not in out + err


def test_the_daemon_does_not_start_on_a_damaged_file(config: Path) -> None:
    command = [sys.executable, "-m", "monitor", "--config", str(config), "run"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert "damaged" in run.stderr
    assert "restore a backup" in run.stderr


def test_damage_that_comes_while_the_daemon_runs_is_not_ready(config: Path) -> None:
    context = JobContext(database=Database(f"sqlite:///{config.parent}/history.db"))
    check_file(context)
    [problem] = readiness_problems(context.database, {}, NOW)
    assert "damaged" in problem
    context.database.close()


def test_a_sound_file_passes_the_check(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    with_history(file)
    with closing(Database(f"sqlite:///{file}")) as database:
        assert database.find_damage() == ""
    damage(file)
    with closing(Database(f"sqlite:///{file}")) as database:
        assert "the file is damaged" in database.find_damage()
