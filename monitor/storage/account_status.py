"""Accounts as sources of answers: what of them fails, what rests, and how their discovery goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from monitor.core.evaluation.accounts import ACCOUNT_RULES, UNHEARD_NAMED, AccountState, TargetFailure
from monitor.core.messages.phrases import platform_name
from monitor.core.model import Failure, FailureScope, Incident, RuleName, Target
from monitor.storage.rows import TARGET_COLUMNS, as_connection, as_incident, as_target, incident_query
from monitor.storage.tables import (
    UNHEARD,
    account_status,
    connections,
    incidents,
    poll_runs,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction

_ACTIVE = targets.c.deactivated_at.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """
    How asking for an account's managed users goes.

    Args:
        next_at: when it is due; None for at once.
        consecutive_failures: in a row.
        shrunk_since: since when the list has been too short to be believed; None after a good one.
        is_refused: whether nothing at all may be asked with the key, so that only one target tries.
    """

    next_at: datetime | None = None
    consecutive_failures: int = 0
    failing_since: datetime | None = None
    shrunk_since: datetime | None = None
    is_refused: bool = False


def is_paused() -> ColumnElement[bool]:
    """Tell of a target, with ``account_status`` joined to it, whether it is not to be polled though it is due."""
    is_user = targets.c.managed_user_id.is_not(None)
    return and_(
        account_status.c.paused_at.is_not(None),
        or_(account_status.c.paused_scope == FailureScope.KEY, is_user),
        func.coalesce(account_status.c.canary_target_id, 0) != targets.c.id,
    )


def load_accounts(
    store: Transaction,
    accounts: Sequence[str],
    *,
    recent_opens: Mapping[tuple[str, RuleName], int],
) -> list[AccountState]:
    """Load what is known of accounts; ``recent_opens`` is passed on."""
    failing = _failing(store, accounts)
    seen = _last_answers(store, accounts)
    unheard = _unheard(store, accounts)
    open_ones, subjects = _open_incidents(store, accounts)
    known = {
        row["account"]: row
        for row in store.connection.execute(
            select(account_status).where(account_status.c.account.in_(accounts))
        ).mappings()
    }
    states = []
    for name in accounts:
        count, last_ok_at, last_user_ok_at = seen.get(name, (0, None, None))
        row = known.get(name)
        states.append(
            AccountState(
                account=name,
                targets=count,
                failing=tuple(failing.get(name, ())),
                workspace=_workspace(row) if row and row["consecutive_failures"] else None,
                last_ok_at=last_ok_at,
                last_user_ok_at=last_user_ok_at,
                paused=FailureScope(row["paused_scope"]) if row and row["paused_scope"] else None,
                subjects=subjects,
                incidents=tuple(each for each in open_ones if each.subject.account == name),
                recent_opens=recent_opens,
                unheard={
                    word: (len(names), names[:UNHEARD_NAMED]) for word, names in unheard.get(name, {}).items()
                },
            )
        )
    return states


def last_ok_at(store: Transaction, accounts: Sequence[str]) -> dict[str, datetime | None]:
    """Tell when any target of accounts last answered well."""
    return {account: newest for account, (_, newest, _) in _last_answers(store, accounts).items()}


def pause(store: Transaction, account: str, scope: FailureScope, now: datetime) -> None:
    """Let an account's polling rest, but for one target that tries."""
    canary_target_id = _choose_canary(store, account, scope)
    _upsert(store, account, paused_at=now, paused_scope=scope, canary_target_id=canary_target_id)


def resume(store: Transaction, account: str, *, next_poll_at: Callable[[int], datetime]) -> int:
    """
    Poll all of an account again.

    Args:
        next_poll_at: when each target is due, by its id.

    Returns:
        How many targets were resting.
    """
    query = (
        select(targets.c.id)
        .join(account_status, account_status.c.account == targets.c.account)
        .where(targets.c.account == account, _ACTIVE, is_paused())
    )
    ids = list(store.connection.execute(query).scalars())
    set_next_polls(store, {id_: next_poll_at(id_) for id_ in ids})
    _upsert(store, account, paused_at=None, paused_scope=None, canary_target_id=None)
    return len(ids)


