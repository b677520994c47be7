"""Remind channels of what is still open; end acknowledgements whose time has come."""

from datetime import datetime

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routing.reminders import is_reminder_due
from monitor.core.routing.routes import labels_of, matching_routes, plan_notifications
from monitor.jobs.context import JobContext
from monitor.storage import acknowledgements, notification_log
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store


def remind(context: JobContext) -> int:
    """
    Write a reminder for every channel that is due one.

    When a channel was last notified is read from the outbox, so reminders survive restarts and other configurations.

    Returns:
        How many reminders were written.
    """
    now = context.clock()
    with context.database.begin() as store:
        acknowledgements.end_due(store, now)
    if not any(route.remind_every for route in context.routing.routes):
        return 0
    with context.database.read() as store:
        if not due_reminders(store, context, now):
            return 0
    with context.database.begin() as store:
        store.lock("remind")
        reminders = due_reminders(store, context, now)  # another program may have been faster
        notification_log.write_notifications(store, reminders, now)
    return len(reminders)


def due_reminders(store: Store, context: JobContext, now: datetime) -> list[RoutedChange]:
    """Plan the reminders that are due: of open incidents that are neither acknowledged nor silenced."""
    routing = context.current_routing(store, now)
    reminders: list[RoutedChange] = []
    for last, target in notification_log.last_notifications(store):
        about = labels_of(last.incident, target, routing)
        if routing.active_silence(about):
            continue
        routes = matching_routes(about, routing.routes)
        route = next((each for each in routes if last.channel in each.channels), None)
        if route is None or route.remind_every is None:
            continue
        if is_reminder_due(last, now, every=route.remind_every, at_most=route.remind_at_most):
            change = IncidentChange(incident=last.incident, reason=Reason.REMINDER)
            planned = plan_notifications(change, target, routing, now)
            reminders.append((change, tuple(each for each in planned if each.channel == last.channel)))
    return reminders
