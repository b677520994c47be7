"""Starting and stopping, the sandbox's own endpoints, and the command behind it."""

import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from monitor.clock import utc_now
from monitor.sandbox.program_name import program
from monitor.sandbox.samples import SANDBOX_KEY
from tests.sandbox.faults import Fault
from tests.sandbox.server import serve
from tests.sandbox.service import FakeService
from tests.sandbox.worlds import sample_world, seed_world

NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)
INSTAGRAM = "instagram-17841412345678"
AS_OWNER = {"x-api-key": SANDBOX_KEY}


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} .*choose another port"),
            serve(FakeService(utc_now), port=port),
        ):
            pass


def test_a_stopped_server_leaves_no_thread_and_frees_its_port() -> None:
    with serve(FakeService(utc_now)) as server, requests.Session() as session:
        session.get(server.url, timeout=5)  # a connection that is kept open

    assert "sandbox" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=5)


def test_stopping_does_not_wait_for_a_slow_answer() -> None:
    with serve(seed_world(utc_now)) as server:
        server.faults.set(Fault(drip_seconds=60, drip_headers=True))
        connection = socket.create_connection((server.host, server.port), timeout=5)
        connection.sendall(b"GET /api/v1/platform-connections HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.requests:
            time.sleep(0.005)
        leaving = threading.Timer(10, connection.shutdown, [socket.SHUT_RDWR])
        leaving.start()
        started = time.monotonic()

    took = time.monotonic() - started
    leaving.cancel()
    leaving.join()
    connection.close()
    assert took < 9


def test_signal_handlers_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    with serve(FakeService(utc_now)):
        during = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    assert before == during


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_stops_cleanly_when_told_to(number: signal.Signals) -> None:
    program = textwrap.dedent("""
        from monitor.clock import utc_now
        from monitor.sandbox.server import run
        from tests.sandbox.worlds import sample_world

        run(sample_world(utc_now), 0, lambda url: print(url, flush=True))
    """)
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        answer = requests.get(f"{url}/api/v1/platform-connections", headers=AS_OWNER, timeout=5)
        process.send_signal(number)
        _, complaints = process.communicate(timeout=20)

    assert len(answer.json()["connections"]) == 11
    assert (process.returncode, complaints) == (0, "")


def test_many_clients_are_answered_at_once() -> None:
    statuses = []
    with serve(sample_world(utc_now)) as server:

        def poll() -> None:
            with requests.Session() as session:
                session.headers.update(AS_OWNER)
                for _ in range(20):
                    path = f"{server.url}/api/v1/platform-connections"
                    statuses.append(session.get(path, timeout=10).status_code)

        threads = [threading.Thread(target=poll) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert statuses == [200] * 160


def test_commands_to_copy_name_the_program_as_any_shell_here_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "a place" / "postpost-monitor"
    installed.parent.mkdir()
    installed.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    assert program(str(installed)) == f"'{installed}'"
    monkeypatch.setenv("PATH", str(installed.parent))
    assert program(str(installed)) == "postpost-monitor"
    assert program("/usr/lib/python3/site-packages/monitor/__main__.py") == "postpost-monitor"
