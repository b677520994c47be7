"""Go on at once after the clock was set back: what was planned lies that much further off than it was meant."""

from collections.abc import Mapping
from datetime import timedelta

import structlog

from monitor.clock import Clock, Steps
from monitor.storage import Database, outbox

log = structlog.get_logger()


class Rewind:
    """
    Brings forward what waits for a time that has become too far off: polls, messages, claims of dead senders.

    Args:
        every: how often the targets of each account are polled.
        steps: notices when the clock is set back.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        every: Mapping[str, timedelta],
        database: Database,
        steps: Steps | None = None,
    ) -> None:
        self._clock = clock
        self._every = every
        self._database = database
        self._steps = steps or Steps(clock)
        self._by = timedelta()

    def is_due(self) -> bool:
        """
        Whether the clock was set back, and this wasn't done since.

        To be asked often: what was set forward and back again between two questions isn't seen, and what was
        planned meanwhile lies far off.
        """
        if back := self._steps.back():
            self._by += back
            log.warning("clock.set_back", seconds=round(back.total_seconds()))
        return bool(self._by)

    def __call__(self) -> None:
        """Bring it forward; raises StorageError, and then it stays due."""
        now = self._clock()
        with self._database.begin() as store:
            for account, interval in self._every.items():
                store.pull_in(account, latest=now + interval)
            outbox.pull_in(store.connection, now)
        self._by = timedelta()
