"""Real receivers for what the channels send: an HTTP server and an SMTP server on loopback."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it arrived; ``headers`` by lower-case name."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    What an HTTP receiver does with a request.

    Args:
        delay: seconds of silence before the answer.
        drip: seconds between single bytes of a body that never ends; 0 answers at once.
        hang_up: close the connection without a word.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay: float = 0
    drip: float = 0
    hang_up: bool = False


class HttpReceiver:
    """
    An HTTP server that records what it is sent; ``answer`` may be changed while it runs, or look at the request.

    Attributes:
        address: ``127.0.0.1:port``.
        requests: in the order of their arrival.
    """

    def __init__(self, answer: Answer | Callable[[Request], Answer]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.address = ""

    def wait_for(self, count: int, timeout: float = 10) -> list[Request]:
        """Wait until so many requests have arrived."""
        _wait(lambda: len(self.requests) >= count, timeout)
        return self.requests


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    receiver: HttpReceiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet: a client that gave up is what some tests want."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet
    server: _Server

    def _serve(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, path=self.path, headers=headers, body=body)
        receiver.requests.append(request)
        answer = receiver.answer(request) if callable(receiver.answer) else receiver.answer
        self.close_connection = True
        receiver.closing.wait(answer.delay)
        if answer.hang_up:
            return
        self.send_response(answer.status)
        self.send_header("Connection", "close")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not answer.drip:
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.end_headers()
        while not receiver.closing.wait(answer.drip):
            self.wfile.write(b".")
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_HEAD = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, *args: Any) -> None:
        """Stay quiet."""


@contextmanager
def http_receiver(
    answer: Answer | Callable[[Request], Answer] | None = None,
) -> Iterator[HttpReceiver]:
    """Run an HTTP receiver on loopback; it ends delays and drips when it is left."""
    receiver = HttpReceiver(answer or Answer())
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.receiver = receiver
        receiver.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.closing.set()
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail as it was handed over; ``recipients`` are those of the envelope."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def text(self, kind: str = "plain") -> str:
        """Read the ``plain`` or ``html`` body, decoded."""
        part = self.message.get_body(preferencelist=(kind,))
        assert part is not None
        return str(part.get_content())


class SmtpReceiver:
    """
    An SMTP server that records what it is sent.

    Attributes:
        mails: in the order of their arrival.
        refused: by recipient, the answer that refuses it, as ``550 no such user``.
        refused_data: the answer to any mail's content; empty takes it.
    """

    def __init__(self, refused: Mapping[str, str], refused_data: str) -> None:
        self.mails: list[Mail] = []
        self.refused = dict(refused)
        self.refused_data = refused_data
        self.address = ""

    def wait_for(self, count: int, timeout: float = 10) -> list[Mail]:
        """Wait until so many mails have arrived."""
        _wait(lambda: len(self.mails) >= count, timeout)
        return self.mails

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd looks for
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refused_data:
            return self.refused_data
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(
            Mail(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=content,
            )
        )
        return "250 OK"


class _Controller(Controller):
    """A controller that may listen on port 0: its own connects to the port it was given, to see it live."""

    def _trigger_server(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]  # aiosmtpd types it in part


@contextmanager
def smtp_receiver(refused: Mapping[str, str] | None = None, refused_data: str = "") -> Iterator[SmtpReceiver]:
    """Run an SMTP receiver on loopback."""
    receiver = SmtpReceiver(refused or {}, refused_data)
    controller = _Controller(receiver, hostname="127.0.0.1", port=0)
    controller.start()
    receiver.address = f"127.0.0.1:{controller.port}"
    try:
        yield receiver
    finally:
        controller.stop()


def _wait(happened: Callable[[], bool], timeout: float) -> None:
    ends_at = time.monotonic() + timeout
    while not happened() and time.monotonic() < ends_at:
        time.sleep(0.01)
