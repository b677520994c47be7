"""Continue at once after the clock was set back: what is planned lies that much further off than it was meant to."""

from datetime import timedelta

import structlog

from monitor.clock import ClockStepDetector
from monitor.jobs.context import JobContext
from monitor.storage import outbox

log = structlog.get_logger()


class ClockStepRecovery:
    """
    Brings forward what waits for a time that is now too far off: polls, messages, claims of senders that died.

    Args:
        detector: notices when the clock is set back.
    """

    def __init__(self, context: JobContext, detector: ClockStepDetector | None = None) -> None:
        self._context = context
        self._detector = detector or ClockStepDetector(context.clock)
        self._step = timedelta()

    def check(self) -> bool:
        """
        Return whether the clock was set back and ``recover`` hasn't run since.

        To be called often: a clock that is set forward and back between two calls isn't noticed, and what was planned
        in between lies far off.
        """
        if back := self._detector.backward_step():
            self._step += back
            log.warning("clock.stepped_back", seconds=round(back.total_seconds()))
        return bool(self._step)

    def recover(self) -> None:
        """Bring it forward; raises StorageError, and then it stays due."""
        context, now = self._context, self._context.clock()
        with context.database.begin() as store:
            for account, interval in context.rate_limits.every.items():
                store.cap_next_poll(account, latest=now + interval)
            outbox.cap_due(store, now)
        self._step = timedelta()
