"""Watch the channels themselves: one that takes no messages is told through the others."""

from collections.abc import Collection
from dataclasses import replace

from monitor.clock import Clock
from monitor.core.channel_rule import ChannelState, look_at_channel
from monitor.core.incidents import reconcile, resolve
from monitor.core.model import Resolution, Subject
from monitor.core.routes import Routing, tell, unreached
from monitor.jobs import log_told
from monitor.storage import Database, told, workspaces
from monitor.storage.recording import Told


def oversee(channels: Collection[str], *, database: Database, routing: Routing, clock: Clock) -> int:
    """
    Judge every channel by how it took what it was sent.

    Args:
        channels: the names of those that are configured; an incident of another ends as removed.

    Returns:
        How many incidents opened, moved or ended.
    """
    now = clock()
    with database.read() as store:
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
            others = (each for each in tell(change, None, routing, now) if each.channel != state.channel)
            judged.append((change, tuple(others)))
    if judged:
        with database.begin() as store:
            store.record_incidents(judged, now)
        log_told(judged)
    return len(judged)
