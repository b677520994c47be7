"""
Check the channels themselves: whether they take messages, and whether they were last told what is true.

A channel that takes no messages is an incident that the others are told of.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import structlog

from monitor.clock import Clock
from monitor.core.evaluation.incidents import IncidentChange, reconcile, resolve
from monitor.core.model import Reason, Resolution, Subject
from monitor.core.routing.routes import Routing, plan_notifications, tell_operators, unreachable_users
from monitor.core.rules.channel_failing import ChannelState, check_channel
from monitor.jobs import log_incident_changes
from monitor.storage import dead_letters, managed_users, notification_log
from monitor.storage.database import Database
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()


def check_channels(channels: Collection[str], *, database: Database, routing: Routing, clock: Clock) -> int:
    """
    Judge every channel by how it took what it was sent, and tell it what is worse than it was last told.

    Once it takes messages again, what was given up meanwhile and is still wrong is due again, and so is the end
    of what it was told of. While it takes none, that is tried again every other day.

    Args:
        channels: the names of those that are configured; an incident of another ends as removed.

    Returns:
        How many incidents opened, moved or ended.
    """
    now = clock()
    with database.read() as store:
        judged, failing = _evaluated(store, channels, routing, now)
        is_quiet = not judged and not _worse_than_told(store, routing, now)
        if is_quiet and not (failing and _lost(store, failing, now)):
            return 0
    with database.begin() as store:
        store.lock("oversee")
        judged, failing = _evaluated(store, channels, routing, now)  # another program may have been faster
        store.save_incidents(judged, now, incident_channels=routing.incident_channels)
        worse = _worse_than_told(store, routing, now)
        notification_log.write_notifications(store.connection, worse, now)
        back = {
            change.incident.subject.channel or ""
            for change, _ in judged
            if change.incident.resolution is Resolution.RECOVERED
        }
        lost = {*_lost(store, failing, now), *dead_letters.lost(store.connection, channels=back)}
        dead_letters.requeue(store.connection, lost, now)
    log_incident_changes(judged)
    if worse or lost:
        log.info("notifications.backfilled", written=len(worse), revived=len(lost))
    return len(judged)


def _lost(store: Store, failing: Collection[str], now: datetime) -> list[int]:
    tried_before = now - dead_letters.TRIED_AGAIN_AFTER
    return dead_letters.lost(store.connection, channels=failing, tried_before=tried_before)


def _evaluated(
    store: Store, channels: Collection[str], routing: Routing, now: datetime
) -> tuple[list[RoutedChange], set[str]]:
    """Return what changes about channels, and those that were failing so far."""
    known = {state.channel: state for state in notification_log.channel_states(store.connection)}
    users = managed_users.active_users(store.connection) if routing.clients else []
    routing = replace(routing, silences=store.active_silences(now))
    for name in routing.clients:
        alone = tuple(unreachable_users(name, users, routing))
        known[name] = replace(
            known.get(name, ChannelState(channel=name)), notifies_clients=True, unreachable_users=alone
        )
    judged: list[RoutedChange] = []
    for state in known.values():
        subject = Subject(channel=state.channel)
        if state.channel not in channels:
            change = state.incident and resolve(state.incident, Resolution.REMOVED, now, is_notified=False)
        else:
            change = reconcile(state.incident, check_channel(state, now), subject=subject, now=now)
        if change:
            planned = tell_operators(change, channels, routing, now, itself=state.channel)
            judged.append((change, planned))
    return judged, {state.channel for state in known.values() if state.incident}


def _worse_than_told(store: Store, routing: Routing, now: datetime) -> list[RoutedChange]:
    """
    Notify each channel whose last message about an open incident said a milder severity.

    An incident that got worse and better again before the message went out was sent as it was then. When it gets
    worse once more, that is no news by what was written, only by what was sent.
    """
    routing = replace(routing, silences=store.active_silences(now))
    worse: list[RoutedChange] = []
    for incident, target, channel in notification_log.heard_milder(store.connection):
        change = IncidentChange(incident=incident, reason=Reason.ESCALATED)
        news = tuple(
            each for each in plan_notifications(change, target, routing, now) if each.channel == channel
        )
        if news:
            worse.append((change, news))
    return worse
