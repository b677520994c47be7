"""Test connections of which the list says too little: one at a time, at their own slow pace."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from monitor.api_clocks import ApiClocks
from monitor.clock import Clock
from monitor.core.evaluation.evaluate import reevaluate
from monitor.core.model import ConnectionState, ConnectionTestResult, Failure, Target
from monitor.core.routing.routes import Routing
from monitor.core.rules.connection_test import ConnectionTestSettings, add_test_result, interpret_test
from monitor.core.rules.registry import Rules
from monitor.core.scheduling.connection_tests import is_new_since, next_test_at, should_test_connection
from monitor.errors import FetchError
from monitor.jobs import log_incident_changes, record_changes
from monitor.providers.base import ConnectionTest
from monitor.rate_limits import RateLimits
from monitor.storage import connection_tests
from monitor.storage.database import Database

log = structlog.get_logger()

# How long a connection rests that was tested by hand, where the configuration asks for no tests.
MANUAL_RETRY_DELAY = timedelta(days=1)


class ConnectionTester(Protocol):
    """Who can try a connection on its platform."""

    def run_connection_test(self, platform_id: str, managed_user_id: str | None = None) -> ConnectionTest:
        """Try one connection now; raises FetchError where there is no usable answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestContext:
    """
    What testing needs.

    Args:
        connection_test_settings: how the connections of an account are tested; an account that isn't in it has none.
    """

    database: Database
    testers: Mapping[str, ConnectionTester]
    rules: Rules
    routing: Routing
    clock: Clock
    connection_test_settings: Mapping[str, ConnectionTestSettings] = field(default_factory=dict)
    rate_limits: RateLimits | None = None
    clocks: ApiClocks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestRun:
    """
    How one test went.

    Args:
        result: what it proves; NOTHING where there was no answer either.
        response: the answer; None where there was none, and ``failure`` says why.
    """

    target: Target
    known: ConnectionState
    result: ConnectionTestResult
    response: ConnectionTest | None = None
    failure: Failure | None = None


def run_connection_tests(context: ConnectionTestContext) -> int:
    """
    Test at most one connection of each account, if it is time for that.

    When the last test was is in the database, so neither a restart nor a long pause makes a burst.

    Returns:
        How many were tested.
    """
    tested = 0
    for account, plan in context.connection_test_settings.items():
        now = context.clock()
        with context.database.read() as store:
            last_at = connection_tests.last_test_at(store.connection, account, now)
            if last_at is not None and now - last_at < plan.pause:
                continue
            due = connection_tests.next_due_connection(
                store.connection, account, now, is_wanted=should_test_connection
            )
        if due and (context.rate_limits is None or context.rate_limits.try_acquire(account, now, ahead=1)):
            run_connection_test(context, *due)
            tested += 1
    return tested


def run_connection_test(
    context: ConnectionTestContext, target: Target, known: ConnectionState
) -> ConnectionTestRun:
    """Test a connection now, and record what follows."""
    seen = known.connection
    try:
        trial = context.testers[target.account].run_connection_test(seen.platform_id, target.managed_user_id)
    except FetchError as error:
        if context.rate_limits:
            context.rate_limits.on_rejection(target.account, context.clock(), error.failure)
        tried = ConnectionTestRun(
            target=target, known=known, result=ConnectionTestResult.INCONCLUSIVE, failure=error.failure
        )
    else:
        meaning = interpret_test(
            seen.platform,
            passed=trial.passed,
            message=trial.message,
            permissions=trial.permissions,
            before=known.last_test,
        )
        tried = ConnectionTestRun(target=target, known=known, result=meaning, response=trial)
    _log(tried)
    _record(context, tried, context.clock())
    return tried


def _record(context: ConnectionTestContext, run: ConnectionTestRun, now: datetime) -> None:
    """Write down how a test went, decide its target anew, and see that whoever must know is told."""
    plan = context.connection_test_settings.get(run.target.account)
    retry_after = run.failure.retry_after if run.failure else None
    next_at = next_test_at(now, every=plan.every if plan else MANUAL_RETRY_DELAY, retry_after=retry_after)
    with context.database.begin() as store:
        since = now - context.rules.flapping.window
        states = store.with_connections(store.target_states([run.target]), recent_since=since)
        state = states.get(run.target.id)
        platform_id = run.known.connection.platform_id
        known = state.connections.get(platform_id) if state else None
        if state is None or known is None or known.id is None:
            return  # it was forgotten meanwhile
        tested = known.last_test
        offset = context.clocks.expiry_offset(run.target.account) if context.clocks else timedelta()
        if run.response:
            tested = add_test_result(
                tested,
                run.result,
                message=run.response.message,
                permissions=run.response.permissions,
                now=now + offset,  # compared with the API's times
                is_new=is_new_since(known),
            )
        connection_tests.record_test(store.connection, known.id, tested, tested_at=now, next_test_at=next_at)
        if run.response is None:
            return  # nothing was learned, neither of the connection nor of the time
        after = {**state.connections, platform_id: replace(known, last_test=tested)}
        evaluation = reevaluate(
            replace(state, connections=after), now, rules=context.rules, clock_offset=offset
        )
        changes = [(change, evaluation.target) for change in evaluation.incidents]
        notified = record_changes(changes, store=store, routing=context.routing, now=now)
        store.save_reevaluations([evaluation])
    log_incident_changes(notified)


def _log(run: ConnectionTestRun) -> None:
    about = {
        "account": run.target.account,
        "managed_user_id": run.target.managed_user_id,
        "platform_id": run.known.connection.platform_id,
    }
    if run.failure:
        log.warning("test.failed", error=run.failure.error, **about)
    else:
        log.info("test.done", meaning=run.result, **about)
