"""Signals to the daemon: stop, or reload the configuration."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType


class Signals:
    """
    The signals received so far.

    Args:
        reload_on_hangup: whether SIGHUP asks for a reload; otherwise it asks to stop.

    A signal handler interrupts the main thread, also while it waits. An event or a condition could then
    deadlock: the main thread holds its lock and the handler waits for it. A simple queue can be written to while
    it is waited on.
    """

    def __init__(self, *, reload_on_hangup: bool = True) -> None:
        self._reload_on_hangup = reload_on_hangup
        self.stop = False
        self.reload = False
        self._queue: SimpleQueue[None] = SimpleQueue()

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        if number == signal.SIGHUP and self._reload_on_hangup:
            self.reload = True
        else:
            self.stop = True
        self.notify()

    def notify(self) -> None:
        """End the current wait, or the next one."""
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for a signal or the timeout. Several signals count once."""
        try:
            self._queue.get(timeout=seconds)
            while True:
                self._queue.get_nowait()
        except Empty:
            return


@contextmanager
def handle_signals() -> Iterator[Signals]:
    """
    Handle SIGTERM, SIGINT and SIGHUP inside the context. Call it on the main thread.

    With a terminal on standard input, SIGHUP means that the terminal is gone, and the program ends.
    """
    asked = Signals(reload_on_hangup=not os.isatty(0))
    before = {
        number: signal.signal(number, asked.on_signal)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
