"""Deliver on threads: one for each channel."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from math import inf
from threading import Lock
from time import monotonic

import structlog

from monitor.errors import StorageError
from monitor.jobs.context import JobContext
from monitor.jobs.deliver import UnsavedDeliveries, deliver_channel
from monitor.storage import outbox
from monitor.workers.liveness import SENDER, Liveness

log = structlog.get_logger()

MAX_SENDERS = 16
# The time that one message may take, including links and database retries. A pass without progress for longer
# hangs.
STALL_TIMEOUT = timedelta(minutes=3)


class Sender:
    """
    Delivers to many channels at once. One that hangs or fails doesn't delay the others.

    Args:
        on_sent: called after each pass over one channel with the numbers of delivered and failed messages.
    """

    def __init__(
        self,
        context: JobContext,
        liveness: Liveness | None = None,
        *,
        on_sent: Callable[[str, int, int], None] = lambda channel, delivered, failed: None,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._context = context
        self._unsaved: UnsavedDeliveries = {}
        self._on_sent = on_sent
        self._liveness = liveness or Liveness()
        self._monotonic = monotonic
        self._busy: dict[str, float] = {}  # when the pass over each channel last made progress
        self._lock = Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(MAX_SENDERS, thread_name_prefix="send")

    def dispatch(self, *, wait: bool = True) -> list[Future[tuple[int, int]]]:
        """Start a delivery pass for every channel that has none running."""
        progress = nullcontext() if self._is_stalled() else self._liveness.beating(SENDER)
        with progress, self._context.database.read() as store:
            due = outbox.due_channels(store, self._context.clock(), wait=wait)
        with self._lock:
            if self._closed:
                return []
            free = [channel for channel in due if channel not in self._busy]
            self._busy.update(dict.fromkeys(free, inf))  # none began yet
            return [self._threads.submit(self._deliver, channel, wait) for channel in free]

    def close(self, timeout: timedelta) -> None:
        """Finish what is being sent. What takes longer is sent again after its lease."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        ends = monotonic() + timeout.total_seconds()
        for thread in list(self._threads._threads):
            thread.join(max(ends - monotonic(), 0))

    def _deliver(self, channel: str, wait: bool) -> tuple[int, int]:
        delivered, failed = self._deliver_channel(channel, wait)
        self._on_sent(channel, delivered, failed)
        return delivered, failed

    def _deliver_channel(self, channel: str, wait: bool) -> tuple[int, int]:
        try:
            return deliver_channel(
                channel, self._context, self._unsaved, wait=wait, on_progress=partial(self._beat, channel)
            )
        except StorageError as error:
            log.error("database.unavailable", error=str(error), channel=channel)
        except Exception:
            log.exception("delivery.crashed", channel=channel)
        finally:
            with self._lock:
                self._busy.pop(channel, None)
        return 0, 1

    def _beat(self, channel: str) -> None:
        with self._lock:
            self._busy[channel] = self._monotonic()

    def _is_stalled(self) -> bool:
        now = self._monotonic()
        with self._lock:
            return any(now - moved > STALL_TIMEOUT.total_seconds() for moved in self._busy.values())
