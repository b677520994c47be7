"""The one place that asks the machine what time it is."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import clock_gettime, monotonic
from typing import TypeAlias

from monitor.core.model import to_milliseconds

# Linux has it.
CLOCK_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
# Clocks are corrected all the time, by less.
MIN_STEP = timedelta(seconds=5)

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Tell the time: aware UTC, whole milliseconds, as the history database keeps it."""
    return to_milliseconds(datetime.now(UTC))


def steady_seconds() -> float:
    """
    Return seconds of a clock that nobody sets.

    They go on while the machine is suspended, where the system has such a clock; ``monotonic`` stops then on Linux.
    """
    return clock_gettime(CLOCK_BOOTTIME) if CLOCK_BOOTTIME is not None else monotonic()


class ClockStepDetector:
    """
    Notices when the clock is set back, by a clock that never is.

    Args:
        clock: the one that may be set.
        monotonic: seconds that only grow.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._offset = self._now()

    def backward_step(self) -> timedelta:
        """Say how far the clock was set back since this was last asked; 0 where it wasn't, or hardly."""
        before, self._offset = self._offset, self._now()
        back = timedelta(seconds=before - self._offset)
        return back if back >= MIN_STEP else timedelta()

    def _now(self) -> float:
        return self._clock().timestamp() - self._monotonic()
