"""Turn rows into the values of core, and back."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, Select, and_, select

from monitor.core.model import (
    API_KEY_PREFIX,
    NEVER_TESTED,
    Cause,
    Connection,
    ConnectionState,
    ConnectionTestHistory,
    ConnectionTestResult,
    DeliveryState,
    Incident,
    PublishError,
    Renewal,
    RenewalHistory,
    Resolution,
    RuleName,
    Severity,
    Subject,
    Target,
)
from monitor.core.routing.routes import Matcher, PlannedNotification, Silence
from monitor.storage.tables import connections, incidents, targets

_CHUNK = 10_000
TARGET_COLUMNS = (
    targets.c.id,
    targets.c.account,
    targets.c.managed_user_id,
    targets.c.managed_user,
    targets.c.managed_username,
)
# Of targets: the configuration or the workspace names them.
IS_POLLED = and_(targets.c.deactivated_at.is_(None), targets.c.dropped_at.is_(None))


def in_chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    """Split ids into lists that a statement can hold: PostgreSQL takes 65,535 values, SQLite 32,766."""
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
        max_severity=Severity(row["max_severity"]),
        summary=row["summary"],
        remedy=row["remedy"],
        cause=Cause(row["cause"]) if row["cause"] else None,
        deadline_at=row["deadline_at"],
        notified_levels=json.loads(row["notified_levels"]),
        notified_severity=Severity(row["notified_severity"]) if row["notified_severity"] else None,
        flap_count=row["flap_count"],
        recovering_since=row["recovering_since"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
        acknowledged_until=row["acknowledged_until"],
        opened_at=row["opened_at"],
        resolved_at=row["resolved_at"],
        resolution=Resolution(row["resolution"]) if row["resolution"] else None,
    )


def _base_url(subject: str) -> str | None:
    # An API has no column of its own. The key of the subject contains it.
    return subject.removeprefix(API_KEY_PREFIX) if subject.startswith(API_KEY_PREFIX) else None


def target_of(row: RowMapping) -> Target | None:
    """Return the target of a joined row in which its id is ``target_id``; None if there is none."""
    return as_target({**row, "id": row["target_id"]}) if row["target_id"] is not None else None


def as_silence(row: RowMapping) -> Silence:
    """Turn a row of ``silences`` into a silence."""
    match: dict[str, Any] = {key: tuple(patterns) for key, patterns in json.loads(row["match"]).items()}
    return Silence(id=row["id"], match=Matcher(**match), ends_at=row["ends_at"])


def as_connection(row: RowMapping) -> Connection:
    """Turn a row of ``connections`` into the connection as last seen."""
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


def as_known(row: RowMapping) -> ConnectionState:
    return ConnectionState(
        id=row["id"],
        connection=as_connection(row),
        first_seen_at=row["first_seen_at"],
        error_seen_at=row["error_seen_at"],
        error_cleared_at=row["error_cleared_at"],
        missed_polls=row["missed_polls"],
        last_seen_at=row["last_seen_at"],
        removed_at=row["removed_at"],
        renewals=as_renewals(row),
        last_test=_as_test_history(row) if row["tested_at"] else NEVER_TESTED,
    )


def as_renewals(row: RowMapping) -> RenewalHistory:
    """Turn a row of ``connections`` into the renewals of its token."""
    newest = json.loads(row["recent_renewals"]) if row["recent_renewals"] else ()
    return RenewalHistory(
        count=row["renewals"],
        renewed_at=row["renewed_at"],
        expiry_set_at=row["expiry_set_at"],
        recent=tuple(
            Renewal(lead=_seconds(lead), lifetime=_seconds(lifetime), gap=_seconds(gap))
            for lead, lifetime, gap in newest
        ),
    )


def _as_test_history(row: RowMapping) -> ConnectionTestHistory:
    return ConnectionTestHistory(
        result=ConnectionTestResult(row["result"]) if row["result"] else None,
        result_at=row["result_at"],
        message=row["message"],
        permissions=tuple(json.loads(row["permissions"])),
        missing_permissions=tuple(json.loads(row["missing_permissions"])),
        passed_at=row["passed_at"],
    )


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def error_columns(error: PublishError | None) -> dict[str, Any]:
    return {
        "last_error": error.message if error else None,
        "last_error_at": error.occurred_at if error else None,
    }


def connection_row(known: ConnectionState) -> dict[str, Any]:
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
        "error_cleared_at": known.error_cleared_at,
        "last_seen_at": known.last_seen_at,
        "missed_polls": known.missed_polls,
        "removed_at": known.removed_at,
        **_renewal_columns(known.renewals),
    }


def _renewal_columns(renewals: RenewalHistory) -> dict[str, Any]:
    newest = [
        [each.lead.total_seconds(), each.lifetime.total_seconds(), each.gap.total_seconds()]
        for each in renewals.recent
    ]
    return {
        "expiry_set_at": renewals.expiry_set_at,
        "renewed_at": renewals.renewed_at,
        "renewals": renewals.count,
        "recent_renewals": json.dumps(newest) if newest else None,
    }


def connection_test_columns(tested: ConnectionTestHistory) -> dict[str, Any]:
    """Return the columns of ``connection_tests`` for the results of a connection."""
    return {
        "result": tested.result,
        "result_at": tested.result_at,
        "message": tested.message,
        "permissions": json.dumps(tested.permissions),
        "missing_permissions": json.dumps(tested.missing_permissions),
        "passed_at": tested.passed_at,
    }


def notification_row(incident_id: int, notification: PlannedNotification, now: datetime) -> dict[str, Any]:
    """Return the outbox row that notifies a channel of an incident."""
    return {
        "incident_id": incident_id,
        "channel": notification.channel,
        "reason": notification.reason,
        "group_key": notification.group,
        "state": DeliveryState.PENDING,
        "created_at": now,
        "due_at": notification.due_at,
        "suppressed_until": notification.suppressed_until,
        "silence_id": notification.silence_id,
    }


def incident_row(incident: Incident) -> dict[str, Any]:
    """Return the columns that evaluations change; acknowledgements are changed by people, at any time."""
    return {
        "b_id": incident.id,
        "severity": incident.severity,
        "max_severity": incident.max_severity,
        "cause": incident.cause,
        "summary": incident.summary,
        "remedy": incident.remedy,
        "deadline_at": incident.deadline_at,
        "notified_levels": json.dumps(incident.notified_levels),
        "notified_severity": incident.notified_severity,
        "flap_count": incident.flap_count,
        "recovering_since": incident.recovering_since,
        "resolved_at": incident.resolved_at,
        "resolution": incident.resolution,
    }
