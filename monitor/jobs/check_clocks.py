"""Compare the local clock with the clocks of the APIs, and see to what follows from a difference."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from monitor.api_clocks import ApiClock, ApiClocks
from monitor.clock import Clock
from monitor.core.evaluation.incidents import IncidentChange, reconcile, resolve
from monitor.core.model import Incident, Resolution, RuleName, Subject
from monitor.core.routing.routes import Routing, tell_operators
from monitor.core.rules.base import Problem
from monitor.core.rules.clock_skew import APPLIED_BEYOND, check_clock
from monitor.core.rules.damping import Flapping
from monitor.core.text import one_line
from monitor.jobs import log_incident_changes
from monitor.storage.database import Database
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Known:
    """
    What this process has already done about one clock.

    Args:
        applied: the correction by which the targets were last evaluated.
        logged: the offset that the log was last told of.
        ignored: why a ``Date`` header was ignored, each reason once.
        is_asked: whether a poll was brought forward to confirm the local clock.
    """

    applied: timedelta = timedelta()
    logged: timedelta = timedelta()
    ignored: set[str] = field(default_factory=set)
    is_asked: bool = False


class CheckClocks:
    """
    The job.

    Args:
        channels: the names of those that are configured.
        flapping: when a clock that comes and goes is told as flapping.
    """

    def __init__(
        self,
        clocks: ApiClocks,
        *,
        channels: Collection[str],
        database: Database,
        routing: Routing,
        flapping: Flapping,
        clock: Clock,
    ) -> None:
        self._clocks = clocks
        self._channels = channels
        self._database = database
        self._routing = routing
        self._flapping = flapping
        self._clock = clock
        self._known = {each.base_url: _Known() for each in clocks.clocks()}

    def __call__(self, *, may_poll: bool = True) -> int:
        """
        Log a difference that is new, open or resolve its incident, and evaluate anew what it touches.

        Args:
            may_poll: whether to bring a poll forward that confirms the local clock.

        Returns:
            How many incidents opened, moved or ended.

        Raises:
            StorageError: the database can't be used; the next run makes up for it.
        """
        for each in self._clocks.clocks():
            self._log(each)
        now = self._clock()
        with self._database.read() as store:
            is_idle = (
                not self._changes(store, now) and not self._moved() and not (may_poll and self._unasked())
            )
        if is_idle:
            return 0
        with self._database.begin() as store:
            store.lock("check clocks")
            notified = self._changes(store, now)  # another program may have been faster
            store.save_incidents(notified, now)
            moved, unasked = self._moved(), self._unasked() if may_poll else []
            for url in moved:
                store.invalidate_evaluations(now, self._clocks.accounts_of(url))
            for url in unasked:
                store.poll_one_now(self._clocks.accounts_of(url)[0], now)
        for url, applied in moved.items():
            self._known[url].applied = applied
        for url in unasked:
            self._known[url].is_asked = True
        log_incident_changes(notified)
        return len(notified)

    def _changes(self, store: Store, now: datetime) -> list[RoutedChange]:
        """Compare what is wrong with the clocks with what is open about them."""
        open_ones = {each.subject.base_url: each for each in store.clock_incidents()}
        changes = [
            self._judge(each, open_ones.pop(each.base_url, None), store, now)
            for each in self._clocks.clocks()
        ]
        changes += [  # no account has that API any more
            resolve(each, Resolution.REMOVED, now, is_notified=False) for each in open_ones.values()
        ]
        found = [change for change in changes if change]
        if not found:
            return []
        routing = replace(self._routing, silences=store.active_silences(now))
        return [(change, tell_operators(change, self._channels, routing, now)) for change in found]

    def _judge(
        self, clock: ApiClock, incident: Incident | None, store: Store, now: datetime
    ) -> IncidentChange | None:
        subject = Subject(base_url=clock.base_url)
        verdict = check_clock(clock.base_url, clock.offset())
        recent = 0
        if incident is None and isinstance(verdict, Problem):
            since = now - self._flapping.window
            recent = store.openings(RuleName.CLOCK_SKEW, subject, since=since)
        return reconcile(
            incident, verdict, subject=subject, now=now, recent_opens=recent, flapping=self._flapping
        )

    def _moved(self) -> dict[str, timedelta]:
        """Return the new corrections, by base URL: what was evaluated by another one must be evaluated anew."""
        return {
            each.base_url: applied
            for each in self._clocks.clocks()
            if each.unconfirmed_for() is None
            and abs((applied := each.expiry_offset()) - self._known[each.base_url].applied) > APPLIED_BEYOND
        }

    def _unasked(self) -> list[str]:
        """Return the base URLs whose clocks no poll is about to confirm."""
        waiting = {each.base_url for each in self._clocks.unconfirmed()}
        for url, known in self._known.items():
            known.is_asked = known.is_asked and url in waiting
        return [url for url in sorted(waiting) if not self._known[url].is_asked]

    def _log(self, clock: ApiClock) -> None:
        known, offset = self._known[clock.base_url], clock.offset()
        if clock.ignored and clock.ignored not in known.ignored:
            known.ignored.add(clock.ignored)
            log.warning("clock.date_ignored", base_url=clock.base_url, date=one_line(clock.ignored, 40))
        if offset is None:
            return
        is_apart, was_apart = abs(offset) > APPLIED_BEYOND, abs(known.logged) > APPLIED_BEYOND
        if is_apart and abs(offset - known.logged) > APPLIED_BEYOND:
            known.logged = offset
            log.warning("clock.skewed", base_url=clock.base_url, ahead_seconds=-round(offset.total_seconds()))
        elif was_apart and not is_apart:
            known.logged = timedelta()
            log.info("clock.synchronized", base_url=clock.base_url)
