"""Dead letters: messages that could not be delivered, and when they are retried."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, case, select, update

from monitor.core.model import DeliveryState
from monitor.storage.notification_items import needs_resolution
from monitor.storage.outbox import UNDELIVERED
from monitor.storage.rows import in_chunks
from monitor.storage.tables import incidents, notifications
from monitor.storage.transaction import Transaction

# Each start retries it, but a monitor that is started every minute must not retry it for ever.
MAX_ATTEMPTS = 60
# How often to retry a failing channel, since nothing else may show that it works again.
TRIED_AGAIN_AFTER = timedelta(days=2)
DEAD = and_(UNDELIVERED, notifications.c.state == DeliveryState.FAILED)

_REQUEUE = update(notifications).values(
    state=DeliveryState.PENDING,
    # A receiver that drops known keys must be able to drop this.
    message_key=case((notifications.c.is_possibly_delivered, notifications.c.message_key)),
    is_possibly_delivered=None,
    first_attempt_at=None,
)


def requeue_on_request(store: Transaction, ids: Sequence[int], now: datetime) -> list[int]:
    """Make dead letters due again on request; returns the ids that were dead."""
    dead = and_(DEAD, notifications.c.id.in_(ids))
    found = list(store.connection.execute(select(notifications.c.id).where(dead)).scalars())
    store.connection.execute(_REQUEUE.where(dead).values(attempts=0, due_at=now))
    return found


def lost(
    store: Transaction,
    *,
    channels: Collection[str],
    attempts_below: int | None = None,
    tried_before: datetime | None = None,
) -> list[int]:
    """
    Return the ids of dead letters that are still worth sending.

    These are about open incidents, and about the end of incidents that the channel was notified of.

    Args:
        attempts_below: leave out those with this many attempts.
        tried_before: leave out those whose first attempt was later.
    """
    wanted = and_(DEAD, notifications.c.channel.in_(channels))
    if attempts_below is not None:
        wanted = and_(wanted, notifications.c.attempts < attempts_below)
    if tried_before is not None:
        wanted = and_(wanted, notifications.c.first_attempt_at <= tried_before)
    query = (
        select(notifications.c.id, notifications.c.channel, incidents.c.id.label("incident_id"))
        .add_columns(incidents.c.resolved_at)
        .join(incidents, incidents.c.id == notifications.c.incident_id)
        .where(wanted)
    )
    rows = store.connection.execute(query).all()
    over: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.resolved_at is not None:
            over[row.channel].add(row.incident_id)
    owed = {channel: needs_resolution(store, ids, channel) for channel, ids in over.items()}
    return [
        row.id
        for row in rows
        if row.resolved_at is None or row.incident_id in owed.get(row.channel, frozenset())
    ]


def requeue(store: Transaction, ids: Collection[int], now: datetime) -> None:
    """Make dead letters due again. Their attempts keep counting."""
    for some in in_chunks(ids):
        store.connection.execute(_REQUEUE.where(DEAD, notifications.c.id.in_(some)).values(due_at=now))
