"""The web door: what it shows, to whom, and that nobody can do more than look."""

import asyncio
import base64
import hashlib
import json
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest
from starlette.responses import Response
from structlog.testing import capture_logs

from monitor.cli import main
from monitor.config.load import parse_config
from monitor.config.model import Config
from monitor.errors import ConfigError, MonitorError
from monitor.storage.database import Database
from monitor.web import access, app, server
from monitor.web.listener import WebListener
from monitor.workers.liveness import DATABASE, DISPATCHER, RECORDER, SENDER, STALL_TIMEOUTS, Liveness
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.web_client import ENVIRON, FakeMonotonic, Visit, configured, renewed, visiting

PATHS = ("/", "/healthz", "/readyz", "/metrics", "/api/connections", "/api/incidents")
TOKEN = ENVIRON["TOKEN"]


@pytest.fixture
def visit(database_url: str) -> Iterator[Visit]:
    """Give an open door before an empty history, once on each kind of database."""
    with visiting(database_url) as visit:
        yield visit


@pytest.fixture
def visit_of_a_file(sqlite_url: str) -> Iterator[Visit]:
    """Give an open door before an empty history in a file, where the database makes no difference."""
    database = Database(sqlite_url)
    database.upgrade()
    database.close()
    with visiting(sqlite_url) as visit:
        yield visit


# Who may come in


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "SHOUT"])
@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
def test_nothing_can_be_changed(visit_of_a_file: Visit, method: str, path: str) -> None:
    answer = visit_of_a_file.get(path, method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", PATHS)
def test_a_look_writes_nothing(visit: Visit, path: str) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection(), connection(platform_id="instagram-1", token_status="expired"))
    before = simulator.sizes()
    assert visit.get(path).status == 200
    assert simulator.sizes() == before


@pytest.mark.parametrize("path", PATHS)
def test_head_gives_what_get_gives_without_the_body(visit_of_a_file: Visit, path: str) -> None:
    visit_of_a_file.simulator().poll_connections(connection())
    got, only_head = visit_of_a_file.get(path), visit_of_a_file.get(path, "HEAD")
    assert only_head.status == got.status == 200
    assert only_head.headers["content-type"] == got.headers["content-type"]
    assert only_head.body == b""


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/static/../healthz", "/healthz/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_answer_tells_a_browser_to_trust_nothing(
    visit_of_a_file: Visit, path: str, method: str
) -> None:
    headers = visit_of_a_file.get(path, method).headers
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["connection"] == "close"
    assert "server" not in headers


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1:80", "localhost", "LOCALHOST:1", "[::1]:8470", "[::1]"]
)
def test_this_machine_may_be_called_by_any_of_its_names(visit_of_a_file: Visit, host: str) -> None:
    assert visit_of_a_file.get("/healthz", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[fe80::1]", "", "]"],
)
@pytest.mark.parametrize("path", PATHS)
def test_a_page_from_elsewhere_cannot_rebind_its_name_to_this_machine(
    visit_of_a_file: Visit, path: str, host: str
) -> None:
    answer = visit_of_a_file.get(path, headers={"Host": host})
    assert answer.status == 421
    assert "agency" not in answer.text


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/healthz"])
def test_a_token_is_wanted_where_there_is_one(
    sqlite_url: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "WRONG_TOKEN_DELAY", 0)
    with visiting(sqlite_url, token_env="TOKEN") as visit:
        visit.app.database.upgrade()
        visit.simulator().poll_connections(connection())
        basic = base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
        for shown in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", f"Basic {basic}"):
            assert visit.get(path, headers={"Authorization": shown}).status == 200
        wrong = base64.b64encode(b"anybody:wrong").decode()
        for shown in ("", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Token {TOKEN}",
                      f"Basic {wrong}", "Basic !", f"Basic {TOKEN}", "Bearer \xe9"):  # fmt: skip
            answer = visit.get(path, headers={"Authorization": shown})
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer, Basic ")
            assert TOKEN not in answer.text
        assert visit.get(path).status == 401


def test_the_health_of_the_process_is_for_everybody(sqlite_url: str) -> None:
    with visiting(sqlite_url, token_env="TOKEN") as visit:
        assert visit.get("/healthz", headers={"Host": "monitor.example"}).status == 200
        assert visit.get("/healthz/", headers={"Host": "monitor.example"}).status == 401
        assert visit.get("//healthz", headers={"Host": "monitor.example"}).status == 401


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(*both: bytes) -> bool:
        compared.append((both[0], both[1]))
        return True

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert access._has_token(["Bearer whatever"], TOKEN)
    assert compared == [(b"whatever", TOKEN.encode())]


