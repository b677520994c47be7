"""Save polls and what follows from them, with a constant number of statements for a batch of any size."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import bindparam, func, insert, select, update

from monitor.core.evaluation.evaluate import Evaluation
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Incident, Outcome, Reason, Target
from monitor.core.routing.routes import PlannedNotification
from monitor.storage import acknowledgements
from monitor.storage.rows import connection_row, error_columns, incident_row, notification_row
from monitor.storage.tables import (
    connections,
    incidents,
    notifications,
    poll_runs,
    snapshots,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRecord:
    """
    One poll to be saved.

    Args:
        taken_at: when its response was complete.
        next_poll_at: when the target is due again.
        last_ok_at: the newest good response before this one; this one if most of it was good.
        evaluation: what follows; None if nothing changed.
        is_isolated: whether it failed again though others of its account had a response in between.
    """

    target: Target
    taken_at: datetime
    next_poll_at: datetime
    last_ok_at: datetime | None = None
    evaluation: Evaluation | None = None
    is_isolated: bool = False

    @property
    def outcome(self) -> Outcome:
        """How the poll ended."""
        failure = self.evaluation and self.evaluation.failure
        return failure.outcome if failure else Outcome.OK


RoutedChange: TypeAlias = tuple[IncidentChange, tuple[PlannedNotification, ...]]


Evaluated: TypeAlias = tuple[PollRecord, Evaluation]


def save_polls(store: Transaction, records: Sequence[PollRecord]) -> None:
    """Save what a batch of polls saw and changed, except incidents."""
    evaluated = [(record, record.evaluation) for record in records if record.evaluation]
    save_connections(store, [evaluation for _, evaluation in evaluated])
    save_targets(store, evaluated)
    save_runs(store, evaluated)
    unchanged = [record for record in records if record.evaluation is None]
    if unchanged:
        store.connection.execute(_EXTEND_RUN, [poll_row(record) for record in unchanged])


def save_connections(store: Transaction, evaluations: Sequence[Evaluation]) -> None:
    """Save the connections that are new or changed, and their history."""
    changes = [(evaluation, change) for evaluation in evaluations for change in evaluation.changes]
    ids: dict[tuple[int, str], int] = {}
    new = [
        {
            **connection_row(change.after),
            "target_id": evaluation.target.id,
            "platform": change.after.connection.platform,
            "platform_id": change.after.connection.platform_id,
            "first_seen_at": change.after.first_seen_at,
        }
        for evaluation, change in changes
        if change.before is None
    ]
    if new:
        for row in new:
            del row["b_id"]
        statement = insert(connections).returning(
            connections.c.id, connections.c.target_id, connections.c.platform_id
        )
        for id_, target_id, platform_id in store.connection.execute(statement, new):
            ids[target_id, platform_id] = id_
    changed = [connection_row(change.after) for _, change in changes if change.before is not None]
    if changed:
        store.connection.execute(_UPDATE_CONNECTION, changed)
    history = [
        {
            "connection_id": change.after.id
            or ids[evaluation.target.id, change.after.connection.platform_id],
            "taken_at": evaluation.snapshot.taken_at,
            "from_status": change.before.connection.token_status if change.before else None,
            "token_status": change.after.connection.token_status,
            "expires_at": change.after.connection.expires_at,
            "last_successful_post_at": change.after.connection.last_successful_post_at,
            **error_columns(change.after.connection.last_error),
            "removed_at": change.after.removed_at,
        }
        for evaluation, change in changes
        if change.is_history and evaluation.snapshot
    ]
    if history:
        store.connection.execute(insert(snapshots), history)


def save_targets(store: Transaction, evaluated: Sequence[Evaluated]) -> None:
    """Save whether targets fail, and when each must be evaluated again."""
    failed, answered = [], []
    for record, evaluation in evaluated:
        failure, snapshot = evaluation.failure, evaluation.snapshot
        offset = round(snapshot.clock_offset.total_seconds()) if snapshot else 0
        row = {
            "b_id": record.target.id,
            "b_taken_at": record.taken_at,
            "next_evaluation_at": evaluation.next_evaluation_at,
        }
        if failure:
            failed.append(
                {
                    **row,
                    "last_ok_at": record.last_ok_at,
                    "b_isolated": int(record.is_isolated),
                    "failure_rule": failure.rule,
                    "failure_scope": failure.scope,
                    "failure_remedy": failure.remedy,
                    "suspect_changes": evaluation.suspect_changes,
                    "shrunk_since": evaluation.shrunk_since,
                    "b_offset": offset if evaluation.changes else None,
                }
            )
        else:
            digest = snapshot.response_digest if snapshot and evaluation.is_stable else None
            answered.append({**row, "response_digest": digest, "clock_offset_seconds": offset})
    if failed:
        store.connection.execute(_TARGET_FAILED, failed)
    if answered:
        store.connection.execute(_TARGET_ANSWERED, answered)


def save_runs(store: Transaction, evaluated: Sequence[Evaluated]) -> None:
    """Extend the run of equal polls of each target, or end it and begin another one."""
    if not evaluated:
        return
    query = (
        select(
            target_schedule.c.target_id,
            target_schedule.c.last_polled_at,
            target_schedule.c.run_length,
            poll_runs,
        )
        .join(poll_runs, poll_runs.c.target_id == target_schedule.c.target_id)
        .where(
            target_schedule.c.target_id.in_([record.target.id for record, _ in evaluated]),
            poll_runs.c.ended_at.is_(None),
        )
    )
    running = {row["target_id"]: row for row in store.connection.execute(query).mappings()}
    extended, ended, begun, new_runs = [], [], [], []
    for record, evaluation in evaluated:
        failure = evaluation.failure
        outcome = {
            "outcome": failure.outcome if failure else Outcome.OK,
            "http_status": failure.http_status if failure else 200,
            "error": failure.error if failure else None,
        }
        run = running.get(record.target.id)
        if run and all(run[name] == value for name, value in outcome.items()):
            extended.append(poll_row(record))
            continue
        begun.append(poll_row(record))
        new_runs.append({"target_id": record.target.id, "started_at": record.taken_at, **outcome})
        if run:
            ended.append(
                {
                    "b_id": run["id"],
                    "ended_at": run[target_schedule.c.last_polled_at],
                    "poll_count": run[target_schedule.c.run_length],
                }
            )
    if extended:
        store.connection.execute(_EXTEND_RUN, extended)
    if ended:
        store.connection.execute(_END_RUN, ended)
    if begun:
        store.connection.execute(insert(poll_runs), new_runs)
        store.connection.execute(_BEGIN_RUN, begun)


def poll_row(record: PollRecord) -> dict[str, Any]:
    """Return the values of ``target_schedule`` that every poll changes."""
    return {
        "b_id": record.target.id,
        "next_poll_at": record.next_poll_at,
        "last_polled_at": record.taken_at,
    }


def save_reevaluations(store: Transaction, evaluations: Sequence[Evaluation]) -> None:
    """Save when targets must be evaluated again: at the latest by their next poll."""
    rows = [{"b_id": each.target.id, "next_evaluation_at": each.next_evaluation_at} for each in evaluations]
    if rows:
        statement = update(targets).where(targets.c.id == bindparam("b_id"))
        store.connection.execute(
            statement.values(next_evaluation_at=bindparam("next_evaluation_at"), response_digest=None), rows
        )


def save_incidents(
    store: Transaction,
    changes: Sequence[RoutedChange],
    now: datetime,
    *,
    incident_channels: Collection[str] = (),
) -> list[int]:
    """
    Save incidents, and write the notifications of what changed about them.

    Args:
        incident_channels: the channels to incident services. Each is notified of the end of what it was notified
            of, whatever the routes say: what was opened there would stay open for ever.

    Returns:
        The id of each incident, in the order given.
    """
    new_ids = iter(
        open_incidents(store, [change.incident for change, _ in changes if not change.incident.id])
    )
    changed = [incident_row(change.incident) for change, _ in changes if change.incident.id]
    if changed:
        store.connection.execute(_UPDATE_INCIDENT, changed)
        acknowledgements.end_outdated(store, [change for change, _ in changes], now)
    ids = [change.incident.id or next(new_ids) for change, _ in changes]
    rows = [
        notification_row(id_, notification, now)
        for id_, (_, planned) in zip(ids, changes, strict=True)
        for notification in planned
    ]
    resolved = {
        id_: {notification.channel for notification in planned}
        for id_, (change, planned) in zip(ids, changes, strict=True)
        if not change.incident.is_open
    }
    if resolved and incident_channels:
        query = (
            select(notifications.c.incident_id, notifications.c.channel)
            .where(notifications.c.incident_id.in_(resolved), notifications.c.channel.in_(incident_channels))
            .distinct()
        )
        for id_, channel in store.connection.execute(query):
            if channel not in resolved[id_]:
                owed = PlannedNotification(channel=channel, group="", reason=Reason.RESOLVED, due_at=now)
                rows.append(notification_row(id_, owed, now))
    if rows:
        store.connection.execute(insert(notifications), rows)
    return ids


def open_incidents(store: Transaction, opened: Sequence[Incident]) -> list[int]:
    """Write new incidents; return their ids in the order given."""
    if not opened:
        return []
    subjects = {each.subject.target_id for each in opened if each.subject.platform_id}
    query = select(connections.c.id, connections.c.target_id, connections.c.platform_id).where(
        connections.c.target_id.in_(subjects)
    )
    ids = {(row.target_id, row.platform_id): row.id for row in store.connection.execute(query)}
    rows = [
        {
            **incident_row(each),
            "rule": each.rule,
            "subject": each.subject.key,
            "account": each.subject.account,
            "target_id": each.subject.target_id,
            "connection_id": ids.get((each.subject.target_id, each.subject.platform_id)),
            "channel": each.subject.channel,
            "opened_at": each.opened_at,
        }
        for each in opened
    ]
    for row in rows:
        del row["b_id"]
    # Matched by what is unique among open incidents. To return ids in order, SQLite would insert row by row.
    statement = insert(incidents).returning(incidents.c.id, incidents.c.rule, incidents.c.subject)
    new = {(row.rule, row.subject): row.id for row in store.connection.execute(statement, rows)}
    return [new[each.rule, each.subject.key] for each in opened]


_EXTEND_RUN = (
    update(target_schedule)
    .where(target_schedule.c.target_id == bindparam("b_id"))
    .values(
        next_poll_at=bindparam("next_poll_at"),
        last_polled_at=bindparam("last_polled_at"),
        run_length=target_schedule.c.run_length + 1,
    )
)
_BEGIN_RUN = (
    update(target_schedule)
    .where(target_schedule.c.target_id == bindparam("b_id"))
    .values(
        next_poll_at=bindparam("next_poll_at"),
        last_polled_at=bindparam("last_polled_at"),
        run_length=1,
    )
)
_END_RUN = (
    update(poll_runs)
    .where(poll_runs.c.id == bindparam("b_id"))
    .values(ended_at=bindparam("ended_at"), poll_count=bindparam("poll_count"))
)
_TARGET_FAILED = (
    update(targets)
    .where(targets.c.id == bindparam("b_id"))
    .values(
        consecutive_failures=targets.c.consecutive_failures + 1,
        isolated_failures=targets.c.isolated_failures + bindparam("b_isolated"),
        last_ok_at=bindparam("last_ok_at"),
        failing_since=func.coalesce(
            targets.c.failing_since, bindparam("b_taken_at", type_=targets.c.failing_since.type)
        ),
        failure_rule=bindparam("failure_rule"),
        failure_scope=bindparam("failure_scope"),
        failure_remedy=bindparam("failure_remedy"),
        response_digest=None,
        suspect_changes=bindparam("suspect_changes"),
        shrunk_since=bindparam("shrunk_since"),
        clock_offset_seconds=func.coalesce(
            bindparam("b_offset", type_=targets.c.clock_offset_seconds.type), targets.c.clock_offset_seconds
        ),
        next_evaluation_at=bindparam("next_evaluation_at"),
    )
)
_TARGET_ANSWERED = (
    update(targets)
    .where(targets.c.id == bindparam("b_id"))
    .values(
        last_ok_at=bindparam("b_taken_at"),
        consecutive_failures=0,
        isolated_failures=0,
        failing_since=None,
        failure_rule=None,
        failure_remedy=None,
        response_digest=bindparam("response_digest"),
        suspect_changes=0,
        shrunk_since=None,
        clock_offset_seconds=bindparam("clock_offset_seconds"),
        next_evaluation_at=bindparam("next_evaluation_at"),
    )
)
_UPDATE_CONNECTION = update(connections).where(connections.c.id == bindparam("b_id"))
_UPDATE_INCIDENT = update(incidents).where(incidents.c.id == bindparam("b_id"))
