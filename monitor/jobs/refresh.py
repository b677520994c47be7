"""Send again what is open to services that resolve what they don't hear of; nothing is written."""

from collections.abc import Mapping, Sequence

import structlog

from monitor.channels.channel import Channel
from monitor.channels.incident_channel import IncidentChannel
from monitor.clock import Clock
from monitor.core.messages.events import Event, event_again
from monitor.errors import DeliveryError
from monitor.logs import scrub
from monitor.storage.database import Database
from monitor.storage.installation import installation_id
from monitor.storage.notification_items import told_and_open

log = structlog.get_logger()


def refresh(
    channels: Mapping[str, Channel], *, database: Database, dashboards: Mapping[str, str], clock: Clock
) -> int:
    """
    Send every incident that is open and was told, with the severity that was told.

    What could not be sent is sent a minute later anyway.

    Args:
        dashboards: where to reconnect by hand, by account.

    Returns:
        How many incidents were sent.
    """
    sent = 0
    for name, channel in channels.items():
        if not (isinstance(channel, IncidentChannel) and channel.is_forgetful):
            continue

        def load(name: str = name) -> Sequence[Event]:
            with database.read() as store:
                items = told_and_open(store.connection, name, dashboards)
                installation = installation_id(store.connection) if items else ""
            return [event_again(item, installation=installation, now=clock()) for item in items]

        try:
            sent += channel.refresh(load)
        except DeliveryError as error:
            log.warning("channel.refresh_failed", channel=name, error=scrub(str(error)))
    return sent
