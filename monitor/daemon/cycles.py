"""Report the monitor's own state each cycle: to the heartbeat, to systemd, to channels."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from threading import Thread

import structlog

from monitor.app import App
from monitor.core.evaluation.cycle import Cycle, CycleStatus, assess_cycle
from monitor.core.messages.lifecycle import Downtime, open_incidents_line, started_message, stopping_message
from monitor.core.text import counted
from monitor.errors import DeliveryError
from monitor.heartbeat import Heartbeat
from monitor.jobs.lifecycle_notices import send_lifecycle_notice
from monitor.logs import bind_global
from monitor.storage import discovery, downtimes, queries, views
from monitor.storage.queries import Health

log = structlog.get_logger()

# The start notice is sent this late at most, even if not every target was polled by then.
START_NOTICE_TIMEOUT = timedelta(minutes=5)
RECENTLY = timedelta(hours=24)


class CycleReporter:
    """
    Assesses the cycles of one daemon as they end.

    Args:
        stalled: returns the stalled parts of the daemon.
        set_status: called with one line about each cycle.
        take_counts: returns the counts since its last call, for the log.
        on_ended: called with the result of each cycle.
        is_start: whether the program starts; a reload sends no message.

    Attributes:
        text: the last status text.
    """

    def __init__(
        self,
        app: App,
        *,
        stalled: Callable[[], Sequence[str]],
        set_status: Callable[[str], None],
        is_start: bool,
        take_counts: Callable[[], Mapping[str, int]] = lambda: {},
        on_ended: Callable[[CycleStatus], None] = lambda status: None,
    ) -> None:
        self.text = f"watching {counted(len(app.context.providers), 'account')}"
        self._app = app
        self._stalled = stalled
        self._set_status = set_status
        self._take_counts = take_counts
        self._on_ended = on_ended
        self._every = app.config.polling.every
        if app.config.heartbeat and app.config.heartbeat.every:
            self._every = app.config.heartbeat.every
        self._monitoring_since = app.context.clock()
        self._is_start = is_start
        self._downtime: Downtime | None = None
        self._next_at = self._monitoring_since
        self._status: CycleStatus | None = None
        self._is_delivered = True
        self._run = app.context.new_message_key()[:4]
        self._number = 0
        self._ends_at = self._monitoring_since

    def start(self) -> None:
        """
        Record the downtime before this start. Call it before the first poll.

        Raises:
            StorageError: the database can't be used.
        """
        found, _ = self._health()
        last_at = max(
            (target.last_polled_at for target in found.targets if target.last_polled_at), default=None
        )
        every = min(self._app.context.rate_limits.every.values(), default=timedelta())
        if self._is_start and last_at and self._monitoring_since - last_at > 3 * every:
            self._downtime = Downtime(starts_at=last_at, ends_at=self._monitoring_since)
            with self._app.database.begin() as store:
                downtimes.save_downtime(store, self._downtime)
            log.warning(
                "daemon.downtime_detected",
                since=last_at.isoformat(),
                until=self._monitoring_since.isoformat(),
            )
        self._start_next(self._monitoring_since)

    def evaluate(self) -> None:
        """
        Assess the cycle when it is due. While one isn't complete, assess it at every call.

        Raises:
            StorageError: the database can't be used.
        """
        app = self._app
        now = app.context.clock()
        is_unchanged = self._status is CycleStatus.COMPLETE and not self._is_start
        if now < min(self._next_at, self._ends_at) and is_unchanged:
            return
        if self._is_start and self._status is None:
            self._ping(Heartbeat.start)
        found, unlisted_since = self._health()
        cycle = assess_cycle(
            found.targets,
            every=app.context.rate_limits.intervals(),
            slack=app.config.polling.timeout,
            monitoring_since=self._monitoring_since,
            pending_since=found.pending_since,
            stalled=self._stalled(),
            now=now,
            unlisted_since=unlisted_since,
        )
        self.text = f"last cycle {now:%H:%M} UTC: {cycle.text}. {open_incidents_line(found.incidents)}"
        self._set_status(self.text)
        self._report(cycle, now)
        if now >= self._ends_at:
            log.info("cycle.ended", verdict=cycle.status, seen=cycle.text, **self._take_counts())
            self._on_ended(cycle.status)
            self._start_next(now)
        if self._is_start and (cycle.is_round or now - self._monitoring_since > START_NOTICE_TIMEOUT):
            self._is_start = False
            self._send_start_notice(found)

    def _report(self, cycle: Cycle, now: datetime) -> None:
        """Ping the heartbeat: a new status at once, the same one once a cycle, a partial one never."""
        before, self._status = self._status, cycle.status
        if cycle.status is CycleStatus.FAILED and before is not CycleStatus.FAILED:
            log.warning("cycle.failed", reason=cycle.text)
        if before is CycleStatus.FAILED and cycle.status is CycleStatus.COMPLETE:
            log.info("cycle.complete", seen=cycle.text)
        if cycle.status is CycleStatus.PARTIAL or (cycle.status is before and now < self._next_at):
            return
        self._next_at = now + self._every
        is_good = cycle.status is CycleStatus.COMPLETE
        self._ping(
            lambda heartbeat: heartbeat.success(cycle.text) if is_good else heartbeat.failure(cycle.text)
        )

    def _ping(self, send: Callable[[Heartbeat], None]) -> None:
        if self._app.heartbeat is None:
            return
        try:
            send(self._app.heartbeat)
        except DeliveryError as error:
            if self._is_delivered:
                log.warning("heartbeat.failed", error=str(error))
            self._is_delivered = False
        else:
            if not self._is_delivered:
                log.info("heartbeat.recovered")
            self._is_delivered = True

    def _start_next(self, now: datetime) -> None:
        """Begin a cycle, whose name every line of the log has."""
        self._number += 1
        self._ends_at = now + self._app.config.polling.every
        bind_global(cycle=f"{self._run}-{self._number}")

    def _send_start_notice(self, found: Health) -> None:
        app = self._app
        problems = 0
        if self._downtime:
            with self._app.database.read() as store:
                opened = views.INCIDENTS.c.opened_at >= self._monitoring_since
                problems = sum(1 for _ in queries.rows(store, views.INCIDENTS, opened))
            log.info("daemon.caught_up", since=self._downtime.starts_at.isoformat(), problems_found=problems)
        message = started_message(
            accounts=len(app.context.providers),
            connections=found.connections,
            incidents=found.incidents,
            downtime=self._downtime,
            found=problems,
            key=app.context.new_message_key(),
            time_zone=app.config.time_zone,
        )
        send_lifecycle_notice(self._app.channels_notified_on("start"), message)

    def send_stop_notices(self) -> list[Thread]:
        """Start to notify the channels with ``notify_on: stop`` that the monitor stops."""
        app = self._app
        return send_lifecycle_notice(
            self._app.channels_notified_on("stop"),
            stopping_message(
                now=app.context.clock(), key=app.context.new_message_key(), time_zone=app.config.time_zone
            ),
        )

    def _health(self) -> tuple[Health, Mapping[str, datetime]]:
        scopes = self._app.context.poll_scopes
        with self._app.database.read() as store:
            found = queries.health(store, self._app.context.clock(), recently=RECENTLY)
            unlisted_since = discovery.unlisted_since(store)
        unlisted = {
            name: at for name, at in unlisted_since.items() if name in scopes and scopes[name].needs_user_list
        }
        return found, unlisted
