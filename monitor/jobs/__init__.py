"""One pass of work each: the order in which we touch the outside and decide."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from monitor.core.incidents import IncidentChange
from monitor.core.model import Target
from monitor.core.routes import Routing, tell
from monitor.storage.recording import Told
from monitor.storage.store import Store

log = structlog.get_logger()


def record_changes(
    changes: Sequence[tuple[IncidentChange, Target | None]], *, store: Store, routing: Routing, now: datetime
) -> list[Told]:
    """Record what happened to incidents, and who is to be told of it."""
    if not changes:
        return []
    routing = replace(routing, silences=store.silences(now))
    told: list[Told] = [(change, tell(change, target, routing, now)) for change, target in changes]
    store.record_incidents(told, now, incident_channels=routing.incident_channels)
    return told


def log_told(told: Iterable[Told]) -> None:
    """Log incidents that opened, got worse or ended: one line each."""
    for change, _ in told:
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
