"""A clock that runs faster than real time, so that tokens age while you watch."""

import time
from datetime import datetime, timedelta

from monitor.core.model import to_milliseconds


class FastClock:
    """
    A callable clock that returns the time, aware UTC in whole milliseconds.

    It never steps back, because it uses only the machine's monotonic clock.

    Args:
        speed: seconds of this clock for each real second.
        start_at: its initial time, aware.
    """

    def __init__(self, speed: float, start_at: datetime) -> None:
        if not speed > 0:
            raise ValueError(f"a clock can't run {speed} times as fast; give a number above 0")
        self._speed = speed
        self._start_at = to_milliseconds(start_at)
        self._started = time.monotonic()

    def __call__(self) -> datetime:
        passed = timedelta(seconds=(time.monotonic() - self._started) * self._speed)
        return to_milliseconds(self._start_at + passed)
