"""Look at a target; record what follows, for many at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from monitor.budgets import Budgets
from monitor.clock import Clock
from monitor.core.cadence import next_slot
from monitor.core.decide import Decision, decide, decide_source, is_late, is_steady
from monitor.core.incidents import IncidentChange
from monitor.core.model import Snapshot, Target, TargetState
from monitor.core.retry import POLL_RETRY, next_poll_at
from monitor.core.routes import Routing
from monitor.core.rules import Rules
from monitor.core.source import SourceState, rests
from monitor.errors import FetchError
from monitor.jobs import log_told, record_changes
from monitor.logs import scrub
from monitor.providers import Provider
from monitor.storage import Database, sources
from monitor.storage.recording import Polled
from monitor.storage.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    How polls are judged and when they come again.

    Args:
        every: how often the targets of each account are polled.
        jitter: the share of the interval that chance may add or take away.
        dice: a number from 0 to 1, another one at each call.
        budgets: of the keys; None where every target may be polled as often as configured.
    """

    rules: Rules
    routing: Routing
    every: Mapping[str, timedelta]
    jitter: float
    dice: Callable[[], float]
    budgets: Budgets | None = None

    def cadence(self, account: str) -> timedelta:
        """Say how often the targets of an account are polled, as far as its budget goes."""
        return self.budgets.cadence(account) if self.budgets else self.every[account]

    def intervals(self) -> dict[str, timedelta]:
        """Say how far apart two looks at one target may lie, by account."""
        return {name: self.cadence(name) for name in self.every}

    def is_shared(self, account: str) -> bool:
        """Whether several targets are polled with one key."""
        return self.budgets is not None and self.budgets.targets(account) > 1


