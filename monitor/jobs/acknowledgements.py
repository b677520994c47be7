"""Notify incident services that somebody acknowledged an incident, in whatever way that happened."""

from monitor.channels.incident_channel import IncidentChannel
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routing.routes import PlannedNotification
from monitor.jobs.context import JobContext
from monitor.storage import notification_log


def pass_on_acknowledgements(context: JobContext) -> int:
    """
    Write a notification of every acknowledgement that an incident service doesn't know of yet.

    Returns:
        How many were written.
    """
    names = [
        name
        for name, channel in context.channels.items()
        if isinstance(channel, IncidentChannel) and channel.takes_acknowledgements
    ]
    if not names:
        return 0
    with context.database.read() as store:
        if not notification_log.unknown_acknowledgements(store, names):
            return 0
    with context.database.begin() as store:
        store.lock("remind")
        # Read again: another program may have been faster.
        found = notification_log.unknown_acknowledgements(store, names)
        now = context.clock()
        for incident, channel in found:
            # Not before it was acknowledged, or it would be passed on again: the clock may have been set back.
            at = max(now, incident.acknowledged_at or now)
            change = IncidentChange(incident=incident, reason=Reason.ACKNOWLEDGED)
            notification = PlannedNotification(
                channel=channel, group="", reason=Reason.ACKNOWLEDGED, due_at=now
            )
            notification_log.write_notifications(store, [(change, (notification,))], at)
    return len(found)
