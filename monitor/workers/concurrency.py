"""How many threads fetch at once: as many as waiting is worth."""

from collections import deque
from math import ceil
from threading import Condition

# About what one answer takes to compute. One interpreter computes for all threads, so more of them than go into the
# wait for an answer at this rate only get in each other's way.
RESPONSE_CPU_SECONDS = 0.0005


class ConcurrencyLimiter:
    """
    The lanes on which threads fetch: few are open where answers come at once, all where threads wait for them.

    Args:
        maximum: how many there are.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._open = 1
        self._is_closed = False
        self._times: deque[float] = deque(maxlen=1000)
        self._changed = Condition()

    def wait(self, number: int) -> bool:
        """Wait until the lane with this number, counted from 0, is open; False when all are closed for good."""
        if number >= self._open:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or number < self._open)
        return not self._is_closed

    def record_duration(self, seconds: float) -> None:
        """Note how long an answer took."""
        self._times.append(seconds)

    def adapt(self) -> None:
        """Open as many as the answers since the last time ask for; halve them where they only queue for each other."""
        times, self._times = self._times, deque(maxlen=1000)
        if times:
            mean = sum(times) / len(times)
            is_crowded = mean <= self._open * RESPONSE_CPU_SECONDS
            self.open(self._open // 2 if is_crowded else ceil(mean / RESPONSE_CPU_SECONDS))

    def open(self, slots: int | None = None) -> None:
        """Open so many, within what there is; by default all."""
        slots = self._maximum if slots is None else max(1, min(slots, self._maximum))
        if slots != self._open:
            with self._changed:
                self._open = slots
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
