"""Test connections of which the list says too little: one at a time, at their own slow pace."""

from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from monitor.core.evaluation.evaluate import reevaluate
from monitor.core.model import ConnectionState, ConnectionTestResult, Failure, Target
from monitor.core.rules.connection_test import add_test_result, interpret_test
from monitor.core.scheduling.connection_tests import is_new_since, next_test_at, should_test_connection
from monitor.errors import FetchError
from monitor.jobs.context import JobContext
from monitor.jobs.incident_changes import log_incident_changes, record_changes
from monitor.providers.base import ConnectionTest
from monitor.storage import connection_tests

log = structlog.get_logger()

# When a connection that was tested by hand is due again, if the configuration asks for no tests.
MANUAL_RETRY_DELAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestRun:
    """
    How one test went.

    Args:
        result: the result; INCONCLUSIVE also if there was no answer.
        response: the answer; None if there was none, and ``failure`` gives the reason.
    """

    target: Target
    known: ConnectionState
    result: ConnectionTestResult
    response: ConnectionTest | None = None
    failure: Failure | None = None


def run_connection_tests(context: JobContext) -> int:
    """
    Test at most one connection of each account, if it is time for that.

    The database holds the time of the last test, so neither a restart nor a long pause makes a burst.

    Returns:
        How many were tested.
    """
    tested = 0
    for account, settings in context.connection_tests.items():
        now = context.clock()
        with context.database.read() as store:
            last_at = connection_tests.last_test_at(store, account, now)
            if last_at is not None and now - last_at < settings.pause:
                continue
            due = connection_tests.next_due_connection(store, account, now, is_wanted=should_test_connection)
        if due and context.rate_limits.try_acquire(account, now, ahead=1):
            run_connection_test(context, *due)
            tested += 1
    return tested


def run_connection_test(context: JobContext, target: Target, known: ConnectionState) -> ConnectionTestRun:
    """Test a connection now, and save what follows."""
    seen = known.connection
    about = {
        "account": target.account,
        "managed_user_id": target.managed_user_id,
        "platform_id": seen.platform_id,
    }
    try:
        response = context.providers[target.account].run_connection_test(
            seen.platform_id, target.managed_user_id
        )
    except FetchError as error:
        context.rate_limits.on_rejection(target.account, context.clock(), error.failure)
        run = ConnectionTestRun(
            target=target, known=known, result=ConnectionTestResult.INCONCLUSIVE, failure=error.failure
        )
        log.warning("test.failed", error=error.failure.error, **about)
    else:
        result = interpret_test(
            seen.platform,
            passed=response.passed,
            message=response.message,
            permissions=response.permissions,
            before=known.last_test,
        )
        run = ConnectionTestRun(target=target, known=known, result=result, response=response)
        log.info("test.done", meaning=result, **about)
    save_run(run, context)
    return run


def save_run(run: ConnectionTestRun, context: JobContext) -> None:
    """Save how a test went, and evaluate its target again."""
    now, account = context.clock(), run.target.account
    settings = context.connection_tests.get(account)
    retry_after = run.failure.retry_after if run.failure else None
    next_at = next_test_at(
        now, every=settings.every if settings else MANUAL_RETRY_DELAY, retry_after=retry_after
    )
    with context.database.begin() as store:
        since = context.recent_since(now)
        states = store.with_connections(store.target_states([run.target]), recent_since=since)
        state = states.get(run.target.id)
        platform_id = run.known.connection.platform_id
        known = state.connections.get(platform_id) if state else None
        if state is None or known is None or known.id is None:
            return  # it was erased in between
        tested = known.last_test
        offset = context.clocks.expiry_offset(account)
        if run.response:
            tested = add_test_result(
                tested,
                run.result,
                message=run.response.message,
                permissions=run.response.permissions,
                now=now + offset,  # compared with the API's times
                is_new=is_new_since(known),
            )
        connection_tests.record_test(store, known.id, tested, tested_at=now, next_test_at=next_at)
        if run.response is None:
            return  # nothing was learned, neither of the connection nor of the time
        after = {**state.connections, platform_id: replace(known, last_test=tested)}
        evaluation = reevaluate(
            replace(state, connections=after), now, rules=context.rules, clock_offset=offset
        )
        changes = [(change, evaluation.target) for change in evaluation.incidents]
        routed = record_changes(changes, store, context, now)
        store.save_reevaluations([evaluation])
    log_incident_changes(routed)
