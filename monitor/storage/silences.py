"""Silences: which notifications are suppressed, until when, and how that ends."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert, or_, select, update

from monitor.core.routing.routes import Matcher, Routing, Silence, labels_of
from monitor.storage import outbox
from monitor.storage.rows import as_incident, incident_query, target_of
from monitor.storage.tables import incidents, notifications, silences, targets
from monitor.storage.transaction import Transaction


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
    """Begin a silence, and suppress the pending notifications that match; return its id."""
    statement = (
        insert(silences)
        .values(match=json.dumps(match), created_by=author, comment=comment, starts_at=now, ends_at=until)
        .returning(silences.c.id)
    )
    id_: int = store.connection.execute(statement).scalar_one()
    whole = Matcher(**{key: tuple(patterns) for key, patterns in match.items()})  # type: ignore[arg-type]  # no labels
    suppress_pending(store, Silence(id=id_, match=whole, ends_at=until), routing)
    return id_


def expire_silence(store: Transaction, id_: int, now: datetime, *, author: str, routing: Routing) -> bool:
    """
    End a silence before its time: what it suppressed and is still wrong is due now, unless another one suppresses it.

    Returns:
        False if no such silence is in force.
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
            suppress_pending(store, other, routing)
    return True


def list_silences(store: Transaction, now: datetime, *, everything: bool) -> list[dict[str, Any]]:
    """Return the silences that are in force, or all there ever were, newest first."""
    query = select(silences).order_by(silences.c.id.desc())
    if not everything:
        query = query.where(silences.c.ends_at > now, silences.c.ended_at.is_(None))
    return [{**row, "match": json.loads(row["match"])} for row in store.connection.execute(query).mappings()]


def suppress_pending(store: Transaction, silence: Silence, routing: Routing) -> None:
    """
    Suppress the pending notifications that match, until the silence ends.

    A message that may have been delivered is left to its next attempt, which suppresses it: it keeps its key if it can.
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
