"""Poll targets: take a snapshot of each, evaluate many at once, and save what follows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from monitor.core.evaluation.accounts import AccountState, evaluate_account, pause_scope
from monitor.core.evaluation.evaluate import Evaluation, evaluate
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Snapshot, Target
from monitor.core.scheduling.backoff import POLL_RETRY, next_poll_at
from monitor.core.scheduling.slots import next_slot
from monitor.errors import FetchError
from monitor.jobs.context import JobContext
from monitor.jobs.incident_changes import log_incident_changes, record_changes
from monitor.logs import scrub
from monitor.storage import account_status, pauses
from monitor.storage.recording import PollRecord
from monitor.storage.store import PolledTarget, Store

log = structlog.get_logger()


def take_snapshot(target: Target, context: JobContext) -> Snapshot:
    """Ask the API for the connections of a target; a failed request is a snapshot too."""
    limits, clock = context.rate_limits, context.clock
    try:
        answer = context.providers[target.account].fetch_connections(target.managed_user_id)
    except FetchError as error:
        limits.on_rejection(target.account, clock(), error.failure)
        return _failed(target, clock(), error)
    limits.on_response(
        target.account,
        clock(),
        limit=answer.limit,
        remaining=answer.remaining,
        reset_after=answer.reset_after,
    )
    undecoded = Snapshot(
        target=target,
        taken_at=clock(),
        response_digest=answer.response_digest,
        clock_offset=answer.clock_offset,
    )

    def decode() -> Snapshot:
        try:
            listed = answer.decode()
        except FetchError as error:
            return _failed(target, undecoded.taken_at, error)
        return replace(
            undecoded,
            connections=listed.connections,
            warnings=listed.warnings,
            unreadable_ids=listed.unreadable_ids,
            unknown_fields=listed.unknown_fields,
        )

    return replace(undecoded, undecoded=decode)


def _failed(target: Target, taken_at: datetime, error: FetchError) -> Snapshot:
    # A server may repeat the request, and with it a secret that isn't our key.
    failure = replace(error.failure, error=scrub(error.failure.error))
    return Snapshot(target=target, taken_at=taken_at, failure=failure)


def record_polls(snapshots: Iterable[Snapshot], context: JobContext) -> list[PollRecord]:
    """
    Evaluate a batch of snapshots and save the outcome in one transaction.

    Returns:
        What was saved. A snapshot that the store drops as stale isn't in it; its target is due as before.
    """
    now = context.clock()
    since = context.recent_since(now)
    with context.database.begin() as store:
        batch = store.load_batch(snapshots, now, recent_since=since)
        results = {
            polled.state.target.id: evaluate(polled.state, polled.snapshot, rules=context.rules)
            for polled in batch
            if polled.is_changed
        }
        records = schedule(batch, results, store, context)
        store.save_polls(records)
        changes: list[tuple[IncidentChange, Target | None]] = [
            (change, result.target) for result in results.values() for change in result.incidents
        ]
        for account in store.account_states(
            affected_accounts(batch, results, store, now), recent_since=since
        ):
            changes += [
                (change, account.target_of(change.incident.subject))
                for change in evaluate_account(account, now, rules=context.rules)
            ]
            pause_or_resume(account, store, context, now)
        routed = record_changes(changes, store, context, now)
    log_polls(records)
    log_incident_changes(routed)
    return records


def schedule(
    batch: Sequence[PolledTarget], results: Mapping[int, Evaluation], store: Store, context: JobContext
) -> list[PollRecord]:
    """Plan the next poll of each target: after its interval, or sooner if the monitor retries a failure."""
    accounts = {polled.state.target.account for polled in batch}
    rates = {account: context.rate_limits.rate(account) for account in accounts}
    failed_again = {
        polled.state.target.account
        for polled in batch
        if polled.is_changed and polled.state.consecutive_failures and results[polled.state.target.id].failure
    }
    answered_at = account_status.last_ok_at(store, sorted(failed_again)) if failed_again else {}
    records = []
    for polled in batch:
        state, taken_at = polled.state, polled.snapshot.taken_at
        result, rate = results.get(state.target.id), rates[state.target.account]
        failure = result.failure if result else None
        due_at = next_poll_at(
            taken_at,
            every=rate.effective_interval,
            jitter=context.jitter,
            chance=context.random(),
            failure=failure,
            failures=state.consecutive_failures + 1,
            sharing=state.target.id if rate.shares_key else None,
        )
        if state.consecutive_failures and not failure and not rate.shares_key:
            due_at = min(due_at, taken_at + POLL_RETRY)  # a second poll confirms that the failure has passed
        others_at = answered_at.get(state.target.account)
        records.append(
            PollRecord(
                target=state.target,
                taken_at=taken_at,
                next_poll_at=due_at,
                last_ok_at=taken_at if result and result.is_partial else state.last_ok_at,
                evaluation=result,
                is_isolated=bool(
                    state.consecutive_failures
                    and others_at
                    and state.taken_at
                    and others_at >= state.taken_at
                ),
            )
        )
    return records


def affected_accounts(
    batch: Sequence[PolledTarget], results: Mapping[int, Evaluation], store: Store, now: datetime
) -> set[str]:
    """
    Name the accounts whose own problems may have changed with a batch.

    A target failed or recovered, a token status that the monitor doesn't know came or went, or a second good poll
    may end a problem that flaps.
    """
    changed = [polled.state for polled in batch if polled.is_changed]
    if not changed:
        return set()
    affected = {
        state.target.account
        for state in changed
        if state.consecutive_failures
        or results[state.target.id].failure
        or any(change.has_unheard_status for change in results[state.target.id].changes)
    }
    return affected | ({state.target.account for state in changed} & set(store.recovering_accounts(now)))


def pause_or_resume(account: AccountState, store: Store, context: JobContext, now: datetime) -> None:
    """Pause the polling of what the API refuses, but for one target; resume it when that one gets through."""
    wanted = pause_scope(account)
    if wanted is account.paused:
        return
    if wanted:
        pauses.pause(store, account.account, wanted, now)
        log.warning("polling.paused", account=account.account, concerns=wanted, targets=account.targets)
        return
    every = context.rate_limits.interval(account.account)
    resumed = pauses.resume(
        store,
        account.account,
        next_poll_at=lambda id_: next_slot(now, every=every, target_id=id_),
    )
    log.info("polling.resumed", account=account.account, targets=resumed)


def log_polls(records: Iterable[PollRecord]) -> None:
    """Log polls that failed, were partial, or found another token status: one line each."""
    for record in records:
        result = record.evaluation
        if result is None:
            continue
        target = record.target
        about = {"account": target.account, "managed_user_id": target.managed_user_id, "target": target.id}
        if result.failure:
            log.warning(
                "poll.failed",
                outcome=result.failure.outcome,
                http_status=result.failure.http_status,
                error=result.failure.error,
                next_poll_at=record.next_poll_at.isoformat(),
                **about,
            )
        snapshot = result.snapshot
        if snapshot and snapshot.warnings:
            log.warning("poll.partial", complaints=snapshot.warnings[:10], **about)
        if snapshot and snapshot.unknown_fields:
            log.warning("response.unknown_fields", unknown_fields=sorted(snapshot.unknown_fields), **about)
        for change in result.changes:
            if change.is_transition:
                log.info(
                    "token.status_changed",
                    platform_id=change.after.connection.platform_id,
                    from_status=change.before.connection.token_status if change.before else None,
                    to_status=change.after.connection.token_status,
                    **about,
                )
