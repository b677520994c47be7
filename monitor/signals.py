"""What signals ask of the daemon: to stop, or to read its configuration again."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Asked:
    """
    What was asked for so far.

    Attributes:
        wake: set with each signal; whoever waits on it clears it.
    """

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.stop = False
        self.reload = False

    def by(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal; this is its handler."""
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True
        self.wake.set()


@contextmanager
def listening() -> Iterator[Asked]:
    """Listen to SIGTERM, SIGINT and SIGHUP for as long as the context lasts; for the main thread."""
    asked = Asked()
    before = {
        number: signal.signal(number, asked.by) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
