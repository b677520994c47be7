"""Accounts as a whole: which of their targets fail, when they last answered, and their open incidents."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from monitor.core.evaluation.accounts import ACCOUNT_RULES, UNHEARD_NAMED, AccountState, TargetFailure
from monitor.core.messages.phrases import platform_name
from monitor.core.model import FailureScope, Incident, RuleName, Target
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


def load_accounts(
    store: Transaction,
    accounts: Sequence[str],
    *,
    recent_opens: Mapping[tuple[str, RuleName], int],
) -> list[AccountState]:
    """Load the states of accounts; ``recent_opens`` is part of each."""
    failing = failing_targets(store, accounts)
    answers = last_answers(store, accounts)
    unheard = unheard_statuses(store, accounts)
    open_ones, subjects = open_incidents(store, accounts)
    query = select(account_status).where(account_status.c.account.in_(accounts))
    known = {row["account"]: row for row in store.connection.execute(query).mappings()}
    states = []
    for name in accounts:
        count, last_ok_at, last_user_ok_at = answers.get(name, (0, None, None))
        row, workspace = known.get(name), None
        if row and row["consecutive_failures"]:
            workspace = TargetFailure(
                target=None,
                consecutive_failures=row["consecutive_failures"],
                failing_since=row["failing_since"],
                failed_at=row["failed_at"],
                rule=RuleName(row["failure_rule"]),
                scope=FailureScope(row["failure_scope"]),
                error=row["failure_error"] or "",
                remedy=row["failure_remedy"] or "",
            )
        states.append(
            AccountState(
                account=name,
                targets=count,
                failing=tuple(failing.get(name, ())),
                workspace=workspace,
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


def failing_targets(store: Transaction, accounts: Sequence[str]) -> dict[str, list[TargetFailure]]:
    """Load the targets of accounts whose newest poll failed."""
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


def last_answers(
    store: Transaction, accounts: Sequence[str]
) -> dict[str, tuple[int, datetime | None, datetime | None]]:
    """Count the targets of accounts, and return when any of them, and any managed user, last answered well."""
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
        account: (
            count,
            max(filter(None, (newest, older)), default=None),
            max(filter(None, (newest_user, older_user)), default=None),
        )
        for account, count, newest, older, newest_user, older_user in store.connection.execute(query)
    }


def last_ok_at(store: Transaction, accounts: Sequence[str]) -> dict[str, datetime | None]:
    """Return when any target of each account last answered well."""
    return {account: newest for account, (_, newest, _) in last_answers(store, accounts).items()}


def unheard_statuses(store: Transaction, accounts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the connections with an unknown token status, by account and status."""
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


def open_incidents(store: Transaction, accounts: Sequence[str]) -> tuple[list[Incident], dict[int, Target]]:
    """Load the open incidents about accounts and managed users, and the targets that they are about."""
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


def save_status(store: Transaction, account: str, **values: Any) -> None:
    """Save some columns of an account's row, and create the row if there is none."""
    insert = postgresql.insert if store.connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(account_status).values(account=account, **values)
    store.connection.execute(
        statement.on_conflict_do_update(index_elements=[account_status.c.account], set_=values)
    )
