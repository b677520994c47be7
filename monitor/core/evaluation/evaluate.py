"""Evaluate a snapshot against the stored state: what to record, and what to notify."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from monitor.core.evaluation.anomalies import (
    detect_mass_change,
    detect_shrunk_list,
    detect_unparsable_entries,
)
from monitor.core.evaluation.diff import Change, apply_changes, diff, mark_unread
from monitor.core.evaluation.incidents import IncidentChange, next_change_at, reconcile, resolve
from monitor.core.model import (
    ConnectionState,
    Failure,
    Incident,
    Resolution,
    RuleName,
    Snapshot,
    Subject,
    Target,
    TargetState,
)
from monitor.core.rules.base import ConnectionRule, Problem, Superseded
from monitor.core.rules.registry import BY_API_TIME, NEEDS_TWO_RECOVERIES, Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """
    The result for one target.

    Args:
        snapshot: what was seen; None for a reevaluation, which polled nothing.
        failure: why the poll counts as failed: the snapshot's own failure or an anomaly; None if it doesn't.
        is_partial: whether only single entries of the list failed.
        suspect_changes: how many connections changed at once, which the next poll must confirm; 0 if none.
        shrunk_since: since when the list has been suspiciously short; None if it isn't.
        changes: changed connections; none after a failed poll.
        incidents: incidents of its connections that opened, changed or resolved.
        next_evaluation_at: when the clock alone changes a result; None if never.
        was_failing: whether the previous poll failed; a second poll confirms the recovery.
    """

    target: Target
    snapshot: Snapshot | None
    failure: Failure | None = None
    is_partial: bool = False
    suspect_changes: int = 0
    shrunk_since: datetime | None = None
    changes: tuple[Change, ...] = ()
    incidents: tuple[IncidentChange, ...] = ()
    next_evaluation_at: datetime | None = None
    was_failing: bool = False

    @property
    def is_stable(self) -> bool:
        """Whether the same answer again would change nothing, the clock apart."""
        seen = self.snapshot
        return (
            seen is not None
            and self.failure is None
            and not self.was_failing
            and not seen.warnings
            and not any(change.after.missed_polls and not change.after.removed_at for change in self.changes)
            and not any(change.has_unheard_status for change in self.changes)
            and not any(
                change.incident.is_open
                and change.incident.recovering_since
                and not change.incident.flap_count
                for change in self.incidents
            )
        )


def is_stale(taken_at: datetime | None, snapshot: Snapshot, now: datetime) -> bool:
    """
    Return whether a newer snapshot than this one was already recorded.

    One recorded in the future means that the clock was set back. It doesn't count as newer, because polls would
    be dropped until the clock has caught up.
    """
    return taken_at is not None and snapshot.taken_at < taken_at <= now


def is_unchanged(known: TargetState, snapshot: Snapshot) -> bool:
    """
    Return whether a snapshot can't change anything: the same answer, and no deadline has passed.

    Most polls are like this and need no evaluation. ``known`` needs neither its connections nor its incidents.
    """
    return (
        bool(snapshot.response_digest)
        and snapshot.response_digest == known.response_digest
        and known.consecutive_failures == 0
        and known.taken_at is not None
        and (known.next_evaluation_at is None or snapshot.taken_at < known.next_evaluation_at)
    )


def evaluate(known: TargetState, snapshot: Snapshot, *, rules: Rules) -> Evaluation:
    """
    Evaluate a snapshot of a target.

    A failed poll changes no connection and none of their incidents. The token keeps aging, and ``reevaluate``
    handles that. If a list is suddenly short, what it shows counts, and what it lacks waits. If parts can't be
    read, the other parts count, and the unreadable ones are reported.
    """
    if snapshot.failure:
        return Evaluation(
            target=known.target,
            snapshot=snapshot,
            failure=snapshot.failure,
            shrunk_since=known.shrunk_since,
            next_evaluation_at=known.next_evaluation_at,
        )
    if mass_change := detect_mass_change(known, snapshot, rules):
        return Evaluation(
            target=known.target,
            snapshot=snapshot,
            failure=mass_change.failure,
            suspect_changes=mass_change.connections,
            shrunk_since=known.shrunk_since,
            next_evaluation_at=known.next_evaluation_at,
        )
    shrunk_list, unparsable = detect_shrunk_list(known, snapshot), detect_unparsable_entries(snapshot)
    changes = diff(known, snapshot, removed_after=None if shrunk_list else rules.removed_after)
    changes += mark_unread(known, snapshot)
    connections = apply_changes(known, changes)
    now, offset = snapshot.taken_at, snapshot.clock_offset
    times = _Times(now=now, observed_at=now, offset=offset, looked_offset=offset)
    incidents = tuple(_evaluate_rules(known, connections, rules, times))
    next_evaluation_at = _next_evaluation_at(known, connections, incidents, rules, times)
    return Evaluation(
        target=known.target,
        snapshot=snapshot,
        failure=shrunk_list or unparsable,
        is_partial=bool(unparsable and not shrunk_list),
        shrunk_since=(known.shrunk_since or snapshot.taken_at) if shrunk_list else None,
        changes=changes,
        incidents=incidents,
        next_evaluation_at=next_evaluation_at,
        was_failing=known.consecutive_failures > 0,
    )


def reevaluate(
    known: TargetState, now: datetime, *, rules: Rules, clock_offset: timedelta = timedelta()
) -> Evaluation:
    """
    Evaluate what the clock alone changed, from the stored state.

    The next poll is evaluated even if its answer is the same, because a repeated report may mean something else
    by then.

    Args:
        clock_offset: the correction of ``now`` for judging the expiry of tokens.
    """
    times = _Times(
        now=now, observed_at=known.last_ok_at or now, offset=clock_offset, looked_offset=known.clock_offset
    )
    incidents = tuple(_evaluate_rules(known, known.connections, rules, times))
    next_evaluation_at = _next_evaluation_at(known, known.connections, incidents, rules, times)
    return Evaluation(
        target=known.target,
        snapshot=None,
        incidents=incidents,
        next_evaluation_at=next_evaluation_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """
    The times of now and of the newest poll, by the local clock and by the API's.

    Args:
        offset: the API's time minus local time now; ``looked_offset`` at the look.
    """

    now: datetime
    observed_at: datetime
    offset: timedelta
    looked_offset: timedelta

    def of(self, rule: ConnectionRule, known: ConnectionState) -> tuple[datetime, datetime]:
        """Return now and the time of the newest report of a connection, by the clock of a rule."""
        now, seen_at = self.now, known.last_seen_at or self.observed_at
        if rule.name in BY_API_TIME:
            now, seen_at = now + self.offset, seen_at + self.looked_offset
        return now, min(seen_at, now)

    def to_local(self, rule: ConnectionRule, moment: datetime) -> datetime:
        """Return a time of a rule's clock in local time."""
        return moment - self.offset if rule.name in BY_API_TIME else moment


