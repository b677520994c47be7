"""What a message says: incidents as they are now, and what its channel was last notified of."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, Select, and_, exists, func, or_, select

from monitor.core.messages.render import Item
from monitor.core.model import DeliveryState, Reason, Resolution, Severity
from monitor.storage.outbox import NOTIFIED_RESOLVED, SENDING, UNDELIVERED, Claim, rows_of_claim
from monitor.storage.rows import as_connection, as_incident, in_chunks, target_of
from monitor.storage.tables import connections, incidents, notifications, targets
from monitor.storage.transaction import Transaction


def load_items(
    store: Transaction,
    claimed: Claim,
    dashboards: Mapping[str, str],
    *,
    as_events: bool = False,
) -> list[Item]:
    """
    Load what the message of a claim says, as it is now.

    Args:
        dashboards: where to reconnect by hand, by account.
        as_events: whether each incident is an event with a key of its own, so that newer news may follow at once.
    """
    # By key, not by row ids, because there may be more rows than a statement takes values.
    mine = and_(rows_of_claim(claimed), SENDING, notifications.c.incident_id.is_not(None))
    wanted = select(notifications.c.incident_id).where(mine)
    notified = (
        select(notifications.c.incident_id, func.max(notifications.c.id).label("id"))
        .where(
            notifications.c.channel == claimed.channel,
            notifications.c.incident_id.in_(wanted),
            notifications.c.notified_status.is_not(None),
        )
        .group_by(notifications.c.incident_id)
        .subquery()
    )
    newest = select(
        notifications.c.incident_id,
        notifications.c.id,
        notifications.c.notified_status,
        notifications.c.content_hash,
    ).join(notified, notified.c.id == notifications.c.id)
    last_told = {row.incident_id: row for row in store.connection.execute(newest)}
    reasons: dict[int, set[Reason]] = {}
    silenced: set[int] = set()
    query = select(
        notifications.c.id, notifications.c.incident_id, notifications.c.reason, notifications.c.silence_id
    ).where(mine)
    for row in store.connection.execute(query):
        since = reasons.setdefault(row.incident_id, set())
        last = last_told.get(row.incident_id)
        if last is None or row.id > last.id:
            since.add(Reason(row.reason))
        if row.silence_id is not None:
            silenced.add(row.incident_id)
    silenced -= needs_resolution(store, silenced, claimed.channel)
    again = _reopened(store, wanted, claimed.channel)
    overtaken = _superseded(store, claimed) if claimed.may_be_delivered and not as_events else frozenset()
    may_be_out = _may_be_out(store, claimed, wanted) if as_events else frozenset()
    return [
        _item(
            row,
            frozenset(reasons[row["id"]]),
            last=last_told.get(row["id"]),
            silenced=row["id"] in silenced,
            may_be_out=claimed.may_be_delivered or row["id"] in may_be_out,
            reopened=row["id"] in again,
            dashboards=dashboards,
        )
        for row in store.connection.execute(item_query(wanted)).mappings()
        if row["id"] not in overtaken
    ]


def told_and_open(store: Transaction, channel: str, dashboards: Mapping[str, str]) -> list[Item]:
    """
    Load what is open and a channel was notified of, with the severity that it was last sent.

    Args:
        dashboards: where to reconnect by hand, by account.
    """
    open_ones = select(incidents.c.id).where(incidents.c.resolved_at.is_(None))
    # From open incidents to their notifications. The other way round, a database would read all notifications.
    query = (
        select(
            notifications.c.incident_id,
            notifications.c.id,
            notifications.c.notified_status,
            notifications.c.content_hash,
        )
        .where(notifications.c.incident_id.in_(open_ones), notifications.c.channel == channel)
        .order_by(notifications.c.id)
    )
    notified = {
        row.incident_id: row for row in store.connection.execute(query) if row.notified_status is not None
    }
    return [
        _item(row, frozenset(), last=notified[row["id"]], dashboards=dashboards)
        for row in store.connection.execute(item_query(open_ones)).mappings()
        if row["id"] in notified
    ]


def _may_be_out(store: Transaction, claimed: Claim, wanted: Select[Any]) -> frozenset[int]:
    """Return the incidents of which another message of the channel may have been delivered, though it isn't known."""
    query = select(notifications.c.incident_id).where(
        UNDELIVERED,
        notifications.c.channel == claimed.channel,
        notifications.c.incident_id.in_(wanted),
        notifications.c.message_key.is_not(None),
        notifications.c.message_key != claimed.message_key,
        or_(notifications.c.state != DeliveryState.FAILED, notifications.c.is_possibly_delivered),
    )
    return frozenset(store.connection.execute(query).scalars())


