"""Tell services with incidents of their own that somebody acknowledged one, by whatever way that came about."""

from collections.abc import Mapping

from monitor.channels.channel import Channel
from monitor.channels.incident_channel import IncidentChannel
from monitor.clock import Clock
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routing.routes import PlannedNotification
from monitor.storage import notification_log
from monitor.storage.database import Database


def pass_on_acknowledgements(channels: Mapping[str, Channel], *, database: Database, clock: Clock) -> int:
    """
    Write a row for every acknowledgement that a service doesn't know of yet.

    Args:
        channels: those to services that can be told are, about incidents that they know.

    Returns:
        How many were written.
    """
    names = [
        name
        for name, channel in channels.items()
        if isinstance(channel, IncidentChannel) and channel.takes_acknowledgements
    ]
    if not names:
        return 0
    with database.read() as store:
        if not notification_log.unknown_acknowledgements(store.connection, names):
            return 0
    with database.begin() as store:
        store.lock("remind")
        found = notification_log.unknown_acknowledgements(
            store.connection, names
        )  # another program may have been faster
        now = clock()
        for incident, channel in found:
            # Not before it was acknowledged, or it would be passed on again: the clock may have been set back.
            at = max(now, incident.acknowledged_at or now)
            change = IncidentChange(incident=incident, reason=Reason.ACKNOWLEDGED)
            notification = PlannedNotification(
                channel=channel, group="", reason=Reason.ACKNOWLEDGED, due_at=now
            )
            notification_log.write_notifications(store.connection, [(change, (notification,))], at)
    return len(found)
