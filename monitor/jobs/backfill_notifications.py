"""Tell channels of what is open and was never theirs to hear: they, or their routes, are new."""

from collections.abc import Collection
from dataclasses import replace

import structlog

from monitor.clock import Clock
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routing.routes import Routing, plan_notifications
from monitor.storage import dead_letters, notification_log
from monitor.storage.database import Database
from monitor.storage.recording import RoutedChange

log = structlog.get_logger()


def backfill_notifications(
    channels: Collection[str], *, database: Database, routing: Routing, clock: Clock
) -> int:
    """
    Bring what is open to whoever the configuration says should know and was never written to.

    To be done whenever the configuration may have changed. A channel that was renamed is a new one; what was
    given up for one that takes messages again, or is back, is due again.

    Returns:
        How many rows were written, or made due again.
    """
    now = clock()
    with database.begin() as store:
        store.lock("catch up")
        lost = dead_letters.lost(
            store.connection, channels=channels, attempts_below=dead_letters.MAX_ATTEMPTS
        )
        dead_letters.requeue(store.connection, lost, now)
        routing = replace(routing, silences=store.active_silences(now))
        known = notification_log.notified_pairs(store.connection)
        missing: list[RoutedChange] = []
        for incident, target in notification_log.open_incidents(store.connection):
            if not incident.is_notifiable:
                continue
            change = IncidentChange(incident=incident, reason=Reason.OPENED)
            news = tuple(
                each
                for each in plan_notifications(change, target, routing, now)
                if (incident.id, each.channel) not in known and each.channel != incident.subject.channel
            )
            if news:
                missing.append((change, news))
        notification_log.write_notifications(store.connection, missing, now)
    written = sum(len(planned) for _, planned in missing)
    if written or lost:
        log.info("notifications.backfilled", written=written, revived=len(lost))
    return written + len(lost)
