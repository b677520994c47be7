"""Between rows and values: the only place that knows both."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, select

from monitor.core.model import (
    API_KEY_PREFIX,
    Connection,
    DeliveryState,
    Incident,
    KnownConnection,
    PublishError,
    Resolution,
    RuleName,
    Severity,
    Subject,
    Target,
)
from monitor.core.probing import NEVER_TESTED, Findings, Meaning
from monitor.core.renewal import Habit, Renewal
from monitor.core.routes import Match, Silence, Telling
from monitor.core.wording import Cause
from monitor.storage.tables import connections, incidents, targets

_CHUNK = 10_000
TARGET_COLUMNS = (
    targets.c.id,
    targets.c.account,
    targets.c.managed_user_id,
    targets.c.managed_user,
    targets.c.managed_username,
)


def in_chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """Cut ids into lists that a statement can hold: PostgreSQL takes 65,535 values, SQLite 32,766."""
    rest = list(ids)
    for start in range(0, len(rest), _CHUNK):
        yield rest[start : start + _CHUNK]


def as_target(row: RowMapping | Mapping[Any, Any]) -> Target:
    """Turn a row of ``targets`` into a target."""
    return Target(
        id=row["id"],
        account=row["account"],
        managed_user_id=row["managed_user_id"],
        managed_user=row["managed_user"],
        username=row.get("managed_username"),
    )


def incident_query() -> Select[Any]:
    """Select incidents with what ``as_incident`` needs."""
    return select(incidents, connections.c.platform_id).join(
        connections, connections.c.id == incidents.c.connection_id, isouter=True
    )


def as_incident(row: RowMapping) -> Incident:
    """Turn a row of ``incident_query`` into an incident."""
    return Incident(
        id=row["id"],
        rule=RuleName(row["rule"]),
        subject=Subject(
            account=row["account"],
            target_id=row["target_id"],
            platform_id=row["platform_id"],
            channel=row["channel"],
            base_url=_base_url(row["subject"]),
        ),
        severity=Severity(row["severity"]),
        worst=Severity(row["worst"]),
        summary=row["summary"],
        remedy=row["remedy"],
        cause=Cause(row["cause"]) if row["cause"] else None,
        deadline_at=row["deadline_at"],
        memory=json.loads(row["memory"]),
        announced=Severity(row["announced"]) if row["announced"] else None,
        flaps=row["flaps"],
        calm_since=row["calm_since"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        acknowledged_until=row["acknowledged_until"],
        opened_at=row["opened_at"],
        resolved_at=row["resolved_at"],
        resolution=Resolution(row["resolution"]) if row["resolution"] else None,
    )


def _base_url(subject: str) -> str | None:
    # An API has no column of its own: the key of the subject names it.
    return subject.removeprefix(API_KEY_PREFIX) if subject.startswith(API_KEY_PREFIX) else None


def target_of(row: RowMapping) -> Target | None:
    """Give the target of a joined row in which it has the name ``target_id``; None where there is none."""
    return as_target({**row, "id": row["target_id"]}) if row["target_id"] is not None else None


def as_silence(row: RowMapping) -> Silence:
    """Turn a row of ``silences`` into a silence."""
    match: dict[str, Any] = {key: tuple(patterns) for key, patterns in json.loads(row["match"]).items()}
    return Silence(id=row["id"], match=Match(**match), ends_at=row["ends_at"])


def as_connection(row: RowMapping) -> Connection:
    """Turn a row of ``connections`` into the connection that was last seen."""
    error = row["last_error"]
    return Connection(
        platform_id=row["platform_id"],
        username=row["username"],
        display_name=row["display_name"],
        token_status=row["token_status"],
        expires_at=row["expires_at"],
        last_successful_post_at=row["last_successful_post_at"],
        last_error=None if error is None else PublishError(message=error, occurred_at=row["last_error_at"]),
    )


def as_known(row: RowMapping) -> KnownConnection:
    return KnownConnection(
        id=row["id"],
        connection=as_connection(row),
        first_seen_at=row["first_seen_at"],
        error_seen_at=row["error_seen_at"],
        settled_error_at=row["settled_error_at"],
        missing=row["missing"],
        last_seen_at=row["last_seen_at"],
        removed_at=row["removed_at"],
        habit=as_habit(row),
        tested=_as_tested(row) if row["tested_at"] else NEVER_TESTED,
    )


def as_habit(row: RowMapping) -> Habit:
    """Turn a row of ``connections`` into what is remembered of the renewals of its token."""
    newest = json.loads(row["habit"]) if row["habit"] else ()
    return Habit(
        renewals=row["renewals"],
        renewed_at=row["renewed_at"],
        dated_at=row["dated_at"],
        newest=tuple(
            Renewal(lead=_seconds(lead), lifetime=_seconds(lifetime), gap=_seconds(gap))
            for lead, lifetime, gap in newest
        ),
    )


def _as_tested(row: RowMapping) -> Findings:
    return Findings(
        meaning=Meaning(row["meaning"]) if row["meaning"] else None,
        meant_at=row["meant_at"],
        message=row["message"],
        permissions=tuple(json.loads(row["permissions"])),
        lost=tuple(json.loads(row["lost"])),
        passed_at=row["passed_at"],
    )


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def error_columns(error: PublishError | None) -> dict[str, Any]:
    return {
        "last_error": error.message if error else None,
        "last_error_at": error.occurred_at if error else None,
    }


def connection_row(known: KnownConnection) -> dict[str, Any]:
    seen = known.connection
    return {
        "b_id": known.id,
        "username": seen.username,
        "display_name": seen.display_name,
        "token_status": seen.token_status,
        "expires_at": seen.expires_at,
        "last_successful_post_at": seen.last_successful_post_at,
        **error_columns(seen.last_error),
        "error_seen_at": known.error_seen_at,
        "settled_error_at": known.settled_error_at,
        "last_seen_at": known.last_seen_at,
        "missing": known.missing,
        "removed_at": known.removed_at,
        **_habit_columns(known.habit),
    }


def _habit_columns(habit: Habit) -> dict[str, Any]:
    newest = [
        [each.lead.total_seconds(), each.lifetime.total_seconds(), each.gap.total_seconds()]
        for each in habit.newest
    ]
    return {
        "dated_at": habit.dated_at,
        "renewed_at": habit.renewed_at,
        "renewals": habit.renewals,
        "habit": json.dumps(newest) if newest else None,
    }


def tested_columns(tested: Findings) -> dict[str, Any]:
    """Write what tests of a connection have shown, as ``probes`` keeps it."""
    return {
        "meaning": tested.meaning,
        "meant_at": tested.meant_at,
        "message": tested.message,
        "permissions": json.dumps(tested.permissions),
        "lost": json.dumps(tested.lost),
        "passed_at": tested.passed_at,
    }


def notification_row(incident_id: int, telling: Telling, now: datetime) -> dict[str, Any]:
    """Make the outbox row that tells a channel of an incident."""
    return {
        "incident_id": incident_id,
        "channel": telling.channel,
        "reason": telling.reason,
        "group_key": telling.group,
        "state": DeliveryState.PENDING,
        "created_at": now,
        "due_at": telling.due_at,
        "held_until": telling.held_until,
        "silence_id": telling.silence_id,
    }


def incident_row(incident: Incident) -> dict[str, Any]:
    """Make the columns that decisions move; who has it in hand is what people say, at any time."""
    return {
        "b_id": incident.id,
        "severity": incident.severity,
        "worst": incident.worst,
        "cause": incident.cause,
        "summary": incident.summary,
        "remedy": incident.remedy,
        "deadline_at": incident.deadline_at,
        "memory": json.dumps(incident.memory),
        "announced": incident.announced,
        "flaps": incident.flaps,
        "calm_since": incident.calm_since,
        "resolved_at": incident.resolved_at,
        "resolution": incident.resolution,
    }
