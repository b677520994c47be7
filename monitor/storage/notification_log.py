"""What channels were notified of, and how that went."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, insert, or_, select

from monitor.core.model import DeliveryState, Incident, Reason, Severity, Target
from monitor.core.routing.reminders import LastNotification
from monitor.core.rules.channel_failing import ChannelState
from monitor.storage import acknowledgements
from monitor.storage.notification_items import item_query
from monitor.storage.outbox import NOTIFIED_RESOLVED, UNDELIVERED, UNSENT, Claim, rows_of_claim
from monitor.storage.recording import RoutedChange
from monitor.storage.rows import as_incident, in_chunks, incident_query, notification_row, target_of
from monitor.storage.tables import incidents, notifications
from monitor.storage.transaction import Transaction


def last_notifications(store: Transaction) -> list[tuple[LastNotification, Target | None]]:
    """Load what each channel was last notified of each open incident that isn't acknowledged."""
    is_reminder = notifications.c.reason == Reason.REMINDER
    is_news = notifications.c.reason.not_in((Reason.REMINDER, Reason.ACKNOWLEDGED))
    in_nobodys_hands = and_(incidents.c.resolved_at.is_(None), incidents.c.acknowledged_by.is_(None))
    # Not joined: from open incidents to their notifications, never the other way round.
    wanted = select(incidents.c.id).where(in_nobodys_hands)
    rows = (
        select(
            notifications.c.incident_id,
            notifications.c.channel,
            func.max(case((is_news, notifications.c.created_at))).label("news_at"),
            func.max(case((is_reminder, notifications.c.created_at))).label("reminded_at"),
            func.sum(case((UNSENT, 1), else_=0)).label("waiting"),
        )
        .where(notifications.c.incident_id.in_(wanted))
        .group_by(notifications.c.incident_id, notifications.c.channel)
        .order_by(notifications.c.incident_id, notifications.c.channel)
    )
    notified = list(store.connection.execute(rows))
    of_incident = {
        row["id"]: (as_incident(row), target_of(row))
        for row in store.connection.execute(item_query(wanted)).mappings()
    }
    return [
        (
            LastNotification(
                incident=of_incident[row.incident_id][0],
                channel=row.channel,
                notified_at=row.news_at,
                reminded_at=row.reminded_at,
                is_pending=bool(row.waiting),
            ),
            of_incident[row.incident_id][1],
        )
        for row in notified
        if row.news_at
    ]


def open_incidents(store: Transaction) -> list[tuple[Incident, Target | None]]:
    """Load all open incidents."""
    wanted = select(incidents.c.id).where(incidents.c.resolved_at.is_(None))
    rows = store.connection.execute(item_query(wanted)).mappings()
    return [(as_incident(row), target_of(row)) for row in rows]


def notified_pairs(store: Transaction) -> frozenset[tuple[int, str]]:
    """Return the ids of the open incidents, each with every channel that was ever to be notified of it."""
    still_open = select(incidents.c.id).where(incidents.c.resolved_at.is_(None))
    query = select(notifications.c.incident_id, notifications.c.channel).where(
        notifications.c.incident_id.in_(still_open)
    )
    return frozenset((row.incident_id, row.channel) for row in store.connection.execute(query))


def unknown_acknowledgements(store: Transaction, channels: Collection[str]) -> list[tuple[Incident, str]]:
    """Load acknowledged open incidents, each with a channel that was notified of it and not of the acknowledgement."""
    acknowledged = incident_query().where(
        incidents.c.resolved_at.is_(None), incidents.c.acknowledged_at.is_not(None)
    )
    found = {row["id"]: as_incident(row) for row in store.connection.execute(acknowledged).mappings()}
    if not found:
        return []
    is_acknowledgement = notifications.c.reason == Reason.ACKNOWLEDGED
    rows = (
        select(
            notifications.c.incident_id,
            notifications.c.channel,
            func.max(case((is_acknowledgement, notifications.c.created_at))).label("passed_on_at"),
        )
        .where(notifications.c.incident_id.in_(found), notifications.c.channel.in_(channels))
        .group_by(notifications.c.incident_id, notifications.c.channel)
        .having(func.count(notifications.c.notified_status) > 0)
        .order_by(notifications.c.incident_id, notifications.c.channel)
    )
    return [
        (found[row.incident_id], row.channel)
        for row in store.connection.execute(rows)
        if row.passed_on_at is None or row.passed_on_at < found[row.incident_id].acknowledged_at
    ]


