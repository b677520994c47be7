"""Targets that are added, deactivated and activated again; none is ever deleted."""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, func, insert, select, update

from monitor.core.model import Target
from monitor.storage import pauses
from monitor.storage.rows import IS_POLLED, TARGET_COLUMNS, as_target, in_chunks
from monitor.storage.tables import target_schedule, targets
from monitor.storage.transaction import Transaction

_ACTIVE = targets.c.deactivated_at.is_(None)
# A configuration that drops so many targets at once, and more than half of all, may be a mistake.
MIN_DROPPED = 5
DROPPED_FOR = timedelta(hours=24)


class Removal(StrEnum):
    """What becomes of targets that the configuration no longer names."""

    NONE = "none"  # nothing: another program answers for them
    GUARDED = "guarded"  # they are deactivated; more than half at once are only dropped
    ALL = "all"  # they are deactivated, however many


def register(
    store: Transaction,
    wanted: Iterable[tuple[str, str | None]],
    now: datetime,
    *,
    as_listed: Collection[str] = (),
    due_at: Callable[[Target], datetime] | None = None,
    removal: Removal = Removal.GUARDED,
) -> None:
    """
    Sync the targets with the configuration: new ones are due, others stay as they are.

    A dropped target isn't polled, and is deactivated after a day unless the configuration names it again.

    Args:
        wanted: account and managed user id of every target to poll.
        as_listed: accounts whose workspace list determines their managed users, which stay as they are.
        due_at: when a new or returned target is first due; by default at once.
    """
    wanted = set(wanted)
    if removal is not Removal.NONE:
        _remove(store, wanted, now, as_listed=as_listed, removal=removal)
    activate(store, wanted, now, due_at=due_at)
    pauses.choose_canaries(store)


def _remove(
    store: Transaction,
    wanted: Collection[tuple[str, str | None]],
    now: datetime,
    *,
    as_listed: Collection[str],
    removal: Removal,
) -> None:
    columns = (targets.c.id, targets.c.account, targets.c.managed_user_id, targets.c.dropped_at)
    active = store.connection.execute(select(*columns).where(_ACTIVE)).all()
    gone = [
        row
        for row in active
        if (row.account, row.managed_user_id) not in wanted
        and (row.managed_user_id is None or row.account not in as_listed)
    ]
    new = [row.id for row in gone if row.dropped_at is None]
    polled = sum(1 for row in active if row.dropped_at is None)
    if removal is Removal.GUARDED and len(new) >= MIN_DROPPED and 2 * len(new) > polled:
        for ids in in_chunks(new):
            store.connection.execute(update(targets).where(targets.c.id.in_(ids)).values(dropped_at=now))
        new = []
    old = [
        row.id
        for row in gone
        if row.dropped_at and (removal is Removal.ALL or now - row.dropped_at >= DROPPED_FOR)
    ]
    deactivate(store, [*new, *old], now)


def activate(
    store: Transaction,
    wanted: Iterable[tuple[str, str | None]],
    now: datetime,
    *,
    due_at: Callable[[Target], datetime] | None = None,
) -> list[Target]:
    """Poll targets from now on; return those that were not polled before. ``due_at`` as for ``register``."""
    wanted = set(wanted)
    of_them = targets.c.account.in_({account for account, _ in wanted})
    columns = (
        targets.c.id,
        targets.c.account,
        targets.c.managed_user_id,
        targets.c.deactivated_at,
        targets.c.dropped_at,
    )
    known = {
        (row.account, row.managed_user_id): row
        for row in store.connection.execute(select(*columns).where(of_them))
    }
    back = [
        row.id for pair, row in known.items() if pair in wanted and (row.deactivated_at or row.dropped_at)
    ]
    fresh = _add(store, sorted(wanted - known.keys(), key=lambda pair: (pair[0], pair[1] or "")), now)
    for ids in in_chunks(back):
        again = update(targets).where(targets.c.id.in_(ids))
        store.connection.execute(again.values(deactivated_at=None, dropped_at=None, missing_since=None))
    if not fresh and not back:
        return []
    new = {*fresh, *back}
    found = [each for each in active_targets(store, of_them) if each.id in new]
    pauses.set_next_polls(store, {each.id: due_at(each) if due_at else now for each in found})
    return found


def deactivate(store: Transaction, ids: Sequence[int], now: datetime) -> None:
    """Stop polling targets; their digest is cleared, so one that returns is evaluated again."""
    for some in in_chunks(ids):
        gone = update(targets).where(targets.c.id.in_(some))
        store.connection.execute(gone.values(deactivated_at=now, dropped_at=None, response_digest=None))


def active_targets(store: Transaction, *conditions: ColumnElement[bool]) -> list[Target]:
    """Load the targets that are polled, in the order of their ids."""
    query = select(*TARGET_COLUMNS).where(IS_POLLED, *conditions).order_by(targets.c.id)
    return [as_target(row) for row in store.connection.execute(query).mappings()]


def dropped_targets(store: Transaction) -> list[tuple[str, datetime]]:
    """Return the account of each target that the configuration dropped, and since when."""
    query = select(targets.c.account, targets.c.dropped_at).where(_ACTIVE, targets.c.dropped_at.is_not(None))
    return [(row.account, row.dropped_at) for row in store.connection.execute(query)]


def count_targets(store: Transaction, account: str) -> int:
    """Count the polled targets of an account."""
    query = select(func.count()).select_from(targets).where(targets.c.account == account, _ACTIVE)
    return store.connection.execute(query).scalar_one()


def _add(store: Transaction, pairs: Sequence[tuple[str, str | None]], now: datetime) -> list[int]:
    if not pairs:
        return []
    rows = [{"account": account, "managed_user_id": user, "first_seen_at": now} for account, user in pairs]
    ids = list(store.connection.execute(insert(targets).returning(targets.c.id), rows).scalars())
    store.connection.execute(
        insert(target_schedule), [{"target_id": id_, "next_poll_at": now} for id_ in ids]
    )
    return ids
