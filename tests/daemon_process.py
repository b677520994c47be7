"""The real daemon as a process of its own, with somebody at the other end of its line to systemd."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 90.0


class NotifySocket:
    """
    What systemd listens on.

    Attributes:
        notes: each message as a mapping, in the order of arrival.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[Mapping[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._socket.close()

    def said(self, key: str) -> list[str]:
        return [note[key] for note in self.notes if key in note]

    def wait_for(self, key: str, fits: Callable[[str], bool] = lambda value: True, *, after: int = 0) -> str:
        """Wait for a message with such a key and value, among those after the first ``after``."""
        found: list[str] = []

        def is_there() -> bool:
            found[:] = [note[key] for note in self.notes[after:] if key in note and fits(note[key])]
            return bool(found)

        wait_until(is_there, what=f"{key} in {self.notes[after:]}")
        return found[0]

    def _listen(self) -> None:
        while not self._closed.is_set():
            if select.select([self._socket], [], [], 0.05)[0]:
                text = self._socket.recv(8192).decode()
                self.notes.append(dict(line.split("=", 1) for line in text.splitlines()))


class DaemonProcess:
    """
    A daemon that runs.

    Args:
        prefix: a program, with its arguments, that becomes the daemon.

    Attributes:
        log: each line as it was written, decoded.
    """

    def __init__(
        self, config: Path, environ: Mapping[str, str], program: Sequence[str], prefix: Sequence[str]
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", *program, "--config", str(config), "run"],
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.text = ""
        self.log: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def wait_for(self, name: str, *, times: int = 1) -> list[dict[str, Any]]:
        """Wait until the log has so many lines of a name."""
        wait_until(lambda: len(self.lines(name)) >= times, what=f"{name} in {self.text}")
        return self.lines(name)

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == name]

    def end(self) -> int:
        """Wait for its end; returns the exit status."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # it says where each of its threads is
            self.process.wait(PATIENCE)
            raise AssertionError(f"it did not end: {self.text[-6000:]}") from None
        self._thread.join()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.text += line
            if line.startswith("{"):
                self.log.append(json.loads(line))


@contextmanager
def notify_socket(folder: Path) -> Iterator[NotifySocket]:
    """Listen as systemd does."""
    line = NotifySocket(folder / "notify")
    try:
        yield line
    finally:
        line.close()


@contextmanager
def daemon(
    config: Path,
    environ: Mapping[str, str],
    prefix: Sequence[str] = (),
    *,
    program: Sequence[str] = ("monitor",),
) -> Iterator[DaemonProcess]:
    """
    Run the daemon; it is killed where it doesn't end by itself.

    Args:
        prefix: what runs it, and what that wants to know; the daemon itself by default.
        program: the module that runs it, and what that one wants to know.
    """
    process = DaemonProcess(config, environ, program, prefix)
    try:
        yield process
    finally:
        process.close()


def wait_until(is_so: Callable[[], bool], *, what: str, seconds: float = PATIENCE) -> None:
    """Wait until something is so, or fail naming it."""
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends, f"waited in vain for {what}"
        time.sleep(0.02)
