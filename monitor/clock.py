"""The only place that reads the machine's clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import clock_gettime, monotonic
from typing import TypeAlias

from monitor.core.model import to_milliseconds

# Linux has it.
CLOCK_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
# Smaller steps are ordinary corrections.
MIN_STEP = timedelta(seconds=5)

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time: aware UTC, whole milliseconds, as the history database keeps it."""
    return to_milliseconds(datetime.now(UTC))


def steady_seconds() -> float:
    """
    Return seconds of a clock that nobody sets.

    If the system has such a clock, they continue while the machine is suspended. ``monotonic`` stops then on
    Linux.
    """
    return clock_gettime(CLOCK_BOOTTIME) if CLOCK_BOOTTIME is not None else monotonic()


class ClockStepDetector:
    """
    Detects that the clock was set back, by comparing it with a monotonic clock.

    Args:
        clock: the clock that may be set.
        monotonic: seconds that only grow.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._offset = self._now()

    def backward_step(self) -> timedelta:
        """Return how far the clock was set back since the last call; 0 if it wasn't, or hardly."""
        before, self._offset = self._offset, self._now()
        back = timedelta(seconds=before - self._offset)
        return back if back >= MIN_STEP else timedelta()

    def _now(self) -> float:
        return self._clock().timestamp() - self._monotonic()
