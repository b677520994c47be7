"""Go on at once after the clock was set back: what was planned lies that much further off than it was meant."""

from collections.abc import Mapping
from datetime import timedelta

import structlog

from monitor.clock import Clock, ClockStepDetector
from monitor.storage import outbox
from monitor.storage.database import Database

log = structlog.get_logger()


class ClockStepRecovery:
    """
    Brings forward what waits for a time that has become too far off: polls, messages, claims of dead senders.

    Args:
        every: how often the targets of each account are polled.
        detector: notices when the clock is set back.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        every: Mapping[str, timedelta],
        database: Database,
        detector: ClockStepDetector | None = None,
    ) -> None:
        self._clock = clock
        self._every = every
        self._database = database
        self._detector = detector or ClockStepDetector(clock)
        self._step = timedelta()

    def check(self) -> bool:
        """
        Whether the clock was set back, and this wasn't done since.

        To be asked often: what was set forward and back again between two questions isn't seen, and what was
        planned meanwhile lies far off.
        """
        if back := self._detector.backward_step():
            self._step += back
            log.warning("clock.stepped_back", seconds=round(back.total_seconds()))
        return bool(self._step)

    def __call__(self) -> None:
        """Bring it forward; raises StorageError, and then it stays due."""
        now = self._clock()
        with self._database.begin() as store:
            for account, interval in self._every.items():
                store.cap_next_poll(account, latest=now + interval)
            outbox.cap_due(store.connection, now)
        self._step = timedelta()
