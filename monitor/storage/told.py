"""What channels were told of what is open, and how they took it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import and_, case, func, insert, select

from monitor.core.channel_rule import ChannelState
from monitor.core.model import DeliveryState, Reason, Target
from monitor.core.reminders import LastTold
from monitor.storage.outbox import item_query
from monitor.storage.recording import Told
from monitor.storage.rows import as_incident, incident_query, notification_row, target_of
from monitor.storage.tables import incidents, notifications


def last_told(connection: DatabaseConnection) -> list[tuple[LastTold, Target | None]]:
    """Load what each channel was last told of each open incident that nobody has in hand."""
    is_reminder = notifications.c.reason == Reason.REMINDER
    in_nobodys_hands = and_(incidents.c.resolved_at.is_(None), incidents.c.acknowledged_by.is_(None))
    waiting = notifications.c.state.in_((DeliveryState.PENDING, DeliveryState.SENDING))
    rows = (
        select(
            notifications.c.incident_id,
            notifications.c.channel,
            func.max(case((~is_reminder, notifications.c.created_at))).label("news_at"),
            func.max(case((is_reminder, notifications.c.created_at))).label("reminded_at"),
            func.sum(case((waiting, 1), else_=0)).label("waiting"),
        )
        .join(incidents, incidents.c.id == notifications.c.incident_id)
        .where(in_nobodys_hands)
        .group_by(notifications.c.incident_id, notifications.c.channel)
        .order_by(notifications.c.incident_id, notifications.c.channel)
    )
    told = list(connection.execute(rows))
    wanted = select(incidents.c.id).where(in_nobodys_hands)
    of_incident = {
        row["id"]: (as_incident(row), target_of(row))
        for row in connection.execute(item_query(wanted)).mappings()
    }
    return [
        (
            LastTold(
                incident=of_incident[row.incident_id][0],
                channel=row.channel,
                news_at=row.news_at,
                reminded_at=row.reminded_at,
                is_waiting=bool(row.waiting),
            ),
            of_incident[row.incident_id][1],
        )
        for row in told
        if row.news_at
    ]


def remind(connection: DatabaseConnection, reminders: Iterable[Told], now: datetime) -> None:
    """Write reminders of incidents that are as they were."""
    rows = [
        notification_row(change.incident.id, telling, now)
        for change, tellings in reminders
        if change.incident.id
        for telling in tellings
    ]
    if rows:
        connection.execute(insert(notifications), rows)


def channel_states(connection: DatabaseConnection) -> list[ChannelState]:
    """Load how every channel took what it was sent, and the open incidents about channels."""
    delivered = {
        row.channel: row.at
        for row in connection.execute(
            select(notifications.c.channel, func.max(notifications.c.delivered_at).label("at"))
            .where(notifications.c.told.is_not(None))
            .group_by(notifications.c.channel)
        )
    }
    unsent = (
        select(
            notifications.c.channel,
            notifications.c.state,
            notifications.c.attempts,
            notifications.c.first_tried_at,
            notifications.c.error,
        )
        .where(
            notifications.c.state != DeliveryState.DELIVERED,
            notifications.c.attempts > 0,
            notifications.c.error.is_not(None),
        )
        .order_by(notifications.c.id)
    )
    states: dict[str, ChannelState] = {}
    for row in connection.execute(unsent):
        last = delivered.get(row.channel)
        if last and row.first_tried_at <= last and row.state == DeliveryState.FAILED:
            continue  # it has taken messages since
        known = states.get(row.channel, ChannelState(channel=row.channel))
        states[row.channel] = replace(
            known,
            attempts=max(known.attempts, row.attempts),
            dead=known.dead + (row.state == DeliveryState.FAILED),
            failing_since=min(known.failing_since or row.first_tried_at, row.first_tried_at),
            error=row.error,
        )
    query = incident_query().where(incidents.c.resolved_at.is_(None), incidents.c.channel.is_not(None))
    for found in connection.execute(query).mappings():
        known = states.get(found["channel"], ChannelState(channel=found["channel"]))
        states[found["channel"]] = replace(known, incident=as_incident(found))
    return [replace(known, delivered_at=delivered.get(name)) for name, known in states.items()]
