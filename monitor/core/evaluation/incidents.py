"""The life of an incident: opened, escalated, updated, resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.core.model import Incident, Reason, Resolution, Subject
from monitor.core.rules.base import DateAhead, NoProblem, Problem, RuleResult, Superseded
from monitor.core.rules.damping import DEFAULT_FLAPPING, Flapping

MAX_NOTIFIED_KEYS = 16
# A date that becomes later by more than this belongs to a new token.
RENEWED_BY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChange:
    """
    One incident after an evaluation.

    Args:
        incident: its new state; its ``id`` is None if it was just opened.
        reason: why to notify; None if only stored details changed.
    """

    incident: Incident
    reason: Reason | None


def reconcile(
    incident: Incident | None,
    result: RuleResult,
    *,
    subject: Subject,
    now: datetime,
    recent_opens: int = 0,
    flapping: Flapping = DEFAULT_FLAPPING,
    needs_two_recoveries: bool = False,
    observed_at: datetime | None = None,
) -> IncidentChange | None:
    """
    Compare the open incident with the current problem.

    Args:
        recent_opens: how often this problem opened within the window of ``flapping``.
        needs_two_recoveries: whether it resolves only after two polls in a row without a problem.
        observed_at: the time of the newest poll behind the result; None if there was none.

    Returns:
        None if nothing changes.
    """
    if isinstance(result, DateAhead):
        is_moved = incident and incident.deadline_at and result.date - incident.deadline_at > RENEWED_BY
        result = NoProblem.OK if is_moved else NoProblem.UNKNOWN
    if result is NoProblem.UNKNOWN:
        is_calm = incident is not None and incident.recovering_since is not None
        if incident and is_calm and needs_two_recoveries and not incident.flap_count:
            return IncidentChange(incident=replace(incident, recovering_since=None), reason=None)
        return None
    if isinstance(result, Problem):
        if incident and result.keeps_worse and incident.severity.rank >= result.severity.rank:
            after = replace(incident, recovering_since=None)
            return IncidentChange(incident=after, reason=None) if after != incident else None
        if incident:
            return _update_incident(incident, result, now)
        return _open_incident(
            result, subject, now, flap_count=recent_opens + 1 if recent_opens >= flapping.times else 0
        )
    if incident is None:
        return None
    if isinstance(result, Superseded):
        return resolve(incident, result.resolution, now, is_notified=result.is_notified)
    if incident.flap_count and (
        incident.recovering_since is None or now - incident.recovering_since < flapping.quiet_for
    ):
        return None if incident.recovering_since else _start_recovery(incident, now)
    if needs_two_recoveries and not incident.flap_count and incident.is_notifiable and observed_at:
        if incident.recovering_since is None:
            return _start_recovery(incident, observed_at)
        if incident.recovering_since == observed_at:
            return None
    return resolve(incident, Resolution.RECOVERED, now, is_notified=incident.is_notifiable)


def next_change_at(incident: Incident, flapping: Flapping) -> datetime | None:
    """Return when the clock alone resolves an incident, because a flapping one is quiet; None if it doesn't."""
    return incident.recovering_since + flapping.quiet_for if incident.recovering_since else None


def resolve(
    incident: Incident, resolution: Resolution, now: datetime, *, is_notified: bool = True
) -> IncidentChange:
    """Resolve an incident; ``is_notified`` is False if another message already says so."""
    # The notified levels are needed only while it is open. An unconfirmed one keeps them, so that it stays
    # unconfirmed.
    notified_levels = {} if incident.is_notifiable else incident.notified_levels
    ended = replace(
        incident,
        resolved_at=now,
        resolution=resolution,
        notified_levels=notified_levels,
        notified_severity=None,
    )
    return IncidentChange(incident=ended, reason=Reason.RESOLVED if is_notified else None)


def _start_recovery(incident: Incident, now: datetime) -> IncidentChange:
    return IncidentChange(incident=replace(incident, recovering_since=now), reason=None)


def _open_incident(problem: Problem, subject: Subject, now: datetime, *, flap_count: int) -> IncidentChange:
    incident = Incident(
        rule=problem.rule,
        subject=subject,
        severity=problem.severity,
        max_severity=problem.severity,
        cause=problem.cause,
        summary=problem.summary,
        remedy=problem.remedy,
        deadline_at=problem.deadline_at,
        opened_at=now,
        notified_levels={problem.dedup_key: problem.level},
        notified_severity=problem.severity,
        flap_count=flap_count if problem.level else 0,
    )
    return IncidentChange(incident=incident, reason=Reason.OPENED if problem.level else None)


def _update_incident(incident: Incident, problem: Problem, now: datetime) -> IncidentChange | None:
    notified_levels, is_news = _update_levels(incident.notified_levels, problem)
    after = replace(
        incident,
        severity=problem.severity,
        max_severity=max(incident.max_severity, problem.severity, key=lambda severity: severity.rank),
        cause=problem.cause,
        summary=problem.summary,
        remedy=problem.remedy,
        deadline_at=problem.deadline_at,
        notified_levels=notified_levels,
        recovering_since=None,
    )
    if after == incident:
        return None
    notified_severity = incident.notified_severity or incident.severity
    is_worse = problem.severity.rank > notified_severity.rank and after.is_notifiable
    if not (is_news or is_worse):
        return IncidentChange(incident=after, reason=None)
    after = replace(after, notified_severity=problem.severity)
    if problem.severity.rank <= incident.severity.rank:
        return IncidentChange(incident=after, reason=Reason.UPDATED)
    # The acknowledgement was given for a milder severity.
    after = replace(after, acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)
    return IncidentChange(incident=after, reason=Reason.ESCALATED)


def _update_levels(levels: Mapping[str, int], problem: Problem) -> tuple[dict[str, int], bool]:
    """
    Return the new levels, and whether to notify.

    Each level is notified once for each key. A new key on an open incident is notified only at a higher level
    than all
    before: an expiry date that alternates between two values must not notify at every poll. For the same reason, a
    notified level counts for all stored keys.
    """
    notified = levels.get(problem.dedup_key)
    if notified is None:
        is_news = problem.is_new_key or problem.level > max(levels.values(), default=0)
    else:
        is_news = problem.level > notified
    after = dict(levels)
    if is_news and not problem.is_new_key:
        after = {mark: max(step, problem.level) for mark, step in after.items()}
    after[problem.dedup_key] = max(problem.level, notified or 0)
    return dict(list(after.items())[-MAX_NOTIFIED_KEYS:]), is_news
