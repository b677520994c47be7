"""The daemon: schedules the jobs and handles signals. It decides nothing."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor import __version__
from monitor.app import App
from monitor.core.model import Outcome
from monitor.daemon.cycles import CycleReporter
from monitor.daemon.write_failures import WriteFailureNotice
from monitor.errors import StorageError
from monitor.jobs.acknowledgements import pass_on_acknowledgements
from monitor.jobs.backfill_notifications import backfill_notifications
from monitor.jobs.check_channels import check_channels
from monitor.jobs.check_clocks import check_clocks
from monitor.jobs.check_file import check_file
from monitor.jobs.clock_step import ClockStepRecovery
from monitor.jobs.connection_tests import run_connection_tests
from monitor.jobs.context import JobContext
from monitor.jobs.digest import write_digests
from monitor.jobs.prune import prune
from monitor.jobs.reevaluate import reevaluate_due
from monitor.jobs.refresh import refresh
from monitor.jobs.remind import remind
from monitor.jobs.report_poll_rates import report_poll_rates
from monitor.jobs.sync_targets import sync_targets
from monitor.jobs.sync_workspace import sync_workspaces
from monitor.metrics import Metrics
from monitor.storage.migrate import HEAD
from monitor.storage.recording import PollRecord
from monitor.storage.registration import Removal
from monitor.workers.liveness import DISPATCHER, SENDER, Liveness
from monitor.workers.poller import Poller
from monitor.workers.sender import Sender

log = structlog.get_logger()

SECOND = timedelta(seconds=1)
TICK = SECOND
STOP_TIMEOUT = timedelta(seconds=8)
UNAVAILABLE_LOG_INTERVAL = timedelta(minutes=1)
# How often the main thread checks whether all parts make progress, unless the watchdog needs it more often.
PROGRESS_INTERVAL = timedelta(seconds=10)
# A standby takes over so soon after the daemon's end.
LOCK_INTERVAL = timedelta(seconds=5)
# A part that stays stalled for so long ends the process. Nothing in it can end a thread that hangs.
STALL_LIMIT = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Job:
    """A scheduled job, and how often it runs."""

    run: Callable[[JobContext], object]
    every: timedelta


JOBS: Mapping[str, Job] = {
    "sync_targets": Job(sync_targets, every=3600 * SECOND),
    "sync_workspaces": Job(sync_workspaces, every=2 * SECOND),
    "report_poll_rates": Job(report_poll_rates, every=2 * SECOND),
    "run_connection_tests": Job(run_connection_tests, every=10 * SECOND),
    "reevaluate": Job(reevaluate_due, every=5 * SECOND),
    "check_clocks": Job(check_clocks, every=5 * SECOND),
    "check_channels": Job(check_channels, every=15 * SECOND),
    "pass_on_acknowledgements": Job(pass_on_acknowledgements, every=20 * SECOND),
    "remind": Job(remind, every=20 * SECOND),
    "write_digests": Job(write_digests, every=30 * SECOND),
    "refresh": Job(refresh, every=60 * SECOND),
    "check_file": Job(check_file, every=24 * 3600 * SECOND),
    "prune": Job(prune, every=3600 * SECOND),
}


class Every(BaseTrigger):  # type: ignore[misc]  # the library gives it no type
    """
    Fires at an interval, and once for all times that were missed.

    The library's own trigger lists each of them first. A clock that is set two months ahead would keep the
    scheduler busy for minutes with the five million missed times of a job that runs every second.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next future time. Called by the scheduler."""
        previous = previous_fire_time or now
        return previous + (max((now - previous) // self._interval, 0) + 1) * self._interval


class Daemon:
    """
    The running jobs of one configuration.

    Args:
        tick: how often to check what is due.
        set_status: called with one line about the current state.
        is_start: whether the program starts; otherwise this is a reload.
        acquire_lock: takes or checks the lock of the database, as ``Database.exclusive`` gives it.

    Attributes:
        progress: when each part last moved.
        metrics: the counters since the start.
    """

    def __init__(
        self,
        app: App,
        *,
        tick: timedelta = TICK,
        set_status: Callable[[str], None] = lambda text: None,
        is_start: bool = False,
        acquire_lock: Callable[[], str | None] = lambda: None,
        write_failure: WriteFailureNotice | None = None,
    ) -> None:
        self._app = app
        self._acquire_lock = acquire_lock
        self._write_failure = write_failure or WriteFailureNotice()
        self._has_lock = True
        self._set_status = set_status
        self.liveness = Liveness(transaction_age=app.database.longest_transaction)
        self.metrics = Metrics(
            version=__version__,
            schema=HEAD,
            accounts=app.context.providers,
            channels=app.context.channels,
        )
        self.cycles = CycleReporter(
            app,
            stalled=self.liveness.stalled,
            set_status=set_status,
            is_start=is_start,
            take_counts=self._take_counts,
            on_ended=self.metrics.on_cycle_ended,
        )
        self._tick = tick
        self._recorded: Counter[str] = Counter()
        self._clock_step = ClockStepRecovery(app.context)
        self._unavailable_since: dict[str, float] = {}
        self._poller = Poller(
            app.context,
            concurrency=app.config.polling.concurrency,
            on_fetched=self.metrics.on_fetched,
            on_recorded=self._count_recorded,
            liveness=self.liveness,
        )
        self._sender = Sender(app.context, self.liveness, on_sent=self.metrics.on_delivered)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # A late run still happens. Several missed runs become one.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._job_failed, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def start(self, removal: Removal = Removal.GUARDED) -> None:
        """
        Sync the targets and start the jobs.

        Args:
            removal: of targets that the configuration no longer names.

        Raises:
            StorageError: the database can't be used.
        """
        context = self._app.context
        self.cycles.start()
        sync_targets(context, removal=removal)
        with context.database.begin() as store:
            store.invalidate_evaluations(context.clock())
        check_clocks(context)
        backfill_notifications(context)
        for name, job in JOBS.items():
            self._schedule(name, partial(job.run, context), job.every)
        self._schedule("dispatch", self._poller.dispatch, SECOND)
        self._schedule("deliver", self._sender.dispatch, SECOND)
        self._schedule("cycle", self.cycles.evaluate, 5 * SECOND)
        self._schedule("clock", self._clock_step.check, 3 * SECOND)
        self._scheduler.add_job(self.check_writes, Every(LOCK_INTERVAL), id="writes", name="writes")
        self._scheduler.add_job(self._check_lock, Every(LOCK_INTERVAL), id="lock", name="lock")
        self._scheduler.start()
        log.info("daemon.started", accounts=len(context.providers), channels=len(context.channels))

    def recover_from_clock_step(self) -> None:
        """Continue after the clock was set back. Otherwise the scheduler would wait until the clock has caught up."""
        if self._clock_step.check():
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
            self._guarded("clock_step", self._clock_step.recover)()

    def stop(self, within: timedelta = STOP_TIMEOUT) -> None:
        """Finish what is in flight within the time. The next start continues with the rest."""
        ends = monotonic() + within.total_seconds()
        if self._scheduler.running:  # it isn't running if the start failed
            self._scheduler.shutdown(wait=False)
        self._poller.close(within * 0.6)
        self._sender.close(timedelta(seconds=max(ends - monotonic(), 0.5)))
        log.info("daemon.stopped", **self._take_counts())

    def check_writes(self) -> None:
        """Try again to write while that fails, so that it is known soon when it works; notify if it lasts."""
        database = self._app.database
        if database.write_error:
            with suppress(StorageError), database.begin() as store:
                store.touch()
        if error := database.damage or database.write_error:
            self._write_failure.on_failure(self._app, error)
        else:
            self._write_failure.on_success()

    def _check_lock(self) -> None:
        """Do nothing while the lock isn't held: another daemon may have taken over."""
        try:
            holder = self._acquire_lock()
        except StorageError as error:
            holder, reason = "", str(error)
        else:
            reason = f"{holder} monitors this database"
        had_lock, self._has_lock = self._has_lock, holder is None
        if holder is None and not had_lock:
            log.info("daemon.lock_acquired")
            self._guarded("sync_targets", partial(sync_targets, self._app.context))()
        elif holder is not None and had_lock:
            log.error("daemon.lock_lost", reason=reason)
        if holder:
            self._set_status(f"standing by for {holder}")

    def _schedule(self, name: str, job: Callable[[], object], every: timedelta) -> None:
        trigger = Every(every * (self._tick / TICK))
        self._scheduler.add_job(self._guarded(name, job), trigger, id=name, name=name)

    def _count_recorded(self, batch: Sequence[PollRecord]) -> None:
        changed = sum(len(record.evaluation.changes) for record in batch if record.evaluation)
        outcomes = Counter(record.outcome for record in batch)
        self._recorded["polls"] += len(batch)
        self._recorded["failed"] += len(batch) - outcomes[Outcome.OK]
        self._recorded["changed"] += changed
        self.metrics.on_recorded(outcomes, changed)

    def _take_counts(self) -> dict[str, int]:
        """Return how many polls were recorded since the last call, how many failed, and what changed."""
        counted, self._recorded = self._recorded, Counter()
        return {key: counted[key] for key in ("polls", "failed", "changed")}

    def _guarded(self, name: str, job: Callable[[], object]) -> Callable[[], None]:
        """Keep jobs running while the database is unavailable, and log that once a minute."""
        self.metrics.register_job(name)

        def run() -> None:
            if not self._has_lock:
                self.liveness.beat(DISPATCHER)
                self.liveness.beat(SENDER)
                return
            try:
                job()
            except StorageError as error:
                self.metrics.on_job_ended(name, is_ok=False)
                last = self._unavailable_since.get(name)
                if last is None or monotonic() - last >= UNAVAILABLE_LOG_INTERVAL.total_seconds():
                    self._unavailable_since[name] = monotonic()
                    log.error("database.unavailable", job=name, error=str(error))
                    self._set_status(f"waiting for the database: {error}")
            else:
                self.metrics.on_job_ended(name, is_ok=True)
                if self._unavailable_since.pop(name, None):
                    log.info("database.recovered", job=name)
                    self._set_status(self.cycles.text)

        return run

    def _job_failed(self, event: JobExecutionEvent) -> None:
        self.metrics.on_job_ended(event.job_id, is_ok=False)
        log.error("job.failed", job=event.job_id, error=repr(getattr(event, "exception", None)))
