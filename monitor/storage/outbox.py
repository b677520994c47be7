"""The outbox: claimed for a while, sent by somebody, settled; a crashed sender's claim is retaken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import Select, and_, bindparam, func, literal, or_, select, update

from monitor.core.messages import Item
from monitor.core.model import DeliveryState, Reason, Severity
from monitor.storage.rows import as_connection, as_incident, target_of
from monitor.storage.tables import connections, incidents, notifications, targets
from monitor.storage.types import UtcDateTime

LEASE = timedelta(minutes=2)
# A row that would come due this soon after another of its group goes along with it.
COMPANY = timedelta(minutes=1)
TOLD_RESOLVED = "resolved"

_PENDING = notifications.c.state == DeliveryState.PENDING
_SENDING = notifications.c.state == DeliveryState.SENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    Rows of one channel and one group that are one message.

    Args:
        name: stable however often the message is tried while it may have been delivered.
        ids: the rows, oldest first.
        attempts: the most that any of them was tried, this time included.
        first_tried_at: when the first of them was first tried.
        digest: the group of a digest; None for a message about incidents.
    """

    name: str
    channel: str
    ids: tuple[int, ...]
    attempts: int
    first_tried_at: datetime
    digest: str | None = None
    group: str = ""


def due_channels(connection: DatabaseConnection, now: datetime, *, wait: bool = True) -> list[str]:
    """
    Name the channels that have something to send, the longest overdue first.

    Args:
        wait: whether groups wait to fill; a single pass doesn't.
    """
    ready = or_(and_(_PENDING, _is_due(now, wait=wait)), and_(_SENDING, notifications.c.leased_until <= now))
    query = select(notifications.c.channel).where(ready).group_by(notifications.c.channel)
    return list(connection.execute(query.order_by(func.min(notifications.c.due_at))).scalars())


def claim(
    connection: DatabaseConnection,
    now: datetime,
    *,
    channel: str,
    name: str,
    wait: bool = True,
    whole: bool = False,
) -> Claim | None:
    """
    Take the next message of a channel: an abandoned claim first, else the group that is due the longest.

    Args:
        name: what a new claim is to be called; one that was abandoned keeps its own.
        whole: whether all of a group goes as soon as some of it is due.

    Returns:
        None where nothing is due.
    """
    of_channel = notifications.c.channel == channel
    abandoned = (
        select(notifications.c.claim)
        .where(of_channel, _SENDING, notifications.c.leased_until <= now)
        .order_by(notifications.c.leased_until)
    )
    if taken := connection.execute(abandoned).scalars().first():
        retaken = connection.execute(
            _lease(now).where(_SENDING, notifications.c.claim == taken, notifications.c.leased_until <= now)
        )
        # Where another sender was faster, the claim is alive again, and not ours.
        return _claim(connection, taken) if retaken.rowcount else None
    is_due = _is_due(now, wait=wait)
    groups = (
        select(notifications.c.group_key)
        .where(of_channel, _PENDING, is_due)
        .group_by(notifications.c.group_key)
        .order_by(func.min(notifications.c.due_at))
    )
    group = connection.execute(groups).scalars().first()
    if group is None:
        return None
    goes_along = and_(notifications.c.attempts == 0, notifications.c.due_at <= now + COMPANY)
    if whole:
        goes_along = notifications.c.silence_id.is_(None) | (notifications.c.due_at <= now)
    connection.execute(
        _lease(now)
        .values(claim=name, state=DeliveryState.SENDING)
        .where(of_channel, _PENDING, notifications.c.group_key == group, or_(is_due, goes_along))
    )
    return _claim(connection, name)


def pull_in(connection: DatabaseConnection, now: datetime) -> None:
    """Have due now what waits for its group or for another attempt: the clock was set back meanwhile."""
    waits = and_(_PENDING, notifications.c.held_until.is_(None), notifications.c.silence_id.is_(None))
    connection.execute(update(notifications).where(waits, notifications.c.due_at > now).values(due_at=now))
    connection.execute(
        update(notifications)
        .where(_SENDING, notifications.c.leased_until > now + LEASE)
        .values(leased_until=now + LEASE)
    )


