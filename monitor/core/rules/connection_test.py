"""What an active test of a connection proves, if anything: that depends on the platform."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from monitor.core.rules.error_catalog import Cause, classify

# Nothing is asked where no answer would mean anything: no quota is spent on it.
UNTESTABLE: Mapping[str, str] = {
    "pinterest": "the API has no test for Pinterest",
    "bluesky": "the API's test doesn't see the credentials of Bluesky",
}

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


class ConnectionTestResult(StrEnum):
    """What a test proves."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"  # it can't be tested this way, or something passing was in the way


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestHistory:
    """
    What is known from the tests of a connection.

    Args:
        result: of the newest test that proved something; None before the first.
        result_at: when that was.
        message: the API's words about it.
        permissions: those that its tests have shown.
        missing_permissions: those of them that were missing when it last passed.
        passed_at: when a test last passed; None if none ever did.
    """

    result: ConnectionTestResult | None = None
    result_at: datetime | None = None
    message: str = ""
    permissions: tuple[str, ...] = ()
    missing_permissions: tuple[str, ...] = ()
    passed_at: datetime | None = None

    def is_older_than(self, *good: datetime | None) -> bool:
        """Tell whether something good was seen since: a post that went well, a new token."""
        return self.result_at is not None and any(each > self.result_at for each in good if each)


NEVER_TESTED = ConnectionTestHistory()


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
