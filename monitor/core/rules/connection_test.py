"""The meaning of a connection test, which depends on the platform."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from monitor.core.model import (
    NEVER_TESTED,
    Cause,
    ConnectionState,
    ConnectionTestHistory,
    ConnectionTestResult,
    RuleName,
    Severity,
)
from monitor.core.rules.base import Kind, NoProblem, Problem, RuleResult
from monitor.core.rules.error_catalog import classify, normalize
from monitor.core.rules.publish_error import PUBLISH_ERROR_SEVERITY, explain_error
from monitor.core.text import sanitize

# Platforms that aren't tested, because no answer would mean anything.
UNTESTABLE: Mapping[str, str] = {
    "pinterest": "the API has no test for Pinterest",
    "bluesky": "the API's test doesn't see the credentials of Bluesky",
}

# What to do after a failed test. For other causes: reconnect the account.
TEST_REMEDIES: Mapping[Cause, str] = {Cause.POLICY: PUBLISH_ERROR_SEVERITY[Cause.POLICY][2]}

# The API has no test for this platform, whichever it is.
_NO_TEST = re.compile(r"^unknown platform\b", re.IGNORECASE)
# The API's answer for every Telegram connection of a user account (the first until 2026-09-29, the second
# since), and for a bot that lost its token.
_NO_BOT = re.compile(r"\binvalid bot (token|connection)\b", re.IGNORECASE)
# The API's answer only for a bot.
_A_BOT = re.compile(r"\bbot can post to\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestSettings:
    """
    How the connections of an account are tested.

    Args:
        every: the interval for each of them.
        per_hour: tests an hour for all of them together, evenly spread.
    """

    every: timedelta
    per_hour: int

    @property
    def pause(self) -> timedelta:
        """The pause between two tests."""
        return timedelta(hours=1) / self.per_hour


def interpret_test(
    platform: str,
    *,
    passed: bool,
    message: str,
    permissions: Sequence[str] = (),
    before: ConnectionTestHistory = NEVER_TESTED,
) -> ConnectionTestResult:
    """
    Return the result of a test.

    Args:
        permissions: the permissions in the answer.
        before: the results of earlier tests. A Telegram connection that ever passed one belongs to a bot. Nothing
            else distinguishes a bot from a user account.
    """
    if passed:
        return ConnectionTestResult.PASSED
    if platform in UNTESTABLE or _NO_TEST.search(message):
        return ConnectionTestResult.INCONCLUSIVE
    is_bot = before.passed_at is not None or any(
        _A_BOT.search(each) for each in (*before.permissions, *permissions)
    )
    if platform == "telegram" and _NO_BOT.search(message) and not is_bot:
        return ConnectionTestResult.INCONCLUSIVE
    return (
        ConnectionTestResult.INCONCLUSIVE
        if classify(message, platform) is Cause.TRANSIENT
        else ConnectionTestResult.FAILED
    )


def add_test_result(
    before: ConnectionTestHistory,
    result: ConnectionTestResult,
    *,
    message: str,
    permissions: Sequence[str],
    now: datetime,
    is_new: bool,
) -> ConnectionTestHistory:
    """
    Return the history with a new result. An inconclusive one changes nothing.

    Args:
        permissions: the permissions in the answer. If it names none, none counts as lost.
        is_new: whether the account was reconnected or posted since the last test. Its permissions now are then the
            expected ones.
    """
    if result is ConnectionTestResult.INCONCLUSIVE:
        return before
    after = replace(before, result=result, result_at=now, message=message)
    if result is ConnectionTestResult.PASSED:
        after = replace(after, passed_at=now)
    if result is ConnectionTestResult.FAILED or not permissions:
        return after
    expected = () if is_new else before.permissions
    lost = tuple(sorted(set(expected) - set(permissions)))
    return replace(after, permissions=tuple(sorted({*expected, *permissions})), missing_permissions=lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestFailed:
    """A connection whose test failed, or that lost permissions."""

    name: ClassVar[RuleName] = RuleName.CONNECTION_TEST_FAILED
    kinds: ClassVar[tuple[Kind, ...]] = (
        (Severity.CRITICAL, Cause.AUTHORIZATION),
        (Severity.CRITICAL, Cause.PERMISSION),
        (Severity.WARNING, Cause.PERMISSION),
        (Severity.WARNING, Cause.UNKNOWN),
    )

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Judge by the newest conclusive test, until a later success."""
        tested = known.last_test
        if tested.result is None:
            return NoProblem.UNKNOWN
        if tested.is_older_than(known.connection.last_successful_post_at, known.renewals.expiry_set_at):
            return NoProblem.OK
        if tested.result is ConnectionTestResult.FAILED:
            cause, what, remedy = explain_error(tested.message, known.connection.platform)
            severity = PUBLISH_ERROR_SEVERITY[cause][0]
            return Problem(
                rule=self.name,
                severity=severity,
                summary=f"the connection test failed{what}: {sanitize(tested.message) or 'no reason given'}",
                remedy=remedy or TEST_REMEDIES.get(cause, ""),
                level=severity.rank + 1,
                dedup_key=normalize(tested.message),
                is_new_key=True,
                cause=cause,
            )
        if tested.missing_permissions:
            return Problem(
                rule=self.name,
                severity=Severity.WARNING,
                summary=(
                    f"the connection test shows missing permissions: "
                    f"{sanitize(', '.join(tested.missing_permissions))}"
                ),
                dedup_key=f"lost {' '.join(tested.missing_permissions)}",
                is_new_key=True,
                cause=Cause.PERMISSION,
            )
        return NoProblem.OK

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Time alone changes nothing here."""
        return None
