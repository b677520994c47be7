"""A clock that runs faster than the world, so that tokens age while one watches."""

import time
from datetime import datetime, timedelta

from monitor.core.model import to_milliseconds


class FastClock:
    """
    A clock: called, it tells the time, aware UTC in whole milliseconds.

    It never steps back: it hangs on the machine's monotonic clock alone.

    Args:
        speed: seconds that pass here while one second passes outside.
        start_at: what it shows when it is made, aware.
    """

    def __init__(self, speed: float, start_at: datetime) -> None:
        if not speed > 0:
            raise ValueError(f"a clock can't run at {speed} times the speed of time; give a number above 0")
        self._speed = speed
        self._start_at = to_milliseconds(start_at)
        self._started = time.monotonic()

    def __call__(self) -> datetime:
        passed = timedelta(seconds=(time.monotonic() - self._started) * self._speed)
        return to_milliseconds(self._start_at + passed)
