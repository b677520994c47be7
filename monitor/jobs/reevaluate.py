"""Evaluate targets again when a deadline passes, without asking the API."""

from datetime import timedelta

from monitor.core.evaluation.accounts import evaluate_account
from monitor.core.evaluation.evaluate import reevaluate
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Target
from monitor.jobs.context import JobContext
from monitor.jobs.incident_changes import log_incident_changes, record_changes
from monitor.storage.store import Store

MAX_BATCH_SIZE = 200
# How long a response is waited for that says whether the local clock is right.
PATIENCE = timedelta(minutes=15)


def reevaluate_due(context: JobContext, *, patience: timedelta = PATIENCE) -> int:
    """
    Evaluate every target again for which a deadline has passed.

    An expiry threshold alerts within one run of the moment it passes, also while the API is down. After a start, and
    after the local clock was set, a response of the API must first confirm the local clock.

    Args:
        patience: how long that response is waited for; without it the local clock counts as it is.

    Returns:
        How many targets were evaluated.
    """
    evaluated = 0
    accounts: set[str] = set()
    while batch := reevaluate_batch(context, accounts, patience):
        evaluated += batch
    return evaluated


def reevaluate_batch(context: JobContext, done: set[str], patience: timedelta) -> int:
    """Evaluate some; the accounts in ``done`` were evaluated in this run, and those of this batch join them."""
    now = context.clock()
    since = context.recent_since(now)
    with context.database.read() as store:
        held = accounts_on_hold(store, context, patience)
        due = store.due_for_reevaluation(now, limit=MAX_BATCH_SIZE, except_accounts=held)
        calm = store.recovering_accounts(now - context.rules.flapping.quiet_for)
    if not due and not calm:
        return 0
    with context.database.begin() as store:
        known = store.with_connections(store.target_states(due), recent_since=since)
        offsets = {name: context.clocks.expiry_offset(name) for name in {each.account for each in due}}
        evaluations = [
            reevaluate(state, now, rules=context.rules, clock_offset=offsets[state.target.account])
            for state in known.values()
        ]
        changes: list[tuple[IncidentChange, Target | None]] = [
            (change, evaluation.target) for evaluation in evaluations for change in evaluation.incidents
        ]
        accounts = {*(target.account for target in due), *calm} - done
        for account in store.account_states(accounts, recent_since=since):
            changes += [
                (change, account.target_of(change.incident.subject))
                for change in evaluate_account(account, now, rules=context.rules)
            ]
        routed = record_changes(changes, store, context, now)
        store.save_reevaluations(evaluations)
    done |= accounts
    log_incident_changes(routed)
    return len(due)


def accounts_on_hold(store: Store, context: JobContext, patience: timedelta) -> frozenset[str]:
    """Return the accounts whose API hasn't confirmed the local clock yet."""
    if not context.clocks.unconfirmed():
        return frozenset()
    wrong = {incident.subject.base_url for incident in store.clock_incidents()}
    return context.clocks.accounts_on_hold(patience, wrong)
