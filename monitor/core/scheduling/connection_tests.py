"""Which connections to test, and when."""

from datetime import datetime, timedelta

from monitor.core.model import ConnectionState, ConnectionTestResult, TokenStatus
from monitor.core.rules.base import Problem
from monitor.core.rules.connection_test import UNTESTABLE
from monitor.core.rules.publish_error import PublishErrorRule


def should_test_connection(known: ConnectionState, now: datetime) -> bool:
    """
    Return whether a test can show more than the list.

    It can for a connection without an expiry date, because the list doesn't show revoked access. It can for an
    ``unknown`` status and for a last error that suggests a lost authorization. If the newest test failed, only
    another test can clear it.
    """
    if known.removed_at or known.missed_polls or known.connection.platform in UNTESTABLE:
        return False
    if known.connection.expires_at is None or known.connection.status in {None, TokenStatus.UNKNOWN}:
        return True
    tested = known.last_test
    if tested.result is ConnectionTestResult.FAILED or tested.missing_permissions:
        return True
    refused = PublishErrorRule().check(known, now)
    return isinstance(refused, Problem) and refused.cause is not None and refused.cause.needs_reconnect


def is_new_since(known: ConnectionState) -> bool:
    """Return whether the account was reconnected, or posted to, since its newest test."""
    return known.last_test.is_older_than(
        known.connection.last_successful_post_at, known.renewals.expiry_set_at
    )


def next_test_at(tested_at: datetime, *, every: timedelta, retry_after: timedelta | None = None) -> datetime:
    """Return when a connection is tested again: at its own pace, however the test went."""
    return tested_at + max(every, retry_after or timedelta())
