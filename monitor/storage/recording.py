"""Writing what was seen and decided: a constant number of statements for a batch of any size."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import bindparam, func, insert, select, update

from monitor.core.evaluation.evaluate import Evaluation
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Incident, Outcome, Reason, Target
from monitor.core.routing.routes import PlannedNotification
from monitor.storage.rows import connection_row, error_columns, incident_row, notification_row
from monitor.storage.tables import (
    acknowledgements,
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
    One poll to be recorded.

    Args:
        taken_at: when its answer was complete.
        next_poll_at: when the target is due again.
        last_ok_at: the newest good answer before this one; this one where most of it was good.
        evaluation: what follows; None where the poll was steady and nothing does.
        is_isolated: whether it failed again though others of its account had an answer in between.
    """

    target: Target
    taken_at: datetime
    next_poll_at: datetime
    last_ok_at: datetime | None = None
    evaluation: Evaluation | None = None
    is_isolated: bool = False


RoutedChange: TypeAlias = tuple[IncidentChange, tuple[PlannedNotification, ...]]


def save_polls(store: Transaction, records: Sequence[PollRecord]) -> None:
    """Write what a batch of polls saw and changed; incidents apart."""
    decided = [poll_record for poll_record in records if poll_record.evaluation]
    _save_connections(store, [poll_record.evaluation for poll_record in decided if poll_record.evaluation])
    _save_targets(store, decided)
    _save_runs(store, decided)
    steady = [
        {
            "b_id": poll_record.target.id,
            "next_poll_at": poll_record.next_poll_at,
            "last_polled_at": poll_record.taken_at,
        }
        for poll_record in records
        if poll_record.evaluation is None
    ]
    if steady:
        store.connection.execute(_EXTEND_RUN, steady)


