"""Delivering on threads: many send, one for each channel."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from threading import Lock
from time import monotonic

import structlog

from monitor.errors import StorageError
from monitor.jobs.deliver import Post, deliver_to
from monitor.progress import SENDER, Progress
from monitor.storage import outbox

log = structlog.get_logger()

SENDERS = 16


class Sender:
    """
    Deliver to many channels at once; one that hangs or fails holds up no other.

    Args:
        on_sent: told of each pass over one channel: how many messages were delivered, and how many failed.
    """

    def __init__(
        self,
        post: Post,
        progress: Progress | None = None,
        *,
        on_sent: Callable[[str, int, int], None] = lambda channel, delivered, failed: None,
    ) -> None:
        self._post = post
        self._on_sent = on_sent
        self._progress = progress or Progress()
        self._busy: set[str] = set()
        self._lock = Lock()
        self._closed = False
        self._threads = ThreadPoolExecutor(SENDERS, thread_name_prefix="send")

    def dispatch(self, *, wait: bool = True) -> list[Future[tuple[int, int]]]:
        """Start to deliver what is due for every channel that isn't at it already."""
        try:
            with self._post.database.read() as store:
                due = outbox.due_channels(store.connection, self._post.clock(), wait=wait)
        finally:
            self._progress.moved(SENDER)
        with self._lock:
            if self._closed:
                return []
            free = [channel for channel in due if channel not in self._busy]
            self._busy.update(free)
            return [self._threads.submit(self._deliver, channel, wait) for channel in free]

    def close(self, timeout: timedelta) -> None:
        """Take no more and finish what is being sent; what takes longer is left to its lease."""
        with self._lock:
            self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        ends = monotonic() + timeout.total_seconds()
        for thread in list(self._threads._threads):
            thread.join(max(ends - monotonic(), 0))

    def _deliver(self, channel: str, wait: bool) -> tuple[int, int]:
        delivered, failed = self._pass_over(channel, wait)
        self._on_sent(channel, delivered, failed)
        return delivered, failed

    def _pass_over(self, channel: str, wait: bool) -> tuple[int, int]:
        try:
            return deliver_to(channel, self._post, wait=wait)
        except StorageError as error:
            log.error("database.unavailable", error=str(error), channel=channel)
        except Exception:
            log.exception("delivery.broken", channel=channel)
        finally:
            with self._lock:
                self._busy.discard(channel)
        return 0, 1