def items_of(connection: DatabaseConnection, claimed: Claim, dashboards: Mapping[str, str]) -> list[Item]:
    """
    Load what a claim tells of, as it is now.

    Args:
        dashboards: where to reconnect by hand, by account.
    """
    # By its name, not by its rows: there may be more of them than a statement takes values.
    mine = and_(_SENDING, notifications.c.claim == claimed.name, notifications.c.incident_id.is_not(None))
    wanted = select(notifications.c.incident_id).where(mine)
    told = (
        select(notifications.c.incident_id, func.max(notifications.c.id).label("id"))
        .where(
            notifications.c.channel == claimed.channel,
            notifications.c.incident_id.in_(wanted),
            notifications.c.told.is_not(None),
        )
        .group_by(notifications.c.incident_id)
        .subquery()
    )
    last_told = {
        row.incident_id: (row.id, row.told)
        for row in connection.execute(
            select(notifications.c.incident_id, notifications.c.id, notifications.c.told).join(
                told, told.c.id == notifications.c.id
            )
        )
    }
    reasons: dict[int, set[Reason]] = {}
    silenced: set[int] = set()
    query = select(
        notifications.c.id, notifications.c.incident_id, notifications.c.reason, notifications.c.silence_id
    ).where(mine)
    for row in connection.execute(query):
        since = reasons.setdefault(row.incident_id, set())
        if row.id > last_told.get(row.incident_id, (0, None))[0]:
            since.add(Reason(row.reason))
        if row.silence_id is not None:
            silenced.add(row.incident_id)
    return [
        _item(
            row,
            frozenset(reasons[row["id"]]),
            told=last_told.get(row["id"], (0, None))[1],
            silenced=row["id"] in silenced,
            dashboards=dashboards,
        )
        for row in connection.execute(item_query(wanted)).mappings()
    ]


def settle(connection: DatabaseConnection, claimed: Claim, now: datetime, *, told: Mapping[int, str]) -> None:
    """
    Write down that a claim is done.

    Args:
        told: what the channel was told of each incident, a severity or ``resolved``; an incident that is
            not in it had nothing left to tell.
    """
    mine = and_(_SENDING, notifications.c.claim == claimed.name)
    if told:
        of_incident = notifications.c.incident_id == bindparam("b_incident_id")
        connection.execute(
            update(notifications).where(mine, of_incident).values(told=bindparam("b_told")),
            [{"b_incident_id": id_, "b_told": what} for id_, what in told.items()],
        )
    connection.execute(
        update(notifications)
        .where(mine)
        .values(state=DeliveryState.DELIVERED, delivered_at=now, leased_until=None, error=None)
    )


def put_back(connection: DatabaseConnection, claimed: Claim, *, due_at: datetime, error: str) -> None:
    """Give up a claim whose message was surely not delivered: its rows are grouped anew when due."""
    connection.execute(
        update(notifications)
        .where(_SENDING, notifications.c.claim == claimed.name)
        .values(state=DeliveryState.PENDING, claim=None, leased_until=None, due_at=due_at, error=error)
    )


def defer(connection: DatabaseConnection, claimed: Claim, *, until: datetime) -> None:
    """Let a claim wait that nobody has tried to send yet, since its time has not come."""
    connection.execute(
        update(notifications)
        .where(_SENDING, notifications.c.claim == claimed.name)
        .values(
            state=DeliveryState.PENDING,
            claim=None,
            leased_until=None,
            first_tried_at=None,
            error=None,
            due_at=until,
        )
    )


