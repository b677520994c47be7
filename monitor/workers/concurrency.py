"""Limit how many threads fetch at once: no more than the wait for answers is worth."""

from collections import deque
from math import ceil
from threading import Condition

# About what one answer takes to compute. One interpreter computes for all threads, so more of them than go into the
# wait for an answer at this rate only get in each other's way.
RESPONSE_CPU_SECONDS = 0.0005


class ConcurrencyLimiter:
    """
    A limit on the threads that fetch: low if answers come at once, all of them if threads wait for answers.

    Args:
        maximum: the number of threads.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._open = 1
        self._is_closed = False
        self._times: deque[float] = deque(maxlen=1000)
        self._changed = Condition()

    def wait(self, number: int) -> bool:
        """Wait until the thread with this number, counted from 0, may fetch; False once the limiter is closed."""
        if number >= self._open:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or number < self._open)
        return not self._is_closed

    def record_duration(self, seconds: float) -> None:
        """Note how long an answer took, in seconds."""
        self._times.append(seconds)

    def adapt(self) -> None:
        """Set the limit by the answers since the last call; halve it if threads only queue for each other."""
        times, self._times = self._times, deque(maxlen=1000)
        if times:
            mean = sum(times) / len(times)
            is_crowded = mean <= self._open * RESPONSE_CPU_SECONDS
            self.open(self._open // 2 if is_crowded else ceil(mean / RESPONSE_CPU_SECONDS))

    def open(self, slots: int | None = None) -> None:
        """Let this many threads fetch, all by default."""
        slots = self._maximum if slots is None else max(1, min(slots, self._maximum))
        if slots != self._open:
            with self._changed:
                self._open = slots
                self._changed.notify_all()

    def close(self) -> None:
        """End every wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
