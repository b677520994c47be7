"""Send open incidents again to services that resolve what they aren't reminded of; nothing is written."""

from functools import partial

import structlog

from monitor.channels.incident_channel import IncidentChannel
from monitor.core.messages.events import Event, event_again
from monitor.errors import DeliveryError
from monitor.jobs.context import JobContext
from monitor.logs import scrub
from monitor.storage.installation import installation_id
from monitor.storage.notification_items import told_and_open

log = structlog.get_logger()


def refresh(context: JobContext) -> int:
    """
    Send every incident again that is open and was sent, with the severity that was sent.

    What can't be sent is sent a minute later anyway.

    Returns:
        How many incidents were sent.
    """
    sent = 0
    for name, channel in context.channels.items():
        if not (isinstance(channel, IncidentChannel) and channel.is_forgetful):
            continue
        try:
            sent += channel.refresh(partial(load_events, name, context))
        except DeliveryError as error:
            log.warning("channel.refresh_failed", channel=name, error=scrub(str(error)))
    return sent


def load_events(channel: str, context: JobContext) -> list[Event]:
    """Load what a channel was sent and is open, as events to be sent again."""
    with context.database.read() as store:
        items = told_and_open(store, channel, context.dashboards)
        installation = installation_id(store) if items else ""
    time_zone = context.channels[channel].time_zone
    return [
        event_again(item, installation=installation, now=context.clock(), time_zone=time_zone)
        for item in items
    ]
