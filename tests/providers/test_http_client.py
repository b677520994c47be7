"""What the edge keeps to, whatever answers."""

import gzip
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from monitor.core.model import Failure, Outcome, RuleName
from monitor.errors import ConfigError
from tests.providers.http_server import Authority, Handler, StandIn

from .conftest import MakeHttp, account, failure_of, payload

ANSWER = b'{"connections": []}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def other() -> Iterator[StandIn]:
    standing = StandIn()
    yield standing
    standing.stop()


@pytest.fixture
def refused(other: StandIn) -> str:
    """A port where nothing listens."""
    other.stop()
    return f"localhost:{other.server_port}"


# Redirects and cookies


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    server: StandIn, other: StandIn, make_http: MakeHttp, status: int
) -> None:
    server.says(b"", status=status, Location=f"{other.url}/api/v1/platform-connections")
    failure = failure_of(account(server.url, make_http()))
    assert (failure.outcome, failure.rule, failure.http_status) == (
        Outcome.BAD_ANSWER,
        RuleName.BAD_ANSWER,
        status,
    )
    assert "redirects to host localhost; the monitor doesn't follow" in failure.error
    assert "base_url" in failure.remedy
    assert other.connections == 0


@pytest.mark.parametrize("location", ["/login", "http://[::1", ""])
def test_a_redirect_to_nowhere_in_particular_is_named_too(
    server: StandIn, make_http: MakeHttp, location: str
) -> None:
    server.says(b"", status=302, Location=location)
    assert "redirects to another address" in failure_of(account(server.url, make_http())).error


def test_the_body_of_a_redirect_is_not_waited_for(server: StandIn, make_http: MakeHttp) -> None:
    server.answer = lambda handler: handler.drip(b"HTTP/1.1 302 X\r\nContent-Length: 9999\r\n\r\n", b" ")
    assert failure_of(account(server.url, make_http(timeout=1))).outcome is Outcome.BAD_ANSWER