def test_two_tokens_in_one_request_are_none() -> None:
    assert not access._has_token([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], TOKEN)


def test_a_token_is_a_secret_of_the_configuration(sqlite_url: str) -> None:
    config = _config(sqlite_url, listen="0.0.0.0:8470", token_env="TOKEN")
    assert TOKEN in config.secrets()
    assert TOKEN not in repr(config)
    assert TOKEN not in str(config.shown())
    assert any("reachable from other machines" in warning for warning in config.warnings)


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "monitor.example:1", "localhost.example:1"]
)
def test_beyond_this_machine_there_is_no_door_without_a_token(sqlite_url: str, listen: str) -> None:
    with pytest.raises(ConfigError, match="want token_file"):
        _config(sqlite_url, listen=listen)
    assert _config(sqlite_url, listen=listen, token_env="TOKEN").web


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.1.2.3:1", "[::1]:1", "localhost:65535"])
def test_on_this_machine_nobody_needs_a_token(sqlite_url: str, listen: str) -> None:
    config = _config(sqlite_url, listen=listen)
    assert config.web
    assert config.web.token is None
    assert config.warnings == ()


def test_the_token_may_be_kept_in_a_file(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    config = _config(sqlite_url, listen="0.0.0.0:1", token_file=str(tmp_path / "token"))
    assert config.web
    assert config.web.token
    assert config.web.token.get_secret_value() == TOKEN


# The socket


def test_a_port_in_use_is_told_in_one_line(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MonitorError) as caught, visiting(sqlite_url, listen=f"127.0.0.1:{port}"):
            pass
    assert str(caught.value) == (
        f"web.listen: can't listen on 127.0.0.1:{port} (Address already in use); "
        "end what listens there, or choose another address"
    )


def test_without_the_section_nothing_listens(sqlite_url: str) -> None:
    with visiting(sqlite_url) as visit:
        port = visit.listener.port
        visit.listener.serve(renewed(visit.app, web=None))
        assert visit.listener.port is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port or 0), timeout=5)


def test_a_reload_keeps_the_door_open_and_shows_the_new_configuration(visit_of_a_file: Visit) -> None:
    visit, port = visit_of_a_file, visit_of_a_file.listener.port
    web = _config(str(visit.app.database.url), token_env="TOKEN").web
    visit.listener.serve(renewed(visit.app, web=web), visit.liveness, visit.metrics)
    assert visit.listener.port == port
    assert visit.get("/readyz").status == 401


def test_a_changed_address_needs_a_restart(visit_of_a_file: Visit) -> None:
    visit, port = visit_of_a_file, visit_of_a_file.listener.port
    web = _config(str(visit.app.database.url), listen="localhost:1").web
    visit.listener.serve(renewed(visit.app, web=web), visit.liveness, visit.metrics)
    assert (port, True) == (visit.listener.port, visit.listener.needs_restart(web))
    assert not visit.listener.needs_restart(visit.app.config.web)
    assert visit.get("/healthz").status == 200


