"""Remind channels of what is still open; end acknowledgements whose time has come."""

from dataclasses import replace
from datetime import datetime

from monitor.clock import Clock
from monitor.core.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.reminders import is_reminder_due
from monitor.core.routes import Routing, circumstances, matching, tell
from monitor.storage import Database, people, told
from monitor.storage.recording import Told
from monitor.storage.store import Store


def remind(*, database: Database, routing: Routing, clock: Clock) -> int:
    """
    Write a reminder for every channel that is due one.

    What was told when is read from the outbox, so the beat survives restarts and other configurations.

    Returns:
        How many incidents channels are reminded of.
    """
    now = clock()
    with database.begin() as store:
        people.end_acknowledgements(store.connection, now)
    if not any(route.remind_every for route in routing.routes):
        return 0
    with database.read() as store:
        if not _due(store, routing, now):
            return 0
    with database.begin() as store:
        store.take_turns("remind")
        reminders = _due(store, routing, now)  # another program may have been faster
        told.write(store.connection, reminders, now)
    return len(reminders)


def _due(store: Store, routing: Routing, now: datetime) -> list[Told]:
    routing = replace(routing, silences=store.silences(now))
    reminders: list[Told] = []
    for last, target in told.last_told(store.connection):
        about = circumstances(last.incident, target, routing)
        if routing.silence(about):
            continue
        route = next(
            (each for each in matching(about, routing.routes) if last.channel in each.channels), None
        )
        if route is None or route.remind_every is None:
            continue
        if is_reminder_due(last, now, every=route.remind_every, at_most=route.remind_at_most):
            change = IncidentChange(incident=last.incident, reason=Reason.REMINDER)
            tellings = tell(change, target, routing, now)
            reminders.append((change, tuple(each for each in tellings if each.channel == last.channel)))
    return reminders
