"""What signals ask of the daemon: to stop, or to read its configuration again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType


class Signals:
    """
    What was asked for so far.

    A signal comes in the middle of whatever the main thread does, waiting included: an event or a condition would be
    locked by the one and waited for by the other, for ever. A simple queue may be put to while it is waited on.
    """

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._queue: SimpleQueue[None] = SimpleQueue()

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal; this is its handler."""
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
        self.notify()

    def notify(self) -> None:
        """End the wait that is under way, or else the next one."""
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait for a signal, or as long as that; those that came meanwhile count once."""
        try:
            self._queue.get(timeout=seconds)
            while True:
                self._queue.get_nowait()
        except Empty:
            return


@contextmanager
def handle_signals() -> Iterator[Signals]:
    """Listen to SIGTERM, SIGINT and SIGHUP for as long as the context lasts; for the main thread."""
    asked = Signals()
    before = {
        number: signal.signal(number, asked.on_signal)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
