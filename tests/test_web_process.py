"""The web door of the real daemon: open from the first moment to the last, and through reloads."""

import json
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.sandbox.samples import SANDBOX_KEY
from tests.daemon_process import DaemonProcess, daemon, wait_until

TOKEN = "a-token-of-some-length"
ENVIRON = {"KEY": SANDBOX_KEY, "TOKEN": TOKEN}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give a configuration whose API refuses connections: what a poll finds isn't the matter here."""
    write(tmp_path / "config.yaml")
    return tmp_path / "config.yaml"


def write(path: Path, **changes: Any) -> None:
    tree = {
        "database": {"url": f"sqlite:///{path.parent / 'history.db'}"},
        "polling": {"every": "1s"},
        "accounts": [{"name": "agency", "base_url": "http://127.0.0.1:9", "api_key_env": "KEY"}],
        "web": {"listen": "127.0.0.1:0"},
        "log": {"format": "json"},
        **changes,
    }
    path.write_text(json.dumps(tree))


def get(port: int, path: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def port_of(process: DaemonProcess, *, times: int = 1) -> int:
    return int(process.wait_for("web.listening", times=times)[-1]["port"])


def counted(port: int, name: str) -> float:
    _, text = get(port, "/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.fixture
def process(config: Path) -> Iterator[DaemonProcess]:
    """Give a running daemon; it must end well."""
    with daemon(config, ENVIRON) as process:
        process.wait_for("daemon.started")
        yield process
        process.process.terminate()
        assert process.end() == 0


def test_what_the_daemon_does_is_counted(process: DaemonProcess) -> None:
    port = port_of(process)
    wait_until(lambda: counted(port, "postpost_monitor_polls_total") >= 1, what="a poll")
    wait_until(lambda: counted(port, "postpost_monitor_commit_polls_count") >= 1, what="a commit")
    wait_until(lambda: counted(port, 'postpost_monitor_job_runs_total{name="dispatch"}') >= 2, what="passes")
    assert counted(port, "postpost_monitor_poll_lag_seconds_count") >= 1
    assert counted(port, "postpost_monitor_job_errors_total") == 0
    assert counted(port, "postpost_monitor_database_up") == 1
    assert counted(port, 'postpost_monitor_polls_total{outcome="network_error"}') >= 1
    assert get(port, "/healthz") == (200, "ok\n")
    assert get(port, "/readyz") == (200, "ok\n")
    assert get(port, "/")[0] == 200


def test_the_door_stays_through_a_reload(process: DaemonProcess, config: Path) -> None:
    port = port_of(process)
    write(config, web={"listen": "127.0.0.1:0", "token_env": "TOKEN"})
    process.process.send_signal(signal.SIGHUP)
    process.wait_for("daemon.started", times=2)
    assert get(port, "/readyz")[0] == 401
    wait_until(lambda: get(port, "/readyz", TOKEN) == (200, "ok\n"), what="readiness")
    assert len(process.lines("web.listening")) == 1
    assert TOKEN not in process.text


def test_a_reload_with_another_address_says_that_it_needs_a_restart(
    process: DaemonProcess, config: Path
) -> None:
    port = port_of(process)
    write(config, web={"listen": "127.0.0.1:1"})
    process.process.send_signal(signal.SIGHUP)
    process.wait_for("daemon.started", times=2)
    warnings = [line["warning"] for line in process.lines("config.warning")]
    assert "a changed web.listen needs a restart" in warnings
    assert get(port, "/healthz") == (200, "ok\n")


def test_a_daemon_whose_port_is_taken_says_so_in_one_line(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        write(config, web={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        with daemon(config, ENVIRON) as process:
            assert process.end() == 1
    (line,) = [
        line for line in process.text.splitlines() if not line.startswith("{") and "warning" not in line
    ]
    assert line.startswith("postpost-monitor: web.listen: can't listen on 127.0.0.1:")


def test_a_daemon_that_waits_for_its_database_is_alive_and_not_ready(config: Path) -> None:
    write(config, database={"url": "postgresql://nobody@127.0.0.1:9/nowhere"})
    with daemon(config, ENVIRON) as process:
        port = port_of(process)
        process.wait_for("database.unavailable")
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/readyz")[0] == 503
        process.process.terminate()
        assert process.end() == 0
