"""The listening socket, and the server on it."""

import os
import socket
from typing import TYPE_CHECKING

import structlog

from monitor.app import App
from monitor.config.web import Web
from monitor.errors import MonitorError
from monitor.metrics import Metrics
from monitor.workers.liveness import Liveness

if TYPE_CHECKING:
    from monitor.web.app import SiteState
    from monitor.web.server import Server

log = structlog.get_logger()


class WebListener:
    """
    The web server of the program, kept open through reloads.

    Attributes:
        port: the port it listens on; None while it is closed.
    """

    def __init__(self) -> None:
        self.port: int | None = None
        self._address: tuple[str, int] | None = None
        self._server: Server | None = None
        self._state: SiteState | None = None

    def serve(
        self,
        app: App,
        liveness: Liveness | None = None,
        metrics: Metrics | None = None,
        *,
        is_standby: bool = False,
    ) -> None:
        """
        Serve a monitor, and open the listener if it isn't open yet.

        The address stays as first configured, because moving the socket of a running daemon would break its
        probes. A configuration without the section closes the listener at once.

        Args:
            liveness, metrics: of the running daemon; None while it waits for its database.

        Raises:
            MonitorError: the address can't be used. The text says what to do.
        """
        from monitor.web.app import SiteState

        web, is_first = app.config.web, self._state is None
        self._state = SiteState(app=app, liveness=liveness, metrics=metrics, is_standby=is_standby)
        if web is None:
            self.close()
        elif is_first:
            self._open(web)

    def needs_restart(self, web: Web | None) -> bool:
        """Return whether a configuration has an address that needs a restart."""
        return web is not None and (web.host, web.port) != self._address

    def close(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()
        self._server = self._address = self.port = None

    def _open(self, web: Web) -> None:
        from monitor.web.app import WebApp
        from monitor.web.server import Server

        listening = _open_socket(web)
        self._server = Server(WebApp(self._current_state), listening)
        self._address = web.host, web.port
        self.port = listening.getsockname()[1]
        log.info("web.listening", host=web.host, port=self.port)

    def _current_state(self) -> "SiteState":
        assert self._state
        return self._state


def _open_socket(web: Web) -> socket.socket:
    try:
        family, *_, found = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM)[0]
        both = web.host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(found[:2], family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        # Errors of name resolution have their own numbers. Python adds the address to the others.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise MonitorError(
            f"web.listen: can't listen on {web.listen} ({reason}); "
            "end what listens there, or choose another address"
        ) from None