def take_snapshot(
    target: Target, provider: Provider, clock: Clock, budgets: Budgets | None = None, *, known: bytes = b""
) -> Snapshot:
    """
    Ask for the connections of a target; a failed fetch is a snapshot too.

    Args:
        known: the fingerprint that an answer has in which nothing is new; that one is not read.
    """
    try:
        answer = provider.connections(target.managed_user_id, known)
    except FetchError as error:
        if budgets:
            budgets.refused(target.account, clock(), error.failure)
        # Whoever answered may know more than our key: what it says is kept, and told.
        failure = replace(error.failure, error=scrub(error.failure.error))
        return Snapshot(target=target, taken_at=clock(), failure=failure)
    if budgets:
        told = {"limit": answer.limit, "remaining": answer.remaining}
        budgets.answered(target.account, clock(), **told, reset_after=answer.reset_after)
    if answer.unknown_fields:
        log.warning("answer.changed", account=target.account, unknown_fields=sorted(answer.unknown_fields))
    return Snapshot(
        target=target,
        taken_at=clock(),
        connections=answer.connections,
        complaints=answer.complaints,
        unreadable_ids=answer.unreadable_ids,
        fingerprint=answer.fingerprint,
        is_unread=answer.is_unread,
        clock_offset=answer.clock_offset,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """
    What the targets of one account have in common.

    Args:
        answered_at: when any of them last answered well; None where nobody needs to know.
    """

    every: timedelta
    is_shared: bool
    answered_at: datetime | None


def record(
    snapshots: Iterable[Snapshot], *, database: Database, policy: Policy, clock: Clock
) -> list[Polled]:
    """
    Decide and record a batch in one transaction: what was seen, what changed, what is wrong, who is told.

    Returns:
        What was recorded. A snapshot older than one already recorded isn't in it, nor one that wasn't read
        though there is something to decide since; its target is due as before.
    """
    by_target = {snapshot.target.id: snapshot for snapshot in snapshots}
    now = clock()
    since = now - policy.rules.flapping.within
    with database.begin() as store:
        states = store.states_of([snapshot.target for snapshot in by_target.values()])
        steady = {id_ for id_, state in states.items() if is_steady(state, by_target[id_])}
        fresh = {
            id_: by_target[id_]
            for id_, state in states.items()
            if _is_of(state.target, by_target[id_])
            and not is_late(state.taken_at, by_target[id_], now)
            and (id_ in steady or not by_target[id_].is_unread)
        }
        moved = {id_: states[id_] for id_ in fresh if id_ not in steady}
        decisions = {
            id_: decide(state, fresh[id_], rules=policy.rules)
            for id_, state in store.completed(moved, recent_since=since).items()
        }
        again = {
            state.target.account for id_, state in moved.items() if state.failures and decisions[id_].failure
        }
        answered = sources.last_ok_at(store.connection, sorted(again)) if again else {}
        contexts = {
            account: _Context(
                every=policy.cadence(account),
                is_shared=policy.is_shared(account),
                answered_at=answered.get(account),
            )
            for account in {states[id_].target.account for id_ in fresh}
        }
        batch = [
            _polled(
                states[id_],
                fresh[id_],
                decisions.get(id_),
                policy,
                context=contexts[states[id_].target.account],
            )
            for id_ in fresh
        ]
        store.record(batch)
        changes: list[tuple[IncidentChange, Target | None]] = [
            (change, decision.target) for decision in decisions.values() for change in decision.incidents
        ]
        # An account is judged when one of its targets failed, or was failing until now, and when a token
        # status that the monitor doesn't know came or went.
        troubled = {
            state.target.account
            for id_, state in moved.items()
            if state.failures
            or decisions[id_].failure
            or any(change.has_unheard_status for change in decisions[id_].changes)
        }
        # And when a second good look may end what the first one has calmed.
        if moved:
            troubled |= {state.target.account for state in moved.values()} & set(store.calm_sources(now))
        for source in store.sources_of(troubled, recent_since=since) if troubled else ():
            changes.extend(
                (change, source.target_of(change.incident.subject))
                for change in decide_source(source, now, rules=policy.rules)
            )
            _rest_or_wake(source, store, policy, now)
        told = record_changes(changes, store=store, routing=policy.routing, now=now)
    _log(batch)
    log_told(told)
    return batch


def _is_of(target: Target, snapshot: Snapshot) -> bool:
    """Whether a snapshot is of this target: one that was forgotten meanwhile may have left its id to another."""
    asked = snapshot.target
    return (target.account, target.managed_user_id) == (asked.account, asked.managed_user_id)


def _rest_or_wake(source: SourceState, store: Store, policy: Policy, now: datetime) -> None:
    """Let what is refused rest, but for one target that tries; poll it all again once that one gets through."""
    wanted = rests(source)
    if wanted is source.paused:
        return
    if wanted:
        sources.rest(store.connection, source.account, wanted, now)
        log.warning("polling.paused", account=source.account, concerns=wanted, targets=source.targets)
        return
    every = policy.cadence(source.account)
    woken = sources.wake(
        store.connection,
        source.account,
        next_poll_at=lambda id_: next_slot(now, every=every, target_id=id_),
    )
    log.info("polling.resumed", account=source.account, targets=woken)


def _polled(
    state: TargetState,
    snapshot: Snapshot,
    decision: Decision | None,
    policy: Policy,
    *,
    context: _Context,
) -> Polled:
    failure = decision.failure if decision else None
    answered_at = context.answered_at
    due_at = next_poll_at(
        snapshot.taken_at,
        every=context.every,
        jitter=policy.jitter,
        chance=policy.dice(),
        failure=failure,
        failures=state.failures + 1,
        sharing=state.target.id if context.is_shared else None,
    )
    if state.failures and not failure and not context.is_shared:
        due_at = min(due_at, snapshot.taken_at + POLL_RETRY)  # a second look says whether it has passed
    return Polled(
        target=state.target,
        taken_at=snapshot.taken_at,
        next_poll_at=due_at,
        last_ok_at=snapshot.taken_at if decision and decision.is_partial else state.last_ok_at,
        decision=decision,
        is_alone=bool(state.failures and answered_at and state.taken_at and answered_at >= state.taken_at),
    )


def _log(batch: Sequence[Polled]) -> None:
    for polled in batch:
        decision = polled.decision
        if decision is None:
            continue
        target = polled.target
        about = {
            "account": target.account,
            "managed_user_id": target.managed_user_id,
            "target": target.id,
        }
        if decision.failure:
            failure = decision.failure
            log.warning(
                "poll.failed",
                outcome=failure.outcome,
                http_status=failure.http_status,
                error=failure.error,
                next_poll_at=polled.next_poll_at.isoformat(),
                **about,
            )
        if decision.snapshot and decision.snapshot.complaints:
            log.warning("poll.incomplete", complaints=decision.snapshot.complaints[:10], **about)
        for change in decision.changes:
            if change.is_transition:
                log.info(
                    "token.changed",
                    platform_id=change.after.connection.platform_id,
                    from_status=change.before.connection.token_status if change.before else None,
                    to_status=change.after.connection.token_status,
                    **about,
                )
