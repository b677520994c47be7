"""Managed users in the history: listed, renamed, missing, removed; never deleted."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, distinct, exists, func, insert, select, update

from monitor.core.evaluation.workspace import KnownUser, ListedUser
from monitor.core.model import Cause, Incident, RuleName, Target
from monitor.storage.rows import TARGET_COLUMNS, as_incident, as_target, in_chunks, incident_query
from monitor.storage.tables import connections, incidents, snapshots, targets
from monitor.storage.transaction import Transaction


def known_users(store: Transaction, account: str) -> list[KnownUser]:
    """Load every managed user that an account ever had."""
    query = (
        select(*TARGET_COLUMNS, targets.c.missing_since, targets.c.deactivated_at)
        .where(targets.c.account == account, targets.c.managed_user_id.is_not(None))
        .order_by(targets.c.id)
    )
    return [
        KnownUser(
            target=as_target(row),
            missing_since=row["missing_since"],
            is_deactivated=row["deactivated_at"] is not None,
        )
        for row in store.connection.execute(query).mappings()
    ]


def active_users(store: Transaction) -> list[Target]:
    """Load the managed users that are polled, of all accounts."""
    query = (
        select(*TARGET_COLUMNS)
        .where(targets.c.managed_user_id.is_not(None), targets.c.deactivated_at.is_(None))
        .order_by(targets.c.account, targets.c.id)
    )
    return [as_target(row) for row in store.connection.execute(query).mappings()]


def likely_owners(store: Transaction, account: str | None = None) -> list[Target]:
    """Return the polled managed users whose newest list equals the account's own and isn't empty."""
    owner = targets.alias()
    query = (
        select(*TARGET_COLUMNS)
        .join(
            owner,
            and_(owner.c.account == targets.c.account, owner.c.response_digest == targets.c.response_digest),
        )
        .where(
            targets.c.managed_user_id.is_not(None),
            targets.c.deactivated_at.is_(None),
            owner.c.managed_user_id.is_(None),
            owner.c.deactivated_at.is_(None),
            exists().where(connections.c.target_id == targets.c.id, connections.c.removed_at.is_(None)),
        )
        .order_by(targets.c.id)
    )
    if account is not None:
        query = query.where(targets.c.account == account)
    return [as_target(row) for row in store.connection.execute(query).mappings()]


def rename(store: Transaction, named: Mapping[int, ListedUser]) -> None:
    """Save the names that managed users have now, by the ids of their targets."""
    if named:
        rows = [
            {"b_id": id_, "managed_user": user.name, "managed_username": user.username}
            for id_, user in named.items()
        ]
        statement = update(targets).where(targets.c.id == bindparam("b_id"))
        store.connection.execute(
            statement.values(
                managed_user=bindparam("managed_user"), managed_username=bindparam("managed_username")
            ),
            rows,
        )


def mark_missing(store: Transaction, ids: Sequence[int], since: datetime | None) -> None:
    """Save since when managed users have not been listed; None for those that are."""
    for some in in_chunks(ids):
        store.connection.execute(update(targets).where(targets.c.id.in_(some)).values(missing_since=since))


def remove_connections(store: Transaction, target_ids: Sequence[int], now: datetime) -> None:
    """Mark every connection of deactivated targets as removed; their history stays."""
    kept = ("token_status", "expires_at", "last_successful_post_at", "last_error", "last_error_at")
    for some in in_chunks(target_ids):
        here = connections.c.target_id.in_(some) & connections.c.removed_at.is_(None)
        rows = [
            {
                "connection_id": row["id"],
                "taken_at": now,
                "from_status": row["token_status"],
                "removed_at": now,
                **{name: row[name] for name in kept},
            }
            for row in store.connection.execute(select(connections).where(here)).mappings()
        ]
        if rows:
            store.connection.execute(insert(snapshots), rows)
            store.connection.execute(update(connections).where(here).values(removed_at=now))


def open_incidents(
    store: Transaction, target_ids: Iterable[int], *rules: RuleName
) -> dict[int, list[Incident]]:
    """
    Load the open incidents about targets, or about their connections; by target.

    Args:
        rules: only incidents of these rules; by default of all.
    """
    found: dict[int, list[Incident]] = {}
    for some in in_chunks(target_ids):
        query = (
            incident_query()
            .where(incidents.c.resolved_at.is_(None), incidents.c.target_id.in_(some))
            .order_by(incidents.c.id)
        )
        if rules:
            query = query.where(incidents.c.rule.in_(rules))
        for row in store.connection.execute(query).mappings():
            found.setdefault(row["target_id"], []).append(as_incident(row))
    return found


def users_needing_reconnect(store: Transaction, account: str) -> dict[int, int]:
    """Count the connections of each managed user that must be reconnected, by target."""
    query = (
        select(incidents.c.target_id, func.count(distinct(incidents.c.connection_id)).label("needing"))
        .where(
            incidents.c.account == account,
            incidents.c.resolved_at.is_(None),
            incidents.c.connection_id.is_not(None),
            incidents.c.cause.in_([each for each in Cause if each.needs_reconnect]),
        )
        .group_by(incidents.c.target_id)
    )
    return {row.target_id: row.needing for row in store.connection.execute(query)}
