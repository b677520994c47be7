"""Decide targets anew when a deadline passes, without asking the API."""

from monitor.clock import Clock
from monitor.core.decide import decide_source, review
from monitor.core.incidents import IncidentChange
from monitor.core.model import Target
from monitor.core.routes import Routing
from monitor.core.rules import Rules
from monitor.jobs import log_told, record_changes
from monitor.storage import Database

BATCH = 200


def review_due(*, database: Database, rules: Rules, routing: Routing, clock: Clock) -> int:
    """
    Review every target for which a deadline has passed.

    A rung is told within one pass of the moment that it passes, also while the API is down.

    Returns:
        How many targets were reviewed.
    """
    reviewed = 0
    judged: set[str] = set()
    while batch := _review_batch(judged, database=database, rules=rules, routing=routing, clock=clock):
        reviewed += batch
    return reviewed


def _review_batch(
    judged: set[str], *, database: Database, rules: Rules, routing: Routing, clock: Clock
) -> int:
    """Review some; accounts in ``judged`` have been as sources in this pass, and whoever is now joins them."""
    now = clock()
    with database.read() as store:
        due = store.due_for_review(now, limit=BATCH)
        calm = store.calm_sources(now - rules.flapping.calm)
    if not due and not calm:
        return 0
    with database.begin() as store:
        since = now - rules.flapping.within
        known = store.completed(store.states_of(due), recent_since=since)
        decisions = [review(state, now, rules=rules) for state in known.values()]
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
