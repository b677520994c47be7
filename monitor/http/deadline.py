"""
End a call at its deadline, which covers name resolution, connecting, TLS, headers and body.

A socket's timeout restarts with every byte, so a slow server can hold a call for ever. Here each call has one
deadline. Connecting uses it, and one watchdog thread for all calls shuts down the socket of an overdue call, which
wakes the waiting thread.
"""

import socket
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError


class Call:
    """One request, from its start to the last byte of its answer."""

    __slots__ = ("ends_at", "is_aborted", "is_reused", "sock")

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.sock: Any = None
        self.is_aborted = False
        self.is_reused = False

    @property
    def is_overdue(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.ends_at

    def abort(self) -> None:
        """Shut down the call's socket, which wakes the waiting thread."""
        self.is_aborted = True
        _shut_down(self.sock)


class Watchdog:
    """
    Interrupts overdue calls.

    A call joins and leaves with one set operation each. A timer for each call would cost a thread each.
    """

    def __init__(self, seconds: float) -> None:
        self.calls: set[Call] = set()
        self._pause = min(seconds / 10, 0.25)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="http-watchdog", daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def close(self) -> None:
        """Interrupt all pending calls and stop."""
        self._closed.set()
        self._thread.join()
        for call in self.calls.copy():
            call.abort()

    def _watch(self) -> None:
        while not self._closed.wait(self._pause):
            # A call that ends now may have passed its socket to the next one, which then finds a stale
            # connection and opens a new one.
            for call in self.calls.copy():
                if call.is_overdue:
                    call.abort()


class _Current(threading.local):
    """The current call of this thread. The interface of a pool can't pass it down."""

    call: Call


current = _Current()


class _Connection(HTTPConnection):
    """A connection that uses its call's deadline and gives the call its socket."""

    def connect(self) -> None:
        # On a thread of its own, because name resolution can't be interrupted.
        call = current.call
        connected: Future[None] = Future()

        def connect() -> None:
            try:
                super(_Connection, self).connect()
                connected.set_result(None)
            except Exception as error:  # noqa: BLE001 - raised again below, in the thread of the call
                connected.set_exception(error)
            if call.is_aborted:
                self.close()

        thread = threading.Thread(target=connect, name="http-connect", daemon=True)
        thread.start()
        try:
            connected.result(timeout=max(call.ends_at - time.monotonic(), 0))
        except TimeoutError:
            call.is_aborted = True
            _shut_down(self.sock)
            thread.join(
                0.1
            )  # an interrupted handshake ends here, so its socket isn't closed while it is in use
            raise ConnectTimeoutError(self, "no connection in time") from None
        call.sock = self.sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = current.call
        call.is_reused = self.sock is not None and self.sock is not call.sock
        call.sock = self.sock
        super().request(*args, **kwargs)


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS = {"http": _Pool, "https": _TlsPool}


def _shut_down(sock: Any) -> None:
    """Shut down the plain socket. This doesn't touch the SSL object, which another thread may be using."""
    sock = getattr(sock, "socket", sock)  # TLS inside TLS has one more wrapper
    if sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
