"""Watch the channels themselves: one that takes no messages is told through the others."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from monitor.clock import Clock
from monitor.core.channel_rule import ChannelState, look_at_channel
from monitor.core.incidents import IncidentChange, reconcile, resolve
from monitor.core.model import Resolution, Subject
from monitor.core.routes import Route, Routing, Telling, tell, unreached
from monitor.jobs import log_told
from monitor.storage import Database, dead_letters, told, workspaces
from monitor.storage.recording import Told
from monitor.storage.store import Store


def oversee(channels: Collection[str], *, database: Database, routing: Routing, clock: Clock) -> int:
    """
    Judge every channel by how it took what it was sent.

    Once it takes messages again, what was given up meanwhile and is still wrong is due again.

    Args:
        channels: the names of those that are configured; an incident of another ends as removed.

    Returns:
        How many incidents opened, moved or ended.
    """
    now = clock()
    with database.read() as store:
        if not _judged(store, channels, routing, now):
            return 0
    with database.begin() as store:
        store.take_turns("oversee")
        judged = _judged(store, channels, routing, now)  # another program may have been faster
        store.record_incidents(judged, now, incident_channels=routing.incident_channels)
        back = {
            change.incident.subject.channel or ""
            for change, _ in judged
            if change.incident.resolution is Resolution.RECOVERED
        }
        if back:
            dead_letters.revive_lost(store.connection, now, channels=back)
    log_told(judged)
    return len(judged)


def _judged(store: Store, channels: Collection[str], routing: Routing, now: datetime) -> list[Told]:
    known = {state.channel: state for state in told.channel_states(store.connection)}
    users = workspaces.watched_users(store.connection) if routing.clients else []
    routing = replace(routing, silences=store.silences(now))
    for name in routing.clients:
        alone = tuple(unreached(name, users, routing))
        known[name] = replace(
            known.get(name, ChannelState(channel=name)), tells_clients=True, unreached=alone
        )
    judged: list[Told] = []
    for state in known.values():
        subject = Subject(channel=state.channel)
        if state.channel not in channels:
            change = state.incident and resolve(state.incident, Resolution.REMOVED, now, told=False)
        else:
            change = reconcile(state.incident, look_at_channel(state, now), subject=subject, now=now)
        if change:
            judged.append((change, _others(change, channels, routing, now)))
    return judged


def _others(
    change: IncidentChange, channels: Collection[str], routing: Routing, now: datetime
) -> tuple[Telling, ...]:
    """Tell those that the routes say; where that is nobody but the channel itself, all the others."""
    itself = change.incident.subject.channel
    others = tuple(each for each in tell(change, None, routing, now) if each.channel != itself)
    rest = tuple(name for name in channels if name != itself and name not in routing.clients)
    if others or not rest:
        return others
    return tell(change, None, replace(routing, routes=[Route(channels=rest)]), now)