def told_lately(
    connection: DatabaseConnection, claimed: Claim, since: datetime
) -> tuple[datetime | None, Severity | None]:
    """Say when a claim's group was last told anything since then, and the worst that it was told."""
    query = select(notifications.c.delivered_at, notifications.c.told).where(
        notifications.c.channel == claimed.channel,
        notifications.c.group_key == claimed.group,
        notifications.c.told.is_not(None),
        notifications.c.delivered_at > since,
    )
    rows = connection.execute(query).all()
    severities = [Severity(row.told) for row in rows if row.told != TOLD_RESOLVED]
    return (
        max((row.delivered_at for row in rows), default=None),
        max(severities, key=lambda severity: severity.rank, default=None),
    )


def keep(connection: DatabaseConnection, claimed: Claim, *, until: datetime, error: str) -> None:
    """Hold on to a claim whose message may have been delivered: it is retried under the same name."""
    connection.execute(
        update(notifications)
        .where(_SENDING, notifications.c.claim == claimed.name)
        .values(leased_until=until, error=error)
    )


def bury(connection: DatabaseConnection, claimed: Claim, *, error: str) -> None:
    """Make dead letters of a claim."""
    connection.execute(
        update(notifications)
        .where(_SENDING, notifications.c.claim == claimed.name)
        .values(state=DeliveryState.FAILED, leased_until=None, error=error)
    )


def revive(connection: DatabaseConnection, ids: Sequence[int], now: datetime) -> list[int]:
    """Make dead letters due again; returns the ids that were dead."""
    dead = and_(notifications.c.id.in_(ids), notifications.c.state == DeliveryState.FAILED)
    found = list(connection.execute(select(notifications.c.id).where(dead)).scalars())
    connection.execute(
        update(notifications)
        .where(dead)
        .values(state=DeliveryState.PENDING, claim=None, attempts=0, first_tried_at=None, due_at=now)
    )
    return found


def _lease(now: datetime) -> Any:
    return update(notifications).values(
        leased_until=now + LEASE,
        attempts=notifications.c.attempts + 1,
        first_tried_at=func.coalesce(notifications.c.first_tried_at, literal(now, UtcDateTime)),
    )


def _is_due(now: datetime, *, wait: bool) -> Any:
    is_due = notifications.c.due_at <= now
    if wait:
        return is_due
    is_held = notifications.c.held_until.is_not(None) & (notifications.c.held_until > now)
    return or_(is_due, and_(notifications.c.attempts == 0, ~is_held))


def _claim(connection: DatabaseConnection, name: str) -> Claim | None:
    query = (
        select(
            notifications.c.channel,
            notifications.c.id,
            notifications.c.attempts,
            notifications.c.first_tried_at,
            notifications.c.reason,
            notifications.c.group_key,
        )
        .where(_SENDING, notifications.c.claim == name)
        .order_by(notifications.c.id)
    )
    rows = connection.execute(query).all()
    if not rows:
        return None  # another sender was faster
    return Claim(
        name=name,
        channel=rows[0].channel,
        group=rows[0].group_key,
        ids=tuple(row.id for row in rows),
        attempts=max(row.attempts for row in rows),
        first_tried_at=min(row.first_tried_at for row in rows),
        digest=rows[0].group_key if rows[0].reason == Reason.DIGEST else None,
    )


def item_query(wanted: Select[Any]) -> Select[Any]:
    """Select incidents, those whose ids ``wanted`` selects, with all that an item or a reminder tells of."""
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
    row: Any, reasons: frozenset[Reason], *, told: str | None, silenced: bool, dashboards: Mapping[str, str]
) -> Item:
    return Item(
        incident=as_incident(row),
        reasons=reasons,
        told=Severity(told) if told and told != TOLD_RESOLVED else None,
        told_resolved=told == TOLD_RESOLVED,
        silenced=silenced,
        target=target_of(row),
        connection=as_connection(row) if row["connection_id"] is not None else None,
        dashboard_url=dashboards.get(row["account"] or "", ""),
    )
