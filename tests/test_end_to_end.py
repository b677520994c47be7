"""The real daemon as one process, the sandbox API beside it, and real receivers behind real channels."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from monitor.clock import utc_now
from monitor.sandbox.samples import SANDBOX_KEY
from tests.receivers import HttpReceiver, SmtpReceiver, http_receiver, smtp_receiver
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import seed_world

INSTAGRAM = "instagram-17841412345678"
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("POSTPOST", "PUBLORA"))}


@contextmanager
def sandbox() -> Iterator[Server]:
    """Serve the vendor's own example."""
    with serve(seed_world(utc_now)) as server:
        yield server


@contextmanager
def daemon(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the daemon until the test is done with it; it must end well, and within ten seconds."""
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "monitor", "--config", str(folder / "config.yaml"), "run"],
            env={**PLAIN, "KEY": SANDBOX_KEY},
            stderr=log,
            stdout=log,
            text=True,
        )
        try:
            yield process
            process.terminate()
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()


def configure(folder: Path, api: str, database_url: str, hooks: HttpReceiver, mails: SmtpReceiver) -> None:
    plain = make_url(database_url)
    if plain.get_backend_name() == "postgresql":
        plain = plain.set(drivername="postgresql")
    config = {
        "database": {"url": plain.render_as_string(hide_password=False)},
        "polling": {"every": "1s"},
        "accounts": [{"name": "agency", "base_url": api, "api_key_env": "KEY"}],
        "channels": [
            {"name": "hook", "url": f"json://{hooks.address}/alerts"},
            {"name": "mail", "url": f"mailto://{mails.address}?from=monitor@example.com&to=ops@example.com"},
        ],
        "routes": [{"channels": ["hook", "mail"], "group_wait": "1s"}],
        "log": {"format": "json"},
    }
    (folder / "config.yaml").write_text(json.dumps(config))


def rows(database_url: str, query: str) -> list[dict[str, Any]]:
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]
    finally:
        engine.dispose()


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it never came to hold"
        time.sleep(0.1)


def polls(database_url: str) -> int:
    return sum(row["polls"] or 0 for row in rows(database_url, "SELECT polls FROM poll_log"))


def test_the_whole_story_of_the_documented_example(tmp_path: Path, empty_database_url: str) -> None:
    url = empty_database_url
    with sandbox() as api, http_receiver() as hooks, smtp_receiver() as mails:
        configure(tmp_path, api.url, url, hooks, mails)
        with daemon(tmp_path):
            hooks.wait_for(1, 30)
            mails.wait_for(1, 30)
            first = json.loads(hooks.requests[0].body)
            assert "and 1 more problem" in first["title"]
            assert "Access expires in 2 days (" in first["message"]
            assert "Media upload failed: Invalid image format" in first["message"]
            assert "X" not in first["title"]
            assert "LinkedIn" not in first["message"]
            assert mails.mails[0].recipients == ("ops@example.com",)
            assert len(rows(url, "SELECT * FROM current_connections")) == 3
            opened = rows(url, "SELECT rule, severity, platform_id FROM incident_log ORDER BY rule")
            assert opened == [
                {"rule": "publish_error", "severity": "warning", "platform_id": INSTAGRAM},
                {"rule": "token_expiry", "severity": "warning", "platform_id": INSTAGRAM},
            ]
            counts = _table_counts(url)
            seen = polls(url)
            eventually(lambda: polls(url) >= seen + 10, 60)
            assert len(hooks.requests) == 1
            assert len(mails.mails) == 1
            assert _table_counts(url) == counts

            api.fake_service.expire(INSTAGRAM)
            hooks.wait_for(2, 30)
            second = json.loads(hooks.requests[1].body)
            assert second["title"].startswith("[CRITICAL]")
            assert second["type"] == "failure"

            api.fake_service.reconnect(INSTAGRAM, lifetime=timedelta(days=60))
            api.fake_service.post(INSTAGRAM)
            hooks.wait_for(3, 30)
            seen = polls(url)
            eventually(lambda: polls(url) >= seen + 3)
            assert len(hooks.requests) == 3
            assert json.loads(hooks.requests[2].body)["title"].startswith("[RESOLVED]")
    story = rows(
        url,
        f"SELECT from_status, to_status FROM token_transitions WHERE platform_id = '{INSTAGRAM}' ORDER BY at",
    )
    assert [(row["from_status"], row["to_status"]) for row in story] == [
        (None, "expiring_soon"),
        ("expiring_soon", "expired"),
        ("expired", "valid"),
    ]
    assert {row["resolution"] for row in rows(url, "SELECT resolution FROM incident_log")} == {"recovered"}
    assert {row["state"] for row in rows(url, "SELECT state FROM delivery_log")} == {"delivered"}
    written = (tmp_path / "log").read_text()
    assert SANDBOX_KEY not in written
    assert hooks.address not in written


def test_killed_in_the_middle_it_loses_no_message_and_repeats_at_most_one(
    tmp_path: Path, sqlite_url: str
) -> None:
    with sandbox() as api, http_receiver() as hooks, smtp_receiver() as mails:
        configure(tmp_path, api.url, sqlite_url, hooks, mails)
        for _ in range(3):
            with pytest.raises(AssertionError), daemon(tmp_path) as process:
                time.sleep(2.2)
                process.send_signal(signal.SIGKILL)
                process.wait()
        with daemon(tmp_path):
            hooks.wait_for(1, 60)
            mails.wait_for(1, 60)
            seen = polls(sqlite_url)
            eventually(lambda: polls(sqlite_url) >= seen + 3)
        keys = [json.loads(request.body)["message"].split("message ")[-1] for request in hooks.requests]
        assert len(keys) <= 2
        assert len(set(keys)) == 1
    with create_engine(sqlite_url).connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    connection.engine.dispose()


def test_a_second_daemon_on_one_file_is_refused_and_says_who_holds_it(
    tmp_path: Path, sqlite_url: str
) -> None:
    with sandbox() as api, http_receiver() as hooks, smtp_receiver() as mails:
        configure(tmp_path, api.url, sqlite_url, hooks, mails)
        with daemon(tmp_path) as first:
            hooks.wait_for(1, 30)
            second = subprocess.run(
                [sys.executable, "-m", "monitor", "--config", str(tmp_path / "config.yaml"), "run"],
                env={**PLAIN, "KEY": SANDBOX_KEY},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert second.returncode == 1
            assert f"process {first.pid}" in second.stderr


def _table_counts(url: str) -> dict[str, int]:
    tables = (
        "targets",
        "connections",
        "snapshots",
        "incidents",
        "notifications",
        "poll_runs",
        "target_schedule",
    )
    return {name: rows(url, f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in tables}
