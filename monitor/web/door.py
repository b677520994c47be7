"""The listening socket, and the thread behind it."""

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from monitor.app import App
from monitor.config import Web
from monitor.errors import MonitorError
from monitor.metrics import Metrics
from monitor.progress import Progress

if TYPE_CHECKING:
    from monitor.web.server import Server
    from monitor.web.site import Shown

log = structlog.get_logger()


class Door:
    """
    The web door of the program: open or closed as the configuration says, and through its reloads.

    Attributes:
        port: where it listens; None while it is closed.
    """

    def __init__(self) -> None:
        self.port: int | None = None
        self._address: tuple[str, int] | None = None
        self._reserved: tuple[tuple[str, int], socket.socket] | None = None
        self._server: Server | None = None
        self._shown: Shown | None = None

    def renewing(self, reload: Callable[[], App]) -> Callable[[], App]:
        """Have a new configuration refused when its address can't be had, while the old one still runs."""

        def renewed() -> App:
            app = reload()
            try:
                self._reserve(app.config.web)
            except MonitorError:
                app.close()
                raise
            return app

        return renewed

    def show(self, app: App, progress: Progress | None = None, metrics: Metrics | None = None) -> None:
        """
        Show a monitor from now on, opening, moving or closing the door as its configuration says.

        Args:
            progress, metrics: of the daemon that runs; None while it waits for its database.

        Raises:
            MonitorError: the address can't be had; the text says what to do.
        """
        web = app.config.web
        if web is None:
            self.close()
            return
        from monitor.web.site import Shown

        self._shown = Shown(app=app, progress=progress, metrics=metrics)
        if _address(web) != self._address:
            self._reserve(web)
            self._open(web)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._reserved:
            self._reserved[1].close()
        if self._server:
            self._server.close()
        self._reserved = self._server = self._address = self.port = None

    def _reserve(self, web: Web | None) -> None:
        if web is None or _address(web) == self._address:
            return
        if self._reserved:
            if self._reserved[0] == _address(web):
                return
            self._reserved[1].close()
            self._reserved = None
        self._reserved = _address(web), _listening(web)

    def _open(self, web: Web) -> None:
        from monitor.web.server import Server
        from monitor.web.site import Site

        assert self._reserved
        address, listening = self._reserved
        self._reserved = None
        self.close()
        self._server = Server(Site(self._now_shown), listening)
        self._address = address
        self.port = listening.getsockname()[1]
        log.info("web.listening", host=web.host, port=self.port)

    def _now_shown(self) -> "Shown":
        assert self._shown
        return self._shown


def _address(web: Web) -> tuple[str, int]:
    return web.host, web.port


def _listening(web: Web) -> socket.socket:
    try:
        family, *_, found = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM)[0]
        both = web.host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(found[:2], family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        # Names that lead nowhere have numbers of their own; Python adds the address to the rest.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise MonitorError(
            f"web.listen: can't listen on {web.listen} ({reason}); "
            "end what listens there, or choose another address"
        ) from None
