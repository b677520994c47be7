"""The one place that asks the machine what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TypeAlias

from monitor.core.model import to_milliseconds

# Clocks are corrected all the time, by less.
WORTH_A_WORD = timedelta(seconds=5)

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Tell the time: aware UTC, whole milliseconds, as the history database keeps it."""
    return to_milliseconds(datetime.now(UTC))


class Steps:
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

    def back(self) -> timedelta:
        """Say how far the clock was set back since this was last asked; 0 where it wasn't, or hardly."""
        before, self._offset = self._offset, self._now()
        back = timedelta(seconds=before - self._offset)
        return back if back >= WORTH_A_WORD else timedelta()

    def _now(self) -> float:
        return self._clock().timestamp() - self._monotonic()
