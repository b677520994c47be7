"""Whole lives told to the core: what the history database would keep from one look to the next, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.core.evaluation.accounts import AccountState, TargetFailure, evaluate_account
from monitor.core.evaluation.diff import apply_changes
from monitor.core.evaluation.evaluate import Evaluation, evaluate, is_unchanged, reevaluate
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import (
    Connection,
    ConnectionState,
    Failure,
    Incident,
    Reason,
    Severity,
    TargetState,
)
from monitor.core.rules.registry import Rules
from tests.factories import NOW, snapshot, target

Notified = tuple[Reason, Severity]


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
    ) -> list[Notified]:
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
            seen = replace(seen, response_digest=repr((connections, unreadable)).encode())
        if self.shortcut and is_unchanged(self.state, seen):
            self.steady += 1
            self.state = replace(self.state, taken_at=self.now, last_ok_at=self.now)
            return []
        evaluation = evaluate(self.state, seen, rules=self.rules)
        failed = evaluation.failure is not None
        self.state = replace(
            self.state,
            taken_at=self.now,
            last_ok_at=self.state.last_ok_at if failed and not evaluation.is_partial else self.now,
            consecutive_failures=self.state.consecutive_failures + 1 if failed else 0,
            failing_since=(self.state.failing_since or self.now) if failed else None,
            response_digest=seen.response_digest if evaluation.is_stable else b"",
            suspect_changes=evaluation.suspect_changes,
            shrunk_since=evaluation.shrunk_since,
            clock_offset=clock_offset,
            connections=apply_changes(self.state, evaluation.changes),
        )
        return self._tell(evaluation)

    def review(self, at: datetime | None = None) -> list[Notified]:
        """Let the clock decide, at the moment that was asked for unless told otherwise."""
        moment = at or self.state.next_evaluation_at
        assert moment is not None
        self.now = moment
        return self._tell(reevaluate(self.state, self.now, rules=self.rules))

    @property
    def incidents(self) -> tuple[Incident, ...]:
        """The open ones."""
        return self.state.incidents

    @property
    def known(self) -> Mapping[str, ConnectionState]:
        """The connections as they are known."""
        return self.state.connections

    def _tell(self, evaluation: Evaluation) -> list[Notified]:
        first_id = len(self.history) + 1
        open_ones = applied(self.state.incidents, evaluation.incidents, first_id)
        for id_, change in enumerate(evaluation.incidents, first_id):
            incident = replace(change.incident, id=change.incident.id or id_)
            self.history.append((self.now, replace(change, incident=incident)))
        self.state = replace(
            self.state, incidents=tuple(open_ones), next_evaluation_at=evaluation.next_evaluation_at
        )
        if evaluation.snapshot is None:
            self.state = replace(self.state, response_digest=b"")
        return notified(evaluation.incidents)


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

    def poll(self, *answers: Failure | None) -> list[Notified]:
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
                    TargetFailure(
                        target=target(id=id_),
                        consecutive_failures=self.failures[id_],
                        failing_since=self.since.setdefault(id_, self.now),
                        failed_at=self.now,
                        scope=failure.scope,
                        isolated_failures=self.alone[id_],
                        rule=failure.rule,
                        error=failure.error,
                        remedy=failure.remedy,
                    )
                )
        known = AccountState(
            account="agency",
            targets=len(answers),
            failing=tuple(failing),
            last_ok_at=self.last_ok_at,
            incidents=self.incidents,
            unheard=self.unheard,
        )
        changes = evaluate_account(known, self.now, rules=self.rules)
        self.incidents = tuple(applied(self.incidents, changes, len(self.history) + 1))
        self.history.extend(changes)
        return notified(changes)


def notified(changes: Iterable[IncidentChange]) -> list[Notified]:
    """Keep what of changes is told to people."""
    return [(change.reason, change.incident.severity) for change in changes if change.reason]
