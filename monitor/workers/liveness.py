"""When each part of the daemon last moved: what tells work in progress from a thread that hangs."""

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

# How long a part may be silent. Waiting for a database that is away counts as moving; hanging doesn't.
STALL_TIMEOUTS: Mapping[str, timedelta] = MappingProxyType(
    {
        DISPATCHER: timedelta(seconds=60),
        RECORDER: timedelta(seconds=120),
        SENDER: timedelta(seconds=120),
    }
)


class Liveness:
    """
    A record of when parts last moved; every part starts as having just moved.

    Args:
        monotonic: seconds that only ever grow, whatever happens to the machine's clock.
    """

    def __init__(
        self, parts: Iterable[str] = STALL_TIMEOUTS, *, monotonic: Callable[[], float] = monotonic
    ) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._beats = dict.fromkeys(parts, monotonic())

    def beat(self, part: str) -> None:
        """Note that a part did something, if only to find that there is nothing to do."""
        with self._lock:
            self._beats[part] = self._monotonic()

    @contextmanager
    def beating(self, part: str) -> Iterator[None]:
        """
        Note that a part moved once the block is done.

        A database that is away was asked all the same; a part that stumbles time and again doesn't move.
        """
        try:
            yield
        except StorageError:
            self.beat(part)
            raise
        self.beat(part)

    def ages(self, now_monotonic: float | None = None) -> Mapping[str, float]:
        """Tell for how many seconds each part has been silent."""
        now = self._monotonic() if now_monotonic is None else now_monotonic
        with self._lock:
            return {part: max(now - moved, 0.0) for part, moved in self._beats.items()}

    def stalled(self, bounds: Mapping[str, timedelta] | None = None) -> list[str]:
        """Name the parts that have been silent for longer than they may be, in alphabetical order."""
        bounds = STALL_TIMEOUTS if bounds is None else bounds
        return sorted(part for part, age in self.ages().items() if _is_overdue(age, bounds.get(part)))


def _is_overdue(age: float, bound: timedelta | None) -> bool:
    return bound is not None and age > bound.total_seconds()
