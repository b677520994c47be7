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
from monitor.app import App, bench_of, check_clocks_of, office_of
from monitor.core.text import one_line
from monitor.cycles import Cycles, Line
from monitor.errors import MonitorError, StorageError
from monitor.jobs.acknowledged import pass_on_acknowledgements
from monitor.jobs.catch_up import catch_up
from monitor.jobs.digest import digest
from monitor.jobs.discover import discover
from monitor.jobs.oversee import oversee
from monitor.jobs.probe import probe
from monitor.jobs.prune import prune
from monitor.jobs.refresh import refresh
from monitor.jobs.remind import remind
from monitor.jobs.review import review_due
from monitor.jobs.rewind import Rewind
from monitor.jobs.survey import log_pace, survey
from monitor.logs import scrub
from monitor.metrics import Metrics
from monitor.pipeline import Poller
from monitor.progress import Progress
from monitor.sending import Sender
from monitor.signals import Asked, listening
from monitor.storage.migrate import HEAD
from monitor.storage.recording import Polled
from monitor.systemd import Systemd
from monitor.web import Door

log = structlog.get_logger()

TICK = timedelta(seconds=1)
STOP_WITHIN = timedelta(seconds=8)
STILL_AWAY = timedelta(minutes=1)
# How often the main thread sees whether all parts move, where no watchdog wants to know it more often.
PULSE = timedelta(minutes=1)


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
        following = (previous_fire_time or now) + self._interval
        return following if following > now else now + self._interval


