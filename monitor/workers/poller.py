"""Poll on threads: many fetch and one records."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from queue import Empty, Full, Queue, SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic
from types import MappingProxyType

import structlog

from monitor.core.model import Failure, Outcome, RuleName, Snapshot, Target
from monitor.errors import StorageError
from monitor.jobs.context import JobContext
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.storage import stats
from monitor.storage.recording import PollRecord
from monitor.workers.concurrency import ConcurrencyLimiter
from monitor.workers.liveness import DISPATCHER, RECORDER, Liveness

log = structlog.get_logger()

MAX_BATCH_SIZE = 200
MAX_BATCH_DELAY_SECONDS = 0.25
# The limit of targets that are fetched or wait to be recorded, which bounds memory if the database is slow.
MAX_IN_FLIGHT = 2000
# How often an idle recorder reports that it is alive.
IDLE_SECONDS = 1
# How often a single pass checks whether a paused key may be used again.
MIN_WAIT_SECONDS = 0.1


class Poller:
    """
    Fetches targets on many threads, and records the snapshots on one.

    The queue between them is bounded, so a slow database slows polling instead of using more memory. Snapshots
    are kept until they are recorded, however long the database is unavailable.

    Args:
        on_fetched: called with each snapshot, its duration in seconds, and how late it began; None if it was
            requested before it was due.
        on_recorded: called with each batch after its commit.
        liveness: records the progress of dispatcher and recorder.
    """

    def __init__(
        self,
        context: JobContext,
        *,
        concurrency: int,
        on_fetched: Callable[[Snapshot, float, float | None], None] = lambda snapshot, seconds, late: None,
        on_recorded: Callable[[Sequence[PollRecord]], None] = lambda batch: None,
        liveness: Liveness | None = None,
    ) -> None:
        self._context = context
        self._on_fetched = on_fetched
        self._on_recorded = on_recorded
        self._liveness = liveness or Liveness()
        self._in_flight: set[int] = set()
        self._deferred: set[int] = set()
        self._lock = Lock()
        self._idle = Event()
        self._idle.set()
        self._stopping = Event()
        self._closed = False
        # The standard library's pool would create a future for each poll, which isn't needed.
        self._concurrency = concurrency
        self._fetchers: list[Thread] = []
        self._limiter = ConcurrencyLimiter(concurrency)
        self._to_fetch: SimpleQueue[tuple[Target, datetime | None] | None] = SimpleQueue()
        self._results: Queue[Snapshot | None] = Queue(maxsize=MAX_BATCH_SIZE * 2)
        self._batch_is_full = Event()
        self._recorder = Thread(target=self._record_forever, name="record", daemon=True)
        self._recorder.start()

    @property
    def in_flight(self) -> frozenset[int]:
        """The ids of submitted targets that aren't recorded yet."""
        with self._lock:
            return frozenset(self._in_flight)

    def submit(
        self, targets: Iterable[Target], due_times: Mapping[int, datetime] = MappingProxyType({})
    ) -> int:
        """
        Submit targets for polling, except those in flight or without a provider.

        Args:
            due_times: when each due target became due, by id.
        """
        taken = 0
        for target in targets:
            is_known = target.account in self._context.providers
            with self._lock:
                if not is_known or target.id in self._in_flight or len(self._in_flight) >= MAX_IN_FLIGHT:
                    continue
                if self._closed:
                    break
                self._in_flight.add(target.id)
                self._idle.clear()
                self._to_fetch.put((target, due_times.get(target.id)))
                if len(self._fetchers) < min(self._concurrency, len(self._in_flight)):
                    number = len(self._fetchers)
                    fetcher = Thread(
                        target=self._fetch_forever, args=(number,), name=f"fetch-{number}", daemon=True
                    )
                    self._fetchers.append(fetcher)
                    fetcher.start()
            taken += 1
        return taken

    def dispatch(self) -> int:
        """Submit due targets within the rate limits of their keys."""
        with self._liveness.beating(DISPATCHER):
            now, rate_limits = self._context.clock(), self._context.rate_limits
            in_flight = self.in_flight
            of_each = rate_limits.capacity(now, MAX_IN_FLIGHT)
            if len(in_flight) >= MAX_IN_FLIGHT or of_each < 1:
                return 0
            with self._context.database.read() as store:
                # Targets in flight are still due, and must not block others.
                due = store.due_targets(now, limit=MAX_IN_FLIGHT, of_each=of_each + len(in_flight))
                due_times = stats.due_times(store, [target.id for target in due])
            free = [target for target in due if target.id not in in_flight]
            return self.submit(rate_limits.filter_ready(free, now), due_times)

    def poll_now(self, targets: Iterable[Target]) -> None:
        """
        Poll targets now, within the rate limits and without paused ones, and wait for the results.

        One target of each account goes first. If its key is rejected, the others aren't polled.
        """
        everybody = list(targets)
        first = {target.account: target.id for target in reversed(everybody)}
        self._poll_paced([target for target in everybody if target.id == first[target.account]])
        self._poll_paced([target for target in everybody if target.id != first[target.account]])

    def _poll_paced(self, remaining: Sequence[Target]) -> None:
        while remaining and not self._closed:
            with self._context.database.read() as store:
                paused = store.paused_targets()
            remaining = [target for target in remaining if target.id not in paused]
            ready = self._context.rate_limits.filter_ready(remaining, self._context.clock())
            taken = ready[:MAX_IN_FLIGHT]
            if not taken:
                self._stopping.wait(MIN_WAIT_SECONDS if remaining else 0)
                continue
            self.submit(taken)
            self._idle.wait()
            with self._lock:
                deferred, self._deferred = self._deferred, set()
            done = {target.id for target in taken} - deferred
            remaining = [target for target in remaining if target.id not in done]

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Wait until nothing is in flight; False if the time ran out."""
        return self._idle.wait(timeout.total_seconds() if timeout else None)

    def close(self, timeout: timedelta) -> None:
        """Finish what is in flight within the time. Unrecorded targets are polled again later."""
        ends = monotonic() + timeout.total_seconds()
        with self._lock:
            self._closed = True
        self._limiter.close()
        for _ in self._fetchers:
            self._to_fetch.put(None)
        for fetcher in self._fetchers:
            fetcher.join(max(ends - monotonic(), 0))
        self._stopping.set()
        try:
            self._results.put(None, timeout=max(ends - monotonic(), 0.1))
        except Full:
            log.warning("recorder.stalled")
        self._recorder.join(max(ends - monotonic(), 0.5))

    def _fetch_forever(self, number: int) -> None:
        while self._limiter.wait(number) and (asked := self._to_fetch.get()):
            if not self._closed:
                self._fetch(*asked)

    def _fetch(self, target: Target, due_at: datetime | None) -> None:
        context = self._context
        if not context.rate_limits.try_acquire(target.account, context.clock()):
            # Its key was paused after the submission, so the target stays due.
            self._deferred.add(target.id)
            self._mark_done([target.id])
            return
        late = (context.clock() - due_at).total_seconds() if due_at else None
        began = monotonic()
        try:
            snapshot = take_snapshot(target, context)
        except Exception as error:
            # An error of the monitor must neither end the daemon nor stay unnoticed.
            log.exception(
                "poll.crashed",
                account=target.account,
                managed_user_id=target.managed_user_id,
                target=target.id,
            )
            snapshot = Snapshot(target=target, taken_at=context.clock(), failure=_internal_error(error))
        took = monotonic() - began
        self._limiter.record_duration(took)
        _notify_listener(self._on_fetched, snapshot, took, late)
        while not self._stopping.is_set():
            try:
                self._results.put(snapshot, timeout=1)
            except Full:  # the recorder is behind: wait with fetching until it has caught up
                continue
            if self._is_batch():
                self._batch_is_full.set()
            break

    def _mark_done(self, ids: Iterable[int]) -> None:
        with self._lock:
            self._in_flight.difference_update(ids)
            if not self._in_flight:
                self._idle.set()

    def _record_forever(self) -> None:
        while batch := self._next_batch():
            recorded = self._record(batch)
            self._mark_done(snapshot.target.id for snapshot in batch)
            if recorded:
                _notify_listener(self._on_recorded, recorded)

    def _next_batch(self) -> list[Snapshot]:
        first = self._next_result()
        if first is None:
            return []
        # Waking for each result would cost more than recording it.
        self._batch_is_full.clear()
        if not self._is_batch():
            self._batch_is_full.wait(MAX_BATCH_DELAY_SECONDS)
        self._limiter.adapt()
        batch = [first]
        while len(batch) < MAX_BATCH_SIZE:
            try:
                snapshot = self._results.get_nowait()
            except Empty:
                break
            if snapshot is None:
                self._results.put(None)
                break
            batch.append(snapshot)
        return batch

    def _is_batch(self) -> bool:
        """Return whether the results and the one that the recorder holds make a batch."""
        return self._results.qsize() + 1 >= min(MAX_BATCH_SIZE, len(self._in_flight))

    def _next_result(self) -> Snapshot | None:
        while True:
            self._liveness.beat(RECORDER)
            try:
                return self._results.get(timeout=MAX_BATCH_DELAY_SECONDS if self._in_flight else IDLE_SECONDS)
            except Empty:
                self._limiter.open()  # those that fetch wait for the API: let others fetch too

    def _record(self, batch: Sequence[Snapshot]) -> list[PollRecord]:
        """Record a batch, however long it takes. Snapshots are dropped only when the program ends."""
        wait = 0.5
        while True:
            try:
                recorded = record_polls(batch, self._context)
            except Exception as error:
                self._liveness.beat(RECORDER)
                if not (isinstance(error, StorageError) and error.transient):
                    if len(batch) > 1:  # a snapshot that can't be recorded affects only itself
                        return [poll_record for snapshot in batch for poll_record in self._record([snapshot])]
                    if self._quarantine(batch[0].target):
                        target = batch[0].target
                        log.exception("poll.save_failed", account=target.account, target=target.id)
                        return []
                log.error("database.unavailable", error=_error_text(error), waiting=len(batch))
                if self._stopping.wait(wait):
                    return []
                wait = min(wait * 2, 10)
            else:
                if wait > 0.5:
                    log.info("database.recovered")
                return recorded

    def _quarantine(self, target: Target) -> bool:
        """
        Delay a target whose answer can't be recorded. Otherwise it would be polled again for ever.

        Returns:
            False if not even that can be recorded, so the answer isn't the reason.
        """
        try:
            with self._context.database.begin() as store:
                interval = self._context.rate_limits.every[target.account]
                store.defer_polls([target.id], until=self._context.clock() + interval)
        except StorageError:
            return False
        return True


def _notify_listener(listener: Callable[..., None], *what: object) -> None:
    """Call a listener, whose errors must not end the calling thread."""
    try:
        listener(*what)
    except Exception:
        log.exception("callback.failed")


def _error_text(error: Exception) -> str:
    return str(error) if isinstance(error, StorageError) else type(error).__name__


def _internal_error(error: Exception) -> Failure:
    return Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error=f"the monitor failed on the answer ({type(error).__name__})",
        remedy="report the error that the log shows",
    )
