"""Numbers from the history database for pages and metrics, with one statement for each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, case, func, not_, or_, select, text

from monitor.core.model import DeliveryState
from monitor.storage import outbox
from monitor.storage.pauses import is_paused
from monitor.storage.rows import IS_POLLED
from monitor.storage.tables import (
    account_status,
    connections,
    incidents,
    notifications,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction

_ACTIVE = targets.c.deactivated_at.is_(None)
_LISTED = connections.c.removed_at.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """
    The current numbers.

    Args:
        targets: number of polled targets, by account.
        due_at: since when due targets have been due, unordered, by account.
        last_polled_at: the newest poll, successful or not, by account.
        last_ok_at: the newest successful poll, by account.
        connections: number of listed connections, by account, platform and token status as the API gave them.
        incidents: number of open incidents, by rule and severity.
        notifications: number of undelivered notifications, by state.
        oldest_pending_at: since when the oldest pending one has been due.
        size_bytes: of the whole database.
    """

    targets: Mapping[str, int]
    due_at: Mapping[str, list[datetime]]
    last_polled_at: Mapping[str, datetime]
    last_ok_at: Mapping[str, datetime]
    connections: Mapping[tuple[str, str, str], int]
    incidents: Mapping[tuple[str, str], int]
    notifications: Mapping[DeliveryState, int]
    oldest_pending_at: datetime | None
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """When the token of one listed connection expires; names as the API gave them."""

    account: str
    managed_user_id: str | None
    managed_user: str | None
    platform: str
    platform_id: str
    name: str
    expires_at: datetime


def collect(store: Transaction, now: datetime) -> Stats:
    """Load the current numbers."""
    watched = store.connection.execute(
        select(
            targets.c.account,
            func.count(),
            func.max(target_schedule.c.last_polled_at, type_=target_schedule.c.last_polled_at.type),
            func.max(
                case((targets.c.consecutive_failures == 0, target_schedule.c.last_polled_at)),
                type_=target_schedule.c.last_polled_at.type,
            ),
            func.max(targets.c.last_ok_at, type_=targets.c.last_ok_at.type),
        )
        .join(target_schedule, target_schedule.c.target_id == targets.c.id)
        .where(_ACTIVE)
        .group_by(targets.c.account)
    ).all()
    # For a working target, the newest successful poll is the newest poll. For a failing one, it is stored
    # separately.
    last_ok_at = {account: max(filter(None, times), default=None) for account, _, _, *times in watched}
    by_kind = (targets.c.account, connections.c.platform, connections.c.token_status)
    counted = store.connection.execute(
        select(*by_kind, func.count())
        .join(targets, targets.c.id == connections.c.target_id)
        .where(_LISTED, _ACTIVE)
        .group_by(*by_kind)
    )
    opened = store.connection.execute(
        select(incidents.c.rule, incidents.c.severity, func.count())
        .where(incidents.c.resolved_at.is_(None))
        .group_by(incidents.c.rule, incidents.c.severity)
    )
    unsent = store.connection.execute(
        select(notifications.c.state, func.count()).where(outbox.UNDELIVERED).group_by(notifications.c.state)
    )
    return Stats(
        targets={account: count for account, count, *_ in watched},
        due_at=due_since(store, now),
        last_polled_at={account: at for account, _, at, *_ in watched if at},
        last_ok_at={account: at for account, at in last_ok_at.items() if at},
        connections={(account, platform, status): n for account, platform, status, n in counted},
        incidents={(rule, severity): count for rule, severity, count in opened},
        notifications={DeliveryState(state): count for state, count in unsent},
        oldest_pending_at=oldest_pending(store, now),
        size_bytes=_size(store),
    )


def due_since(store: Transaction, now: datetime) -> Mapping[str, list[datetime]]:
    """Return since when the targets that are due have been due, by account."""
    found: dict[str, list[datetime]] = {}
    query = (
        select(targets.c.account, target_schedule.c.next_poll_at)
        .join(target_schedule, target_schedule.c.target_id == targets.c.id)
        .join(account_status, account_status.c.account == targets.c.account, isouter=True)
        # A target that is paused because its key is rejected isn't late. Another one retries.
        .where(IS_POLLED, target_schedule.c.next_poll_at <= now, not_(is_paused()))
    )
    for account, due_at in store.connection.execute(query):
        found.setdefault(account, []).append(due_at)
    return found


def due_times(store: Transaction, ids: Sequence[int]) -> Mapping[int, datetime]:
    """Return since when each of these targets has been due, by its id."""
    query = select(target_schedule.c.target_id, target_schedule.c.next_poll_at).where(
        target_schedule.c.target_id.in_(ids)
    )
    return {row.target_id: row.next_poll_at for row in store.connection.execute(query)}


def oldest_pending(store: Transaction, now: datetime) -> datetime | None:
    """
    Return since when the oldest message that should be on its way has been due.

    One that a channel refuses is put off and so not meant: this is about a sender that doesn't send.
    """
    due_at = notifications.c.due_at
    ready = or_(
        and_(outbox.PENDING, due_at <= now),
        and_(outbox.SENDING, notifications.c.leased_until <= now),
    )
    oldest: datetime | None = store.connection.execute(
        select(func.min(due_at, type_=due_at.type)).where(outbox.UNDELIVERED, ready)
    ).scalar_one()
    return oldest


def expiries(store: Transaction, *, limit: int, after: datetime | None = None) -> list[Expiry]:
    """
    Load the tokens that expire next, the first first.

    Args:
        after: leave out tokens that expired before.
    """
    query = (
        select(*_EXPIRY)
        .join(targets, targets.c.id == connections.c.target_id)
        .where(_LISTED, _ACTIVE, connections.c.expires_at.is_not(None))
        .order_by(connections.c.expires_at, connections.c.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(connections.c.expires_at > after)
    return [Expiry(**row) for row in store.connection.execute(query).mappings()]


def expiring_ever(store: Transaction) -> int:
    """Count the tokens with an expiry date."""
    query = (
        select(func.count())
        .select_from(connections)
        .join(targets, targets.c.id == connections.c.target_id)
        .where(_LISTED, _ACTIVE, connections.c.expires_at.is_not(None))
    )
    return store.connection.execute(query).scalar_one()


_EXPIRY = (
    targets.c.account,
    targets.c.managed_user_id,
    targets.c.managed_user,
    connections.c.platform,
    connections.c.platform_id,
    func.coalesce(
        func.nullif(connections.c.display_name, ""),
        func.nullif(connections.c.username, ""),
        connections.c.platform_id,
    ).label("name"),
    connections.c.expires_at,
)


def _size(store: Transaction) -> int:
    if store.connection.dialect.name == "sqlite":
        pages = text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(store.connection.execute(pages).scalar_one())
    return int(store.connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
