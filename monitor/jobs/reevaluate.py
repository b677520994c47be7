"""Decide targets anew when a deadline passes, without asking the API."""

from datetime import timedelta

from monitor.api_clocks import ApiClocks
from monitor.clock import Clock
from monitor.core.evaluation.accounts import evaluate_account
from monitor.core.evaluation.evaluate import reevaluate
from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Target
from monitor.core.routing.routes import Routing
from monitor.core.rules.registry import Rules
from monitor.jobs import log_incident_changes, record_changes
from monitor.storage.database import Database
from monitor.storage.store import Store

MAX_BATCH_SIZE = 200
# How long an answer is waited for that says whether the local clock is right.
PATIENCE = timedelta(minutes=15)


def reevaluate_due(
    *,
    database: Database,
    rules: Rules,
    routing: Routing,
    clock: Clock,
    clocks: ApiClocks | None = None,
    patience: timedelta = PATIENCE,
) -> int:
    """
    Review every target for which a deadline has passed.

    A rung is told within one pass of the moment that it passes, also while the API is down. After a start, and
    after the local clock was set, an answer of the API must first confirm the local clock.

    Args:
        clocks: of the APIs; None if the local clock is taken for right.
        patience: how long that answer is waited for; without it the local clock counts as it is.

    Returns:
        How many targets were reviewed.
    """
    reevaluated = 0
    judged: set[str] = set()
    while batch := _reevaluate_batch(
        judged,
        database=database,
        rules=rules,
        routing=routing,
        clock=clock,
        clocks=clocks,
        patience=patience,
    ):
        reevaluated += batch
    return reevaluated


def _reevaluate_batch(
    judged: set[str],
    *,
    database: Database,
    rules: Rules,
    routing: Routing,
    clock: Clock,
    clocks: ApiClocks | None,
    patience: timedelta,
) -> int:
    """Review some; accounts in ``judged`` have been as sources in this pass, and whoever is now joins them."""
    now = clock()
    with database.read() as store:
        held = _accounts_on_hold(clocks, store, patience)
        due = store.due_for_reevaluation(now, limit=MAX_BATCH_SIZE, except_accounts=held)
        calm = store.recovering_accounts(now - rules.flapping.quiet_for)
    if not due and not calm:
        return 0
    with database.begin() as store:
        since = now - rules.flapping.window
        known = store.with_connections(store.target_states(due), recent_since=since)
        offsets = {
            name: clocks.expiry_offset(name) if clocks else timedelta()
            for name in {each.account for each in due}
        }
        evaluations = [
            reevaluate(state, now, rules=rules, clock_offset=offsets[state.target.account])
            for state in known.values()
        ]
        changes: list[tuple[IncidentChange, Target | None]] = [
            (change, evaluation.target) for evaluation in evaluations for change in evaluation.incidents
        ]
        accounts = {*(target.account for target in due), *calm} - judged
        for source in store.account_states(accounts, recent_since=since) if accounts else ():
            changes.extend(
                (change, source.target_of(change.incident.subject))
                for change in evaluate_account(source, now, rules=rules)
            )
        notified = record_changes(changes, store=store, routing=routing, now=now)
        store.save_reevaluations(evaluations)
    judged |= accounts
    log_incident_changes(notified)
    return len(due)


def _accounts_on_hold(clocks: ApiClocks | None, store: Store, patience: timedelta) -> frozenset[str]:
    """Return the accounts whose API hasn't confirmed the local clock yet."""
    if clocks is None or not clocks.unconfirmed():
        return frozenset()
    wrong = {incident.subject.base_url for incident in store.clock_incidents()}
    return clocks.accounts_on_hold(patience, wrong)
