"""Dead letters: messages that were given up, and how they come to be tried again."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import and_, select, update

from monitor.core.model import DeliveryState
from monitor.storage.outbox import UNDELIVERED
from monitor.storage.tables import incidents, notifications

# About as many as two days of trying come to.
ATTEMPTS_AT_MOST = 60
DEAD = and_(UNDELIVERED, notifications.c.state == DeliveryState.FAILED)


def revive(connection: DatabaseConnection, ids: Sequence[int], now: datetime) -> list[int]:
    """Make dead letters due again; returns the ids that were dead."""
    dead = and_(DEAD, notifications.c.id.in_(ids))
    found = list(connection.execute(select(notifications.c.id).where(dead)).scalars())
    connection.execute(
        update(notifications)
        .where(dead)
        .values(state=DeliveryState.PENDING, claim=None, attempts=0, first_tried_at=None, due_at=now)
    )
    return found


def revive_lost(connection: DatabaseConnection, now: datetime, *, channels: Collection[str]) -> int:
    """
    Make dead letters about what is still open due again, for channels that may take them now.

    Returns:
        How many; one that was given up again and again rests.
    """
    still_open = select(incidents.c.id).where(incidents.c.resolved_at.is_(None))
    revived = connection.execute(
        update(notifications)
        .where(
            DEAD,
            notifications.c.channel.in_(channels),
            notifications.c.attempts < ATTEMPTS_AT_MOST,
            notifications.c.incident_id.in_(still_open),
        )
        .values(state=DeliveryState.PENDING, claim=None, first_tried_at=None, due_at=now)
    )
    return revived.rowcount
