"""The daemon: schedules the jobs, listens to signals; decides nothing."""

import faulthandler
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from monitor import __version__
from monitor.app import App, build_connection_test_context, build_workspace_context, check_clocks_of
from monitor.core.text import one_line
from monitor.daemon.cycles import CycleReporter, StatusLine
from monitor.daemon.systemd import Systemd
from monitor.errors import MonitorError, StorageError
from monitor.jobs.acknowledged import pass_on_acknowledgements
from monitor.jobs.backfill_notifications import backfill_notifications
from monitor.jobs.check_channels import check_channels
from monitor.jobs.clock_step import ClockStepRecovery
from monitor.jobs.connection_tests import run_connection_tests
from monitor.jobs.digest import write_digests
from monitor.jobs.prune import prune
from monitor.jobs.reevaluate import reevaluate_due
from monitor.jobs.refresh import refresh
from monitor.jobs.remind import remind
from monitor.jobs.sync_targets import sync_targets
from monitor.jobs.sync_workspace import log_poll_rate, sync_workspaces
from monitor.logs import scrub
from monitor.metrics import Metrics
from monitor.signals import Signals, handle_signals
from monitor.storage.migrate import HEAD
from monitor.storage.recording import PollRecord
from monitor.web.listener import WebListener
from monitor.workers.liveness import Liveness
from monitor.workers.poller import Poller
from monitor.workers.sender import Sender

log = structlog.get_logger()

TICK = timedelta(seconds=1)
STOP_TIMEOUT = timedelta(seconds=8)
UNAVAILABLE_LOG_INTERVAL = timedelta(minutes=1)
# How often the main thread sees whether all parts move, where no watchdog wants to know it more often.
PROGRESS_INTERVAL = timedelta(minutes=1)


