"""Test connections of which the list says too little: one at a time, at their own slow pace."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from monitor.api_clocks import ApiClocks
from monitor.budgets import Budgets
from monitor.clock import Clock
from monitor.core.blind_spots import is_new_since, next_test_at, wants_test
from monitor.core.decide import review
from monitor.core.model import Failure, KnownConnection, Target
from monitor.core.probing import Meaning, Probing, after_test, meaning_of
from monitor.core.routes import Routing
from monitor.core.rules import Rules
from monitor.errors import FetchError
from monitor.jobs import log_told, record_changes
from monitor.providers import Trial
from monitor.storage import Database, probing

log = structlog.get_logger()

# How long a connection rests that was tested by hand, where the configuration asks for no tests.
BY_HAND = timedelta(days=1)


class Tester(Protocol):
    """Who can try a connection on its platform."""

    def test_connection(self, platform_id: str, managed_user_id: str | None = None) -> Trial:
        """Try one connection now; raises FetchError where there is no usable answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """
    What testing needs.

    Args:
        probing: how the connections of an account are tested; an account that isn't in it is left alone.
    """

    database: Database
    testers: Mapping[str, Tester]
    rules: Rules
    routing: Routing
    clock: Clock
    probing: Mapping[str, Probing] = field(default_factory=dict)
    budgets: Budgets | None = None
    clocks: ApiClocks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """
    How one test went.

    Args:
        meaning: what it proves; NOTHING where there was no answer either.
        trial: the answer; None where there was none, and ``failure`` says why.
    """

    target: Target
    known: KnownConnection
    meaning: Meaning
    trial: Trial | None = None
    failure: Failure | None = None


def probe(bench: Bench) -> int:
    """
    Test at most one connection of each account, if it is time for that.

    When the last test was is in the database, so neither a restart nor a long pause makes a burst.

    Returns:
        How many were tested.
    """
    tested = 0
    for account, plan in bench.probing.items():
        now = bench.clock()
        with bench.database.read() as store:
            last_at = probing.last_tested_at(store.connection, account, now)
            if last_at is not None and now - last_at < plan.pause:
                continue
            due = probing.next_due(store.connection, account, now, is_wanted=wants_test)
        if due and (bench.budgets is None or bench.budgets.take(account, now, ahead=1)):
            try_one(bench, *due)
            tested += 1
    return tested


def try_one(bench: Bench, target: Target, known: KnownConnection) -> Tried:
    """Test a connection now, and record what follows."""
    seen = known.connection
    try:
        trial = bench.testers[target.account].test_connection(seen.platform_id, target.managed_user_id)
    except FetchError as error:
        if bench.budgets:
            bench.budgets.refused(target.account, bench.clock(), error.failure)
        tried = Tried(target=target, known=known, meaning=Meaning.NOTHING, failure=error.failure)
    else:
        meaning = meaning_of(
            seen.platform,
            passed=trial.passed,
            message=trial.message,
            permissions=trial.permissions,
            before=known.tested,
        )
        tried = Tried(target=target, known=known, meaning=meaning, trial=trial)
    _log(tried)
    _record(bench, tried, bench.clock())
    return tried


def _record(bench: Bench, tried: Tried, now: datetime) -> None:
    """Write down how a test went, decide its target anew, and see that whoever must know is told."""
    plan = bench.probing.get(tried.target.account)
    retry_after = tried.failure.retry_after if tried.failure else None
    next_at = next_test_at(now, every=plan.every if plan else BY_HAND, retry_after=retry_after)
    with bench.database.begin() as store:
        since = now - bench.rules.flapping.within
        states = store.completed(store.states_of([tried.target]), recent_since=since)
        state = states.get(tried.target.id)
        platform_id = tried.known.connection.platform_id
        known = state.connections.get(platform_id) if state else None
        if state is None or known is None or known.id is None:
            return  # it was forgotten meanwhile
        tested = known.tested
        offset = bench.clocks.expiry_offset(tried.target.account) if bench.clocks else timedelta()
        if tried.trial:
            tested = after_test(
                tested,
                tried.meaning,
                message=tried.trial.message,
                permissions=tried.trial.permissions,
                now=now + offset,  # compared with the API's times
                is_new=is_new_since(known),
            )
        probing.record_test(store.connection, known.id, tested, tested_at=now, next_test_at=next_at)
        if tried.trial is None:
            return  # nothing was learned, neither of the connection nor of the time
        after = {**state.connections, platform_id: replace(known, tested=tested)}
        decision = review(replace(state, connections=after), now, rules=bench.rules, clock_offset=offset)
        changes = [(change, decision.target) for change in decision.incidents]
        told = record_changes(changes, store=store, routing=bench.routing, now=now)
        store.reviewed([decision])
    log_told(told)


def _log(tried: Tried) -> None:
    about = {
        "account": tried.target.account,
        "managed_user_id": tried.target.managed_user_id,
        "platform_id": tried.known.connection.platform_id,
    }
    if tried.failure:
        log.warning("test.failed", error=tried.failure.error, **about)
    else:
        log.info("test.done", meaning=tried.meaning, **about)
