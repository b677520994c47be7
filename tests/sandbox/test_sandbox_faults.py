"""Broken answers, one by one, seen by a real client on a real socket."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest
import requests

from monitor.clock import utc_now
from monitor.sandbox.profiles import SocialProfile
from tests.sandbox.faults import Drop, Fault, Faults
from tests.sandbox.server import Server, serve
from tests.sandbox.service import FakeService

KEY = "sk_faults_0a1b.2c3d"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    fake_service = FakeService(utc_now)
    fake_service.add_account(KEY)
    fake_service.add_connection(SocialProfile(platform_id="twitter-1", username="ann"))
    with serve(fake_service) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    running.faults.clear()
    running.requests.clear()


def get(server: Server, *, key: str = KEY, timeout: float = 5) -> requests.Response:
    return requests.get(
        f"{server.url}/api/v1/platform-connections",
        headers={"x-api-key": key},
        allow_redirects=False,
        timeout=timeout,
    )


def raw(server: Server) -> socket.socket:
    """Ask by hand, and leave the answer to be read byte by byte."""
    connection = socket.create_connection((server.host, server.port), timeout=5)
    connection.sendall(
        f"GET /api/v1/platform-connections HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n\r\n".encode()
    )
    return connection


@pytest.mark.parametrize(
    ("status", "message"), [(500, "Internal server error"), (500, "Failed to fetch platform connections")]
)
def test_the_vendors_own_failures(server: Server, status: int, message: str) -> None:
    server.faults.set(Fault.error(status, message))

    answer = get(server)

    assert (status, {"error": message}) == (answer.status_code, answer.json())
    assert "application/json" in answer.headers["content-type"]


def test_a_fault_lasts_as_often_as_told(server: Server) -> None:
    server.faults.set(Fault(status=503, times=2))

    assert [get(server).status_code for _ in range(4)] == [503, 503, 200, 200]


def test_a_fault_without_a_count_lasts_until_it_is_cleared(server: Server) -> None:
    server.faults.set(Fault(status=503))
    assert [get(server).status_code for _ in range(3)] == [503] * 3

    server.faults.clear()
    assert get(server).status_code == 200


def test_faults_strike_in_order(server: Server) -> None:
    server.faults.set(Fault(status=503, times=1), Fault(status=429, headers={"Retry-After": "7"}, times=1))
    server.faults.add(Fault(status=502, times=1))

    answers = [get(server) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [503, 429, 502, 200]
    assert answers[1].headers["Retry-After"] == "7"


def test_a_fault_strikes_only_those_it_is_meant_for() -> None:
    faults = Faults()
    for narrow in (Fault(key="sk_a"), Fault(user="a" * 24), Fault(path="/api/v1/workspace")):
        faults.set(narrow)
        assert faults.next_for("/api/v1/platform-connections", "sk_b", "") is None
        assert faults.next_for("/api/v1/workspace/users", "sk_a", "a" * 24) == narrow


def test_one_key_is_struck_and_the_other_is_not(server: Server) -> None:
    server.faults.set(Fault(status=500, key=KEY))

    assert (get(server).status_code, get(server, key="sk_other").status_code) == (500, 401)


def test_what_the_fault_does_not_say_stays_true(server: Server) -> None:
    server.faults.set(Fault(headers={"X-Extra": "1"}))

    answer = get(server)

    assert (answer.status_code, answer.headers["X-Extra"]) == (200, "1")
    assert answer.json()["connections"][0]["platformId"] == "twitter-1"


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"", b"\xff\xfe\x00", b'{"connections": null}']
)
def test_any_bytes_can_be_the_body(server: Server, body: bytes) -> None:
    server.faults.set(Fault(body=body))

    assert get(server).content == body


def test_a_redirect(server: Server) -> None:
    server.faults.set(Fault.redirect("http://127.0.0.1:1/elsewhere"))

    answer = get(server)

    assert (answer.status_code, answer.headers["Location"]) == (302, "http://127.0.0.1:1/elsewhere")


def test_an_oversized_body_is_still_json(server: Server) -> None:
    server.faults.set(Fault(pad_to=3_000_000))

    answer = get(server)

    assert len(answer.content) == 3_000_000
    assert answer.json()["success"] is True


def test_a_compressed_body_is_small_on_the_wire_and_large_behind_it(server: Server) -> None:
    server.faults.set(Fault(gzip=True, pad_to=3_000_000))

    answer = get(server)

    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) < 10_000
    assert len(answer.content) == 3_000_000


def test_a_truncated_body_promises_more_than_it_holds(server: Server) -> None:
    whole = get(server).content
    server.faults.set(Fault(cut_after=20))

    with closing(raw(server)) as connection:
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    head, _, body = received.partition(b"\r\n\r\n")
    assert body == whole[:20]
    assert f"content-length: {len(whole)}".encode() in head
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(server)


def test_a_closed_connection_gives_no_answer_at_all(server: Server) -> None:
    server.faults.set(Fault(drop=Drop.CLOSE))

    with closing(raw(server)) as connection:
        assert connection.recv(65536) == b""


def test_a_reset_connection_is_reset(server: Server) -> None:
    server.faults.set(Fault(drop=Drop.RESET))

    with closing(raw(server)) as connection, pytest.raises(ConnectionResetError):
        connection.recv(65536)


def test_a_late_answer_is_late_and_whole(server: Server) -> None:
    server.faults.set(Fault(delay_seconds=0.2))
    started = time.monotonic()

    answer = get(server)

    assert time.monotonic() - started >= 0.2
    assert answer.json()["success"] is True


def test_a_client_that_gives_up_on_a_late_answer_is_let_go(server: Server) -> None:
    server.faults.set(Fault(delay_seconds=60, times=1))

    with pytest.raises(requests.ReadTimeout):
        get(server, timeout=0.1)

    assert get(server).status_code == 200


def test_a_dripping_body_arrives_byte_by_byte(server: Server) -> None:
    server.faults.set(Fault(body=b"12345", drip_seconds=0.02))
    started = time.monotonic()

    with closing(raw(server)) as connection:
        pieces = list(iter(lambda: connection.recv(65536), b""))

    assert time.monotonic() - started >= 5 * 0.02
    assert pieces[0].endswith(b"\r\n\r\n")
    assert b"".join(pieces[1:]) == b"12345"
    assert len(pieces) > 2


def test_dripping_headers_begin_with_the_first_byte_of_the_status_line(server: Server) -> None:
    server.faults.set(Fault(body=b"{}", drip_seconds=0.02, drip_headers=True))

    with closing(raw(server)) as connection:
        assert connection.recv(65536) == b"H"
        rest = connection.recv(65536)

    assert b"TTP/1.1 200 OK".startswith(rest)


def test_an_answer_is_one_packet(server: Server) -> None:
    for _ in range(50):  # apart, the two now and then arrive together
        with closing(raw(server)) as connection:
            first = connection.recv(65536)

        assert first.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(first.partition(b"\r\n\r\n")[2])["success"] is True


def test_a_connection_serves_many_requests_also_after_a_fault_within_http(server: Server) -> None:
    server.faults.set(Fault(status=500, delay_seconds=0.01, times=1))

    with closing(HTTPConnection(server.host, server.port, timeout=5)) as connection:
        statuses, sockets = [], []
        for _ in range(3):
            connection.request("GET", "/api/v1/platform-connections", headers={"x-api-key": KEY})
            answer = connection.getresponse()
            statuses.append(answer.status)
            answer.read()
            sockets.append(connection.sock)

    assert statuses == [500, 200, 200]
    assert sockets[0] is not None
    assert sockets == [sockets[0]] * 3


def test_the_key_a_fault_is_meant_for_is_not_shown() -> None:
    assert KEY not in repr(Fault(key=KEY))


def test_a_body_given_compressed_can_be_sent_as_it_is(server: Server) -> None:
    body = gzip.compress(b'{"success":true,"connections":[]}')
    server.faults.set(Fault(body=body, headers={"Content-Encoding": "gzip"}))

    assert get(server).json() == {"success": True, "connections": []}
