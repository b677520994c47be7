"""Serves a world over HTTP, on loopback alone."""

import asyncio
import ipaddress
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from monitor.sandbox.api import Api, RequestSeen
from monitor.sandbox.control import Control
from monitor.sandbox.fake_service import FakeService
from monitor.sandbox.faults import Faults
from monitor.sandbox.wire import OnePacketProtocol


class Server:
    """
    A world that is being served.

    Args:
        fake_service: what is served; change it at any time.
        api: answers for it.
        host: a loopback address.
        port: where it really listens.
    """

    def __init__(self, fake_service: FakeService, api: Api, host: str, port: int) -> None:
        self.fake_service = fake_service
        self.host = host
        self.port = port
        self._api = api

    @property
    def url(self) -> str:
        """What a client takes as the base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def requests(self) -> deque[RequestSeen]:
        """The newest requests to the API, oldest first; the sandbox's own endpoints aren't among them."""
        return self._api.requests

    @property
    def faults(self) -> Faults:
        """What goes wrong with the answers, set and cleared at any time."""
        return self._api.faults


@contextmanager
def serve(fake_service: FakeService, *, port: int = 0, host: str = "127.0.0.1") -> Iterator[Server]:
    """
    Serve a world from a thread for as long as the context lasts; signals are left alone.

    Args:
        port: 0 for any that is free.
        host: anything but a loopback address is refused: there is no protection here.

    Raises:
        ValueError: the host isn't a loopback address.
        OSError: the port is taken; the text says what to do.
    """
    listening = _listen(host, port)
    api = Api(fake_service)
    app = Starlette(routes=[*Control(fake_service, api.faults, api.requests).routes(), *api.routes()])
    config = uvicorn.Config(
        app,
        http=OnePacketProtocol,
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
        yield Server(fake_service, api, host, bound_port)
    finally:
        engine.should_exit = True
        thread.join()


def run(fake_service: FakeService, port: int, announce: Callable[[Server], None]) -> None:
    """
    Serve a world until SIGINT or SIGTERM; for the main thread.

    Args:
        announce: called once, when requests are answered.

    Raises:
        OSError: the port is taken; the text says what to do.
    """
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: stopped.set())
    try:
        with serve(fake_service, port=port) as server:
            announce(server)
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
