"""Speaks to systemd where it started us: ready, alive, reloading, stopping, and one line on how things are."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from time import monotonic_ns

from monitor.core.text import one_line

# A service manager that is too busy to read must not hold up the daemon.
SEND_TIMEOUT_SECONDS = 1.0
STATUS_LENGTH = 300


class Systemd:
    """
    The line to the service manager; without one, every word goes nowhere.

    Args:
        environ: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``, as sd_notify(3) has them.

    Attributes:
        pulse: how often ``alive`` must be said: three times as often as asked for; None where nobody listens.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An "@" stands for the abstract namespace; what is neither that nor a path isn't for us.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._is_there = address[:1] in {"@", "/"}
        self.watchdog_interval = _watchdog_interval(environ) if self._is_there else None
        self._is_stopping = False

    def notify_ready(self, status: str) -> None:
        """Say that the start, or the reload, is done."""
        self._notify(READY=1, STATUS=status)

    def set_status(self, text: str) -> None:
        """Say in one line how things are; ``systemctl status`` shows it. The last word is that it stops."""
        if not self._is_stopping:
            self._notify(STATUS=text)

    def notify_watchdog(self) -> None:
        """Keep the watchdog quiet."""
        self._notify(WATCHDOG=1)

    def extend_timeout(self, text: str, at_most: timedelta) -> None:
        """Say that nothing is stuck though nothing moves, and ask for time to start up."""
        self._notify(STATUS=text, WATCHDOG=1, EXTEND_TIMEOUT_USEC=round(at_most.total_seconds() * 1_000_000))

    def notify_reloading(self) -> None:
        """Say that a new configuration is being taken; ``ready`` ends it."""
        self._notify(RELOADING=1, MONOTONIC_USEC=monotonic_ns() // 1000)

    def notify_stopping(self) -> None:
        """Say that the end has begun."""
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
