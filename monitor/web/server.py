"""Speaks HTTP from a thread of its own: patient with nobody, and gone when it is told to."""

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.web.access import HEADERS, MAX_HEAD_BYTES
from monitor.web.app import WebApp

# Whoever asks must have been answered by then: one who asks, or reads, a byte at a time holds nobody up.
MAX_REQUEST_SECONDS = 30.0
MAX_CONNECTIONS = 64


class Server:
    """
    A site that is being served.

    Args:
        sock: where; closed with the server.
    """

    def __init__(self, site: WebApp, sock: socket.socket) -> None:
        self._site = site
        self._sock = sock
        config = uvicorn.Config(
            site.asgi,
            http=_Brief,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        )
        self._engine = _Engine(config)
        self._thread = threading.Thread(target=self._engine.run, args=([sock],), name="web", daemon=True)
        self._thread.start()
        self._engine.ready.wait()

    def close(self) -> None:
        """Answer nobody any more; who is being answered is cut off."""
        self._engine.should_exit = True
        self._thread.join()
        self._site.close()
        self._sock.close()


class _Engine(uvicorn.Server):
    """Uvicorn, with word of when it answers, and no patience with clients when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


class _Brief(H11Protocol):
    """A connection that ends, whatever its other side does or leaves undone."""

    _ends: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._ends = self.loop.call_later(MAX_REQUEST_SECONDS, transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what isn't HTTP as everything else is answered: with nothing for a browser to trust."""
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        body = f"{msg}\n"
        self.transport.write(
            f"HTTP/1.1 400 Bad Request\r\n{head}content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode("ascii", "replace")
        )
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ends:
            self._ends.cancel()
        super().connection_lost(exc)
