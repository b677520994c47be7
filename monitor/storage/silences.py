"""What people say of incidents: who has one in hand, what is not to be told for a while."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, or_, select, update

from monitor.core.model import Incident
from monitor.core.routing.routes import Matcher, Routing, Silence, labels_of
from monitor.storage import outbox
from monitor.storage.rows import as_incident, incident_query, target_of
from monitor.storage.tables import acknowledgements, incidents, notifications, silences, targets
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
    Put an open incident into somebody's hands; whoever had it before has it no more.

    Returns:
        The incident as it was; None where there is no such incident. A resolved one is left as it is.
    """
    row = store.connection.execute(incident_query().where(incidents.c.id == incident_id)).mappings().first()
    if row is None or row["resolved_at"] is not None:
        return as_incident(row) if row else None
    store.connection.execute(
        update(acknowledgements)
        .where(acknowledgements.c.incident_id == incident_id, acknowledgements.c.ended_at.is_(None))
        .values(ended_at=now)
    )
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


def end_acknowledgements(store: Transaction, now: datetime) -> int:
    """End those whose time has come; returns how many."""
    over = store.connection.execute(
        select(incidents.c.id).where(incidents.c.resolved_at.is_(None), incidents.c.acknowledged_until <= now)
    ).scalars()
    ids = list(over)
    if ids:
        store.connection.execute(
            update(incidents)
            .where(incidents.c.id.in_(ids))
            .values(acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)
        )
        store.connection.execute(
            update(acknowledgements)
            .where(acknowledgements.c.incident_id.in_(ids), acknowledgements.c.ended_at.is_(None))
            .values(ended_at=acknowledgements.c.until)
        )
    return len(ids)


def add_silence(
    store: Transaction,
    match: Mapping[str, Sequence[str]],
    now: datetime,
    *,
    until: datetime,
    author: str,
    comment: str,
    routing: Routing,
) -> int:
    """
    Begin a silence: what is waiting to be told and matches is held back with it.

    Returns:
        The id of the silence.
    """
    statement = (
        insert(silences)
        .values(match=json.dumps(match), created_by=author, comment=comment, starts_at=now, ends_at=until)
        .returning(silences.c.id)
    )
    id_: int = store.connection.execute(statement).scalar_one()
    whole = Matcher(**{key: tuple(patterns) for key, patterns in match.items()})  # type: ignore[arg-type]  # no labels
    _suppress_pending(store, Silence(id=id_, match=whole, ends_at=until), routing)
    return id_


def expire_silence(store: Transaction, id_: int, now: datetime, *, author: str, routing: Routing) -> bool:
    """
    End a silence before its time: what it held back and is still wrong is told now, unless another holds it.

    Returns:
        False where no such silence is in force.
    """
    ended = store.connection.execute(
        update(silences)
        .where(silences.c.id == id_, silences.c.ended_at.is_(None), silences.c.ends_at > now)
        .values(ended_at=now, ended_by=author)
    )
    if not ended.rowcount:
        return False
    store.connection.execute(
        update(notifications)
        .where(outbox.PENDING, notifications.c.silence_id == id_)
        .values(due_at=now, suppressed_until=None)
    )
    for other in routing.silences:
        if other.id != id_:
            _suppress_pending(store, other, routing)
    return True


def list_silences(store: Transaction, now: datetime, *, everything: bool) -> list[dict[str, Any]]:
    """List the silences that are in force, or all there ever were, newest first."""
    query = select(silences).order_by(silences.c.id.desc())
    if not everything:
        query = query.where(silences.c.ends_at > now, silences.c.ended_at.is_(None))
    return [{**row, "match": json.loads(row["match"])} for row in store.connection.execute(query).mappings()]


def _suppress_pending(store: Transaction, silence: Silence, routing: Routing) -> None:
    """
    Hold back what is waiting and matches, until the silence ends.

    A message that may be out is left to its next attempt, which holds it back: it keeps its key if it can.
    """
    waiting = (
        incident_query()
        .add_columns(targets.c.managed_user_id, targets.c.managed_user)
        .join(targets, targets.c.id == incidents.c.target_id, isouter=True)
        .where(incidents.c.id.in_(select(notifications.c.incident_id).where(outbox.PENDING)))
    )
    held = [
        row["id"]
        for row in store.connection.execute(waiting).mappings()
        if silence.match.matches(labels_of(as_incident(row), target_of(row), routing))
    ]
    if held:
        store.connection.execute(
            update(notifications)
            .where(
                outbox.PENDING,
                notifications.c.message_key.is_(None),
                notifications.c.incident_id.in_(held),
                or_(notifications.c.due_at < silence.ends_at, notifications.c.silence_id.is_(None)),
            )
            .values(
                silence_id=silence.id,
                due_at=silence.ends_at,
                suppressed_until=silence.ends_at,
                first_attempt_at=None,
                error=None,
            )
        )