class Every(BaseTrigger):  # type: ignore[misc]  # the library gives it no type
    """
    Fires at an interval, and once for all times that were missed.

    The library's own trigger lists each of them first: a clock that is set two months ahead would keep the scheduler
    busy for minutes with five million times of a job that runs every second.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next time ahead; for the scheduler."""
        previous = previous_fire_time or now
        return previous + (max((now - previous) // self._interval, 0) + 1) * self._interval


class Daemon:
    """
    The jobs of one configuration, running.

    Args:
        tick: how often what is due is looked for.
        set_status: is told in one line how things are.
        is_start: the program starts; else a running one takes a new configuration.

    Attributes:
        progress: when each part last moved.
        metrics: what was counted since the start.
    """

    def __init__(
        self,
        app: App,
        *,
        tick: timedelta = TICK,
        set_status: Callable[[str], None] = lambda text: None,
        is_start: bool = False,
    ) -> None:
        self._app = app
        self._set_status = set_status
        self.liveness = Liveness()
        self.metrics = Metrics(
            version=__version__, schema=HEAD, accounts=app.providers, channels=app.delivery.channels
        )
        self.cycles = CycleReporter(
            app,
            stalled=self.liveness.stalled,
            set_status=set_status,
            is_start=is_start,
            take_counts=self._take_counts,
            on_ended=self.metrics.on_cycle_ended,
        )
        self._workspace_context = build_workspace_context(app)
        self._connection_test_context = build_connection_test_context(app)
        self._check_clocks = check_clocks_of(app)
        self._tick = tick
        self._recorded: Counter[str] = Counter()
        self._clock_step = ClockStepRecovery(app.clock, every=app.poll_settings.every, database=app.database)
        self._unavailable_since: dict[str, float] = {}
        self._poller = Poller(
            database=app.database,
            providers=app.providers,
            settings=app.poll_settings,
            clock=app.clock,
            concurrency=app.config.polling.concurrency,
            on_fetched=self.metrics.on_fetched,
            on_recorded=self._count_recorded,
            liveness=self.liveness,
        )
        self._sender = Sender(app.delivery, self.liveness, on_sent=self.metrics.on_delivered)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # A run that comes late still comes; one that was missed is made up for once, not many times.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_listener(self._job_failed, EVENT_JOB_ERROR | EVENT_JOB_MISSED)

    def start(self) -> None:
        """
        Bring the targets up to date and start the jobs.

        Raises:
            StorageError: the database can't be used.
        """
        self.cycles.start()
        self._sync_targets()
        with self._app.database.begin() as store:
            store.invalidate_evaluations(self._app.clock())
        self._check_clocks()
        self._backfill_notifications()
        tick = self._tick.total_seconds()
        for name, job, seconds in (
            ("review", self._reevaluate, 5 * tick),
            ("check_clocks", self._check_clocks, 5 * tick),
            ("dispatch", self._poller.dispatch, tick),
            ("deliver", self._sender.dispatch, tick),
            ("remind", self._remind, 20 * tick),
            ("refresh", self._refresh, 60 * tick),
            ("digest", self._digest, 30 * tick),
            ("oversee", self._check_channels, 15 * tick),
            ("discover", self._sync_targets, 3600 * tick),
            ("survey", self._sync_workspaces, 2 * tick),
            ("probe", self._run_connection_tests, 10 * tick),
            ("prune", self._prune, 3600 * tick),
            ("cycle", self.cycles.evaluate, 5 * tick),
            ("clock", self._clock_step.check, 3 * tick),
        ):
            trigger = Every(timedelta(seconds=seconds))
            self._scheduler.add_job(self._guarded(name, job), trigger, id=name, name=name)
        self._scheduler.start()
        log.info(
            "daemon.started", accounts=len(self._app.providers), channels=len(self._app.delivery.channels)
        )

    def recover_from_clock_step(self) -> None:
        """Go on where the clock was set back: the scheduler would wait until it has caught up."""
        if self._clock_step.check():
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
            self._guarded("rewind", self._clock_step)()

    def stop(self, within: timedelta = STOP_TIMEOUT) -> None:
        """Finish what is in flight, as far as the time allows; the rest is taken up by the next start."""
        ends = monotonic() + within.total_seconds()
        if self._scheduler.running:  # it isn't where the start went wrong
            self._scheduler.shutdown(wait=False)
        self._poller.close(within * 0.6)
        self._sender.close(timedelta(seconds=max(ends - monotonic(), 0.5)))
        log.info("daemon.stopped", **self._take_counts())

    def _sync_targets(self) -> None:
        app = self._app
        sync_targets(
            app.providers,
            every=app.poll_settings.every,
            database=app.database,
            clock=app.clock,
            scopes=app.poll_scopes,
            rate_limits=app.rate_limits,
            incident_channels=app.poll_settings.routing.incident_channels,
        )

    def _backfill_notifications(self) -> None:
        app = self._app
        backfill_notifications(
            app.delivery.channels, database=app.database, routing=app.poll_settings.routing, clock=app.clock
        )

    def _sync_workspaces(self) -> None:
        sync_workspaces(self._workspace_context)
        for rate in self._app.rate_limits.changed_rates():
            log_poll_rate(rate)

    def _run_connection_tests(self) -> None:
        run_connection_tests(self._connection_test_context)

    def _prune(self) -> None:
        app = self._app
        prune(database=app.database, keep=app.config.retention, clock=app.clock)

    def _reevaluate(self) -> None:
        app = self._app
        reevaluate_due(
            database=app.database,
            rules=app.poll_settings.rules,
            routing=app.poll_settings.routing,
            clock=app.clock,
            clocks=app.clocks,
        )

    def _refresh(self) -> None:
        post = self._app.delivery
        refresh(post.channels, database=post.database, dashboards=post.dashboards, clock=post.clock)

    def _remind(self) -> None:
        post = self._app.delivery
        pass_on_acknowledgements(post.channels, database=post.database, clock=post.clock)
        remind(database=self._app.database, routing=self._app.poll_settings.routing, clock=self._app.clock)

    def _digest(self) -> None:
        write_digests(
            database=self._app.database, routing=self._app.poll_settings.routing, clock=self._app.clock
        )

    def _check_channels(self) -> None:
        app = self._app
        check_channels(
            app.delivery.channels, database=app.database, routing=app.poll_settings.routing, clock=app.clock
        )

    def _count_recorded(self, batch: Sequence[PollRecord]) -> None:
        changed = sum(len(poll_record.evaluation.changes) for poll_record in batch if poll_record.evaluation)
        self._recorded["polls"] += len(batch)
        self._recorded["failed"] += sum(
            1 for poll_record in batch if poll_record.evaluation and poll_record.evaluation.failure
        )
        self._recorded["changed"] += changed
        self.metrics.on_recorded(len(batch), changed)

    def _take_counts(self) -> dict[str, int]:
        """Tell how many polls were recorded since this was last asked, how many failed, and what changed."""
        counted, self._recorded = self._recorded, Counter()
        return {key: counted[key] for key in ("polls", "failed", "changed")}

    def _guarded(self, name: str, job: Callable[[], object]) -> Callable[[], None]:
        """Let no job end over a database that is away; complain once a minute, not every second."""
        self.metrics.register_job(name)

        def run() -> None:
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


def run(app: App, reload: Callable[[], App], systemd: Systemd | None = None) -> None:
    """
    Watch until a signal says stop: SIGTERM or SIGINT end it, SIGHUP takes a new configuration.

    Args:
        reload: builds the monitor anew from the configuration as it is now; a ConfigError keeps the old one.

    Raises:
        StorageError: the database can't be used, and waiting won't help.
        MonitorError: the address of the web door can't be had.
    """
    status = StatusLine(systemd or Systemd(os.environ))
    # Where each thread was, should the watchdog or the interpreter itself end us: names and lines, no values.
    faulthandler.enable()
    with handle_signals() as signals, app.database.exclusive(), closing(WebListener()) as listener:
        listener.serve(app)
        is_start = True
        while daemon := _wait_for_database(app, signals, status, is_start=is_start):
            stop_notices: list[threading.Thread] = []
            try:
                listener.serve(app, daemon.liveness, daemon.metrics)
                status.ready(daemon.cycles.text)
                reloaded = wait_for_reload(daemon, signals, reload, status)
                if reloaded is None:
                    status.systemd.notify_stopping()
                    stop_notices = daemon.cycles.send_stop_notices()
            finally:
                ends = monotonic() + STOP_TIMEOUT.total_seconds()
                daemon.stop()
                for thread in stop_notices:
                    thread.join(max(ends - monotonic(), 0))
            if reloaded is None:
                break
            listener.serve(reloaded)
            app.close()
            app, is_start = reloaded, False
            log.info("config.reloaded")
            if listener.needs_restart(app.config.web):
                log.warning("config.warning", warning="a changed web.listen needs a restart")
    app.close()


def _wait_for_database(app: App, signals: Signals, status: StatusLine, *, is_start: bool) -> Daemon | None:
    """Start as soon as the database lets us; None when somebody says stop before that."""
    wait = 1.0
    while not signals.stop:
        try:
            found = app.database.upgrade(status.on_migration)
            log.info("database.ready", database=app.database.display_name, found_schema=found)
            if unapplied := app.database.unapplied_settings():
                log.warning(
                    "config.warning",
                    warning=f"the database doesn't apply {', '.join(unapplied)} as asked: a connection pooler drops "
                    "them, or database.url sets them; set them with ALTER ROLE",
                )
            return _start(app, status, is_start=is_start)
        except StorageError as error:
            if not error.transient and is_start:  # who watches already waits, whatever it is
                raise
            log.error("database.unavailable", error=str(error), retry_in_seconds=wait)
            status.systemd.extend_timeout(scrub(f"waiting for the database: {error}"), timedelta(minutes=2))
            signals.wait(wait)  # a reload is for later
            wait = min(wait * 2, 30)
    return None


def _start(app: App, status: StatusLine, *, is_start: bool) -> Daemon:
    daemon = Daemon(app, set_status=status.set, is_start=is_start)
    try:
        daemon.start()
    except BaseException:
        daemon.stop()
        raise
    return daemon


def wait_for_reload(
    daemon: Daemon, signals: Signals, reload: Callable[[], App], status: StatusLine
) -> App | None:
    """Sleep until a good new configuration is to be taken; None when it is time to stop."""
    interval = (status.systemd.watchdog_interval or PROGRESS_INTERVAL).total_seconds()
    was_stalled: list[str] = []
    while not signals.stop:
        if not signals.reload:
            signals.wait(interval)
        daemon.recover_from_clock_step()
        stalled = daemon.liveness.stalled()
        if not stalled:
            status.systemd.notify_watchdog()
        elif stalled != was_stalled:
            log.error("component.stalled", components=stalled)
        was_stalled = stalled
        if signals.reload and not signals.stop:
            signals.reload = False
            status.systemd.notify_reloading()
            try:
                reloaded = reload()
            except MonitorError as error:
                log.error("config.reload_rejected", error=str(error))
                status.rejection = f"new configuration refused: {one_line(str(error), 160)}"
                status.ready(daemon.cycles.text)
            else:
                status.rejection = ""
                return reloaded
    return None
