"""Starting and stopping, the sandbox's own endpoints, and the command behind it."""

import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from monitor.clock import utc_now
from monitor.sandbox.fake_service import FakeService
from monitor.sandbox.faults import Fault
from monitor.sandbox.program_name import program
from monitor.sandbox.samples import SANDBOX_KEY, sample_world, seed_world
from monitor.sandbox.server import Server, serve

NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)
INSTAGRAM = "instagram-17841412345678"
AS_OWNER = {"x-api-key": SANDBOX_KEY}


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(seed_world(lambda: NOW)) as server:
        yield server


def ask(server: Server, method: str, path: str, json: Any = None, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, server.url + path, json=json, headers=named, timeout=5)


def shown(server: Server, platform_id: str) -> dict[str, Any]:
    answer = requests.get(f"{server.url}/api/v1/platform-connections", headers=AS_OWNER, timeout=5)
    items: list[dict[str, Any]] = answer.json()["connections"]
    return {item["platformId"]: item for item in items}[platform_id]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])
def test_only_a_loopback_address_is_served(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"), serve(FakeService(utc_now), host=host):
        pass


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
        from monitor.sandbox.samples import sample_world
        from monitor.sandbox.server import run

        run(sample_world(utc_now), 0, lambda server: print(server.url, flush=True))
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


def test_a_persons_whole_play_with_one_connection(server: Server) -> None:
    path = f"/sandbox/connections/{INSTAGRAM}"

    expired = ask(server, "POST", f"{path}/expire").json()
    assert (expired["tokenStatus"], expired["tokenExpiresIn"]) == ("expired", "expired")
    ask(server, "POST", f"{path}/fail", {"message": "Session has expired"})
    assert shown(server, INSTAGRAM)["lastError"]["message"] == "Session has expired"
    ask(server, "POST", f"{path}/reconnect", {"expiresInDays": 30})
    assert shown(server, INSTAGRAM)["tokenExpiresIn"] == "30d 0h"
    ask(server, "POST", f"{path}/post")
    assert shown(server, INSTAGRAM)["lastSuccessfulPost"] == "2026-02-22T20:00:00.000Z"
    ask(server, "POST", f"{path}/clear-error")
    assert shown(server, INSTAGRAM)["lastError"] is None
    ask(server, "POST", f"{path}/expiry", {"accessTokenExpiresAt": "2026-02-23T20:00:00+02:00"})
    assert shown(server, INSTAGRAM)["tokenExpiresIn"] == "22h"
    ask(server, "POST", f"{path}/rename", {"username": "newname", "displayName": "New"})
    assert shown(server, INSTAGRAM)["username"] == "newname"
    ask(server, "POST", f"{path}/fields", {"fields": {"tokenStatus": "odd"}, "leftOut": ["profileUrl"]})
    assert (
        shown(server, INSTAGRAM)["tokenStatus"],
        "profileUrl" in shown(server, INSTAGRAM),
    ) == ("odd", False)
    assert ask(server, "POST", f"{path}/remove").json() == {"done": True}
    with pytest.raises(KeyError):
        shown(server, INSTAGRAM)


def test_connections_with_colons_and_dashes_come_and_go(server: Server) -> None:
    for platform_id in ("bluesky-did:plc:abc", "telegram--100777"):
        ask(server, "POST", f"/sandbox/connections/{platform_id}/add", {"username": "ann"})
        assert shown(server, platform_id)["username"] == "ann"
        ask(server, "POST", f"/sandbox/connections/{platform_id.replace(':', '%3A')}/remove")
        with pytest.raises(KeyError):
            shown(server, platform_id)


def test_managed_users_are_added_renamed_and_removed(server: Server) -> None:
    user = ask(server, "POST", "/sandbox/users", {"username": "bob@example.com"}).json()["_id"]
    ask(server, "POST", "/sandbox/connections/twitter-7/add", {"username": "bob"}, x_postpost_user_id=user)
    ask(server, "POST", f"/sandbox/users/{user}/rename", {"username": "robert@example.com"})

    users = ask(server, "GET", "/api/v1/workspace/users", **AS_OWNER).json()["users"]
    assert [(user, "robert@example.com")] == [(found["_id"], found["username"]) for found in users]
    people = ask(server, "GET", "/sandbox").json()["people"]
    assert [item["platformId"] for item in people[1]["connections"]] == ["twitter-7"]

    ask(server, "POST", f"/sandbox/users/{user}/remove")
    answer = ask(server, "GET", "/api/v1/platform-connections", x_postpost_user_id=user, **AS_OWNER)
    assert answer.json() == {"error": "User is not managed by key"}


def test_plan_limits_and_key_are_changed_over_http(server: Server) -> None:
    def refusal() -> str:
        return str(ask(server, "GET", "/api/v1/platform-connections", **AS_OWNER).json()["error"])

    ask(server, "PUT", "/sandbox/plan", {"apiAccess": False})
    assert refusal() == "API access is not enabled for this account"
    ask(server, "PUT", "/sandbox/plan", {"apiAccess": True, "hasOwner": False})
    assert refusal() == "Invalid API key owner"
    ask(server, "PUT", "/sandbox/plan", {"hasOwner": True})
    ask(server, "PUT", "/sandbox/limits", {"requestsPerMinute": 0, "userListShape": "bare"})
    assert refusal() == "Too many requests"
    ask(server, "PUT", "/sandbox/limits", {"requestsPerMinute": None})
    assert ask(server, "GET", "/api/v1/workspace/users", **AS_OWNER).json() == []
    ask(server, "POST", "/sandbox/key/revoke")
    assert refusal() == "Invalid API key"


def test_a_fault_is_set_shown_and_cleared_over_http(server: Server) -> None:
    wish = {"status": 502, "body": "<html>", "key": SANDBOX_KEY}
    notified = ask(server, "PUT", "/sandbox/fault", wish).json()

    assert (notified[0]["status"], notified[0]["body"], notified[0]["key"]) == (502, "<html>", "…")
    answer = ask(server, "GET", "/api/v1/platform-connections", **AS_OWNER)
    assert (answer.status_code, answer.text) == (502, "<html>")
    ask(server, "DELETE", "/sandbox/fault")
    assert ask(server, "GET", "/sandbox/fault").json() == []
    assert ask(server, "GET", "/api/v1/platform-connections", **AS_OWNER).status_code == 200


def test_requests_are_listed_newest_first_without_keys(server: Server) -> None:
    ask(server, "GET", "/api/v1/platform-connections", **AS_OWNER)
    ask(server, "GET", "/api/v1/workspace/users", **AS_OWNER)

    answer = ask(server, "GET", "/sandbox/requests")

    assert [seen["path"] for seen in answer.json()] == [
        "/api/v1/workspace/users",
        "/api/v1/platform-connections",
    ]
    assert SANDBOX_KEY not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("POST", "/sandbox/connections/twitter-9/expire", None, 404, "nothing is linked as twitter-9"),
        ("POST", f"/sandbox/connections/{INSTAGRAM}/explode", None, 404, "it can be told to add"),
        ("POST", "/sandbox/connections/twitter-9/add", {"user": "ann"}, 400, "user isn't known here"),
        ("POST", "/sandbox/users", {}, 400, "give a username"),
        ("POST", f"/sandbox/users/{'a' * 24}/remove", None, 404, "no managed user"),
        ("PUT", "/sandbox/fault", {"stauts": 500}, 400, "a fault has no stauts"),
        ("PUT", "/sandbox/fault", [], 400, "send a JSON object"),
        ("PUT", "/sandbox/plan", {"wings": True}, 400, "wings isn't known here"),
    ],
)
def test_a_wish_that_cannot_be_met_says_why(
    *, server: Server, method: str, path: str, body: object, status: int, says: str
) -> None:
    answer = ask(server, method, path, body)

    assert status == answer.status_code
    assert says in answer.json()["error"]


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