def test_nothing_is_carried_from_one_account_to_the_next(
    server: StandIn, make_http: MakeHttp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    http = make_http()
    server.says(ANSWER, Set_Cookie="who=first; Path=/")
    account(server.url, http, api_key="sk_first").connections("user")
    account(server.url, http, api_key="sk_second").connections()
    first, second = (request.headers for request in server.requests)
    assert (first["x-api-key"], second["x-api-key"]) == ("sk_first", "sk_second")
    assert not {"cookie", "authorization", "x-postpost-user-id"} & second.keys()


# Connections


def test_one_connection_serves_many_calls_and_accounts_of_a_host(
    server: StandIn, make_http: MakeHttp
) -> None:
    http = make_http()
    accounts = [account(server.url, http, api_key=f"sk_{n}") for n in range(3)]
    for _ in range(4):
        for each in accounts:
            each.connections()
    assert (len(server.requests), server.connections) == (12, 1)


def test_a_refusal_leaves_the_connection_open(server: StandIn, make_http: MakeHttp) -> None:
    provider = account(server.url, make_http())
    server.says({"error": "Invalid API key"}, status=401)
    failure_of(provider)
    server.says(ANSWER)
    provider.connections()
    assert server.connections == 1


def test_as_many_connections_are_kept_as_calls_may_run_at_once(server: StandIn, make_http: MakeHttp) -> None:
    together = threading.Barrier(4)

    def answer(handler: Handler) -> None:
        together.wait(5)
        handler.say(ANSWER)

    server.answer = answer
    provider = account(server.url, make_http(concurrency=4))
    with ThreadPoolExecutor(4) as workers:
        for _ in range(3):
            list(workers.map(lambda _: provider.connections(), range(4)))
    assert (len(server.requests), server.connections) == (12, 4)


def _once_then(action: Callable[[Handler], None]) -> Callable[[Handler], None]:
    """Answer a connection's first request and do something else at its second."""
    seen: set[object] = set()

    def answer(handler: Handler) -> None:
        if handler.client_address in seen:
            action(handler)
        else:
            seen.add(handler.client_address)
            handler.say(ANSWER)

    return answer


@pytest.mark.parametrize("leave", [Handler.reset, lambda handler: handler.raw(b"")], ids=["reset", "closed"])
def test_a_kept_connection_that_the_server_gave_up_is_replaced_at_once(
    server: StandIn, make_http: MakeHttp, leave: Callable[[Handler], None]
) -> None:
    server.answer = _once_then(leave)
    provider = account(server.url, make_http())
    for _ in range(3):
        provider.connections()
    assert (len(server.requests), server.connections) == (5, 3)


def test_a_fresh_connection_that_is_closed_is_a_failure(server: StandIn, make_http: MakeHttp) -> None:
    server.answer = Handler.reset
    failure = failure_of(account(server.url, make_http()))
    assert (failure.outcome, failure.rule) == (Outcome.NETWORK_ERROR, RuleName.API_UNREACHABLE)
    assert "closed before an answer arrived" in failure.error
    assert len(server.requests) == 1


def test_a_question_that_changes_something_is_not_asked_twice(server: StandIn, make_http: MakeHttp) -> None:
    server.answer = _once_then(Handler.reset)
    provider = account(server.url, make_http())
    provider.connections()
    with pytest.raises(Exception, match="closed before an answer arrived"):
        provider.run_connection_test("x-1")
    assert len(server.requests) == 2


# Time


def _drip_status(handler: Handler) -> None:
    handler.drip(b"HTTP/1.1 ", b"2")


def _drip_headers(handler: Handler) -> None:
    handler.drip(HEAD, b"X-A: b\r\n")


def _drip_body(handler: Handler) -> None:
    handler.drip(HEAD + b"Content-Length: 1000000\r\n\r\n", b" ")


def _drip_body_without_end(handler: Handler) -> None:
    handler.drip(HEAD + b"Connection: close\r\n\r\n" + ANSWER, b" ")


def _drip_chunks(handler: Handler) -> None:
    handler.drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def _drip_gzip(handler: Handler) -> None:
    handler.drip(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n", gzip.compress(b""))


def _drip_refusal(handler: Handler) -> None:
    handler.drip(b"HTTP/1.1 500 No\r\nContent-Length: 60000\r\n\r\n", b" ")


def _say_nothing(handler: Handler) -> None:
    handler.drip(b"", b"")


DRIPS = [
    *(_drip_status, _drip_headers, _drip_body, _drip_body_without_end),
    *(_drip_chunks, _drip_gzip, _drip_refusal, _say_nothing),
]


@pytest.mark.parametrize("answer", DRIPS)
def test_an_answer_that_takes_for_ever_ends_in_time(
    server: StandIn, make_http: MakeHttp, answer: Callable[[Handler], None]
) -> None:
    server.answer = answer
    began = time.monotonic()
    failure = failure_of(account(server.url, make_http(timeout=0.25)))
    assert 0.2 < time.monotonic() - began < 5
    assert (failure.outcome, failure.rule) == (Outcome.TIMEOUT, RuleName.API_UNREACHABLE)
    assert f"localhost:{server.server_port}: no complete answer within 0.25 s" == failure.error


@pytest.mark.parametrize("answer", [_drip_headers, _drip_body_without_end])
def test_it_ends_in_time_over_tls_too(
    tls_server: StandIn, authority: Authority, make_http: MakeHttp, answer: Callable[[Handler], None]
) -> None:
    tls_server.answer = answer
    http = make_http(timeout=0.4, environ={"SSL_CERT_FILE": str(authority.bundle)})
    began = time.monotonic()
    assert failure_of(account(tls_server.url, http)).outcome is Outcome.TIMEOUT
    assert time.monotonic() - began < 4


def test_a_handshake_that_never_comes_ends_in_time(make_http: MakeHttp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        provider = account(f"https://localhost:{silent.getsockname()[1]}", make_http(timeout=0.25))
        assert failure_of(provider).outcome is Outcome.TIMEOUT


def test_a_name_that_takes_for_ever_ends_in_time(
    make_http: MakeHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: resolved.wait(10) and [])
    began = time.monotonic()
    failure = failure_of(account("https://api.example", make_http(timeout=0.2)))
    assert time.monotonic() - began < 2.5
    resolved.set()
    assert failure.outcome is Outcome.TIMEOUT


def test_an_address_that_never_answers_leaves_time_for_the_next_one(
    server: StandIn, make_http: MakeHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    with _full_port(server.server_port) as full:

        def two_addresses(host: str, port: int, *args: int) -> list[object]:
            if host != "localhost":
                return list(real(host, port, *args))
            found = real("127.0.0.1", port, *args)[0]
            return [(*found[:4], (full, port)), found]

        monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
        account(server.url, make_http(timeout=1)).connections()
    assert len(server.requests) == 1


@contextmanager
def _full_port(port: int) -> Iterator[str]:
    """Make an address on which connecting waits: nobody is accepted there, and the queue is full."""
    with socket.create_server(("127.0.0.2", port), backlog=0), ExitStack() as queue:
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


def test_calls_after_a_slow_one_are_not_cut(server: StandIn, make_http: MakeHttp) -> None:
    http = make_http(timeout=0.3)
    provider = account(server.url, http)
    server.answer = _drip_body
    failure_of(provider)
    server.says(ANSWER)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        provider.connections()
    assert server.connections == 2


def test_closing_ends_what_is_under_way_and_refuses_what_comes_after(
    server: StandIn, make_http: MakeHttp
) -> None:
    asked = threading.Event()

    def answer(handler: Handler) -> None:
        asked.set()
        _drip_body(handler)

    server.answer = answer
    http = make_http(timeout=30)
    provider = account(server.url, http)
    with ThreadPoolExecutor(1) as worker:
        call = worker.submit(failure_of, provider)
        assert asked.wait(5)
        http.close()
        failure = call.result(timeout=5)
    assert failure == failure_of(provider)
    assert "the monitor is stopping" in failure.error
    assert not [thread for thread in threading.enumerate() if thread.name == "http-watchdog"]


# Size and shape


def _chunked(size: int) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(size // 65536):
            handler.raw(b"10000\r\n" + b" " * 65536 + b"\r\n")

    return answer


def _endless(size: int) -> Callable[[Handler], None]:
    return lambda handler: handler.raw(HEAD + b"Connection: close\r\n\r\n" + b" " * size)


def _bomb(handler: Handler) -> None:
    handler.say(gzip.compress(b" " * (64 * 2**20)), Content_Encoding="gzip")


def _bomb_in_a_bomb(handler: Handler) -> None:
    handler.say(gzip.compress(gzip.compress(b" " * (64 * 2**20))), Content_Encoding="gzip, gzip")


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: handler.say(ANSWER + b" " * 2**21),
        _chunked(4 * 2**20),
        _endless(4 * 2**20),
        _bomb,
        _bomb_in_a_bomb,
    ],
    ids=["length", "chunked", "endless", "bomb", "nested-bomb"],
)
def test_an_oversized_answer_stops_early_with_flat_memory(
    server: StandIn, make_http: MakeHttp, answer: Callable[[Handler], None]
) -> None:
    provider = account(server.url, make_http())
    provider.connections()
    server.answer = answer
    failure = failure_of(provider)
    assert (failure.outcome, failure.rule) == (Outcome.BAD_ANSWER, RuleName.BAD_ANSWER)
    assert "longer than 2 MiB" in failure.error
    server.says(ANSWER)
    provider.connections()  # on a new connection: the old one is full of the rest, and was closed
    until = time.monotonic() + 2
    while len(server.open) > 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(server.open) == 1


def test_a_bomb_is_not_held_in_memory(server: StandIn, make_http: MakeHttp) -> None:
    bomb = gzip.compress(b" " * (64 * 2**20))
    server.says(bomb, Content_Encoding="gzip")
    provider = account(server.url, make_http())
    failure_of(provider)
    tracemalloc.start()
    failure_of(provider)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * 2**20


def test_an_answer_just_within_the_limit_is_read(server: StandIn, make_http: MakeHttp) -> None:
    provider = account(server.url, make_http())
    server.says(ANSWER.ljust(2 * 2**20))
    assert provider.connections().connections == ()
    server.says(ANSWER.ljust(2 * 2**20 + 1))
    failure_of(provider)


def test_the_user_list_may_be_longer(server: StandIn, make_http: MakeHttp) -> None:
    server.says(b'{"users": []}'.ljust(3 * 2**20))
    assert account(server.url, make_http()).workspace_users().users == ()


def test_compressed_and_chunked_answers_are_read(server: StandIn, make_http: MakeHttp) -> None:
    provider = account(server.url, make_http())
    body = payload("2026-02-22_three_connections.json")
    server.says(body)
    plain = provider.connections()
    server.says(gzip.compress(body), Content_Encoding="gzip")
    assert provider.connections() == plain
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:700], body[700:]))
    server.answer = lambda handler: handler.raw(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert provider.connections() == plain
    server.answer = lambda handler: handler.raw(HEAD + b"Connection: close\r\n\r\n" + body)
    assert provider.connections() == plain
    assert len(plain.connections) == 3


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (HEAD + b"Content-Length: 100\r\n\r\n" + ANSWER, "ended before it was complete"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n13\r\n" + ANSWER, "ended before it was complete"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "ended before it was complete"),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", "could not be decompressed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not valid HTTP"),
        (HEAD + b"X: y\r\n" * 200 + b"\r\n", "not valid HTTP"),
        (HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n", "not valid HTTP"),
        (HEAD + b"Content-Length: 5, 6\r\n\r\n{}", "not valid HTTP"),
    ],
)
def test_an_answer_that_is_not_whole_or_not_http_is_named(
    server: StandIn, make_http: MakeHttp, sent: bytes, error: str
) -> None:
    server.answer = lambda handler: handler.raw(sent)
    failure = failure_of(account(server.url, make_http()))
    assert (failure.outcome, failure.rule) == (Outcome.BAD_ANSWER, RuleName.BAD_ANSWER)
    assert error in failure.error


