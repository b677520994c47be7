"""Serve an application over HTTP, on loopback only."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from starlette.types import ASGIApp

from monitor.sandbox.api import sandbox_app
from monitor.sandbox.fake_service import FakeService
from monitor.signals import handle_signals
from monitor.web.server_thread import ServerThread


@contextmanager
def serve(
    app: ASGIApp,
    *,
    port: int = 0,
    protocol: type[asyncio.Protocol] | Literal["h11"] = "h11",
) -> Iterator[str]:
    """
    Serve an application on a thread inside the context, and yield its URL.

    Args:
        port: 0 for any that is free.

    Raises:
        OSError: the port is taken; the text says what to do.
    """
    try:
        # Only loopback, because there is no protection.
        listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    except OSError as error:
        reason = (
            f"can't listen on 127.0.0.1:{port} ({error.strerror}); choose another port, or 0 for any free one"
        )
        raise OSError(error.errno, reason) from error
    thread = ServerThread(
        app,
        listening,
        name="sandbox",
        http=protocol,
        log_level="warning",
        date_header=False,  # the API sends its own, by the clock of the sandbox
        timeout_keep_alive=75,
    )
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        thread.close()


def run(fake_service: FakeService, port: int, announce: Callable[[str], None]) -> None:
    """
    Serve an application until SIGINT or SIGTERM. Call it on the main thread.

    Args:
        announce: called once with the URL, when the server is ready.

    Raises:
        OSError: the port is taken; the text says what to do.
    """
    with handle_signals() as signals, serve(sandbox_app(fake_service), port=port) as url:
        announce(url)
        while not signals.stop:
            signals.wait(60)
