"""Notify channels of what was open before they, or their routes, were configured."""

import structlog

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Reason
from monitor.core.routing.routes import plan_notifications
from monitor.jobs.context import JobContext
from monitor.storage import dead_letters, notification_log
from monitor.storage.recording import RoutedChange

log = structlog.get_logger()


def backfill_notifications(context: JobContext) -> int:
    """
    Notify each channel of the open incidents that its routes match and it was never notified of.

    Run it whenever the configuration may have changed. A channel that was renamed is a new one. Dead letters of a
    channel that works again, or is back, become due again.

    Returns:
        How many notifications were written, or became due again.
    """
    now = context.clock()
    with context.database.begin() as store:
        store.lock("backfill")
        lost = dead_letters.lost(store, channels=context.channels, attempts_below=dead_letters.MAX_ATTEMPTS)
        dead_letters.requeue(store, lost, now)
        routing = context.current_routing(store, now)
        known = notification_log.notified_pairs(store)
        missing: list[RoutedChange] = []
        for incident, target in notification_log.open_incidents(store):
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
        notification_log.write_notifications(store, missing, now)
    written = sum(len(planned) for _, planned in missing)
    if written or lost:
        log.info("notifications.backfilled", written=written, revived=len(lost))
    return written + len(lost)