def set_next_polls(store: Transaction, next_poll_at: Mapping[int, datetime]) -> None:
    """Set when targets are polled next, by their ids."""
    if next_poll_at:
        statement = update(target_schedule).where(target_schedule.c.target_id == bindparam("b_id"))
        rows = [{"b_id": id_, "next_poll_at": moment} for id_, moment in next_poll_at.items()]
        store.connection.execute(statement.values(next_poll_at=bindparam("next_poll_at")), rows)


def choose_canaries(store: Transaction) -> None:
    """Choose anew who tries while an account rests: whoever did may be watched no more."""
    paused = store.connection.execute(
        select(account_status.c.account, account_status.c.paused_scope).where(
            account_status.c.paused_at.is_not(None)
        )
    ).all()
    for account, scope in paused:
        _upsert(store, account, canary_target_id=_choose_canary(store, account, scope))


def _choose_canary(store: Transaction, account: str, scope: str) -> int | None:
    """Pick who tries: the account itself where it may, else its first managed user."""
    is_user = targets.c.managed_user_id.is_not(None)
    query = (
        select(targets.c.id)
        .where(targets.c.account == account, _ACTIVE, *([is_user] if scope == FailureScope.USERS else []))
        .order_by(case((is_user, 1), else_=0), targets.c.id)
        .limit(1)
    )
    return store.connection.execute(query).scalar()


def load_discovery(store: Transaction, account: str) -> Discovery:
    """Tell how asking for an account's managed users goes."""
    row = (
        store.connection.execute(select(account_status).where(account_status.c.account == account))
        .mappings()
        .first()
    )
    if row is None:
        return Discovery()
    return Discovery(
        next_at=row["next_discovery_at"],
        consecutive_failures=row["consecutive_failures"],
        failing_since=row["failing_since"],
        shrunk_since=row["shrunk_since"],
        is_refused=row["paused_scope"] == FailureScope.KEY and row["canary_target_id"] is not None,
    )


def unlisted_since(store: Transaction) -> dict[str, datetime]:
    """Tell since when the managed users of accounts can't be listed, where they can't."""
    query = select(account_status.c.account, account_status.c.failing_since).where(
        account_status.c.consecutive_failures > 0, account_status.c.failing_since.is_not(None)
    )
    return {row.account: row.failing_since for row in store.connection.execute(query)}


def save_discovery(
    store: Transaction,
    account: str,
    now: datetime,
    *,
    next_at: datetime,
    failure: Failure | None,
    is_shrunk: bool = False,
) -> None:
    """
    Write down how asking for an account's managed users went, and when to ask again.

    Args:
        is_shrunk: whether the failure is that too many were missing for the list to be believed.
    """
    if failure is None:
        _upsert(
            store,
            account,
            next_discovery_at=next_at,
            discovered_at=now,
            consecutive_failures=0,
            failing_since=None,
            shrunk_since=None,
            failed_at=None,
            failure_rule=None,
            failure_scope=None,
            failure_error=None,
            failure_remedy=None,
        )
        return
    before = load_discovery(store, account)
    _upsert(
        store,
        account,
        next_discovery_at=next_at,
        consecutive_failures=before.consecutive_failures + 1,
        failing_since=before.failing_since or now,
        shrunk_since=before.shrunk_since or (now if is_shrunk else None),
        failed_at=now,
        failure_rule=failure.rule,
        failure_scope=failure.scope,
        failure_error=failure.error,
        failure_remedy=failure.remedy,
    )


def clear_discovery(store: Transaction, accounts: Sequence[str]) -> None:
    """Forget how discovery failed where it is no longer asked for: it is nobody's problem any more."""
    store.connection.execute(
        update(account_status)
        .where(account_status.c.account.in_(accounts), account_status.c.consecutive_failures > 0)
        .values(
            consecutive_failures=0,
            failing_since=None,
            shrunk_since=None,
            failure_rule=None,
            failure_error=None,
        )
    )


def _upsert(store: Transaction, account: str, **values: Any) -> None:
    insert = postgresql.insert if store.connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(account_status).values(account=account, **values)
    store.connection.execute(
        statement.on_conflict_do_update(index_elements=[account_status.c.account], set_=values)
    )