def test_equal_network_failures_have_equal_text(refused: str, make_http: MakeHttp) -> None:
    first = failure_of(account(f"http://{refused}", make_http()))
    assert first == failure_of(account(f"http://{refused}", make_http()))
    assert not re.search("0x[0-9a-f]+|Errno", first.error)


@pytest.mark.parametrize(
    ("host", "error"),
    [("no-such-host.invalid", "could not be resolved"), ("a..b", "not a host name")],
)
def test_a_host_that_is_not_there_is_a_network_error(make_http: MakeHttp, host: str, error: str) -> None:
    failure = failure_of(account(f"https://{host}", make_http()))
    assert failure.outcome is Outcome.NETWORK_ERROR
    assert f"{host}: " in failure.error
    assert error in failure.error


def test_what_the_caller_was_handling_is_no_reason(refused: str, make_http: MakeHttp) -> None:
    provider = account(f"http://{refused}", make_http())
    plain = failure_of(provider)
    try:
        raise ssl.SSLError("somebody else's")
    except ssl.SSLError:
        assert failure_of(provider) == plain


def test_whatever_the_libraries_throw_comes_out_as_a_failure(
    make_http: MakeHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*_: object) -> None:
        raise ZeroDivisionError("sk_secret")

    monkeypatch.setattr(socket, "getaddrinfo", surprise)
    failure = failure_of(account("https://api.example", make_http()))
    assert failure.error == "api.example: the request failed (ZeroDivisionError)"


