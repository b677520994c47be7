"""The life of an incident: opened, told again when there is news, resolved; each once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.core.model import Incident, Reason, Resolution, Subject
from monitor.core.problems import DateAhead
from monitor.core.rules import DEFAULT_FLAPPING, Answer, Flapping, Over, Problem, Verdict

MARKS_REMEMBERED = 16
# A date that moved later by no more than this trembles; by more, the token is another one.
RENEWED_BY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChange:
    """
    One incident after a decision.

    Args:
        incident: as it is from now on; its ``id`` is None when it was just opened.
        reason: what is to be told, or None where only what we remember moved.
    """

    incident: Incident
    reason: Reason | None


def reconcile(
    incident: Incident | None,
    verdict: Verdict,
    *,
    subject: Subject,
    now: datetime,
    recent: int = 0,
    flapping: Flapping = DEFAULT_FLAPPING,
    is_damped: bool = False,
    looked_at: datetime | None = None,
) -> IncidentChange | None:
    """
    Compare the incident that is open with the problem that is visible.

    Args:
        recent: how often this problem was opened within the window of ``flapping``.
        is_damped: whether it is over only when two looks in a row show no problem.
        looked_at: when the newest look was that the verdict goes by; None where there was none.

    Returns:
        None where nothing changes.
    """
    if isinstance(verdict, DateAhead):
        is_moved = incident and incident.deadline_at and verdict.date - incident.deadline_at > RENEWED_BY
        verdict = Answer.CLEAR if is_moved else Answer.HOLD
    if verdict is Answer.HOLD:
        is_calm = incident is not None and incident.calm_since is not None
        if incident and is_calm and is_damped and not incident.flaps:
            return IncidentChange(incident=replace(incident, calm_since=None), reason=None)
        return None
    if isinstance(verdict, Problem):
        if incident and verdict.keeps_worse and incident.severity.rank >= verdict.severity.rank:
            after = replace(incident, calm_since=None)
            return IncidentChange(incident=after, reason=None) if after != incident else None
        if incident:
            return _advance(incident, verdict, now)
        return _open(verdict, subject, now, flaps=recent + 1 if recent >= flapping.times else 0)
    if incident is None:
        return None
    if isinstance(verdict, Over):
        return resolve(incident, verdict.resolution, now, told=verdict.told)
    if incident.flaps and (incident.calm_since is None or now - incident.calm_since < flapping.calm):
        return None if incident.calm_since else _calmed(incident, now)
    if is_damped and not incident.flaps and incident.is_told and looked_at:
        if incident.calm_since is None:
            return _calmed(incident, looked_at)
        if incident.calm_since == looked_at:
            return None
    return resolve(incident, Resolution.RECOVERED, now, told=incident.is_told)


def changes_at(incident: Incident, flapping: Flapping) -> datetime | None:
    """Say when the clock alone ends an incident: a flapping one that has gone quiet; None if it won't."""
    return incident.calm_since + flapping.calm if incident.calm_since else None


def resolve(
    incident: Incident, resolution: Resolution, now: datetime, *, told: bool = True
) -> IncidentChange:
    """End an incident; ``told`` is False where another message already says it."""
    # What was told is remembered for the sake of what comes next, and there is nothing next; a doubt stays one.
    memory = {} if incident.is_told else incident.memory
    ended = replace(incident, resolved_at=now, resolution=resolution, memory=memory, announced=None)
    return IncidentChange(incident=ended, reason=Reason.RESOLVED if told else None)


def _calmed(incident: Incident, now: datetime) -> IncidentChange:
    return IncidentChange(incident=replace(incident, calm_since=now), reason=None)


def _open(problem: Problem, subject: Subject, now: datetime, *, flaps: int) -> IncidentChange:
    incident = Incident(
        rule=problem.rule,
        subject=subject,
        severity=problem.severity,
        worst=problem.severity,
        cause=problem.cause,
        summary=problem.summary,
        remedy=problem.remedy,
        deadline_at=problem.deadline_at,
        opened_at=now,
        memory={problem.mark: problem.step},
        announced=problem.severity,
        flaps=flaps if problem.step else 0,
    )
    return IncidentChange(incident=incident, reason=Reason.OPENED if problem.step else None)


def _advance(incident: Incident, problem: Problem, now: datetime) -> IncidentChange | None:
    memory, is_news = _remember(incident.memory, problem)
    after = replace(
        incident,
        severity=problem.severity,
        worst=max(incident.worst, problem.severity, key=lambda severity: severity.rank),
        cause=problem.cause,
        summary=problem.summary,
        remedy=problem.remedy,
        deadline_at=problem.deadline_at,
        memory=memory,
        calm_since=None,
    )
    if after == incident:
        return None
    announced = incident.announced or incident.severity
    is_worse = problem.severity.rank > announced.rank and after.is_told
    if not (is_news or is_worse):
        return IncidentChange(incident=after, reason=None)
    after = replace(after, announced=problem.severity)
    if problem.severity.rank <= incident.severity.rank:
        return IncidentChange(incident=after, reason=Reason.UPDATED)
    # Whoever took it in hand did so when it was milder.
    after = replace(after, acknowledged_at=None, acknowledged_by=None, acknowledged_until=None)
    return IncidentChange(incident=after, reason=Reason.ESCALATED)


def _remember(memory: Mapping[str, int], problem: Problem) -> tuple[dict[str, int], bool]:
    """
    Tell whether a problem is news, and remember it.

    Each step is told once for each mark. A mark that shows up while the incident is open is only news when it
    stands higher than all that was told: an expiry date that alternates between two values must not be told
    at every poll. Telling a step settles it for every mark we remember, for the same reason.
    """
    told = memory.get(problem.mark)
    if told is None:
        is_news = problem.mark_is_news or problem.step > max(memory.values(), default=0)
    else:
        is_news = problem.step > told
    after = dict(memory)
    if is_news and not problem.mark_is_news:
        after = {mark: max(step, problem.step) for mark, step in after.items()}
    after[problem.mark] = max(problem.step, told or 0)
    return dict(list(after.items())[-MARKS_REMEMBERED:]), is_news
