"""What an active test of a connection proves, if anything: that depends on the platform."""

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
from monitor.core.rules.base import NoProblem, Problem, RuleResult
from monitor.core.rules.error_catalog import classify, normalize
from monitor.core.rules.publish_error import PUBLISH_ERROR_SEVERITY, explain_error
from monitor.core.text import sanitize

# Nothing is asked where no answer would mean anything: no quota is spent on it.
UNTESTABLE: Mapping[str, str] = {
    "pinterest": "the API has no test for Pinterest",
    "bluesky": "the API's test doesn't see the credentials of Bluesky",
}

# What to do after a test that failed; if a cause isn't here: reconnect the account.
TEST_REMEDIES: Mapping[Cause, str] = {Cause.POLICY: PUBLISH_ERROR_SEVERITY[Cause.POLICY][2]}

# The API has no test for this platform, whichever it is.
_NO_TEST = re.compile(r"^unknown platform\b", re.IGNORECASE)
# What the API answers of every Telegram connection that was made with a user account (the first until 2026-09-29,
# the second since). It says the same of a bot whose token is gone.
_NO_BOT = re.compile(r"\binvalid bot (token|connection)\b", re.IGNORECASE)
# What it says only of a bot.
_A_BOT = re.compile(r"\bbot can post to\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestSettings:
    """
    How the connections of an account are tested.

    Args:
        every: how often each of them.
        per_hour: how many tests of all of them together, evenly spread.
    """

    every: timedelta
    per_hour: int

    @property
    def pause(self) -> timedelta:
        """How long after one test the next may be."""
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
    Return what the answer to a test proves.

    Args:
        permissions: those that the answer names.
        before: what was known from the tests before: a Telegram connection that ever passed one is a bot's, and
            nothing else tells a bot from a user account.
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
    Take the answer to a test into account; one that proves nothing leaves everything as it was.

    Args:
        permissions: those that the API names; where it names none, nothing is lost.
        is_new: whether the account was reconnected, or posted to, since the test before: then what it may do
            now is what it should.
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
    """A connection that the API tried on its platform, and that isn't what it was."""

    name: ClassVar[RuleName] = RuleName.CONNECTION_TEST_FAILED

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Go by the newest test that proved something, until something good was seen after it."""
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
                summary=f"a test of the connection failed{what}: {sanitize(tested.message) or 'no reason given'}",
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
                    f"a test of the connection shows lost permissions: "
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
