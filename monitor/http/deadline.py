"""
What ends a call when its time is up: over name resolution, connecting, TLS, headers and body together.

A socket's own timeout starts anew with every byte, so a server that drips can hold a call for ever. Here each
call knows its end; connections keep to it while they are made, and one watchdog thread for all calls shuts
down the socket of a call that is overdue, which wakes whoever waits on it.
"""

import queue
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

_MIN_SECONDS = 0.001  # seconds; zero would make a socket non-blocking


class Call:
    """One request from its first moment to the last byte of its answer."""

    __slots__ = ("ends_at", "is_aborted", "is_reused", "must_be_fresh", "sock")

    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds
        self.sock: Any = None
        self.is_aborted = False
        self.is_reused = False
        self.must_be_fresh = False

    @property
    def left(self) -> float:
        """Seconds until the end, never quite zero."""
        return max(self.ends_at - time.monotonic(), _MIN_SECONDS)

    @property
    def is_overdue(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.ends_at

    def abort(self) -> None:
        """
        Wake whoever waits on the call's socket, for good.

        The plain socket's shutdown leaves an SSL object alone that another thread may be reading through.
        """
        self.is_aborted = True
        sock = getattr(self.sock, "socket", self.sock)  # TLS inside TLS wraps one more time
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class Watchdog:
    """
    Cuts the calls that are overdue.

    A call joins and leaves by one set operation each: a timer per call would cost a thread each.
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
        """Cut every call still under way and stop watching."""
        self._closed.set()
        self._thread.join()
        for call in self.calls.copy():
            call.abort()

    def _watch(self) -> None:
        while not self._closed.wait(self._pause):
            # A call that ends at this very moment may have given its socket to the next one, which then
            # finds a stale connection and tries a fresh one.
            for call in self.calls.copy():
                if call.is_overdue:
                    call.abort()


class _Current(threading.local):
    """The call that this thread is making; a pool's interface has no room to hand it down."""

    call: Call


current = _Current()


class _Connection(HTTPConnection):
    """A connection that keeps to its call's end and shows the call its socket."""

    call: Call

    def _new_conn(self) -> socket.socket:
        try:
            addresses = _resolve(self._dns_host, self.port, self.call.left)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        last: OSError = TimeoutError()
        for tried, address in enumerate(addresses):
            if self.call.is_overdue or self.call.is_aborted:
                break
            try:
                sock = create_connection(
                    (address, self.port),
                    # A share each, so that an address that never answers leaves time for the next one.
                    timeout=self.call.left / (len(addresses) - tried),
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except OSError as error:
                last = error
            else:
                sock.settimeout(self.call.left)
                self.call.sock = sock
                return sock
        if isinstance(last, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from last
        raise NewConnectionError(self, "no connection") from last

    def connect(self) -> None:
        super().connect()
        self.call.sock = self.sock


class _TlsConnection(_Connection, HTTPSConnection):
    """The same over TLS. The handshake ends with the socket's timeout, which is what is left of the call."""


class Pool(HTTPConnectionPool):
    """A pool whose connections know the call they serve."""

    ConnectionCls = _Connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        call = connection.call = current.call
        if call.must_be_fresh:
            connection.close()
        call.sock = connection.sock
        call.is_reused = call.sock is not None
        return connection


class TlsPool(Pool, HTTPSConnectionPool):
    """The same over TLS."""

    ConnectionCls = _TlsConnection


POOLS = {"http": Pool, "https": TlsPool}


def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """
    Find a host's addresses, giving up in time.

    The system's resolver can't be interrupted, so it runs in a thread of its own that is left behind when it
    takes too long. Only new connections come here.
    """
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(answer[4][0]) for answer in answers)))
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            found.put(error)

    threading.Thread(target=ask, name="http-resolve", daemon=True).start()
    try:
        answer = found.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("no address in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
