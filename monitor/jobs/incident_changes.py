"""Save and log what jobs find to change about incidents."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import structlog

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Target
from monitor.core.routing.routes import plan_notifications
from monitor.jobs.context import JobContext
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()


def record_changes(
    changes: Sequence[tuple[IncidentChange, Target | None]], store: Store, context: JobContext, now: datetime
) -> list[RoutedChange]:
    """Save what happened to incidents, and plan which channels are notified of it."""
    if not changes:
        return []
    routing = context.current_routing(store, now)
    routed: list[RoutedChange] = [
        (change, plan_notifications(change, target, routing, now)) for change, target in changes
    ]
    store.save_incidents(routed, now, incident_channels=routing.incident_channels)
    return routed


def log_incident_changes(changes: Iterable[RoutedChange]) -> None:
    """Log incidents that opened, escalated or ended: one line each."""
    for change, _ in changes:
        if change.reason:
            incident = change.incident
            log.info(
                f"incident.{change.reason}",
                rule=incident.rule,
                severity=incident.severity,
                account=incident.subject.account,
                target=incident.subject.target_id,
                platform_id=incident.subject.platform_id,
                summary=incident.summary,
            )
