"""Writing what was seen and decided: a constant number of statements for a batch of any size."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import bindparam, func, insert, select, update

from monitor.core.decide import Decision
from monitor.core.incidents import IncidentChange
from monitor.core.model import Incident, Outcome, Reason, Target
from monitor.core.routes import Telling
from monitor.storage.rows import connection_row, error_columns, incident_row, notification_row
from monitor.storage.tables import (
    acknowledgements,
    connections,
    incidents,
    notifications,
    poll_runs,
    polls,
    snapshots,
    targets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """
    One poll to be recorded.

    Args:
        taken_at: when its answer was complete.
        next_poll_at: when the target is due again.
        last_ok_at: the newest good answer before this one; this one where most of it was good.
        decision: what follows; None where the poll was steady and nothing does.
        is_alone: whether it failed again though others of its account had an answer in between.
    """

    target: Target
    taken_at: datetime
    next_poll_at: datetime
    last_ok_at: datetime | None = None
    decision: Decision | None = None
    is_alone: bool = False


Told: TypeAlias = tuple[IncidentChange, tuple[Telling, ...]]


def record(database: DatabaseConnection, batch: Sequence[Polled]) -> None:
    """Write what a batch of polls saw and changed; incidents apart."""
    decided = [polled for polled in batch if polled.decision]
    _record_connections(database, [polled.decision for polled in decided if polled.decision])
    _record_targets(database, decided)
    _record_runs(database, decided)
    steady = [
        {"b_id": polled.target.id, "next_poll_at": polled.next_poll_at, "last_at": polled.taken_at}
        for polled in batch
        if polled.decision is None
    ]
    if steady:
        database.execute(_EXTEND_RUN, steady)


def reviewed(database: DatabaseConnection, decisions: Sequence[Decision]) -> None:
    """Write down when the targets of reviews must be decided again: at the latest by their next poll."""
    rows = [{"b_id": each.target.id, "next_review_at": each.next_review_at} for each in decisions]
    if rows:
        statement = update(targets).where(targets.c.id == bindparam("b_id"))
        database.execute(statement.values(next_review_at=bindparam("next_review_at"), fingerprint=None), rows)


def record_incidents(
    database: DatabaseConnection,
    told: Sequence[Told],
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
    opened = [change.incident for change, _ in told if change.incident.id is None]
    new_ids = iter(_open(database, opened))
    moved = [incident_row(change.incident) for change, _ in told if change.incident.id is not None]
    if moved:
        database.execute(_MOVE_INCIDENT, moved)
        end_acknowledgements(database, told, now)
    ids = [change.incident.id or next(new_ids) for change, _ in told]
    rows = [
        notification_row(id_, telling, now)
        for id_, (_, tellings) in zip(ids, told, strict=True)
        for telling in tellings
    ]
    if incident_channels:
        rows += _owed_ends(database, ids, told, now, incident_channels)
    if rows:
        database.execute(insert(notifications), rows)
    return ids


def _owed_ends(
    database: DatabaseConnection,
    ids: Sequence[int],
    told: Sequence[Told],
    now: datetime,
    channels: Collection[str],
) -> list[dict[str, Any]]:
    """Make the rows for the ends that services were not going to be told of, of what was written to them."""
    ended = {
        id_: {telling.channel for telling in tellings}
        for id_, (change, tellings) in zip(ids, told, strict=True)
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
        notification_row(id_, Telling(channel=channel, group="", reason=Reason.RESOLVED, due_at=now), now)
        for id_, channel in database.execute(query)
        if channel not in ended[id_]
    ]


def end_acknowledgements(database: DatabaseConnection, told: Sequence[Told], now: datetime) -> None:
    """Close the acknowledgements of incidents that ended, or got worse than whoever took them knew."""
    worse = [
        change.incident.id for change, _ in told if change.incident.id and change.reason is Reason.ESCALATED
    ]
    if worse:
        database.execute(
            update(incidents)
            .where(incidents.c.id.in_(worse))
            .values(acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)
        )
    ended = worse + [
        change.incident.id for change, _ in told if change.incident.id and not change.incident.is_open
    ]
    if ended:
        database.execute(
            update(acknowledgements)
            .where(acknowledgements.c.incident_id.in_(ended), acknowledgements.c.ended_at.is_(None))
            .values(ended_at=now)
        )


def _open(database: DatabaseConnection, opened: Sequence[Incident]) -> list[int]:
    if not opened:
        return []
    subjects = {each.subject.target_id for each in opened if each.subject.platform_id}
    query = select(connections.c.id, connections.c.target_id, connections.c.platform_id).where(
        connections.c.target_id.in_(subjects)
    )
    ids = {(row.target_id, row.platform_id): row.id for row in database.execute(query)}
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
    new = {(row.rule, row.subject): row.id for row in database.execute(statement, rows)}
    return [new[each.rule, each.subject.key] for each in opened]


def _record_connections(database: DatabaseConnection, decisions: Sequence[Decision]) -> None:
    changes = [(decision, change) for decision in decisions for change in decision.changes]
    new = [
        {
            **connection_row(change.after),
            "target_id": decision.target.id,
            "platform": change.after.connection.platform,
            "platform_id": change.after.connection.platform_id,
            "first_seen_at": change.after.first_seen_at,
        }
        for decision, change in changes
        if change.before is None
    ]
    for row in new:
        del row["b_id"]
    ids: dict[tuple[int, str], int] = {}
    if new:
        statement = insert(connections).returning(
            connections.c.id, connections.c.target_id, connections.c.platform_id
        )
        for id_, target_id, platform_id in database.execute(statement, new):
            ids[target_id, platform_id] = id_
    moved = [connection_row(change.after) for _, change in changes if change.before is not None]
    if moved:
        database.execute(_MOVE_CONNECTION, moved)
    story = [
        {
            "connection_id": change.after.id or ids[decision.target.id, change.after.connection.platform_id],
            "taken_at": decision.snapshot.taken_at,
            "from_status": change.before.connection.token_status if change.before else None,
            "token_status": change.after.connection.token_status,
            "expires_at": change.after.connection.expires_at,
            "last_successful_post_at": change.after.connection.last_successful_post_at,
            **error_columns(change.after.connection.last_error),
            "removed_at": change.after.removed_at,
        }
        for decision, change in changes
        if change.is_history and decision.snapshot
    ]
    if story:
        database.execute(insert(snapshots), story)


def _record_targets(database: DatabaseConnection, decided: Sequence[Polled]) -> None:
    failed, good = [], []
    for polled in decided:
        decision = polled.decision
        if decision is None:
            continue
        row = {"b_id": polled.target.id, "b_at": polled.taken_at}
        if decision.failure:
            failure = decision.failure
            failed.append(
                row
                | {"b_rule": failure.rule, "b_remedy": failure.remedy, "b_ok": polled.last_ok_at}
                | {"b_reach": failure.reach, "b_alone": int(polled.is_alone)}
                | {"b_doubted": decision.doubted, "b_review": decision.next_review_at}
                | {
                    "b_short": decision.short_since,
                    "b_offset": _offset(decision) if decision.changes else None,
                }
            )
        else:
            settled = decision.snapshot.fingerprint if decision.snapshot and decision.is_settled else None
            good.append(
                row
                | {"b_fingerprint": settled, "b_review": decision.next_review_at}
                | {"b_offset": _offset(decision)}
            )
    if failed:
        database.execute(_TARGET_FAILED, failed)
    if good:
        database.execute(_TARGET_ANSWERED, good)


def _offset(decision: Decision) -> int:
    return round(decision.snapshot.clock_offset.total_seconds()) if decision.snapshot else 0


def _record_runs(database: DatabaseConnection, decided: Sequence[Polled]) -> None:
    if not decided:
        return
    query = (
        select(polls.c.target_id, polls.c.last_at, polls.c.polls, poll_runs)
        .join(poll_runs, poll_runs.c.target_id == polls.c.target_id)
        .where(polls.c.target_id.in_([polled.target.id for polled in decided]), poll_runs.c.last_at.is_(None))
    )
    running = {row["target_id"]: row for row in database.execute(query).mappings()}
    same, new, ended = [], [], []
    for polled in decided:
        failure = polled.decision.failure if polled.decision else None
        story = (
            failure.outcome if failure else Outcome.OK,
            failure.http_status if failure else 200,
            failure.error if failure else None,
        )
        run = running.get(polled.target.id)
        if run and (run["outcome"], run["http_status"], run["error"]) == story:
            same.append(polled)
            continue
        new.append((polled, story))
        if run:
            ended.append({"b_id": run["id"], "last_at": run[polls.c.last_at], "polls": run[polls.c.polls]})
    if same:
        database.execute(_EXTEND_RUN, [_hands(polled) for polled in same])
    if ended:
        database.execute(_END_RUN, ended)
    if new:
        rows = [
            {
                "target_id": polled.target.id,
                "outcome": outcome,
                "http_status": http_status,
                "error": error,
                "first_at": polled.taken_at,
            }
            for polled, (outcome, http_status, error) in new
        ]
        database.execute(insert(poll_runs), rows)
        database.execute(_BEGIN_RUN, [_hands(polled) for polled, _ in new])


def _hands(polled: Polled) -> dict[str, Any]:
    return {"b_id": polled.target.id, "next_poll_at": polled.next_poll_at, "last_at": polled.taken_at}


_EXTEND_RUN = (
    update(polls)
    .where(polls.c.target_id == bindparam("b_id"))
    .values(
        next_poll_at=bindparam("next_poll_at"),
        last_at=bindparam("last_at"),
        polls=polls.c.polls + 1,
    )
)
_BEGIN_RUN = (
    update(polls)
    .where(polls.c.target_id == bindparam("b_id"))
    .values(
        next_poll_at=bindparam("next_poll_at"),
        last_at=bindparam("last_at"),
        polls=1,
    )
)
_END_RUN = (
    update(poll_runs)
    .where(poll_runs.c.id == bindparam("b_id"))
    .values(last_at=bindparam("last_at"), polls=bindparam("polls"))
)
_TARGET_FAILED = (
    update(targets)
    .where(targets.c.id == bindparam("b_id"))
    .values(
        failures=targets.c.failures + 1,
        failed_alone=targets.c.failed_alone + bindparam("b_alone"),
        last_ok_at=bindparam("b_ok"),
        failing_since=func.coalesce(
            targets.c.failing_since, bindparam("b_at", type_=targets.c.failing_since.type)
        ),
        failure_rule=bindparam("b_rule"),
        failure_reach=bindparam("b_reach"),
        failure_remedy=bindparam("b_remedy"),
        fingerprint=None,
        doubted=bindparam("b_doubted"),
        short_since=bindparam("b_short"),
        clock_offset_seconds=func.coalesce(
            bindparam("b_offset", type_=targets.c.clock_offset_seconds.type), targets.c.clock_offset_seconds
        ),
        next_review_at=bindparam("b_review"),
    )
)
_TARGET_ANSWERED = (
    update(targets)
    .where(targets.c.id == bindparam("b_id"))
    .values(
        last_ok_at=bindparam("b_at"),
        failures=0,
        failed_alone=0,
        failing_since=None,
        failure_rule=None,
        failure_remedy=None,
        fingerprint=bindparam("b_fingerprint"),
        doubted=0,
        short_since=None,
        clock_offset_seconds=bindparam("b_offset"),
        next_review_at=bindparam("b_review"),
    )
)
_MOVE_CONNECTION = update(connections).where(connections.c.id == bindparam("b_id"))
_MOVE_INCIDENT = update(incidents).where(incidents.c.id == bindparam("b_id"))
