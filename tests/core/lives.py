"""Whole lives told to the core: what the history database would keep from one look to the next, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.core.changes import fold
from monitor.core.decide import Decision, decide, decide_source, is_steady, review
from monitor.core.incidents import IncidentChange
from monitor.core.model import (
    Connection,
    Failure,
    Incident,
    KnownConnection,
    Reason,
    Severity,
    TargetState,
)
from monitor.core.rules import Rules
from monitor.core.source import FailingTarget, SourceState
from tests.factories import NOW, snapshot, target

Told = tuple[Reason, Severity]


def applied(
    open_ones: Iterable[Incident], changes: Iterable[IncidentChange], first_id: int
) -> list[Incident]:
    """Give the incidents that are open after changes; new ones get ids from ``first_id`` on."""
    after = {incident.id: incident for incident in open_ones}
    for id_, change in enumerate(changes, first_id):
        after[change.incident.id or id_] = replace(change.incident, id=change.incident.id or id_)
    return [incident for incident in after.values() if incident.is_open]


@dataclass(slots=True)
class Life:
    """One target, look by look; ``history`` holds every change of an incident with its time."""

    rules: Rules = field(default_factory=Rules)
    shortcut: bool = True
    now: datetime = NOW
    state: TargetState = field(default_factory=lambda: TargetState(target=target()))
    history: list[tuple[datetime, IncidentChange]] = field(default_factory=list)
    steady: int = 0

    def poll(
        self,
        *connections: Connection,
        after: timedelta = timedelta(minutes=15),
        failure: Failure | None = None,
        unreadable: Iterable[str] = (),
        clock_offset: timedelta = timedelta(),
    ) -> list[Told]:
        """Look again after a while; gives what is told of it."""
        self.now += after
        seen = snapshot(
            *connections,
            taken_at=self.now,
            failure=failure,
            unreadable_ids=frozenset(unreadable),
            clock_offset=clock_offset,
        )
        if failure is None:
            seen = replace(seen, fingerprint=repr((connections, unreadable)).encode())
        if self.shortcut and is_steady(self.state, seen):
            self.steady += 1
            self.state = replace(self.state, taken_at=self.now, last_ok_at=self.now)
            return []
        decision = decide(self.state, seen, rules=self.rules)
        failed = decision.failure is not None
        self.state = replace(
            self.state,
            taken_at=self.now,
            last_ok_at=self.state.last_ok_at if failed and not decision.is_partial else self.now,
            failures=self.state.failures + 1 if failed else 0,
            failing_since=(self.state.failing_since or self.now) if failed else None,
            fingerprint=seen.fingerprint if decision.is_settled else b"",
            doubted=decision.doubted,
            short_since=decision.short_since,
            clock_offset=clock_offset,
            connections=fold(self.state, decision.changes),
        )
        return self._tell(decision)

    def review(self, at: datetime | None = None) -> list[Told]:
        """Let the clock decide, at the moment that was asked for unless told otherwise."""
        moment = at or self.state.next_review_at
        assert moment is not None
        self.now = moment
        return self._tell(review(self.state, self.now, rules=self.rules))

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """The open ones."""
        return self.state.incidents

    @property
    def known(self) -> Mapping[str, KnownConnection]:
        """The connections as they are known."""
        return self.state.connections

    def _tell(self, decision: Decision) -> list[Told]:
        first_id = len(self.history) + 1
        open_ones = applied(self.state.incidents, decision.incidents, first_id)
        for id_, change in enumerate(decision.incidents, first_id):
            incident = replace(change.incident, id=change.incident.id or id_)
            self.history.append((self.now, replace(change, incident=incident)))
        self.state = replace(self.state, incidents=tuple(open_ones), next_review_at=decision.next_review_at)
        if decision.snapshot is None:
            self.state = replace(self.state, fingerprint=b"")
        return told(decision.incidents)


@dataclass(slots=True)
class SourceLife:
    """One account as a source: each target answers (None) or fails, look by look."""

    rules: Rules = field(default_factory=Rules)
    now: datetime = NOW
    failures: dict[int, int] = field(default_factory=dict)
    since: dict[int, datetime] = field(default_factory=dict)
    alone: dict[int, int] = field(default_factory=dict)
    last_ok_at: datetime | None = None
    incidents: tuple[Incident, ...] = ()
    history: list[IncidentChange] = field(default_factory=list)
    unheard: Mapping[str, tuple[int, Sequence[str]]] = field(default_factory=dict)

    def poll(self, *answers: Failure | None) -> list[Told]:
        """Look at every target once, a quarter of an hour later."""
        before, others_answered = self.now, self.last_ok_at == self.now
        self.now += timedelta(minutes=15)
        failing = []
        for id_, failure in enumerate(answers, 1):
            self.failures[id_] = self.failures.get(id_, 0) + 1 if failure else 0
            if failure is None:
                self.since.pop(id_, None)
                self.alone.pop(id_, None)
                self.last_ok_at = self.now
            else:
                is_alone = others_answered and self.since.get(id_, self.now) <= before
                self.alone[id_] = self.alone.get(id_, 0) + is_alone
                failing.append(
                    FailingTarget(
                        target=target(id=id_),
                        failures=self.failures[id_],
                        failing_since=self.since.setdefault(id_, self.now),
                        failed_at=self.now,
                        reach=failure.reach,
                        alone=self.alone[id_],
                        rule=failure.rule,
                        error=failure.error,
                        remedy=failure.remedy,
                    )
                )
        known = SourceState(
            account="agency",
            targets=len(answers),
            failing=tuple(failing),
            last_ok_at=self.last_ok_at,
            incidents=self.incidents,
            unheard=self.unheard,
        )
        changes = decide_source(known, self.now, rules=self.rules)
        self.incidents = tuple(applied(self.incidents, changes, len(self.history) + 1))
        self.history.extend(changes)
        return told(changes)


def told(changes: Iterable[IncidentChange]) -> list[Told]:
    """Keep what of changes is told to people."""
    return [(change.reason, change.incident.severity) for change in changes if change.reason]
