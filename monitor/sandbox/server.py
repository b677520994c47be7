"""Serves a world over HTTP, on loopback alone."""

import asyncio
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from monitor.sandbox.api import sandbox_app
from monitor.sandbox.fake_service import FakeService


@contextmanager
def serve(
    app: ASGIApp,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    protocol: type[asyncio.Protocol] | Literal["h11"] = "h11",
) -> Iterator[str]:
    """
    Serve an application from a thread for as long as the context lasts, and give its URL.

    Args:
        port: 0 for any that is free.
        host: anything but a loopback address is refused: there is no protection here.

    Raises:
        ValueError: the host isn't a loopback address.
        OSError: the port is taken; the text says what to do.
    """
    listening = _listen(host, port)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,  # the API sends its own: the clock of the world isn't this machine's
        timeout_keep_alive=75,
    )
    engine = _Engine(config)
    thread = threading.Thread(target=engine.run, args=([listening],), name="sandbox", daemon=True)
    bound_port = listening.getsockname()[1]
    thread.start()
    try:
        engine.ready.wait()
        yield f"http://[{host}]:{bound_port}" if ":" in host else f"http://{host}:{bound_port}"
    finally:
        engine.should_exit = True
        thread.join()


def run(fake_service: FakeService, port: int, announce: Callable[[str], None]) -> None:
    """
    Serve a world until SIGINT or SIGTERM; for the main thread.

    Args:
        announce: called once with the URL, when requests are answered.

    Raises:
        OSError: the port is taken; the text says what to do.
    """
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stopped.set())
    try:
        with serve(sandbox_app(fake_service), port=port) as url:
            announce(url)
            stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Engine(uvicorn.Server):
    """Uvicorn, with word of when it answers, and no patience with clients when it stops."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A dripping answer would hold up the end for as long as it drips.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"the sandbox serves on a loopback address alone, not on {host}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = (
            f"can't serve on {host}:{port} ({error.strerror}); choose another port, or 0 for any that is free"
        )
        raise OSError(error.errno, reason) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