def heard_milder(store: Transaction) -> list[tuple[Incident, Target | None, str]]:
    """
    Load the open incidents whose last message to a channel named a milder severity, each with that channel.

    Left out is what is on its way to the channel, or among its dead letters.
    """
    newer = notifications.alias("newer")
    is_newest = ~exists().where(
        newer.c.incident_id == notifications.c.incident_id,
        newer.c.channel == notifications.c.channel,
        newer.c.id > notifications.c.id,
        or_(newer.c.notified_status.is_not(None), newer.c.delivered_at.is_(None)),
    )
    # Not joined: from open incidents to their notifications, never the other way round.
    severity = select(incidents.c.severity).where(incidents.c.id == notifications.c.incident_id)
    query = (
        select(notifications.c.incident_id, notifications.c.channel)
        .where(
            notifications.c.incident_id.in_(select(incidents.c.id).where(incidents.c.resolved_at.is_(None))),
            notifications.c.notified_status.is_not(None),
            is_newest,
            _rank(notifications.c.notified_status) < _rank(severity.scalar_subquery()),
        )
        .order_by(notifications.c.incident_id, notifications.c.channel)
    )
    channels_of: dict[int, list[str]] = {}
    for id_, channel in store.connection.execute(query):
        channels_of.setdefault(id_, []).append(channel)
    rows = [
        row
        for some in in_chunks(channels_of)
        for row in store.connection.execute(
            item_query(select(incidents.c.id).where(incidents.c.id.in_(some)))
        ).mappings()
    ]
    return [(as_incident(row), target_of(row), channel) for row in rows for channel in channels_of[row["id"]]]


def _rank(severity: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the order of severities; other values come last."""
    return case({str(each): each.rank for each in Severity}, value=severity, else_=len(Severity))


def write_notifications(store: Transaction, notified: Sequence[RoutedChange], now: datetime) -> None:
    """
    Write notifications of incidents that didn't change.

    One that is sent as escalated was acknowledged when it was milder: that acknowledgement ends.
    """
    rows = [
        notification_row(change.incident.id, notification, now)
        for change, planned in notified
        if change.incident.id
        for notification in planned
    ]
    if rows:
        store.connection.execute(insert(notifications), rows)
        acknowledgements.end_outdated(store, [change for change, _ in notified], now)


def last_client_notification(
    store: Transaction, claimed: Claim, since: datetime
) -> tuple[datetime | None, Severity | None]:
    """Return when the client of a claim was last notified since then, and the worst severity of that time."""
    its_rows = select(notifications.c.incident_id).where(rows_of_claim(claimed))
    client = select(incidents.c.target_id).where(incidents.c.id.in_(its_rows))
    query = select(notifications.c.delivered_at, notifications.c.notified_status).where(
        notifications.c.incident_id.in_(select(incidents.c.id).where(incidents.c.target_id.in_(client))),
        notifications.c.channel == claimed.channel,
        notifications.c.notified_status.is_not(None),
        notifications.c.delivered_at > since,
    )
    rows = store.connection.execute(query).all()
    severities = [Severity(row.notified_status) for row in rows if row.notified_status != NOTIFIED_RESOLVED]
    return (
        max((row.delivered_at for row in rows), default=None),
        max(severities, key=lambda severity: severity.rank, default=None),
    )


def channel_states(store: Transaction) -> list[ChannelState]:
    """Load how sending to every channel went, and the open incidents about channels."""
    unsent = select(
        notifications.c.id,
        notifications.c.channel,
        notifications.c.state,
        notifications.c.attempts,
        notifications.c.first_attempt_at,
        notifications.c.error,
    ).where(
        UNDELIVERED,
        notifications.c.attempts > 0,
        notifications.c.error.is_not(None),
        notifications.c.first_attempt_at.is_not(None),  # or it was requeued and not tried since
    )
    # Sorted here, because a database would read all rows to return them by id.
    tried = sorted(store.connection.execute(unsent), key=lambda row: int(row.id))
    query = incident_query().where(incidents.c.resolved_at.is_(None), incidents.c.channel.is_not(None))
    opened = {row["channel"]: as_incident(row) for row in store.connection.execute(query).mappings()}
    states = {
        name: ChannelState(
            channel=name,
            delivered_at=_last_delivered_at(store, name),
            incident=opened.get(name),
        )
        for name in sorted({row.channel for row in tried} | opened.keys())
    }
    for row in tried:
        known = states[row.channel]
        last = known.delivered_at
        if last and row.first_attempt_at <= last and row.state == DeliveryState.FAILED:
            continue  # it accepted messages since
        states[row.channel] = replace(
            known,
            attempts=max(known.attempts, row.attempts),
            dead=known.dead + (row.state == DeliveryState.FAILED),
            failing_since=min(known.failing_since or row.first_attempt_at, row.first_attempt_at),
            error=row.error,
        )
    return list(states.values())


def _last_delivered_at(store: Transaction, channel: str) -> datetime | None:
    # One index lookup for each channel. For all at once, the whole index would be read.
    query = select(func.max(notifications.c.delivered_at)).where(
        notifications.c.notified_status.is_not(None), notifications.c.channel == channel
    )
    found: datetime | None = store.connection.execute(query).scalar()
    return found