def save_reevaluations(store: Transaction, evaluations: Sequence[Evaluation]) -> None:
    """Write down when the targets of reviews must be decided again: at the latest by their next poll."""
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
    Write incidents and the outbox rows that tell of them.

    Args:
        incident_channels: to services with incidents of their own, where each end is told, whatever the routes
            say and whoever else is told: what was begun there would stay open for ever.

    Returns:
        The id of each incident, in the order given.
    """
    opened = [change.incident for change, _ in changes if change.incident.id is None]
    new_ids = iter(_open(store, opened))
    moved = [incident_row(change.incident) for change, _ in changes if change.incident.id is not None]
    if moved:
        store.connection.execute(_UPDATE_INCIDENT, moved)
        end_acknowledgements(store, changes, now)
    ids = [change.incident.id or next(new_ids) for change, _ in changes]
    rows = [
        notification_row(id_, notification, now)
        for id_, (_, planned) in zip(ids, changes, strict=True)
        for notification in planned
    ]
    if incident_channels:
        rows += _owed_ends(store, ids, changes, now, incident_channels)
    if rows:
        store.connection.execute(insert(notifications), rows)
    return ids


def _owed_ends(
    store: Transaction,
    ids: Sequence[int],
    notified: Sequence[RoutedChange],
    now: datetime,
    channels: Collection[str],
) -> list[dict[str, Any]]:
    """Make the rows for the ends that services were not going to be told of, of what was written to them."""
    ended = {
        id_: {notification.channel for notification in planned}
        for id_, (change, planned) in zip(ids, notified, strict=True)
        if not change.incident.is_open
    }
    if not ended:
        return []
    query = (
        select(notifications.c.incident_id, notifications.c.channel)
        .where(notifications.c.incident_id.in_(ended), notifications.c.channel.in_(channels))
        .distinct()
    )
    return [
        notification_row(
            id_, PlannedNotification(channel=channel, group="", reason=Reason.RESOLVED, due_at=now), now
        )
        for id_, channel in store.connection.execute(query)
        if channel not in ended[id_]
    ]


def end_acknowledgements(store: Transaction, notified: Sequence[RoutedChange], now: datetime) -> None:
    """Close the acknowledgements of incidents that ended, or got worse than whoever took them knew."""
    worse = [
        change.incident.id
        for change, _ in notified
        if change.incident.id and change.reason is Reason.ESCALATED
    ]
    if worse:
        store.connection.execute(
            update(incidents)
            .where(incidents.c.id.in_(worse))
            .values(acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)
        )
    ended = worse + [
        change.incident.id for change, _ in notified if change.incident.id and not change.incident.is_open
    ]
    if ended:
        store.connection.execute(
            update(acknowledgements)
            .where(acknowledgements.c.incident_id.in_(ended), acknowledgements.c.ended_at.is_(None))
            .values(ended_at=now)
        )


def _open(store: Transaction, opened: Sequence[Incident]) -> list[int]:
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
    # Matched by what is unique among the open ones; to have them in order, SQLite would take them one by one.
    statement = insert(incidents).returning(incidents.c.id, incidents.c.rule, incidents.c.subject)
    new = {(row.rule, row.subject): row.id for row in store.connection.execute(statement, rows)}
    return [new[each.rule, each.subject.key] for each in opened]


def _save_connections(store: Transaction, evaluations: Sequence[Evaluation]) -> None:
    changes = [(evaluation, change) for evaluation in evaluations for change in evaluation.changes]
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
    for row in new:
        del row["b_id"]
    ids: dict[tuple[int, str], int] = {}
    if new:
        statement = insert(connections).returning(
            connections.c.id, connections.c.target_id, connections.c.platform_id
        )
        for id_, target_id, platform_id in store.connection.execute(statement, new):
            ids[target_id, platform_id] = id_
    moved = [connection_row(change.after) for _, change in changes if change.before is not None]
    if moved:
        store.connection.execute(_UPDATE_CONNECTION, moved)
    story = [
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
    if story:
        store.connection.execute(insert(snapshots), story)


def _save_targets(store: Transaction, decided: Sequence[PollRecord]) -> None:
    failed, good = [], []
    for poll_record in decided:
        evaluation = poll_record.evaluation
        if evaluation is None:
            continue
        row = {"b_id": poll_record.target.id, "b_at": poll_record.taken_at}
        if evaluation.failure:
            failure = evaluation.failure
            failed.append(
                row
                | {"b_rule": failure.rule, "b_remedy": failure.remedy, "b_ok": poll_record.last_ok_at}
                | {"b_reach": failure.scope, "b_alone": int(poll_record.is_isolated)}
                | {"b_doubted": evaluation.suspect_changes, "b_review": evaluation.next_evaluation_at}
                | {
                    "b_short": evaluation.shrunk_since,
                    "b_offset": _offset(evaluation) if evaluation.changes else None,
                }
            )
        else:
            settled = (
                evaluation.snapshot.response_digest if evaluation.snapshot and evaluation.is_stable else None
            )
            good.append(
                row
                | {"b_fingerprint": settled, "b_review": evaluation.next_evaluation_at}
                | {"b_offset": _offset(evaluation)}
            )
    if failed:
        store.connection.execute(_TARGET_FAILED, failed)
    if good:
        store.connection.execute(_TARGET_ANSWERED, good)


def _offset(evaluation: Evaluation) -> int:
    return round(evaluation.snapshot.clock_offset.total_seconds()) if evaluation.snapshot else 0


def _save_runs(store: Transaction, decided: Sequence[PollRecord]) -> None:
    if not decided:
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
            target_schedule.c.target_id.in_([poll_record.target.id for poll_record in decided]),
            poll_runs.c.ended_at.is_(None),
        )
    )
    running = {row["target_id"]: row for row in store.connection.execute(query).mappings()}
    same, new, ended = [], [], []
    for poll_record in decided:
        failure = poll_record.evaluation.failure if poll_record.evaluation else None
        story = (
            failure.outcome if failure else Outcome.OK,
            failure.http_status if failure else 200,
            failure.error if failure else None,
        )
        run = running.get(poll_record.target.id)
        if run and (run["outcome"], run["http_status"], run["error"]) == story:
            same.append(poll_record)
            continue
        new.append((poll_record, story))
        if run:
            ended.append(
                {
                    "b_id": run["id"],
                    "ended_at": run[target_schedule.c.last_polled_at],
                    "poll_count": run[target_schedule.c.run_length],
                }
            )
    if same:
        store.connection.execute(_EXTEND_RUN, [_poll_row(poll_record) for poll_record in same])
    if ended:
        store.connection.execute(_END_RUN, ended)
    if new:
        rows = [
            {
                "target_id": poll_record.target.id,
                "outcome": outcome,
                "http_status": http_status,
                "error": error,
                "started_at": poll_record.taken_at,
            }
            for poll_record, (outcome, http_status, error) in new
        ]
        store.connection.execute(insert(poll_runs), rows)
        store.connection.execute(_BEGIN_RUN, [_poll_row(poll_record) for poll_record, _ in new])


def _poll_row(poll_record: PollRecord) -> dict[str, Any]:
    return {
        "b_id": poll_record.target.id,
        "next_poll_at": poll_record.next_poll_at,
        "last_polled_at": poll_record.taken_at,
    }


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
        isolated_failures=targets.c.isolated_failures + bindparam("b_alone"),
        last_ok_at=bindparam("b_ok"),
        failing_since=func.coalesce(
            targets.c.failing_since, bindparam("b_at", type_=targets.c.failing_since.type)
        ),
        failure_rule=bindparam("b_rule"),
        failure_scope=bindparam("b_reach"),
        failure_remedy=bindparam("b_remedy"),
        response_digest=None,
        suspect_changes=bindparam("b_doubted"),
        shrunk_since=bindparam("b_short"),
        clock_offset_seconds=func.coalesce(
            bindparam("b_offset", type_=targets.c.clock_offset_seconds.type), targets.c.clock_offset_seconds
        ),
        next_evaluation_at=bindparam("b_review"),
    )
)
_TARGET_ANSWERED = (
    update(targets)
    .where(targets.c.id == bindparam("b_id"))
    .values(
        last_ok_at=bindparam("b_at"),
        consecutive_failures=0,
        isolated_failures=0,
        failing_since=None,
        failure_rule=None,
        failure_remedy=None,
        response_digest=bindparam("b_fingerprint"),
        suspect_changes=0,
        shrunk_since=None,
        clock_offset_seconds=bindparam("b_offset"),
        next_evaluation_at=bindparam("b_review"),
    )
)
_UPDATE_CONNECTION = update(connections).where(connections.c.id == bindparam("b_id"))
_UPDATE_INCIDENT = update(incidents).where(incidents.c.id == bindparam("b_id"))
