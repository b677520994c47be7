"""The invariants of the history database, and the findings if one is violated."""

from collections.abc import Callable, Iterator

from sqlalchemy import Select, and_, exists, func, inspect, or_, select, text

from monitor.core.model import DeliveryState, Incident, Target
from monitor.storage.rows import as_incident, incident_query
from monitor.storage.tables import (
    acknowledgements,
    connections,
    incidents,
    metadata,
    notifications,
    poll_runs,
    snapshots,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction

MAX_SHOWN = 10


def check_integrity(
    store: Transaction, *, is_routed: Callable[[Incident, Target | None], bool]
) -> Iterator[str]:
    """
    Check what must always hold, and yield a line for each fault; nothing if the database is sound.

    Args:
        is_routed: returns whether a route takes an incident.
    """
    missing = list(_missing(store))
    if missing:
        yield f"the schema lacks {', '.join(missing)}: restore a backup"
    if store.connection.dialect.name == "sqlite":
        yield from _file_findings(store)
    if any(not what.startswith("index ") for what in missing):
        return
    for complaint, query in _INVARIANTS.items():
        ids = list(store.connection.execute(query.limit(MAX_SHOWN + 1)).scalars())
        if ids:
            more = " and more" if len(ids) > MAX_SHOWN else ""
            yield f"{complaint}: {', '.join(map(str, ids[:MAX_SHOWN]))}{more}"
    silent = [
        incident.id
        for incident, target in _never_notified(store)
        if incident.is_notifiable and is_routed(incident, target)
    ]  # fmt: skip
    if silent:
        yield f"open incidents without a notification: {', '.join(map(str, silent))}"


def _missing(store: Transaction) -> Iterator[str]:
    """Yield the missing tables, columns and indexes."""
    seen = inspect(store.connection)
    there = set(seen.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in there:
            yield f"table {table.name}"
            continue
        columns = {column["name"] for column in seen.get_columns(table.name)}
        yield from (f"column {table.name}.{each.name}" for each in table.columns if each.name not in columns)
        yield from (
            f"index {name}"
            for name in sorted({str(each.name) for each in table.indexes} - _indexes(store, table.name))
        )


def _indexes(store: Transaction, table: str) -> set[str]:
    # Not with the inspector, which leaves out indexes over expressions.
    query = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = :table"
    if store.connection.dialect.name != "sqlite":
        query = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = :table"
    return set(store.connection.execute(text(query), {"table": table}).scalars())


def _file_findings(store: Transaction) -> Iterator[str]:
    for (said,) in store.connection.execute(text("PRAGMA integrity_check(10)")):
        if said != "ok":
            yield f"the file is damaged, restore a backup: {said}"
    orphans = {row[0] for row in store.connection.execute(text("PRAGMA foreign_key_check"))}
    for table in sorted(orphans):
        yield f"rows without their parent row: in {table}"


def _never_notified(store: Transaction) -> Iterator[tuple[Incident, Target | None]]:
    query = (
        incident_query()
        .add_columns(targets.c.managed_user_id, targets.c.managed_user)
        .join(targets, targets.c.id == incidents.c.target_id, isouter=True)
        .where(
            incidents.c.resolved_at.is_(None), ~exists().where(notifications.c.incident_id == incidents.c.id)
        )
        .order_by(incidents.c.id)
    )
    for row in store.connection.execute(query).mappings():
        target = None
        if row["target_id"] is not None:
            target = Target(
                id=row["target_id"],
                account=row["account"],
                managed_user_id=row["managed_user_id"],
                managed_user=row["managed_user"],
            )
        yield as_incident(row), target


def _newest_differs() -> Select[tuple[int]]:
    newest = (
        select(snapshots.c.connection_id, func.max(snapshots.c.id).label("id"))
        .group_by(snapshots.c.connection_id)
        .subquery()
    )
    return (
        select(connections.c.id)
        .join(newest, newest.c.connection_id == connections.c.id, isouter=True)
        .join(snapshots, snapshots.c.id == newest.c.id, isouter=True)
        .where(or_(snapshots.c.id.is_(None), snapshots.c.token_status != connections.c.token_status))
        .order_by(connections.c.id)
    )


_open = incidents.alias("twin")
_INVARIANTS: dict[str, Select[tuple[int]]] = {
    "two open incidents for one problem": (
        select(incidents.c.id)
        .join(
            _open,
            and_(
                _open.c.rule == incidents.c.rule,
                _open.c.subject == incidents.c.subject,
                _open.c.id < incidents.c.id,
            ),
        )
        .where(incidents.c.resolved_at.is_(None), _open.c.resolved_at.is_(None))
    ),
    "delivered without a delivery time: deliveries": select(notifications.c.id).where(
        notifications.c.state == DeliveryState.DELIVERED, notifications.c.delivered_at.is_(None)
    ),
    "being sent without a sender: deliveries": select(notifications.c.id).where(
        notifications.c.state == DeliveryState.SENDING,
        or_(notifications.c.leased_until.is_(None), notifications.c.message_key.is_(None)),
    ),
    "resolved, but still acknowledged: incidents": (
        select(incidents.c.id)
        .join(acknowledgements, acknowledgements.c.incident_id == incidents.c.id)
        .where(incidents.c.resolved_at.is_not(None), acknowledgements.c.ended_at.is_(None))
    ),
    "open, but no longer monitored: incidents": (
        select(incidents.c.id)
        .join(targets, targets.c.id == incidents.c.target_id)
        .where(
            incidents.c.resolved_at.is_(None),
            incidents.c.connection_id.is_not(None),
            targets.c.deactivated_at.is_not(None),
        )
    ),
    "polled without a poll run: targets": (
        select(target_schedule.c.target_id)
        .join(
            poll_runs,
            and_(poll_runs.c.target_id == target_schedule.c.target_id, poll_runs.c.ended_at.is_(None)),
            isouter=True,
        )
        .where(target_schedule.c.last_polled_at.is_not(None), poll_runs.c.id.is_(None))
    ),
    "neither running nor ended: poll runs": select(poll_runs.c.id).where(
        poll_runs.c.ended_at.is_(None) != poll_runs.c.poll_count.is_(None)
    ),
    "without a next poll: targets": select(targets.c.id).where(
        ~exists().where(target_schedule.c.target_id == targets.c.id)
    ),
    "different from their newest snapshot: connections": _newest_differs(),
}
