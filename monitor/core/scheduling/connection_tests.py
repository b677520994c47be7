"""Connections of which the list says too little: the ones worth an active test."""

from datetime import datetime, timedelta

from monitor.core.model import ConnectionState, ConnectionTestResult, TokenStatus
from monitor.core.rules.base import Problem
from monitor.core.rules.connection_test import UNTESTABLE
from monitor.core.rules.publish_error import PublishErrorRule


def should_test_connection(known: ConnectionState, now: datetime) -> bool:
    """
    Return whether a test would say something that the list doesn't.

    That is so for a connection without an expiry date, whatever its status: nothing in the list shows that its
    grant was revoked. It is so for an ``unknown`` status, for a last error that sounds like a lost authorization,
    and if the newest test found something, which another one must take back.
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
