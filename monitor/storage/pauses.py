"""Pauses: which targets aren't polled because the API refuses their key, and which one is polled all the same."""

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, update

from monitor.core.model import FailureScope
from monitor.storage.account_status import save_status
from monitor.storage.rows import IS_POLLED
from monitor.storage.tables import account_status, target_schedule, targets
from monitor.storage.transaction import Transaction

_ACTIVE = targets.c.deactivated_at.is_(None)


def is_paused() -> ColumnElement[bool]:
    """Return whether a target, with ``account_status`` joined to it, isn't polled though it is due."""
    is_user = targets.c.managed_user_id.is_not(None)
    return and_(
        account_status.c.paused_at.is_not(None),
        or_(account_status.c.paused_scope == FailureScope.KEY, is_user),
        func.coalesce(account_status.c.canary_target_id, 0) != targets.c.id,
    )


def pause(store: Transaction, account: str, scope: FailureScope, now: datetime) -> None:
    """Pause the polling of an account, except of one target: the canary."""
    canary_target_id = choose_canary(store, account, scope)
    save_status(store, account, paused_at=now, paused_scope=scope, canary_target_id=canary_target_id)


def resume(store: Transaction, account: str, *, next_poll_at: Callable[[int], datetime]) -> int:
    """
    Poll every target of an account again.

    Args:
        next_poll_at: when each target is due, by its id.

    Returns:
        How many targets were paused.
    """
    query = (
        select(targets.c.id)
        .join(account_status, account_status.c.account == targets.c.account)
        .where(targets.c.account == account, _ACTIVE, is_paused())
    )
    ids = list(store.connection.execute(query).scalars())
    set_next_polls(store, {id_: next_poll_at(id_) for id_ in ids})
    save_status(store, account, paused_at=None, paused_scope=None, canary_target_id=None)
    return len(ids)


def set_next_polls(store: Transaction, next_poll_at: Mapping[int, datetime]) -> None:
    """Set when targets are polled next, by their ids."""
    if next_poll_at:
        statement = update(target_schedule).where(target_schedule.c.target_id == bindparam("b_id"))
        rows = [{"b_id": id_, "next_poll_at": moment} for id_, moment in next_poll_at.items()]
        store.connection.execute(statement.values(next_poll_at=bindparam("next_poll_at")), rows)


def choose_canaries(store: Transaction) -> None:
    """Choose the canary of each paused account again: the one so far may not be polled any more."""
    paused = store.connection.execute(
        select(account_status.c.account, account_status.c.paused_scope).where(
            account_status.c.paused_at.is_not(None)
        )
    ).all()
    for account, scope in paused:
        save_status(store, account, canary_target_id=choose_canary(store, account, scope))


def choose_canary(store: Transaction, account: str, scope: str) -> int | None:
    """Return the target that is polled during a pause: the account itself if it may be, else its first managed user."""
    is_user = targets.c.managed_user_id.is_not(None)
    query = (
        select(targets.c.id)
        .where(targets.c.account == account, IS_POLLED, *([is_user] if scope == FailureScope.USERS else []))
        .order_by(case((is_user, 1), else_=0), targets.c.id)
        .limit(1)
    )
    return store.connection.execute(query).scalar()
