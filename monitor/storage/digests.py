"""The content of digests, and when the last one was sent."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select

from monitor.core.messages.digest import LOOKAHEAD, Expiring, Summary
from monitor.core.messages.render import Item
from monitor.core.model import Cause, ConnectionState, DeliveryState, Reason, RuleName, Severity, TokenStatus
from monitor.core.routing.routes import Labels, Matcher, Routing, labels_of
from monitor.core.rules.token_expiry import deadline_of
from monitor.storage.notification_items import item_query
from monitor.storage.rows import as_connection, as_incident, as_renewals, as_target, target_of
from monitor.storage.tables import connections, incidents, notifications, targets
from monitor.storage.transaction import Transaction


def last_digest_at(
    store: Transaction, channel: str, group: str, *, delivered: bool = False
) -> datetime | None:
    """Return when the newest digest of a channel was written, or was written and delivered; None before the first."""
    query = select(func.max(notifications.c.created_at)).where(
        notifications.c.incident_id.is_(None),
        notifications.c.channel == channel,
        notifications.c.reason == Reason.DIGEST,
        notifications.c.group_key == group,
    )
    if delivered:
        query = query.where(notifications.c.state == DeliveryState.DELIVERED)
    found: datetime | None = store.connection.execute(query).scalar()
    return found


def first_seen_at(store: Transaction) -> datetime | None:
    """Return since when there is any history; None if there is none."""
    found: datetime | None = store.connection.execute(select(func.min(targets.c.first_seen_at))).scalar()
    return found


def write_digest(store: Transaction, channel: str, group: str, now: datetime) -> None:
    """Write a digest into the outbox, due at once."""
    store.connection.execute(
        insert(notifications).values(
            channel=channel,
            reason=Reason.DIGEST,
            group_key=group,
            state=DeliveryState.PENDING,
            created_at=now,
            due_at=now,
        )
    )


def load_summary(
    store: Transaction,
    match: Matcher,
    now: datetime,
    *,
    since: datetime,
    routing: Routing,
    clock_offset: Callable[[str], timedelta],
) -> Summary:
    """
    Load the content of a digest.

    Args:
        match: of its route.
        since: incidents that ended after this are listed as resolved.
        clock_offset: returns the correction of local time for judging expiry, by account.
    """
    recent = incidents.c.resolved_at.is_(None) | (incidents.c.resolved_at > since)
    items = [
        Item(
            incident=as_incident(row),
            reasons=frozenset({Reason.DIGEST}),
            target=target_of(row),
            connection=as_connection(row) if row["connection_id"] is not None else None,
            clock_offset=clock_offset(row["account"]) if row["account"] else timedelta(),
        )
        for row in store.connection.execute(item_query(select(incidents.c.id).where(recent))).mappings()
    ]
    taken = [item for item in items if match.matches(labels_of(item.incident, item.target, routing))]
    open_ones = sorted((item for item in taken if item.incident.is_open), key=_worst_first)
    with_incidents = {
        (each.incident.subject.target_id, each.incident.subject.platform_id) for each in open_ones
    }
    listed = _load_items(store, match, routing, now, clock_offset)
    well = [each for each in listed if (each.target.id, each.connection.platform_id) not in with_incidents]
    coming = [each for each in well if _is_coming(each, now) and not each.renews_itself]
    return Summary(
        open=open_ones,
        expiring=sorted(coming, key=lambda each: each.connection.expires_at or now),
        recovered=[item for item in taken if not item.incident.is_open],
        healthy_count=len(well) - len(coming),
    )


def _load_items(
    store: Transaction,
    match: Matcher,
    routing: Routing,
    now: datetime,
    clock_offset: Callable[[str], timedelta],
) -> Sequence[Expiring]:
    query = (
        select(connections, targets.c.account, targets.c.managed_user_id, targets.c.managed_user)
        .join(targets, targets.c.id == connections.c.target_id)
        .where(connections.c.removed_at.is_(None), targets.c.deactivated_at.is_(None))
    )
    found = (
        Expiring(
            target=as_target({**row, "id": row["target_id"]}),
            connection=as_connection(row),
            renews_itself=deadline_of(
                ConnectionState(
                    connection=as_connection(row),
                    first_seen_at=row["first_seen_at"],
                    renewals=as_renewals(row),
                ),
                now + clock_offset(row["account"]),
            )
            is None,
            clock_offset=clock_offset(row["account"]),
        )
        for row in store.connection.execute(query).mappings()
    )
    return [each for each in found if match.matches(_labels(each, routing))]


def _labels(each: Expiring, routing: Routing) -> Labels:
    names = (each.target.managed_user, each.target.managed_user_id)
    return Labels(
        account=each.target.account,
        rule=RuleName.TOKEN_EXPIRY,
        severity=Severity.CRITICAL,
        platform=each.connection.platform,
        cause=(Cause.AUTHORIZATION,),
        managed_user=tuple(name for name in names if name),
        labels=routing.labels.get(each.target.account, {}),
    )


def _is_coming(each: Expiring, now: datetime) -> bool:
    expires_at = each.connection.expires_at
    known = each.connection.status is not TokenStatus.UNKNOWN
    return (
        known and expires_at is not None and timedelta() < expires_at - (now + each.clock_offset) <= LOOKAHEAD
    )


def _worst_first(item: Item) -> tuple[Any, ...]:
    deadline = item.incident.deadline_at
    return (-item.incident.severity.rank, deadline is None, deadline, item.incident.id)
