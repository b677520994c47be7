"""When each part of the daemon last made progress, to detect a thread that hangs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from time import monotonic
from types import MappingProxyType

from monitor.errors import StorageError

DISPATCHER = "dispatcher"
RECORDER = "recorder"
SENDER = "sender"
DATABASE = "database"

# How long a part may be silent, and one transaction may last. A database that refuses counts as moving. A call
# that doesn't return counts as hanging: every call has a shorter limit of its own.
STALL_TIMEOUTS: Mapping[str, timedelta] = MappingProxyType(
    dict.fromkeys((DISPATCHER, RECORDER, SENDER, DATABASE), timedelta(seconds=60))
)


class Liveness:
    """
    Records when each part last made progress. Every part starts with a beat.

    Args:
        transaction_age: returns the age of the oldest open transaction in seconds.
        monotonic: seconds that only grow, whatever happens to the machine's clock.
    """

    def __init__(
        self,
        parts: Iterable[str] = (DISPATCHER, RECORDER, SENDER),
        *,
        transaction_age: Callable[[], float] = lambda: 0.0,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._transaction_age = transaction_age
        self._monotonic = monotonic
        self._lock = Lock()
        self._beats = dict.fromkeys(parts, monotonic())

    def beat(self, part: str) -> None:
        """Record that a part made progress, even if it found nothing to do."""
        with self._lock:
            self._beats[part] = self._monotonic()

    @contextmanager
    def beating(self, part: str) -> Iterator[None]:
        """
        Record progress of a part after the block.

        An unavailable database counts as progress. A part that keeps failing makes none.
        """
        try:
            yield
        except StorageError:
            self.beat(part)
            raise
        self.beat(part)

    def ages(self, now_monotonic: float | None = None) -> Mapping[str, float]:
        """Return for how many seconds each part has been silent."""
        now = self._monotonic() if now_monotonic is None else now_monotonic
        with self._lock:
            return {part: max(now - moved, 0.0) for part, moved in self._beats.items()}

    def stalled(self) -> list[str]:
        """Return what made no progress, or lasted too long, in alphabetical order."""
        ages = {**self.ages(), DATABASE: self._transaction_age()}
        return sorted(part for part, age in ages.items() if age > STALL_TIMEOUTS[part].total_seconds())
