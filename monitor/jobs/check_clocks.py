"""Compare the local clock with the clocks of the APIs, and do what follows from a difference."""

from datetime import datetime, timedelta

import structlog

from monitor.api_clocks import ApiClock
from monitor.core.evaluation.incidents import IncidentChange, reconcile, resolve
from monitor.core.model import Incident, Resolution, RuleName, Subject
from monitor.core.routing.routes import tell_operators
from monitor.core.rules.base import Problem
from monitor.core.rules.clock_skew import APPLIED_BEYOND, check_clock
from monitor.core.text import one_line
from monitor.jobs.context import JobContext
from monitor.jobs.incident_changes import log_incident_changes
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()


def check_clocks(context: JobContext, *, may_poll: bool = True) -> int:
    """
    Log a difference that is new, open or resolve its incident, and evaluate again what it affects.

    Args:
        may_poll: whether to bring a poll forward that confirms the local clock.

    Returns:
        How many incidents opened, moved or ended.

    Raises:
        StorageError: the database can't be used; the next run makes up for it.
    """
    clocks = context.clocks.clocks()
    for clock in clocks:
        log_clock(clock)
        if clock.unconfirmed_for() is None:
            clock.handled.is_poll_requested = False
    now = context.clock()
    corrections = {clock: offset for clock in clocks if (offset := new_correction(clock)) is not None}
    unconfirmed = [
        clock for clock in context.clocks.unconfirmed() if may_poll and not clock.handled.is_poll_requested
    ]
    with context.database.read() as store:
        if not corrections and not unconfirmed and not clock_changes(store, context, now):
            return 0
    with context.database.begin() as store:
        store.lock("check clocks")
        changes = clock_changes(store, context, now)  # another program may have been faster
        store.save_incidents(changes, now, incident_channels=context.routing.incident_channels)
        for clock in corrections:
            store.invalidate_evaluations(now, context.clocks.accounts_of(clock.base_url))
        for clock in unconfirmed:
            store.poll_one_now(context.clocks.accounts_of(clock.base_url)[0], now)
    for clock, offset in corrections.items():
        clock.handled.correction = offset
    for clock in unconfirmed:
        clock.handled.is_poll_requested = True
    log_incident_changes(changes)
    return len(changes)


def clock_changes(store: Store, context: JobContext, now: datetime) -> list[RoutedChange]:
    """Return what changes about the clocks: what is wrong with them, compared with what is open."""
    open_ones = {each.subject.base_url: each for each in store.clock_incidents()}
    changes = [
        check_one(clock, open_ones.pop(clock.base_url, None), store, context, now)
        for clock in context.clocks.clocks()
    ]
    changes += [  # no account has that API any more
        resolve(each, Resolution.REMOVED, now, is_notified=False) for each in open_ones.values()
    ]
    found = [change for change in changes if change]
    if not found:
        return []
    routing = context.current_routing(store, now)
    return [(change, tell_operators(change, context.channels, routing, now)) for change in found]


def check_one(
    clock: ApiClock, incident: Incident | None, store: Store, context: JobContext, now: datetime
) -> IncidentChange | None:
    """Return what changes about one clock; a clock that comes and goes is flapping."""
    subject = Subject(base_url=clock.base_url)
    result = check_clock(clock.base_url, clock.offset())
    recent = 0
    if incident is None and isinstance(result, Problem):
        recent = store.openings(RuleName.CLOCK_SKEW, subject, since=context.recent_since(now))
    flapping = context.rules.flapping
    return reconcile(incident, result, subject=subject, now=now, recent_opens=recent, flapping=flapping)


def new_correction(clock: ApiClock) -> timedelta | None:
    """Return the correction that targets weren't evaluated by yet; None if it hardly differs, or isn't known."""
    if clock.unconfirmed_for() is not None:
        return None
    offset = clock.expiry_offset()
    return offset if abs(offset - clock.handled.correction) > APPLIED_BEYOND else None


def log_clock(clock: ApiClock) -> None:
    """Log once what is new about a clock: an ignored header, a difference, or its end."""
    handled, offset = clock.handled, clock.offset()
    if clock.ignored and clock.ignored not in handled.ignored_dates:
        handled.ignored_dates.add(clock.ignored)
        log.warning("clock.date_ignored", base_url=clock.base_url, date=one_line(clock.ignored, 40))
    if offset is None:
        return
    is_apart, was_apart = abs(offset) > APPLIED_BEYOND, abs(handled.logged_offset) > APPLIED_BEYOND
    if is_apart and abs(offset - handled.logged_offset) > APPLIED_BEYOND:
        handled.logged_offset = offset
        log.warning("clock.skewed", base_url=clock.base_url, ahead_seconds=-round(offset.total_seconds()))
    elif was_apart and not is_apart:
        handled.logged_offset = timedelta()
        log.info("clock.synchronized", base_url=clock.base_url)
