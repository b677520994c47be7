"""Decide targets anew when a deadline passes, without asking the API."""

from datetime import timedelta

from monitor.api_clocks import ApiClocks
from monitor.clock import Clock
from monitor.core.decide import decide_source, review
from monitor.core.incidents import IncidentChange
from monitor.core.model import Target
from monitor.core.routes import Routing
from monitor.core.rules import Rules
from monitor.jobs import log_told, record_changes
from monitor.storage import Database
from monitor.storage.store import Store

BATCH = 200
# How long an answer is waited for that says whether the local clock is right.
PATIENCE = timedelta(minutes=15)


def review_due(
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
    reviewed = 0
    judged: set[str] = set()
    while batch := _review_batch(
        judged,
        database=database,
        rules=rules,
        routing=routing,
        clock=clock,
        clocks=clocks,
        patience=patience,
    ):
        reviewed += batch
    return reviewed


def _review_batch(
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
        due = store.due_for_review(now, limit=BATCH, except_accounts=held)
        calm = store.calm_sources(now - rules.flapping.calm)
    if not due and not calm:
        return 0
    with database.begin() as store:
        since = now - rules.flapping.within
        known = store.completed(store.states_of(due), recent_since=since)
        offsets = {
            name: clocks.expiry_offset(name) if clocks else timedelta()
            for name in {each.account for each in due}
        }
        decisions = [
            review(state, now, rules=rules, clock_offset=offsets[state.target.account])
            for state in known.values()
        ]
        changes: list[tuple[IncidentChange, Target | None]] = [
            (change, decision.target) for decision in decisions for change in decision.incidents
        ]
        accounts = {*(target.account for target in due), *calm} - judged
        for source in store.sources_of(accounts, recent_since=since) if accounts else ():
            changes.extend(
                (change, source.target_of(change.incident.subject))
                for change in decide_source(source, now, rules=rules)
            )
        told = record_changes(changes, store=store, routing=routing, now=now)
        store.reviewed(decisions)
    judged |= accounts
    log_told(told)
    return len(due)


def _accounts_on_hold(clocks: ApiClocks | None, store: Store, patience: timedelta) -> frozenset[str]:
    """Return the accounts whose API hasn't confirmed the local clock yet."""
    if clocks is None or not clocks.unconfirmed():
        return frozenset()
    wrong = {incident.subject.base_url for incident in store.clock_incidents()}
    return clocks.accounts_on_hold(patience, wrong)
