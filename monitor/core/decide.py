"""The decision: from what is known and what was just seen to what must be recorded and told."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from monitor.core.changes import Change, diff, fold, mark_unread
from monitor.core.doubt import doubt_change, doubt_list, unread_entries
from monitor.core.incidents import IncidentChange, changes_at, reconcile, resolve
from monitor.core.model import (
    Failure,
    Incident,
    KnownConnection,
    Resolution,
    RuleName,
    Snapshot,
    Subject,
    Target,
    TargetState,
)
from monitor.core.rules import BY_API_TIME, DAMPED, ConnectionRule, Over, Problem, Rules
from monitor.core.source import decide_source

__all__ = ["Decision", "decide", "decide_source", "is_late", "is_steady", "review"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """
    What follows for one target.

    Args:
        snapshot: what was seen; None for a review, which asked nobody.
        failure: why the poll counts as failed, the snapshot's own or a doubt about it; None if it doesn't.
        is_partial: whether it fails for single entries of the list only: all the others were seen.
        doubted: how many connections changed at once, so that the next poll must confirm it; 0 if none.
        short_since: since when the list has been too short to be believed; None if it isn't.
        changes: connections that are not as they were known; none after a failed fetch.
        incidents: incidents of its connections that opened, moved or ended.
        next_review_at: when the clock alone will change a verdict; None if never.
        was_failing: whether the poll before failed: a second look says whether that has passed.
    """

    target: Target
    snapshot: Snapshot | None
    failure: Failure | None = None
    is_partial: bool = False
    doubted: int = 0
    short_since: datetime | None = None
    changes: tuple[Change, ...] = ()
    incidents: tuple[IncidentChange, ...] = ()
    next_review_at: datetime | None = None
    was_failing: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether the same answer again would change nothing, but for the clock."""
        seen = self.snapshot
        return (
            seen is not None
            and self.failure is None
            and not self.was_failing
            and not seen.complaints
            and not any(change.after.missing and not change.after.removed_at for change in self.changes)
            and not any(change.has_unheard_status for change in self.changes)
            and not any(_waits_for_a_look(change.incident) for change in self.incidents)
        )


def _waits_for_a_look(incident: Incident) -> bool:
    return incident.is_open and incident.calm_since is not None and not incident.flaps


def is_late(taken_at: datetime | None, snapshot: Snapshot, now: datetime) -> bool:
    """
    Tell whether a newer snapshot than this one was already recorded.

    One recorded in the future means that the clock was set back since: it doesn't count as newer, or the
    monitor would be blind until the clock has caught up.
    """
    return taken_at is not None and snapshot.taken_at < taken_at <= now


def is_steady(known: TargetState, snapshot: Snapshot) -> bool:
    """
    Tell whether a snapshot can't change anything: same answer as before, and no deadline has passed since.

    Deciding it anyway would find nothing; most polls are spared the trouble. ``known`` needs neither its
    connections nor its incidents for this.
    """
    return (
        bool(snapshot.fingerprint)
        and snapshot.fingerprint == known.fingerprint
        and known.failures == 0
        and known.taken_at is not None
        and (known.next_review_at is None or snapshot.taken_at < known.next_review_at)
    )


def decide(known: TargetState, snapshot: Snapshot, *, rules: Rules) -> Decision:
    """
    Decide what a snapshot means for its target.

    A failed fetch changes no connection and no incident of one; the token goes on ageing all the same, and
    the reviews see to that. A list that is suddenly short is believed in what it shows, not in what it lacks;
    one that can't be read in parts is believed in the others, and the rest is told.
    """
    if snapshot.failure:
        return Decision(
            target=known.target,
            snapshot=snapshot,
            failure=snapshot.failure,
            short_since=known.short_since,
            next_review_at=known.next_review_at,
        )
    if flip := doubt_change(known, snapshot, rules):
        return Decision(
            target=known.target,
            snapshot=snapshot,
            failure=flip.failure,
            doubted=flip.connections,
            short_since=known.short_since,
            next_review_at=known.next_review_at,
        )
    doubt, unread = doubt_list(known, snapshot), unread_entries(snapshot)
    changes = diff(known, snapshot, removed_after=None if doubt else rules.removed_after)
    changes += mark_unread(known, snapshot)
    connections = fold(known, changes)
    now, offset = snapshot.taken_at, snapshot.clock_offset
    times = _Times(now=now, looked_at=now, offset=offset, looked_offset=offset)
    incidents = tuple(_judge(known, connections, rules, times))
    next_review_at = _next_review_at(known, connections, incidents, rules, times)
    return Decision(
        target=known.target,
        snapshot=snapshot,
        failure=doubt or unread,
        is_partial=bool(unread and not doubt),
        short_since=(known.short_since or snapshot.taken_at) if doubt else None,
        changes=changes,
        incidents=incidents,
        next_review_at=next_review_at,
        was_failing=known.failures > 0,
    )