# TLS


def test_the_operators_ca_bundle_is_trusted(
    tls_server: StandIn, authority: Authority, make_http: MakeHttp, tmp_path: Path
) -> None:
    for environ in (
        {"REQUESTS_CA_BUNDLE": str(authority.bundle), "SSL_CERT_FILE": "/nowhere"},
        {"SSL_CERT_FILE": str(authority.bundle)},
    ):
        account(tls_server.url, make_http(environ=environ)).connections()
    assert len(tls_server.requests) == 2


def test_the_ca_bundle_is_loaded_once_for_all_connections(
    tls_server: StandIn, authority: Authority, make_http: MakeHttp, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    shutil.copy(authority.bundle, bundle)
    provider = account(tls_server.url, make_http(environ={"REQUESTS_CA_BUNDLE": str(bundle)}))
    bundle.unlink()
    tls_server.answer = lambda handler: handler.say(ANSWER, Connection="close")
    for _ in range(3):
        provider.connections()
    assert tls_server.connections == 3


def test_a_directory_of_certificates_is_trusted(
    tls_server: StandIn, authority: Authority, make_http: MakeHttp, tmp_path: Path
) -> None:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(authority.bundle)]
    digest = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    shutil.copy(authority.bundle, tmp_path / f"{digest}.0")
    account(tls_server.url, make_http(environ={"REQUESTS_CA_BUNDLE": str(tmp_path)})).connections()