def _evaluate_rules(
    known: TargetState, connections: Mapping[str, ConnectionState], rules: Rules, times: _Times
) -> Iterator[IncidentChange]:
    """Compare the problems of ``connections`` with the open incidents."""
    now = times.now
    open_ones: dict[tuple[str | None, RuleName], Incident] = {
        (incident.subject.platform_id, incident.rule): incident for incident in known.incidents
    }
    for platform_id, connection in connections.items():
        subject = Subject(account=known.target.account, target_id=known.target.id, platform_id=platform_id)
        results = {
            rule.name: rule.check(connection, *times.of(rule, connection)) for rule in rules.connection
        }
        if isinstance(results.get(RuleName.TOKEN_EXPIRY), Problem) and RuleName.RENEWAL_OVERDUE in results:
            # One token has one incident: the API's status replaces what the history suggested.
            results[RuleName.RENEWAL_OVERDUE] = Superseded(
                resolution=Resolution.SUPERSEDED, is_notified=False
            )
        for rule in rules.connection:
            incident = open_ones.pop((platform_id, rule.name), None)
            if connection.removed_at is not None and rule.name is not RuleName.CONNECTION_REMOVED:
                change = resolve(incident, Resolution.REMOVED, now) if incident else None
            else:
                change = reconcile(
                    incident,
                    results[rule.name],
                    subject=subject,
                    now=now,
                    recent_opens=known.recent_opens.get((subject.key, rule.name), 0)
                    if known.recent_opens
                    else 0,
                    flapping=rules.flapping,
                    needs_two_recoveries=rule.name in NEEDS_TWO_RECOVERIES,
                    observed_at=times.observed_at,
                )
            if change:
                yield change
    for incident in open_ones.values():  # their rule was disabled
        yield resolve(incident, Resolution.SUPERSEDED, now, is_notified=False)


def _next_evaluation_at(
    known: TargetState,
    connections: Mapping[str, ConnectionState],
    changed: Iterable[IncidentChange],
    rules: Rules,
    times: _Times,
) -> datetime | None:
    """Return when the clock alone, or a repeated report, changes a result; in local time."""
    moments = [
        times.to_local(rule, moment)
        for connection in connections.values()
        for rule in rules.connection
        if connection.removed_at is None or rule.name is RuleName.CONNECTION_REMOVED
        if (moment := rule.next_change_at(connection, *times.of(rule, connection)))
    ]
    after = {incident.id: incident for incident in known.incidents}
    after |= {change.incident.id: change.incident for change in changed if change.incident.id}
    ends = (next_change_at(incident, rules.flapping) for incident in after.values() if incident.is_open)
    return min((moment for moment in chain(moments, ends) if moment and moment > times.now), default=None)
