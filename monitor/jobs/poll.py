"""Look at a target; record what follows, for many at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from monitor.clock import Clock
from monitor.core.evaluation.accounts import AccountState, evaluate_account, pause_scope
from monitor.core.evaluation.evaluate import Evaluation, evaluate, is_stale, is_unchanged
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Snapshot, Target, TargetState
from monitor.core.routing.routes import Routing
from monitor.core.rules.registry import Rules
from monitor.core.scheduling.backoff import POLL_RETRY, next_poll_at
from monitor.core.scheduling.slots import next_slot
from monitor.errors import FetchError
from monitor.jobs import log_incident_changes, record_changes
from monitor.logs import scrub
from monitor.providers.base import Provider
from monitor.rate_limits import RateLimits
from monitor.storage import account_status
from monitor.storage.database import Database
from monitor.storage.recording import PollRecord
from monitor.storage.store import Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSettings:
    """
    How polls are judged and when they come again.

    Args:
        every: how often the targets of each account are polled.
        jitter: the share of the interval that chance may add or take away.
        random: a number from 0 to 1, another one at each call.
        rate_limits: of the keys; None where every target may be polled as often as configured.
    """

    rules: Rules
    routing: Routing
    every: Mapping[str, timedelta]
    jitter: float
    random: Callable[[], float]
    rate_limits: RateLimits | None = None

    def effective_interval(self, account: str) -> timedelta:
        """Say how often the targets of an account are polled, as far as its budget goes."""
        return self.rate_limits.interval(account) if self.rate_limits else self.every[account]

    def max_intervals(self) -> dict[str, timedelta]:
        """Say how far apart two looks at one target may lie, by account."""
        return {name: self.effective_interval(name) for name in self.every}

    def shares_key(self, account: str) -> bool:
        """Whether several targets are polled with one key."""
        return self.rate_limits is not None and self.rate_limits.target_count(account) > 1


def take_snapshot(
    target: Target,
    provider: Provider,
    clock: Clock,
    rate_limits: RateLimits | None = None,
) -> Snapshot:
    """Ask for the connections of a target; a failed fetch is a snapshot too."""
    try:
        answer = provider.connections(target.managed_user_id)
    except FetchError as error:
        if rate_limits:
            rate_limits.on_rejection(target.account, clock(), error.failure)
        # Whoever answered may know more than our key: what it says is kept, and told.
        failure = replace(error.failure, error=scrub(error.failure.error))
        return Snapshot(target=target, taken_at=clock(), failure=failure)
    if rate_limits:
        notified = {"limit": answer.limit, "remaining": answer.remaining}
        rate_limits.on_response(target.account, clock(), **notified, reset_after=answer.reset_after)
    return Snapshot(
        target=target,
        taken_at=clock(),
        connections=answer.connections,
        warnings=answer.warnings,
        unreadable_ids=answer.unreadable_ids,
        response_digest=answer.response_digest,
        unknown_fields=answer.unknown_fields,
        clock_offset=answer.clock_offset,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPollInfo:
    """
    What the targets of one account have in common.

    Args:
        answered_at: when any of them last answered well; None where nobody needs to know.
    """

    every: timedelta
    shares_key: bool
    answered_at: datetime | None


def record_polls(
    snapshots: Iterable[Snapshot], *, database: Database, settings: PollSettings, clock: Clock
) -> list[PollRecord]:
    """
    Decide and record a batch in one transaction: what was seen, what changed, what is wrong, who is told.

    Returns:
        What was recorded. A snapshot older than one already recorded isn't in it.
    """
    by_target = {snapshot.target.id: snapshot for snapshot in snapshots}
    now = clock()
    since = now - settings.rules.flapping.window
    with database.begin() as store:
        states = store.target_states([snapshot.target for snapshot in by_target.values()])
        steady = {id_ for id_, state in states.items() if is_unchanged(state, by_target[id_])}
        fresh = {
            id_: by_target[id_]
            for id_, state in states.items()
            if _same_target(state.target, by_target[id_])
            and not is_stale(state.taken_at, by_target[id_], now)
        }
        moved = {id_: states[id_] for id_ in fresh if id_ not in steady}
        evaluations = {
            id_: evaluate(state, fresh[id_], rules=settings.rules)
            for id_, state in store.with_connections(moved, recent_since=since).items()
        }
        again = {
            state.target.account
            for id_, state in moved.items()
            if state.consecutive_failures and evaluations[id_].failure
        }
        answered = account_status.last_ok_at(store.connection, sorted(again)) if again else {}
        contexts = {
            account: AccountPollInfo(
                every=settings.effective_interval(account),
                shares_key=settings.shares_key(account),
                answered_at=answered.get(account),
            )
            for account in {states[id_].target.account for id_ in fresh}
        }
        batch = [
            _plan_next_poll(
                states[id_],
                fresh[id_],
                evaluations.get(id_),
                settings,
                info=contexts[states[id_].target.account],
            )
            for id_ in fresh
        ]
        store.save_polls(batch)
        changes: list[tuple[IncidentChange, Target | None]] = [
            (change, evaluation.target)
            for evaluation in evaluations.values()
            for change in evaluation.incidents
        ]
        # An account is judged when one of its targets failed, or was failing until now, and when a token
        # status that the monitor doesn't know came or went.
        with_incidents = {
            state.target.account
            for id_, state in moved.items()
            if state.consecutive_failures
            or evaluations[id_].failure
            or any(change.has_unheard_status for change in evaluations[id_].changes)
        }
        # And when a second good look may end what the first one has calmed.
        if moved:
            with_incidents |= {state.target.account for state in moved.values()} & set(
                store.recovering_accounts(now)
            )
        for source in store.account_states(with_incidents, recent_since=since) if with_incidents else ():
            changes.extend(
                (change, source.target_of(change.incident.subject))
                for change in evaluate_account(source, now, rules=settings.rules)
            )
            _pause_or_resume(source, store, settings, now)
        notified = record_changes(changes, store=store, routing=settings.routing, now=now)
    _log(batch)
    log_incident_changes(notified)
    return batch


def _same_target(target: Target, snapshot: Snapshot) -> bool:
    """Whether a snapshot is of this target: one that was forgotten meanwhile may have left its id to another."""
    asked = snapshot.target
    return (target.account, target.managed_user_id) == (asked.account, asked.managed_user_id)


def _pause_or_resume(account: AccountState, store: Store, settings: PollSettings, now: datetime) -> None:
    """Let what is refused rest, but for one target that tries; poll it all again once that one gets through."""
    wanted = pause_scope(account)
    if wanted is account.paused:
        return
    if wanted:
        account_status.pause(store.connection, account.account, wanted, now)
        log.warning("polling.paused", account=account.account, concerns=wanted, targets=account.targets)
        return
    every = settings.effective_interval(account.account)
    woken = account_status.resume(
        store.connection,
        account.account,
        next_poll_at=lambda id_: next_slot(now, every=every, target_id=id_),
    )
    log.info("polling.resumed", account=account.account, targets=woken)


def _plan_next_poll(
    state: TargetState,
    snapshot: Snapshot,
    evaluation: Evaluation | None,
    settings: PollSettings,
    *,
    info: AccountPollInfo,
) -> PollRecord:
    failure = evaluation.failure if evaluation else None
    answered_at = info.answered_at
    due_at = next_poll_at(
        snapshot.taken_at,
        every=info.every,
        jitter=settings.jitter,
        chance=settings.random(),
        failure=failure,
        failures=state.consecutive_failures + 1,
        sharing=state.target.id if info.shares_key else None,
    )
    if state.consecutive_failures and not failure and not info.shares_key:
        due_at = min(due_at, snapshot.taken_at + POLL_RETRY)  # a second look says whether it has passed
    return PollRecord(
        target=state.target,
        taken_at=snapshot.taken_at,
        next_poll_at=due_at,
        last_ok_at=snapshot.taken_at if evaluation and evaluation.is_partial else state.last_ok_at,
        evaluation=evaluation,
        is_isolated=bool(
            state.consecutive_failures and answered_at and state.taken_at and answered_at >= state.taken_at
        ),
    )


def _log(batch: Sequence[PollRecord]) -> None:
    for poll_record in batch:
        evaluation = poll_record.evaluation
        if evaluation is None:
            continue
        target = poll_record.target
        about = {
            "account": target.account,
            "managed_user_id": target.managed_user_id,
            "target": target.id,
        }
        if evaluation.failure:
            failure = evaluation.failure
            log.warning(
                "poll.failed",
                outcome=failure.outcome,
                http_status=failure.http_status,
                error=failure.error,
                next_poll_at=poll_record.next_poll_at.isoformat(),
                **about,
            )
        snapshot = evaluation.snapshot
        if snapshot and snapshot.warnings:
            log.warning("poll.partial", complaints=snapshot.warnings[:10], **about)
        if snapshot and snapshot.unknown_fields:
            log.warning("response.unknown_fields", unknown_fields=sorted(snapshot.unknown_fields), **about)
        for change in evaluation.changes:
            if change.is_transition:
                log.info(
                    "token.status_changed",
                    platform_id=change.after.connection.platform_id,
                    from_status=change.before.connection.token_status if change.before else None,
                    to_status=change.after.connection.token_status,
                    **about,
                )