def review(
    known: TargetState, now: datetime, *, rules: Rules, clock_offset: timedelta = timedelta()
) -> Decision:
    """
    Decide what the clock alone has changed, from what was last known.

    The next poll is decided whatever it shows: the same report again may mean something else from now on.

    Args:
        clock_offset: what ``now`` is corrected by when the expiry of tokens is judged.
    """
    times = _Times(
        now=now, looked_at=known.last_ok_at or now, offset=clock_offset, looked_offset=known.clock_offset
    )
    incidents = tuple(_judge(known, known.connections, rules, times))
    next_review_at = _next_review_at(known, known.connections, incidents, rules, times)
    return Decision(
        target=known.target,
        snapshot=None,
        incidents=incidents,
        next_review_at=next_review_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """
    Now and the newest look, for rules that go by the local clock, and for those that go by the API's.

    Args:
        offset: the API's time minus local time now; ``looked_offset`` at the look.
    """

    now: datetime
    looked_at: datetime
    offset: timedelta
    looked_offset: timedelta

    def of(self, rule: ConnectionRule, known: KnownConnection) -> tuple[datetime, datetime]:
        """Return now, and when the connection was last seen as it is known, by the clock of a rule."""
        now, seen_at = self.now, known.last_seen_at or self.looked_at
        if rule.name in BY_API_TIME:
            now, seen_at = now + self.offset, seen_at + self.looked_offset
        return now, min(seen_at, now)

    def to_local(self, rule: ConnectionRule, moment: datetime) -> datetime:
        """Return a moment of a rule's clock in local time."""
        return moment - self.offset if rule.name in BY_API_TIME else moment


def _judge(
    known: TargetState, connections: Mapping[str, KnownConnection], rules: Rules, times: _Times
) -> Iterator[IncidentChange]:
    """Compare the problems visible in ``connections`` with the incidents open now."""
    now = times.now
    open_ones: dict[tuple[str | None, RuleName], Incident] = {
        (incident.subject.platform_id, incident.rule): incident for incident in known.incidents
    }
    for platform_id, connection in connections.items():
        subject = Subject(account=known.target.account, target_id=known.target.id, platform_id=platform_id)
        verdicts = {
            rule.name: rule.look(connection, *times.of(rule, connection)) for rule in rules.connection
        }
        if isinstance(verdicts.get(RuleName.TOKEN_EXPIRY), Problem) and RuleName.RENEWAL_OVERDUE in verdicts:
            # One token, one incident: what the API says takes the place of what its past made likely.
            verdicts[RuleName.RENEWAL_OVERDUE] = Over(resolution=Resolution.SUPERSEDED, told=False)
        for rule in rules.connection:
            incident = open_ones.pop((platform_id, rule.name), None)
            if connection.removed_at is not None and rule.name is not RuleName.CONNECTION_REMOVED:
                change = resolve(incident, Resolution.REMOVED, now) if incident else None
            else:
                change = reconcile(
                    incident,
                    verdicts[rule.name],
                    subject=subject,
                    now=now,
                    recent=known.recent.get((subject.key, rule.name), 0) if known.recent else 0,
                    flapping=rules.flapping,
                    is_damped=rule.name in DAMPED,
                    looked_at=times.looked_at,
                )
            if change:
                yield change
    for incident in open_ones.values():  # their rule was switched off
        yield resolve(incident, Resolution.SUPERSEDED, now, told=False)


def _next_review_at(
    known: TargetState,
    connections: Mapping[str, KnownConnection],
    changed: Iterable[IncidentChange],
    rules: Rules,
    times: _Times,
) -> datetime | None:
    """Say when the clock alone changes a verdict, or what the same report again would mean; in local time."""
    moments = [
        times.to_local(rule, moment)
        for connection in connections.values()
        for rule in rules.connection
        if connection.removed_at is None or rule.name is RuleName.CONNECTION_REMOVED
        if (moment := rule.changes_at(connection, *times.of(rule, connection)))
    ]
    after = {incident.id: incident for incident in known.incidents}
    after |= {change.incident.id: change.incident for change in changed if change.incident.id}
    ends = (changes_at(incident, rules.flapping) for incident in after.values() if incident.is_open)
    return min((moment for moment in chain(moments, ends) if moment and moment > times.now), default=None)