def _superseded(store: Transaction, claimed: Claim) -> frozenset[int]:
    """
    Return the incidents of a retaken claim that newer notifications are pending of.

    A message that may have been delivered must not say something else under the same key, or a receiver that drops
    duplicates would drop the news.
    """
    newer = notifications.alias("newer")
    query = select(notifications.c.incident_id).where(
        rows_of_claim(claimed),
        SENDING,
        exists().where(
            newer.c.incident_id == notifications.c.incident_id,
            newer.c.channel == claimed.channel,
            newer.c.id > notifications.c.id,
            newer.c.state == DeliveryState.PENDING,
            newer.c.reason != Reason.REMINDER,
        ),
    )
    return frozenset(store.connection.execute(query).scalars())


def needs_resolution(store: Transaction, ids: Collection[int], channel: str) -> set[int]:
    """
    Return the incidents whose problem a channel believes to be open, from them or from an earlier one.

    The end of an earlier one was not sent, because the problem returned. The end of this one must therefore be
    sent, even if all of it was within a silence. A dead letter may have arrived, so it counts.
    """
    earlier = incidents.alias("earlier")
    query = (
        select(incidents.c.id, notifications.c.notified_status)
        .join(
            earlier,
            and_(
                earlier.c.rule == incidents.c.rule,
                earlier.c.subject == incidents.c.subject,
                earlier.c.id <= incidents.c.id,
                # Of the same target, if it has one, because there is an index for that.
                or_(
                    earlier.c.target_id == incidents.c.target_id,
                    and_(earlier.c.target_id.is_(None), incidents.c.target_id.is_(None)),
                ),
            ),
        )
        .join(notifications, notifications.c.incident_id == earlier.c.id)
        .where(
            notifications.c.channel == channel,
            or_(notifications.c.notified_status.is_not(None), notifications.c.is_possibly_delivered),
            # The incident that replaced an earlier one was sent instead of its end.
            or_(earlier.c.id == incidents.c.id, earlier.c.resolution != Resolution.SUPERSEDED),
        )
        .order_by(notifications.c.id)
    )
    newest = {
        row.id: row.notified_status
        for some in in_chunks(ids)
        for row in store.connection.execute(query.where(incidents.c.id.in_(some)))
    }
    return {id_ for id_, notified in newest.items() if notified != NOTIFIED_RESOLVED}


def _reopened(store: Transaction, wanted: Select[Any], channel: str) -> frozenset[int]:
    """Return the incidents whose problem is open again as another one that the channel is notified of."""
    newer, notified = incidents.alias("newer"), notifications.alias("notified_status")
    query = (
        select(incidents.c.id)
        .join(
            newer,
            and_(
                newer.c.rule == incidents.c.rule,
                newer.c.subject == incidents.c.subject,
                newer.c.id > incidents.c.id,
                newer.c.resolved_at.is_(None),
            ),
        )
        .where(
            incidents.c.id.in_(wanted),
            incidents.c.resolved_at.is_not(None),
            exists().where(
                notified.c.incident_id == newer.c.id,
                notified.c.channel == channel,
                notified.c.silence_id.is_(None),
            ),
        )
    )
    return frozenset(store.connection.execute(query).scalars())


def item_query(wanted: Select[Any]) -> Select[Any]:
    """Select the incidents in ``wanted``, with all columns of an item or a reminder."""
    seen = ("username", "display_name", "token_status", "expires_at", "last_successful_post_at")
    return (
        select(
            incidents,
            connections.c.platform_id,
            *(connections.c[name] for name in (*seen, "last_error", "last_error_at")),
            targets.c.managed_user_id,
            targets.c.managed_user,
            targets.c.managed_username,
        )
        .join(connections, connections.c.id == incidents.c.connection_id, isouter=True)
        .join(targets, targets.c.id == incidents.c.target_id, isouter=True)
        .where(incidents.c.id.in_(wanted))
        .order_by(incidents.c.id)
    )


def _item(
    row: Any,
    reasons: frozenset[Reason],
    *,
    last: Row[int | None, int, str | None, str | None] | None,
    dashboards: Mapping[str, str],
    silenced: bool = False,
    may_be_out: bool = False,
    reopened: bool = False,
) -> Item:
    last_severity = last.notified_status if last else None
    return Item(
        incident=as_incident(row),
        reasons=reasons,
        last_severity=Severity(last_severity)
        if last_severity and last_severity != NOTIFIED_RESOLVED
        else None,
        told_hash=last.content_hash if last else None,
        last_was_resolved=last_severity == NOTIFIED_RESOLVED,
        silenced=silenced,
        may_be_out=may_be_out,
        reopened=reopened,
        target=target_of(row),
        connection=as_connection(row) if row["connection_id"] is not None else None,
        dashboard_url=dashboards.get(row["account"] or "", ""),
    )
