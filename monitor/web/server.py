"""
Serve HTTP from a thread of its own.

Anyone who reaches the port can open sockets and leave them open, so connections have limits. An idle one makes way for
a new one, no address can take all of them, and a probe of ``/healthz`` is always answered.
"""

import asyncio
import socket
from typing import Any, cast

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.web.access import HEADERS, MAX_HEAD_BYTES, PUBLIC_PATH
from monitor.web.app import WebApp
from monitor.web.server_thread import ServerThread

# A connection that has not sent a whole request head by then is closed.
HEAD_SECONDS = 5.0
# A connection that lasts longer is closed, even if its client still reads.
MAX_REQUEST_SECONDS = 30.0
MAX_CONNECTIONS = 64
MAX_CONNECTIONS_PER_ADDRESS = 32
# Beyond those, this many connections get answers only for ``/healthz``.
PROBE_RESERVE = 8


class Server:
    """
    A running HTTP server.

    Args:
        sock: the listening socket; closed with the server.
    """

    def __init__(self, site: WebApp, sock: socket.socket) -> None:
        self._site = site
        self._sock = sock
        self._thread = ServerThread(
            site.asgi,
            sock,
            name="web",
            http=_Connection,
            log_level="error",
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )

    def close(self) -> None:
        """Stop answering, and close open connections."""
        self._thread.close()
        self._site.close()
        self._sock.close()


class _Connection(H11Protocol):
    """A connection with a time limit that makes way for others while it is idle."""

    _timeouts: tuple[asyncio.TimerHandle, ...] = ()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timeouts = (
            self.loop.call_later(HEAD_SECONDS, self._abort_if_idle),
            self.loop.call_later(MAX_REQUEST_SECONDS, transport.abort),
        )
        others = [
            each
            for each in cast("set[_Connection]", self.connections)
            if each is not self and not each.transport.is_closing()
        ]
        same = [each for each in others if self.client and each.client and each.client[0] == self.client[0]]
        for rivals, limit in ((same, MAX_CONNECTIONS_PER_ADDRESS), (others, MAX_CONNECTIONS)):
            if len(rivals) < limit:
                continue
            if idle := [each for each in rivals if not each.cycle]:
                # Timers start in the order of arrival, so the first to end belongs to the oldest connection.
                min(idle, key=lambda each: each._timeouts[0].when()).transport.abort()
            elif len(others) < MAX_CONNECTIONS + PROBE_RESERVE:
                self.app = _probes_only(self.app)
            else:
                transport.abort()
            return

    def _abort_if_idle(self) -> None:
        if not self.cycle:  # uvicorn sets it once it has read a request head
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with the same headers as every other answer."""
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        body = f"{msg}\n"
        self.transport.write(
            f"HTTP/1.1 400 Bad Request\r\n{head}content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode("ascii", "replace")
        )
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for timeout in self._timeouts:
            timeout.cancel()
        super().connection_lost(exc)


def _probes_only(app: ASGIApp) -> ASGIApp:
    """Answer ``/healthz``, and refuse everything else until there is room."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PUBLIC_PATH:
            return await app(scope, receive, send)
        busy = PlainTextResponse(
            "too many connections; try again later\n", 503, {**HEADERS, "retry-after": "5"}
        )
        return await busy(scope, receive, send)

    return answer