def test_who_says_nothing_or_stops_half_way_is_cut_off(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
    with visiting(sqlite_url) as visit:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: loc"):
            with socket.create_connection(("127.0.0.1", visit.listener.port or 0), timeout=10) as line:
                line.sendall(said)
                with suppress(ConnectionResetError):
                    assert line.recv(100) == b""


HOST = b"Host: localhost\r\n"


def idle_sockets(visit: Visit, count: int, address: str) -> list[socket.socket]:
    """Open connections that send nothing, from one loopback address."""
    there = "127.0.0.1", visit.listener.port or 0
    return [socket.create_connection(there, timeout=10, source_address=(address, 0)) for _ in range(count)]


@pytest.mark.parametrize("addresses", [1, 20], ids=["one address", "twenty addresses"])
def test_idle_sockets_keep_nobody_out(visit_of_a_file: Visit, addresses: int) -> None:
    visit = visit_of_a_file
    visit.app.database.upgrade()
    with ExitStack() as sockets:
        for n in range(addresses):
            for each in idle_sockets(visit, 200 // addresses, f"127.0.0.{n + 2}"):
                sockets.enter_context(each)
        assert [visit.get(path).status for path in ("/healthz", "/", "/api/incidents")] == [200, 200, 200]


def test_one_address_cannot_push_out_the_idle_sockets_of_another(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    with ExitStack() as sockets:
        [patient] = idle_sockets(visit, 1, "127.0.0.2")
        sockets.enter_context(patient)
        for each in idle_sockets(visit, 200, "127.0.0.3"):
            sockets.enter_context(each)
        assert visit.get("/healthz").status == 200
        patient.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert patient.recv(12) == b"HTTP/1.1 200"


def test_probes_are_answered_while_every_connection_is_busy(
    visit_of_a_file: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = visit_of_a_file
    held, entered = threading.Event(), SimpleQueue[None]()

    async def answer_later(*_: object) -> Response:
        entered.put(None)
        while not held.is_set():
            await asyncio.sleep(0.01)
        return Response()

    monkeypatch.setattr(app.WebApp, "_listed", answer_later)
    with ExitStack() as sockets:
        sockets.callback(held.set)
        for n in range(server.MAX_CONNECTIONS):
            [each] = idle_sockets(visit, 1, f"127.0.0.{n % 4 + 2}")
            sockets.enter_context(each).sendall(b"GET /api/incidents HTTP/1.1\r\n" + HOST + b"\r\n")
            entered.get(timeout=10)
        answer = visit.get("/")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert visit.get("/healthz").status == 200


def test_the_answer_to_a_wrong_token_is_slow_and_to_none_at_once(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(access, "sleep", sleep)
    with visiting(sqlite_url, token_env="TOKEN") as visit:
        assert visit.get("/").status == 401
        assert slept == []
        assert visit.get("/", headers={"Authorization": "Bearer wrong"}).status == 401
    assert slept == [access.WRONG_TOKEN_DELAY]


def said_to(visit: Visit, raw: bytes) -> tuple[bytes, bytes]:
    """Say something to the door as it stands here; returns the first line of the answer, and the rest."""
    with socket.create_connection(("127.0.0.1", visit.listener.port or 0), timeout=10) as line:
        line.sendall(raw)
        answer = b""
        with suppress(ConnectionResetError):
            while more := line.recv(65536):
                answer += more
    first, _, rest = answer.partition(b"\r\n")
    return first, rest


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", b"400"),
        ("GET /ünï HTTP/1.1\r\n".encode() + HOST + b"\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01" + bytes(200) + b"\r\n\r\n", b"400"),
        (b"GET /%C3%BC%F0%9F%98%80 HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
        (b"GET /%ff%zz%00/../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
        (b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"\r\n", b"404"),
        (b"GET /api/connections?account=%ED%A0%80%ff HTTP/1.1\r\n" + HOST + b"\r\n", b"200"),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", b"405"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\nhello", b"405"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"405"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-HTTP-Method-Override: DELETE\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 5000 + b"\r\n", b"431"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"431"),
        (b"GET /healthz?" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost:80@evil.example\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\nGET /healthz HTTP/1.1\r\n" + HOST + b"\r\n", b"200"),
    ],
)
def test_whatever_is_said_is_answered_once_and_trusts_nothing(
    visit_of_a_file: Visit, raw: bytes, status: bytes
) -> None:
    with capture_logs() as lines:
        first, rest = said_to(visit_of_a_file, raw)
    assert first.split(b" ")[1] == status
    assert rest.count(b"HTTP/1.1 ") == 0
    assert b"x-content-type-options: nosniff" in rest
    assert [line for line in lines if line["event"] == "web.request_failed"] == []
    assert visit_of_a_file.get("/healthz").status == 200


def test_who_reads_nothing_of_a_long_answer_holds_up_nobody(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.simulator().poll_connections(
        *(connection(platform_id=f"tiktok-{n}", display_name="x" * 200) for n in range(1000))
    )
    with ExitStack() as deaf:
        for _ in range(8):
            line = deaf.enter_context(socket.socket())
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", visit.listener.port or 0))
            line.sendall(b"GET /api/connections?limit=1000 HTTP/1.1\r\n" + HOST + b"\r\n")
        assert len(visit.get("/api/connections?limit=1000").json["items"]) == 1000
        assert visit.get("/healthz").status == 200


def test_the_door_closes_at_once_though_somebody_hangs_on(sqlite_url: str) -> None:
    with (
        visiting(sqlite_url) as visit,
        socket.create_connection(("127.0.0.1", visit.listener.port or 0), timeout=10) as line,
    ):
        line.sendall(b"GET /")
        began = time.monotonic()
        visit.listener.close()
        assert time.monotonic() - began < 5


# Health and readiness


def test_a_part_that_does_not_move_is_unhealthy(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    parts = {DISPATCHER, RECORDER, SENDER}
    for part in sorted(parts):
        visit.monotonic_clock.now += STALL_TIMEOUTS[part].total_seconds() + 1
        for other in parts - {part}:
            visit.liveness.beat(other)
        answer = visit.get("/healthz")
        assert (answer.status, answer.text) == (503, f"stalled: {part}\n")
        visit.liveness.beat(part)
        assert visit.get("/healthz").text == "ok\n"


def test_a_part_is_stalled_beyond_its_limit() -> None:
    monotonic_clock = FakeMonotonic()
    lasted = [60.0]
    liveness = Liveness(transaction_age=lambda: lasted[0], monotonic=monotonic_clock)
    monotonic_clock.now += 60
    assert liveness.stalled() == []
    assert liveness.ages() == {DISPATCHER: 60, RECORDER: 60, SENDER: 60}
    monotonic_clock.now += 0.5
    assert liveness.stalled() == [DISPATCHER, RECORDER, SENDER]
    liveness.beat(RECORDER)
    assert liveness.stalled() == [DISPATCHER, SENDER]
    lasted[0] += 0.5
    assert liveness.stalled() == [DATABASE, DISPATCHER, SENDER]
    assert liveness.ages(monotonic_clock.now + 5)[RECORDER] == 5


def test_a_monitor_that_waits_for_its_database_is_alive_and_not_ready(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.listener.serve(visit.app)
    assert visit.get("/healthz").status == 200
    for path in ("/readyz", "/metrics"):
        assert visit.get(path).status == 503


def test_a_monitor_that_keeps_its_pace_is_ready(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection())
    visit.clock.advance(45 * MINUTE)
    assert visit.get("/readyz").text == "ok\n"


def test_a_target_that_is_late_by_three_intervals_is_told(visit: Visit) -> None:
    visit.simulator().poll_connections(connection())
    visit.clock.advance(15 * MINUTE + 3 * 15 * MINUTE + 2 * MINUTE)
    answer = visit.get("/readyz")
    assert answer.status == 503
    assert answer.text == "1 target not polled for three intervals (agency)\n"


def test_a_target_is_not_late_while_its_budget_keeps_no_better_pace(visit: Visit) -> None:
    visit.simulator().poll_connections(connection())
    visit.app.context.rate_limits.set_target_count("agency", 90_000)
    visit.clock.advance(10 * HOUR)
    assert visit.get("/readyz").text == "ok\n"


def test_an_account_no_longer_configured_is_late_for_nothing(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.providers["gone"] = simulator.providers["agency"]
    simulator.poll_connections(connection())
    del simulator.providers["gone"]
    simulator.poll_connections(connection())
    visit.clock.advance(30 * MINUTE)
    assert visit.get("/readyz").text == "ok\n"


def test_a_message_that_nobody_sends_is_told(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection(token_status="expired", expires_at=NOW - HOUR))
    visit.clock.advance(15 * MINUTE)
    assert visit.get("/readyz").text == "ok\n"
    visit.clock.advance(MINUTE)
    answer = visit.get("/readyz")
    assert (answer.status, answer.text) == (503, "a message has been due for 16 minutes\n")
    simulator.deliver()
    assert visit.get("/readyz").text == "ok\n"


def test_a_file_that_is_gone_is_not_ready_and_still_alive(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.simulator().poll_connections(connection())
    Path(visit.app.database.url.database or "").unlink()
    assert visit.get("/healthz").status == 200
    assert visit.get("/readyz").status == 503
    assert visit.get("/").text == "the history database doesn't answer\n"
    assert visit.get("/api/connections").json == {"error": "the history database doesn't answer"}


def test_a_schema_that_is_not_ours_is_not_ready(visit: Visit) -> None:
    with visit.app.database.begin() as store:
        store.connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'later'")
    assert visit.get("/readyz").status == 503


def test_a_database_that_was_emptied_is_not_ready(visit: Visit) -> None:
    with visit.app.database.begin() as store:
        store.connection.exec_driver_sql("DROP TABLE alembic_version")
    assert visit.get("/readyz").status == 503


def test_a_database_that_hangs_keeps_nobody_waiting(
    visit_of_a_file: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = visit_of_a_file
    monkeypatch.setattr(app, "RESPONSE_TIMEOUT", timedelta(seconds=0.2))
    file = sqlite3.connect(visit.app.database.url.database or "", isolation_level=None)
    file.execute("PRAGMA journal_mode=DELETE")
    file.execute("BEGIN EXCLUSIVE")
    try:
        for path in ("/", "/readyz", "/api/incidents"):
            assert visit.get(path).status == 503
        assert visit.get("/healthz").status == 200
        assert "postpost_monitor_database_up 0.0" in visit.get("/metrics").text
    finally:
        file.execute("ROLLBACK")
        file.close()


def test_a_mistake_of_ours_is_an_answer_and_a_line_in_the_log(
    visit_of_a_file: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("monitor.web.status_page.render_page", broken)
    with capture_logs() as lines:
        answer = visit_of_a_file.get("/")
    assert (answer.status, answer.text) == (500, "an error in the monitor; see its log\n")
    assert answer.headers["content-security-policy"]
    assert [line["event"] for line in lines] == ["web.request_failed"]


# The page


def test_the_page_says_what_needs_somebody_first(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(
        connection(display_name="Fine & Dandy", expires_at=NOW + 40 * DAY),
        connection(
            platform_id="instagram-1",
            display_name="Soon",
            token_status="expiring_soon",
            expires_at=NOW + 2 * DAY,
        ),
        connection(platform_id="tiktok-1", display_name="Over", token_status="expired", expires_at=NOW - DAY),
    )
    visit.clock.advance(5 * MINUTE)
    text = visit.get("/").text
    assert "2 open incidents" in text
    assert "last poll 5 minutes ago" in text
    incidents = text[text.index("Open incidents") : text.index("Expiring next")]
    assert incidents.index('class="critical"') < incidents.index('class="warning"')
    expiring = text[text.index("Expiring next") : text.index("<h2>Accounts")]
    assert expiring.index("Soon") < expiring.index("Fine &amp; Dandy")
    assert "Over" not in expiring
    assert "in 1 day 23 hours" in expiring or "in 2 days" in expiring
    assert "1 expired" in text
    assert "2 waiting" in text


def test_the_page_of_an_empty_history_says_so(visit: Visit) -> None:
    text = visit.get("/").text
    assert "Nothing was polled yet" in text
    assert "last poll never" in text


def test_the_page_says_when_all_is_well(visit: Visit) -> None:
    visit.simulator().poll_connections(connection())
    text = visit.get("/").text
    assert "Nothing to do" in text
    assert "Open incidents" not in text


def test_the_page_tells_what_is_late_and_what_was_given_up(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection(token_status="expired", expires_at=NOW - HOUR))
    simulator.channels.clear()
    del simulator.channels
    with visit.app.database.begin() as store:
        store.connection.exec_driver_sql("UPDATE notifications SET state = 'failed'")
    visit.clock.advance(2 * HOUR)
    text = visit.get("/").text
    assert "1 overdue" in text
    assert "1 undeliverable" in text


HOSTILE = "<script>alert(1)</script>'\"&\u202etxt\x1b[31m"


def test_text_from_outside_is_text_on_the_page(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(
        connection(
            platform_id="<b>-1",
            username=HOSTILE,
            display_name=HOSTILE,
            token_status="<i>odd</i>",
            last_error=error(HOSTILE),
            expires_at=NOW + DAY,
        )
    )
    text = visit.get("/").text
    assert "&lt;script&gt;" in text
    for bad in ("<script", "<b>-", "<i>odd", "\u202e", "\x1b"):
        assert bad not in text


def test_the_one_style_of_the_page_is_let_in_and_nothing_else(visit_of_a_file: Visit) -> None:
    answer = visit_of_a_file.get("/")
    styles = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert len(styles) == 1
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert "style=" not in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text
    assert "prefers-color-scheme: dark" in answer.text
    assert 'name="viewport"' in answer.text


def test_a_large_history_is_a_short_page(visit: Visit) -> None:
    many = [
        connection(platform_id=f"tiktok-{n}", display_name=f"Nr {n}", token_status="expired", expires_at=NOW)
        for n in range(400)
    ]
    visit.simulator().poll_connections(*many)
    text = visit.get("/").text
    assert "400 open incidents" in text
    assert "and 300 more" in text
    assert "and 100 more" in text
    assert len(text) < 250_000


# The API


def _all_pages(visit: Visit, path: str, limit: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    cursor = ""
    for _ in range(20):
        joined = "&" if "?" in path else "?"
        answer = visit.get(f"{path}{joined}limit={limit}{cursor}").json
        assert len(answer["items"]) <= limit
        found += answer["items"]
        if answer["next"] is None:
            return found
        cursor = f"&cursor={answer['next']}"
    raise AssertionError("the pages have no end")


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/api/connections", ("status",)),
        ("/api/connections?platform=tiktok", ("status", "--platform", "tiktok")),
        ("/api/connections?account=agency", ("status", "--account", "agency")),
        ("/api/incidents", ("incidents",)),
        ("/api/incidents?all=true", ("incidents", "--all")),
    ],
)
def test_the_api_says_what_the_command_line_says(
    visit_of_a_file: Visit,
    path: str,
    command: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visit = visit_of_a_file
    simulator = visit.simulator()
    simulator.poll_connections(
        connection(), connection(platform_id="tiktok-1", token_status="expired", expires_at=NOW - DAY)
    )
    simulator.advance()
    simulator.poll_connections(connection(), connection(platform_id="tiktok-1"), connection(platform_id="threads-1",
               token_status="expired", expires_at=NOW))  # fmt: skip
    config = Path(visit.app.database.url.database or "").with_name("config.yaml")
    config.write_text(json.dumps(configured(visit.app.database.url.render_as_string())))
    monkeypatch.setenv("KEY", ENVIRON["KEY"])
    capsys.readouterr()
    assert main(["--config", str(config), *command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed
    answered = visit.get(path)
    assert answered.headers["content-type"] == "application/json"
    assert sorted(answered.json["items"], key=str) == sorted(printed, key=str)


def test_pages_hold_everything_once_in_an_order_that_stays(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(
        *(connection(platform_id=f"tiktok-{n}", token_status="expired", expires_at=NOW) for n in range(7))
    )
    for path in ("/api/connections", "/api/incidents"):
        whole = visit.get(path).json
        assert whole["next"] is None
        assert len(whole["items"]) == 7
        for limit in (1, 3, 7):
            assert _all_pages(visit, path, limit) == whole["items"]


def test_what_is_new_between_two_pages_moves_nothing(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection(platform_id="tiktok-5"), connection(platform_id="tiktok-7"))
    first = visit.get("/api/connections?limit=1").json
    simulator.advance()
    simulator.poll_connections(*(connection(platform_id=f"tiktok-{n}") for n in (1, 5, 7)))
    rest = visit.get(f"/api/connections?limit=5&cursor={first['next']}").json
    ids = [item["platform_id"] for item in [*first["items"], *rest["items"]]]
    assert sorted(ids) == ["tiktok-1", "tiktok-5", "tiktok-7"]


def test_the_api_of_an_empty_history_is_empty(visit: Visit) -> None:
    for path in ("/api/connections", "/api/incidents", "/api/connections?cursor=99"):
        assert visit.get(path).json == {"items": [], "next": None}


@pytest.mark.parametrize(
    "asked",
    ["limit=0", "limit=1001", "limit=-1", "limit=", "limit=%D9%A3", "limit=1&limit=2", "limit=99999999999999999999",
     "cursor=x", "cursor=-1", "cursor=99999999999", "all=yes", "acount=a", "account=%00", "x", "limit=1.5"],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_told_what_would(visit: Visit, asked: str) -> None:
    answer = visit.get(f"/api/incidents?{asked}")
    assert answer.status == 400
    assert "want" in answer.json["error"]


def test_a_question_cannot_reach_the_database_as_a_statement(visit: Visit) -> None:
    visit.simulator().poll_connections(connection())
    answer = visit.get("/api/connections?account=agency'%20OR%201=1--")
    assert answer.json == {"items": [], "next": None}


def test_a_failing_account_is_an_incident_without_a_connection(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.provider.fails(failure())
    for _ in range(3):
        simulator.poll()
        simulator.advance()
    (item,) = visit.get("/api/incidents").json["items"]
    assert (item["rule"], item["account"], item["platform_id"]) == ("api_unreachable", "agency", None)
    assert "agency" in visit.get("/").text


def test_many_at_once_are_answered_or_sent_away(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.simulator().poll_connections(connection())
    with ThreadPoolExecutor(20) as crowd:
        statuses = list(crowd.map(lambda n: visit.get(PATHS[n % len(PATHS)]).status, range(120)))
    assert set(statuses) == {200}
    assert visit.listener.port


def _config(database_url: str, **web: object) -> Config:
    return parse_config(configured(database_url, **web), ENVIRON)


def test_a_door_that_was_never_opened_closes() -> None:
    WebListener().close()
