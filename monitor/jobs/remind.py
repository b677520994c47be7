"""Remind channels of what is still open; end acknowledgements whose time has come."""

from dataclasses import replace
from datetime import datetime

from monitor.clock import Clock
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routing.reminders import is_reminder_due
from monitor.core.routing.routes import Routing, labels_of, matching_routes, plan_notifications
from monitor.storage import notification_log, silences
from monitor.storage.database import Database
from monitor.storage.recording import RoutedChange
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
        silences.end_acknowledgements(store.connection, now)
    if not any(route.remind_every for route in routing.routes):
        return 0
    with database.read() as store:
        if not _due(store, routing, now):
            return 0
    with database.begin() as store:
        store.lock("remind")
        reminders = _due(store, routing, now)  # another program may have been faster
        notification_log.write_notifications(store.connection, reminders, now)
    return len(reminders)


def _due(store: Store, routing: Routing, now: datetime) -> list[RoutedChange]:
    routing = replace(routing, silences=store.active_silences(now))
    reminders: list[RoutedChange] = []
    for last, target in notification_log.last_notifications(store.connection):
        about = labels_of(last.incident, target, routing)
        if routing.active_silence(about):
            continue
        route = next(
            (each for each in matching_routes(about, routing.routes) if last.channel in each.channels), None
        )
        if route is None or route.remind_every is None:
            continue
        if is_reminder_due(last, now, every=route.remind_every, at_most=route.remind_at_most):
            change = IncidentChange(incident=last.incident, reason=Reason.REMINDER)
            planned = plan_notifications(change, target, routing, now)
            reminders.append((change, tuple(each for each in planned if each.channel == last.channel)))
    return reminders
