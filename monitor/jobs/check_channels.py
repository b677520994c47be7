"""
Check the channels themselves: whether they take messages, and whether each was last notified of what is true.

A channel that takes no messages is an incident that the other channels are notified of.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import structlog

from monitor.core.evaluation.incidents import IncidentChange, reconcile, resolve
from monitor.core.model import Reason, Resolution, Subject
from monitor.core.routing.routes import plan_notifications, tell_operators, unreachable_users
from monitor.core.rules.channel_failing import ChannelState, check_channel
from monitor.jobs.context import JobContext
from monitor.jobs.incident_changes import log_incident_changes
from monitor.storage import dead_letters, managed_users, notification_log
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()


def check_channels(context: JobContext) -> int:
    """
    Evaluate every channel by its deliveries, and notify it of what is worse than its last message said.

    Once a channel takes messages again, its dead letters of what is still wrong are due again, and so is the end of
    what it was notified of. While it takes none, they are tried again every other day. The incident of a channel that
    is no longer configured ends as removed.

    Returns:
        How many incidents opened, moved or ended.
    """
    now = context.clock()
    with context.database.read() as store:
        changes, failing = channel_changes(store, context, now)
        if not changes and not escalations(store, context, now) and not stuck_letters(store, failing, now):
            return 0
    with context.database.begin() as store:
        store.lock("check channels")
        changes, failing = channel_changes(store, context, now)  # another program may have been faster
        store.save_incidents(changes, now, incident_channels=context.routing.incident_channels)
        worse = escalations(store, context, now)
        notification_log.write_notifications(store, worse, now)
        recovered = {
            change.incident.subject.channel or ""
            for change, _ in changes
            if change.incident.resolution is Resolution.RECOVERED
        }
        lost = {
            *stuck_letters(store, failing, now),
            *dead_letters.lost(store, channels=recovered),
        }
        dead_letters.requeue(store, lost, now)
    log_incident_changes(changes)
    if worse or lost:
        log.info("notifications.backfilled", written=len(worse), revived=len(lost))
    return len(changes)


def channel_changes(store: Store, context: JobContext, now: datetime) -> tuple[list[RoutedChange], set[str]]:
    """Return what changes about channels, and those that were failing until now."""
    routing = context.current_routing(store, now)
    known = {state.channel: state for state in notification_log.channel_states(store)}
    users = managed_users.active_users(store) if routing.clients else []
    for name in routing.clients:
        known[name] = replace(
            known.get(name, ChannelState(channel=name)),
            notifies_clients=True,
            unreachable_users=tuple(unreachable_users(name, users, routing)),
        )
    changes: list[RoutedChange] = []
    for state in known.values():
        subject = Subject(channel=state.channel)
        if state.channel not in context.channels:
            change = state.incident and resolve(state.incident, Resolution.REMOVED, now, is_notified=False)
        else:
            change = reconcile(state.incident, check_channel(state, now), subject=subject, now=now)
        if change:
            planned = tell_operators(change, context.channels, routing, now, itself=state.channel)
            changes.append((change, planned))
    return changes, {state.channel for state in known.values() if state.incident}


def escalations(store: Store, context: JobContext, now: datetime) -> list[RoutedChange]:
    """
    Plan to notify each channel whose last message about an open incident named a milder severity.

    An incident that got worse and better again before the message was sent was sent as it was then. When it gets
    worse once more, that is no news by what was written, only by what was sent.
    """
    routing = context.current_routing(store, now)
    worse: list[RoutedChange] = []
    for incident, target, channel in notification_log.heard_milder(store):
        change = IncidentChange(incident=incident, reason=Reason.ESCALATED)
        news = tuple(
            each for each in plan_notifications(change, target, routing, now) if each.channel == channel
        )
        if news:
            worse.append((change, news))
    return worse


def stuck_letters(store: Store, failing: Collection[str], now: datetime) -> list[int]:
    """Return the dead letters of failing channels that are to be tried again by now."""
    if not failing:
        return []
    tried_before = now - dead_letters.TRIED_AGAIN_AFTER
    return dead_letters.lost(store, channels=failing, tried_before=tried_before)
