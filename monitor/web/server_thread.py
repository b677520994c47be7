"""Run uvicorn on a thread of its own."""

import asyncio
import socket
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp


class ServerThread(uvicorn.Server):
    """
    An application that is being served. It closes its connections when it stops.

    Args:
        sock: the listening socket.
        name: the name of the thread.
        options: options of ``uvicorn.Config``, besides those that all servers share.
    """

    def __init__(self, app: ASGIApp, sock: socket.socket, *, name: str, **options: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                **options,
            )
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self.run, args=([sock],), name=name, daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._thread.join()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Record that the server is ready."""
        await super().startup(sockets)
        self._ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection, because a slow reader would delay the stop."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await super().shutdown(sockets)
