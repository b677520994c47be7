"""Erase a client: names, links and history. Only counts remain."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update

from monitor.core.model import DeliveryState, RuleName
from monitor.core.routing.routes import glob_match
from monitor.storage.database import Database
from monitor.storage.rows import TARGET_COLUMNS
from monitor.storage.tables import (
    account_status,
    connections,
    erasures,
    incidents,
    notifications,
    poll_runs,
    silences,
    snapshots,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction

# Targets erased in one transaction, so that the daemon doesn't wait long.
CHUNK = 20


def count_known(store: Transaction, account: str, managed_user_id: str | None) -> tuple[int, bool]:
    """
    Count what there is to erase.

    Args:
        managed_user_id: None for all of the account.

    Returns:
        How many targets there are, and whether any is polled.
    """
    query = select(targets.c.deactivated_at).where(_client_targets(account, managed_user_id))
    detached = list(store.connection.execute(query).scalars())
    return len(detached), None in detached


def erase(
    database: Database, account: str, managed_user_id: str | None, now: datetime
) -> Iterator[Mapping[str, int]]:
    """
    Erase a managed user, or an account with all its managed users, in small transactions.

    One row of counts in ``erasures`` remains. Silences may also name the client. Those that ended, or match
    nobody else, are deleted.

    Yields:
        For each transaction, the number of erased rows of each kind.
    """
    kept_as = account if managed_user_id else None
    with database.begin() as store:
        store.lock(account)
        erasure_id = store.connection.execute(
            insert(erasures).values(erased_at=now, account=kept_as).returning(erasures.c.id)
        ).scalar_one()
        _erase_silences(store, _names(store, account, managed_user_id), now)
        _erase_from_summaries(store, account)
    while True:
        with database.begin() as store:
            store.lock(account)
            query = select(targets.c.id).where(_client_targets(account, managed_user_id)).limit(CHUNK)
            ids = list(store.connection.execute(query).scalars())
            gone = _erase_targets(store, ids) if ids else Counter[str]()
            if not ids and managed_user_id is None:
                gone = _erase_account(store, account)
            counted = {name: erasures.c[name] + count for name, count in gone.items()}
            if counted:
                store.connection.execute(update(erasures).where(erasures.c.id == erasure_id).values(counted))
        yield gone
        if not ids:
            return


def _client_targets(account: str, managed_user_id: str | None) -> ColumnElement[bool]:
    of_account = targets.c.account == account
    return (
        of_account
        if managed_user_id is None
        else and_(of_account, targets.c.managed_user_id == managed_user_id)
    )


def _names(store: Transaction, account: str, managed_user_id: str | None) -> dict[str, set[str]]:
    """Return the words by which silences may name the client, by the key of their match."""
    rows = list(
        store.connection.execute(
            select(*TARGET_COLUMNS).where(_client_targets(account, managed_user_id))
        ).mappings()
    )
    users = {row[key] for row in rows for key in ("managed_user_id", "managed_user", "managed_username")}
    names = {"managed_user": {str(name) for name in users if name}}
    return names if managed_user_id else names | {"account": {account}}


def _erase_silences(store: Transaction, names: Mapping[str, set[str]], now: datetime) -> None:
    gone = []
    for row in store.connection.execute(select(silences)).mappings():
        is_over = row["ends_at"] <= now or row["ended_at"] is not None
        for key, patterns in json.loads(row["match"]).items():
            hits = [
                pattern
                for pattern in patterns
                if pattern.strip("*") and any(glob_match(pattern, name) for name in names.get(key, ()))
            ]
            if hits and (is_over or set(hits) <= names[key]):
                gone.append(row["id"])
    if gone:
        of_them = notifications.c.silence_id.in_(gone)
        store.connection.execute(update(notifications).where(of_them).values(silence_id=None))
        store.connection.execute(delete(silences).where(silences.c.id.in_(gone)))


def _erase_from_summaries(store: Transaction, account: str) -> None:
    """Remove names from incidents of the account itself, since those about bad answers name connections."""
    store.connection.execute(
        update(incidents)
        .where(
            incidents.c.account == account,
            incidents.c.rule == RuleName.BAD_ANSWER,
            incidents.c.target_id.is_(None),
        )
        .values(summary="an answer of the API could not be used; the names were erased")
    )


def _erase_targets(store: Transaction, ids: Sequence[int]) -> Counter[str]:
    of_them: Any = connections.c.target_id.in_(ids)
    theirs = select(connections.c.id).where(of_them)
    about = incidents.c.target_id.in_(ids)
    is_transition = or_(
        snapshots.c.from_status.is_(None), snapshots.c.from_status != snapshots.c.token_status
    )
    ended = store.connection.execute(
        select(func.coalesce(func.sum(poll_runs.c.poll_count), 0)).where(poll_runs.c.target_id.in_(ids))
    ).scalar_one()
    running = store.connection.execute(
        select(func.coalesce(func.sum(target_schedule.c.run_length), 0)).where(
            target_schedule.c.target_id.in_(ids)
        )
    ).scalar_one()
    counts = Counter(
        targets=len(ids),
        connections=_count(store, connections.c.id, of_them),
        polls=int(ended) + int(running),
        transitions=_count(store, snapshots.c.id, snapshots.c.connection_id.in_(theirs), is_transition),
        incidents=_count(store, incidents.c.id, about),
        deliveries=_count_deliveries(store, about),
    )
    # Deleting targets cascades to every table that belongs to them.
    store.connection.execute(delete(targets).where(targets.c.id.in_(ids)))
    return counts


def _erase_account(store: Transaction, account: str) -> Counter[str]:
    about = incidents.c.account == account
    counts = Counter(
        incidents=_count(store, incidents.c.id, about),
        deliveries=_count_deliveries(store, about),
    )
    store.connection.execute(delete(incidents).where(about))
    store.connection.execute(delete(account_status).where(account_status.c.account == account))
    return counts


def _count(store: Transaction, column: ColumnElement[int], *conditions: ColumnElement[bool]) -> int:
    return store.connection.execute(select(func.count(column)).where(*conditions)).scalar_one()


def _count_deliveries(store: Transaction, about: ColumnElement[bool]) -> int:
    return _count(
        store,
        notifications.c.id,
        notifications.c.incident_id.in_(select(incidents.c.id).where(about)),
        notifications.c.state == DeliveryState.DELIVERED,
    )
