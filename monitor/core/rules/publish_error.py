"""Posts that the platform refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from monitor.core.model import Cause, ConnectionState, RuleName, Severity
from monitor.core.rules.base import Kind, NoProblem, Problem, RuleResult
from monitor.core.rules.error_catalog import match_pattern, normalize
from monitor.core.text import format_time, sanitize

# Severity, text and remedy by cause. Without a remedy: reconnect the account.
PUBLISH_ERROR_SEVERITY: Mapping[Cause, tuple[Severity, str, str]] = {
    Cause.AUTHORIZATION: (Severity.CRITICAL, ", because the platform rejected the login", ""),
    Cause.PERMISSION: (Severity.CRITICAL, ", because a permission is missing", ""),
    Cause.POLICY: (
        Severity.WARNING,
        ", because the platform restricts the account",
        "check the account on the platform",
    ),
    Cause.CONTENT: (
        Severity.WARNING,
        ", because the platform refused the content",
        "correct the post and publish it again",
    ),
    Cause.TRANSIENT: (
        Severity.NOTICE,
        ", probably for a short time",
        "publish the post again",
    ),
    Cause.UNKNOWN: (
        Severity.WARNING,
        "",
        "publish the post again, or reconnect the account if the error asks for it",
    ),
}


def explain_error(error: str, platform: str) -> tuple[Cause, str, str]:
    """Return the cause of an error, a phrase about it, and its own remedy if it has one."""
    found = match_pattern(error, platform)
    if found is None:
        return Cause.UNKNOWN, PUBLISH_ERROR_SEVERITY[Cause.UNKNOWN][1], ""
    what = f", {found.explanation}" if found.explanation else PUBLISH_ERROR_SEVERITY[found.cause][1]
    return found.cause, what, found.remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishErrorRule:
    """
    The newest post failed.

    Args:
        max_age: an error older than this when its connection is first seen opens nothing.
    """

    max_age: timedelta = timedelta(days=7)
    name: ClassVar[RuleName] = RuleName.PUBLISH_ERROR
    kinds: ClassVar[tuple[Kind, ...]] = tuple((PUBLISH_ERROR_SEVERITY[cause][0], cause) for cause in Cause)

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Find an error that is later than the last successful post and was not withdrawn."""
        error = known.connection.last_error
        if error is None:
            return NoProblem.OK
        occurred_at = error.occurred_at or known.error_seen_at or now
        posted_at = known.connection.last_successful_post_at
        if occurred_at < known.first_seen_at - self.max_age or (posted_at and posted_at >= occurred_at):
            return NoProblem.OK
        if error.occurred_at and known.error_cleared_at and error.occurred_at <= known.error_cleared_at:
            return NoProblem.OK
        cause, what, remedy = explain_error(error.message, known.connection.platform)
        severity = PUBLISH_ERROR_SEVERITY[cause][0]
        notified = sanitize(error.message) or "no reason given"
        return Problem(
            rule=self.name,
            severity=severity,
            summary=f"publishing failed at {format_time(occurred_at)}{what}: {notified}",
            remedy=remedy or PUBLISH_ERROR_SEVERITY[cause][2],
            level=severity.rank + 1,
            dedup_key=normalize(error.message),
            is_new_key=True,
            cause=cause,
        )

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Time alone changes nothing here."""
        return None
