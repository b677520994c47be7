"""Who acknowledged which incident, until when, and how that ended."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select, update

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Incident, Reason
from monitor.storage.rows import as_incident, incident_query
from monitor.storage.tables import acknowledgements, incidents
from monitor.storage.transaction import Transaction


def acknowledge(
    store: Transaction,
    incident_id: int,
    now: datetime,
    *,
    author: str,
    comment: str,
    until: datetime | None,
) -> Incident | None:
    """
    Acknowledge an open incident, in place of an earlier acknowledgement.

    Returns:
        The incident as it was; None if there is no such incident. A resolved one is left as it is.
    """
    row = store.connection.execute(incident_query().where(incidents.c.id == incident_id)).mappings().first()
    if row is None or row["resolved_at"] is not None:
        return as_incident(row) if row else None
    close(store, [incident_id], now)
    store.connection.execute(
        insert(acknowledgements).values(
            incident_id=incident_id, created_by=author, comment=comment, acknowledged_at=now, until=until
        )
    )
    store.connection.execute(
        update(incidents)
        .where(incidents.c.id == incident_id)
        .values(acknowledged_at=now, acknowledged_by=author, acknowledged_until=until)
    )
    return as_incident(row)


def end_due(store: Transaction, now: datetime) -> int:
    """End the acknowledgements whose time has passed; return how many."""
    is_due = (incidents.c.resolved_at.is_(None), incidents.c.acknowledged_until <= now)
    ids = list(store.connection.execute(select(incidents.c.id).where(*is_due)).scalars())
    if ids:
        clear(store, ids)
        store.connection.execute(
            update(acknowledgements)
            .where(acknowledgements.c.incident_id.in_(ids), acknowledgements.c.ended_at.is_(None))
            .values(ended_at=acknowledgements.c.until)
        )
    return len(ids)


def end_outdated(store: Transaction, changes: Sequence[IncidentChange], now: datetime) -> None:
    """End the acknowledgements of incidents that were resolved, or escalated since somebody acknowledged them."""
    known = [(change.incident.id, change) for change in changes]
    escalated = [id_ for id_, change in known if id_ and change.reason is Reason.ESCALATED]
    resolved = [id_ for id_, change in known if id_ and not change.incident.is_open]
    if escalated:
        clear(store, escalated)
    if escalated or resolved:
        close(store, escalated + resolved, now)


def clear(store: Transaction, ids: Sequence[int]) -> None:
    """Make incidents unacknowledged."""
    store.connection.execute(
        update(incidents)
        .where(incidents.c.id.in_(ids))
        .values(acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)
    )


def close(store: Transaction, ids: Sequence[int], now: datetime) -> None:
    """Save that the acknowledgements of incidents have ended."""
    store.connection.execute(
        update(acknowledgements)
        .where(acknowledgements.c.incident_id.in_(ids), acknowledgements.c.ended_at.is_(None))
        .values(ended_at=now)
    )