def test_an_untrusted_certificate_is_refused(tls_server: StandIn, make_http: MakeHttp) -> None:
    failure = failure_of(account(tls_server.url, make_http()))
    assert (failure.outcome, failure.rule) == (Outcome.NETWORK_ERROR, RuleName.API_UNREACHABLE)
    assert "certificate was not accepted: unable to get local issuer certificate" in failure.error
    assert "REQUESTS_CA_BUNDLE" in failure.remedy
    assert tls_server.requests == []


def test_a_certificate_of_another_name_is_refused(authority: Authority, make_http: MakeHttp) -> None:
    wrong = StandIn(authority.server_context("wrong.example"))
    http = make_http(environ={"SSL_CERT_FILE": str(authority.bundle)})
    failure = failure_of(account(wrong.url, http))
    wrong.stop()
    assert "certificate was not accepted: Hostname mismatch" in failure.error
    assert wrong.requests == []


def test_a_server_without_tls_is_named(server: StandIn, make_http: MakeHttp) -> None:
    url = server.url.replace("http:", "https:")
    failure = failure_of(account(url, make_http()))
    assert failure.outcome is Outcome.NETWORK_ERROR
    assert "the TLS handshake failed" in failure.error


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_named(
    make_http: MakeHttp, tmp_path: Path, content: bytes | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(ConfigError, match=f"REQUESTS_CA_BUNDLE: {bundle}: "):
        make_http(environ={"REQUESTS_CA_BUNDLE": str(bundle)})


# Proxies


@pytest.fixture
def proxy() -> Iterator[StandIn]:
    standing = StandIn()
    standing.tunnels = True
    standing.answer = lambda handler: None
    yield standing
    standing.stop()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_https_goes_through_the_proxy_of_the_environment(
    tls_server: StandIn, proxy: StandIn, authority: Authority, make_http: MakeHttp, name: str
) -> None:
    environ = {name: proxy.url.removeprefix("http://"), "SSL_CERT_FILE": str(authority.bundle)}
    provider = account(tls_server.url, make_http(environ=environ))
    environ.clear()  # it was read once
    provider.connections()
    provider.connections()
    assert [(request.method, request.path) for request in proxy.requests] == [
        ("CONNECT", f"localhost:{tls_server.server_port}")
    ]
    assert "x-api-key" not in proxy.requests[0].headers
    assert (len(tls_server.requests), tls_server.connections) == (2, 1)


def test_a_kept_tunnel_that_was_given_up_is_replaced_by_a_tunnel(
    tls_server: StandIn, proxy: StandIn, authority: Authority, make_http: MakeHttp
) -> None:
    environ = {"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.bundle)}
    tls_server.answer = _once_then(lambda handler: handler.raw(b""))
    provider = account(tls_server.url, make_http(environ=environ))
    provider.connections()
    provider.connections()
    assert (len(proxy.requests), tls_server.connections) == (2, 2)


def test_plain_http_goes_through_its_own_proxy(server: StandIn, other: StandIn, make_http: MakeHttp) -> None:
    http = make_http(environ={"http_proxy": other.url.replace("//", "//me:hunter2@"), "HTTPS_PROXY": "x"})
    account(server.url, http).connections()
    (request,) = other.requests
    assert request.path == f"{server.url}/api/v1/platform-connections"
    assert request.headers["proxy-authorization"].startswith("Basic ")
    assert server.connections == 0


@pytest.mark.parametrize(
    ("no_proxy", "is_exempt"),
    [
        ("localhost", True),
        ("example.com, LOCALHOST", True),
        ("{host}", True),
        ("*", True),
        ("example.com", False),
        ("host", False),
        ("localhost:1", False),
        ("", False),
    ],
)
def test_hosts_named_in_no_proxy_are_asked_directly(
    server: StandIn, other: StandIn, make_http: MakeHttp, no_proxy: str, is_exempt: bool
) -> None:
    named = no_proxy.format(host=server.url.removeprefix("http://"))
    account(server.url, make_http(environ={"HTTP_PROXY": other.url, "NO_PROXY": named})).connections()
    assert (server.connections, other.connections) == ((1, 0) if is_exempt else (0, 1))


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_exempt"),
    [
        ("http://127.0.0.1:{port}", "127.0.0.0/8", True),
        ("http://127.0.0.1:{port}", "10.0.0.0/8,127.0.0.1", True),
        ("http://127.0.0.1:{port}", "10.0.0.0/8", False),
    ],
)
def test_networks_named_in_no_proxy_are_asked_directly(
    *, server: StandIn, other: StandIn, make_http: MakeHttp, url: str, no_proxy: str, is_exempt: bool
) -> None:
    http = make_http(environ={"HTTP_PROXY": other.url, "no_proxy": no_proxy})
    account(url.format(port=server.server_port), http).connections()
    assert (server.connections, other.connections) == ((1, 0) if is_exempt else (0, 1))


def test_the_environment_of_the_process_is_not_asked(
    server: StandIn, refused: str, make_http: MakeHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{refused}")
    monkeypatch.setenv("ALL_PROXY", f"http://{refused}")
    account(server.url, make_http(environ={})).connections()
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", ["socks5://hunter2@a:1080", "http://", "http://[hunter2", "http://a b"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(make_http: MakeHttp, value: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        make_http(environ={"HTTPS_PROXY": value})
    assert "hunter2" not in str(caught.value)


def _through(proxy_url: str, make_http: MakeHttp) -> Failure:
    secret = proxy_url.replace("//", "//me:hunter2@")
    failure = failure_of(account("https://api.example", make_http(environ={"HTTPS_PROXY": secret})))
    assert "hunter2" not in repr(failure)
    assert (failure.outcome, failure.rule) == (Outcome.NETWORK_ERROR, RuleName.API_UNREACHABLE)
    return failure


def test_a_proxy_that_is_gone_is_named(refused: str, make_http: MakeHttp) -> None:
    assert _through(f"http://{refused}", make_http).error == "the proxy could not be reached"


def test_a_proxy_that_refuses_is_named(other: StandIn, make_http: MakeHttp) -> None:
    other.answer = lambda handler: handler.raw(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    assert _through(other.url, make_http).error == "the proxy would not connect to api.example: 403"
    other.answer = lambda handler: handler.raw(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    assert "requires a user name" in _through(other.url, make_http).error


def test_a_proxy_that_wants_a_password_for_plain_http_is_named(
    server: StandIn, other: StandIn, make_http: MakeHttp
) -> None:
    other.says(b"", status=407)
    failure = failure_of(account(server.url, make_http(environ={"HTTP_PROXY": other.url})))
    assert failure.outcome is Outcome.NETWORK_ERROR
    assert "requires a user name" in failure.error


def test_a_proxy_that_says_nothing_ends_in_time(other: StandIn, make_http: MakeHttp) -> None:
    other.answer = _drip_headers
    http = make_http(timeout=0.25, environ={"HTTPS_PROXY": other.url})
    assert failure_of(account("https://api.example", http)).outcome is Outcome.TIMEOUT


def test_the_limit_of_an_answer_is_configured_and_the_message_names_the_key(
    server: StandIn, make_http: MakeHttp
) -> None:
    http = make_http()
    http.max_answer = 64
    server.says(b'{"success":true,"connections":[' + b" " * 64 + b"]}")
    failure = failure_of(account(server.url, http))
    assert (failure.outcome, "polling.max_answer" in failure.remedy) == (Outcome.BAD_ANSWER, True)