class Daemon:
    """
    The jobs of one configuration, running.

    Args:
        tick: how often what is due is looked for.
        say: is told in one line how things are.
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
        say: Callable[[str], None] = lambda text: None,
        is_start: bool = False,
    ) -> None:
        self._app = app
        self._say = say
        self.progress = Progress()
        self.metrics = Metrics(
            version=__version__, schema=HEAD, accounts=app.providers, channels=app.post.channels
        )
        self.cycles = Cycles(
            app,
            stuck=self.progress.stuck,
            say=say,
            is_start=is_start,
            counted=self._counted,
            on_ended=self.metrics.cycle_ended,
        )
        self._office = office_of(app)
        self._bench = bench_of(app)
        self._check_clocks = check_clocks_of(app)
        self._tick = tick
        self._recorded: Counter[str] = Counter()
        self._rewind = Rewind(app.clock, every=app.policy.every, database=app.database)
        self._unavailable_since: dict[str, float] = {}
        self._poller = Poller(
            database=app.database,
            providers=app.providers,
            policy=app.policy,
            clock=app.clock,
            concurrency=app.config.polling.concurrency,
            on_fetched=self.metrics.fetched,
            on_recorded=self._count,
            progress=self.progress,
        )
        self._sender = Sender(app.post, self.progress, on_sent=self.metrics.sent)
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
        self.cycles.begin()
        self._discover()
        with self._app.database.begin() as store:
            store.reconsider(self._app.clock())
        self._check_clocks()
        self._catch_up()
        tick = self._tick.total_seconds()
        for name, job, seconds in (
            ("review", self._review, 5 * tick),
            ("check_clocks", self._check_clocks, 5 * tick),
            ("dispatch", self._poller.dispatch, tick),
            ("deliver", self._sender.dispatch, tick),
            ("remind", self._remind, 20 * tick),
            ("refresh", self._refresh, 60 * tick),
            ("digest", self._digest, 30 * tick),
            ("oversee", self._oversee, 15 * tick),
            ("discover", self._discover, 3600 * tick),
            ("survey", self._survey, 2 * tick),
            ("probe", self._probe, 10 * tick),
            ("prune", self._prune, 3600 * tick),
            ("cycle", self.cycles.look, 5 * tick),
            ("clock", self._rewind.is_due, 3 * tick),
        ):
            trigger = Every(timedelta(seconds=seconds))
            self._scheduler.add_job(self._guarded(name, job), trigger, id=name, name=name)
        self._scheduler.start()
        log.info("daemon.started", accounts=len(self._app.providers), channels=len(self._app.post.channels))

    def rewind(self) -> None:
        """Go on where the clock was set back: the scheduler would wait until it has caught up."""
        if self._rewind.is_due():
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
            self._guarded("rewind", self._rewind)()

    def stop(self, within: timedelta = STOP_WITHIN) -> None:
        """Finish what is in flight, as far as the time allows; the rest is taken up by the next start."""
        ends = monotonic() + within.total_seconds()
        if self._scheduler.running:  # it isn't where the start went wrong
            self._scheduler.shutdown(wait=False)
        self._poller.close(within * 0.6)
        self._sender.close(timedelta(seconds=max(ends - monotonic(), 0.5)))
        log.info("daemon.stopped", **self._counted())

    def _discover(self) -> None:
        app = self._app
        discover(
            app.providers,
            every=app.policy.every,
            database=app.database,
            clock=app.clock,
            plans=app.plans,
            budgets=app.budgets,
            incident_channels=app.policy.routing.incident_channels,
        )

    def _catch_up(self) -> None:
        app = self._app
        catch_up(app.post.channels, database=app.database, routing=app.policy.routing, clock=app.clock)

    def _survey(self) -> None:
        survey(self._office)
        for pace in self._app.budgets.news():
            log_pace(pace)

    def _probe(self) -> None:
        probe(self._bench)

    def _prune(self) -> None:
        app = self._app
        prune(database=app.database, keep=app.config.retention, clock=app.clock)

    def _review(self) -> None:
        app = self._app
        review_due(
            database=app.database,
            rules=app.policy.rules,
            routing=app.policy.routing,
            clock=app.clock,
            clocks=app.clocks,
        )

    def _refresh(self) -> None:
        post = self._app.post
        refresh(post.channels, database=post.database, dashboards=post.dashboards, clock=post.clock)

    def _remind(self) -> None:
        post = self._app.post
        pass_on_acknowledgements(post.channels, database=post.database, clock=post.clock)
        remind(database=self._app.database, routing=self._app.policy.routing, clock=self._app.clock)

    def _digest(self) -> None:
        digest(database=self._app.database, routing=self._app.policy.routing, clock=self._app.clock)

    def _oversee(self) -> None:
        app = self._app
        oversee(app.post.channels, database=app.database, routing=app.policy.routing, clock=app.clock)

    def _count(self, batch: Sequence[Polled]) -> None:
        changed = sum(len(polled.decision.changes) for polled in batch if polled.decision)
        self._recorded["polls"] += len(batch)
        self._recorded["failed"] += sum(1 for polled in batch if polled.decision and polled.decision.failure)
        self._recorded["changed"] += changed
        self.metrics.recorded(len(batch), changed)

    def _counted(self) -> dict[str, int]:
        """Tell how many polls were recorded since this was last asked, how many failed, and what changed."""
        counted, self._recorded = self._recorded, Counter()
        return {key: counted[key] for key in ("polls", "failed", "changed")}

    def _guarded(self, name: str, job: Callable[[], object]) -> Callable[[], None]:
        """Let no job end over a database that is away; complain once a minute, not every second."""
        self.metrics.expect(name)

        def run() -> None:
            try:
                job()
            except StorageError as error:
                self.metrics.ran(name, well=False)
                last = self._unavailable_since.get(name)
                if last is None or monotonic() - last >= STILL_AWAY.total_seconds():
                    self._unavailable_since[name] = monotonic()
                    log.error("database.unavailable", job=name, error=str(error))
                    self._say(f"waiting for the database: {error}")
            else:
                self.metrics.ran(name, well=True)
                if self._unavailable_since.pop(name, None):
                    log.info("database.back", job=name)
                    self._say(self.cycles.text)

        return run

    def _job_failed(self, event: JobExecutionEvent) -> None:
        self.metrics.ran(event.job_id, well=False)
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
    line = Line(systemd or Systemd(os.environ))
    # Where each thread was, should the watchdog or the interpreter itself end us: names and lines, no values.
    faulthandler.enable()
    with listening() as asked, app.database.held(), closing(Door()) as door:
        door.show(app)
        is_start = True
        while daemon := _started(app, asked, line, is_start=is_start):
            goodbyes: list[threading.Thread] = []
            try:
                door.show(app, daemon.progress, daemon.metrics)
                line.ready(daemon.cycles.text)
                renewed = wait_for_renewal(daemon, asked, reload, line)
                if renewed is None:
                    line.systemd.stopping()
                    goodbyes = daemon.cycles.announce_stop()
            finally:
                ends = monotonic() + STOP_WITHIN.total_seconds()
                daemon.stop()
                for thread in goodbyes:
                    thread.join(max(ends - monotonic(), 0))
            if renewed is None:
                break
            door.show(renewed)
            app.close()
            app, is_start = renewed, False
            log.info("configuration.taken")
            if door.needs_restart(app.config.web):
                log.warning("configuration.doubtful", warning="a changed web.listen needs a restart")
    app.close()


def _started(app: App, asked: Asked, line: Line, *, is_start: bool) -> Daemon | None:
    """Start as soon as the database lets us; None when somebody says stop before that."""
    wait = 1.0
    while not asked.stop:
        try:
            found = app.database.upgrade(line.migrating)
            log.info("database.ready", database=app.database.name, found_schema=found)
            return _running(app, line, is_start=is_start)
        except StorageError as error:
            if not error.passing and is_start:  # who watches already waits, whatever it is
                raise
            log.error("database.unavailable", error=str(error), retry_in_seconds=wait)
            line.systemd.waiting(scrub(f"waiting for the database: {error}"), timedelta(minutes=2))
            asked.wait(wait)  # a reload is for later
            wait = min(wait * 2, 30)
    return None


def _running(app: App, line: Line, *, is_start: bool) -> Daemon:
    daemon = Daemon(app, say=line.say, is_start=is_start)
    try:
        daemon.start()
    except BaseException:
        daemon.stop()
        raise
    return daemon


def wait_for_renewal(daemon: Daemon, asked: Asked, reload: Callable[[], App], line: Line) -> App | None:
    """Sleep until a good new configuration is to be taken; None when it is time to stop."""
    pulse = (line.systemd.pulse or PULSE).total_seconds()
    was_stuck: list[str] = []
    while not asked.stop:
        if not asked.reload:
            asked.wait(pulse)
        daemon.rewind()
        stuck = daemon.progress.stuck()
        if not stuck:
            line.systemd.alive()
        elif stuck != was_stuck:
            log.error("daemon.stuck", parts=stuck)
        was_stuck = stuck
        if asked.reload and not asked.stop:
            asked.reload = False
            line.systemd.reloading()
            try:
                renewed = reload()
            except MonitorError as error:
                log.error("configuration.refused", error=str(error))
                line.refusal = f"new configuration refused: {one_line(str(error), 160)}"
                line.ready(daemon.cycles.text)
            else:
                line.refusal = ""
                return renewed
    return None
