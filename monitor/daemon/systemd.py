"""Notify systemd, if it started the process: ready, alive, reloading, stopping, and a status line."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from time import monotonic_ns

from monitor.core.text import one_line

# A busy service manager must not delay the daemon.
SEND_TIMEOUT_SECONDS = 1.0
STATUS_LENGTH = 300


class Systemd:
    """
    The connection to the service manager. Without one, every call does nothing.

    Args:
        environ: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``, as in sd_notify(3).

    Attributes:
        pulse: how often to notify the watchdog: three times as often as required; None without a watchdog.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" means the abstract namespace. Anything else but a path isn't supported.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._is_there = address[:1] in {"@", "/"}
        self.watchdog_interval = _watchdog_interval(environ) if self._is_there else None
        self._is_stopping = False

    def notify_ready(self, status: str) -> None:
        """Report that the start, or the reload, is done."""
        self._notify(READY=1, STATUS=status)

    def set_status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows. After ``notify_stopping`` it stays."""
        if not self._is_stopping:
            self._notify(STATUS=text)

    def notify_watchdog(self) -> None:
        """Report to the watchdog that the daemon is alive."""
        self._notify(WATCHDOG=1)

    def extend_timeout(self, text: str, at_most: timedelta) -> None:
        """Report that the start still makes progress, and ask for more time."""
        self._notify(STATUS=text, WATCHDOG=1, EXTEND_TIMEOUT_USEC=round(at_most.total_seconds() * 1_000_000))

    def notify_reloading(self) -> None:
        """Report that a reload has begun; ``notify_ready`` ends it."""
        self._notify(RELOADING=1, MONOTONIC_USEC=monotonic_ns() // 1000)

    def notify_stopping(self) -> None:
        """Report that the stop has begun."""
        self._is_stopping = True
        self._notify(STOPPING=1, STATUS="stopping")

    def _notify(self, **words: str | int) -> None:
        if not self._is_there:
            return
        lines = (f"{key}={one_line(str(value), STATUS_LENGTH)}" for key, value in words.items())
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line,
        ):
            line.settimeout(SEND_TIMEOUT_SECONDS)
            line.sendto("\n".join(lines).encode(), self._address)


def _watchdog_interval(environ: Mapping[str, str]) -> timedelta | None:
    wanted = environ.get("WATCHDOG_USEC", "")
    is_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return (
        timedelta(microseconds=int(wanted)) / 3 if wanted.isdecimal() and int(wanted) and is_for_us else None
    )