def _failing(store: Transaction, accounts: Sequence[str]) -> dict[str, list[TargetFailure]]:
    query = (
        select(targets, poll_runs.c.error, target_schedule.c.last_polled_at)
        .join(target_schedule, target_schedule.c.target_id == targets.c.id)
        .join(poll_runs, and_(poll_runs.c.target_id == targets.c.id, poll_runs.c.ended_at.is_(None)))
        .where(targets.c.account.in_(accounts), _ACTIVE, targets.c.consecutive_failures > 0)
        .order_by(targets.c.id)
    )
    found: dict[str, list[TargetFailure]] = {}
    for row in store.connection.execute(query).mappings():
        found.setdefault(row["account"], []).append(
            TargetFailure(
                target=as_target(row),
                consecutive_failures=row["consecutive_failures"],
                failing_since=row["failing_since"],
                failed_at=row["last_polled_at"],
                rule=RuleName(row["failure_rule"]),
                scope=FailureScope(row["failure_scope"] or FailureScope.UNCLEAR),
                isolated_failures=row["isolated_failures"],
                suspect_changes=row["suspect_changes"],
                error=row["error"] or "",
                remedy=row["failure_remedy"] or "",
            )
        )
    return found


def _last_answers(
    store: Transaction, accounts: Sequence[str]
) -> dict[str, tuple[int, datetime | None, datetime | None]]:
    """Count the targets of accounts, and tell when any of them, and any managed user, last answered well."""
    at_ok = case((targets.c.consecutive_failures == 0, target_schedule.c.last_polled_at))
    is_user = targets.c.managed_user_id.is_not(None)
    by_poll, by_target = target_schedule.c.last_polled_at.type, targets.c.last_ok_at.type
    query = (
        select(
            targets.c.account,
            func.count(),
            func.max(at_ok, type_=by_poll),
            func.max(targets.c.last_ok_at, type_=by_target),
            func.max(case((is_user, at_ok)), type_=by_poll),
            func.max(case((is_user, targets.c.last_ok_at)), type_=by_target),
        )
        .join(target_schedule, target_schedule.c.target_id == targets.c.id)
        .where(targets.c.account.in_(accounts), _ACTIVE)
        .group_by(targets.c.account)
    )
    return {
        account: (count, _latest(newest, older), _latest(newest_user, older_user))
        for account, count, newest, older, newest_user, older_user in store.connection.execute(query)
    }


def _unheard(store: Transaction, accounts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Name the connections whose token status is a word that the monitor doesn't know, by account and word."""
    query = (
        select(targets.c.account, connections)
        .join(connections, connections.c.target_id == targets.c.id)
        .where(targets.c.account.in_(accounts), _ACTIVE, text(UNHEARD))
        .order_by(connections.c.id)
    )
    found: dict[str, dict[str, list[str]]] = {}
    for row in store.connection.execute(query).mappings():
        seen = as_connection(row)
        if seen.status is None:
            names = found.setdefault(row["account"], {}).setdefault(seen.token_status, [])
            names.append(f"{platform_name(seen.platform)} {seen.name}")
    return found


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def _open_incidents(store: Transaction, accounts: Sequence[str]) -> tuple[list[Incident], dict[int, Target]]:
    query = (
        incident_query()
        .add_columns(*(column.label(f"of_{column.name}") for column in TARGET_COLUMNS))
        .join(targets, targets.c.id == incidents.c.target_id, isouter=True)
        .where(
            incidents.c.resolved_at.is_(None),
            incidents.c.account.in_(accounts),
            incidents.c.connection_id.is_(None),
            incidents.c.channel.is_(None),
            incidents.c.rule.in_(ACCOUNT_RULES),
            targets.c.deactivated_at.is_(None),
        )
        .order_by(incidents.c.id)
    )
    rows = list(store.connection.execute(query).mappings())
    subjects = {
        row["of_id"]: as_target({column.name: row[f"of_{column.name}"] for column in TARGET_COLUMNS})
        for row in rows
        if row["of_id"] is not None
    }
    return [as_incident(row) for row in rows], subjects


def _workspace(row: Any) -> TargetFailure:
    return TargetFailure(
        target=None,
        consecutive_failures=row["consecutive_failures"],
        failing_since=row["failing_since"],
        failed_at=row["failed_at"],
        rule=RuleName(row["failure_rule"]),
        scope=FailureScope(row["failure_scope"]),
        error=row["failure_error"] or "",
        remedy=row["failure_remedy"] or "",
    )
