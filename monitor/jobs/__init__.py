"""One pass of work each: the order in which we touch the outside and decide."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Target
from monitor.core.routing.routes import Routing, plan_notifications
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()


def record_changes(
    changes: Sequence[tuple[IncidentChange, Target | None]], *, store: Store, routing: Routing, now: datetime
) -> list[RoutedChange]:
    """Record what happened to incidents, and who is to be told of it."""
    if not changes:
        return []
    routing = replace(routing, silences=store.active_silences(now))
    notified: list[RoutedChange] = [
        (change, plan_notifications(change, target, routing, now)) for change, target in changes
    ]
    store.save_incidents(notified, now, incident_channels=routing.incident_channels)
    return notified


def log_incident_changes(changes: Iterable[RoutedChange]) -> None:
    """Log incidents that opened, got worse or ended: one line each."""
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
