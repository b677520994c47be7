"""
The rules: what is wrong with a connection, judged from what is known of it now.

A rule looks and answers a ``Problem``, ``CLEAR`` (nothing is wrong) or ``HOLD`` (it can't tell: whatever is
open stays as it is). Absence isn't health, so a rule that knows nothing holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from monitor.core.model import ConnectionState, Resolution, RuleName, Severity
from monitor.core.rules.base import NoProblem, Problem, RuleResult, Superseded, format_time
from monitor.core.rules.connection_test import ConnectionTestResult
from monitor.core.rules.error_catalog import Cause, match_pattern, normalize
from monitor.core.rules.token_expiry import DEFAULT_THRESHOLDS, RenewalOverdue, TokenExpiry
from monitor.core.text import sanitize

__all__ = [
    "BY_API_TIME",
    "DEFAULT_ACCOUNT_RULES",
    "DEFAULT_FLAPPING",
    "DEFAULT_THRESHOLDS",
    "NEEDS_TWO_RECOVERIES",
    "PUBLISH_ERROR_SEVERITY",
    "AccountFailure",
    "ConnectionRemoved",
    "ConnectionRule",
    "ConnectionTestFailed",
    "Flapping",
    "MassChange",
    "NoProblem",
    "Problem",
    "PublishErrorRule",
    "RenewalOverdue",
    "RuleResult",
    "Rules",
    "Superseded",
    "TokenExpiry",
    "format_time",
]


class ConnectionRule(Protocol):
    """A rule about one connection."""

    @property
    def name(self) -> RuleName:
        """The kind of problem it finds."""
        ...

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """
        Judge a connection.

        Args:
            observed_at: when it was last seen as it is known; by default now.
        """
        ...

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """
        Say when the verdict may next change though nothing new is reported.

        Returns:
            None if never; else a moment ahead. A report that repeats the newest one may change it then, too.
        """
        ...


# How bad a refused post is, in which words, and what to do; without a remedy: reconnect the account.
PUBLISH_ERROR_SEVERITY: Mapping[Cause, tuple[Severity, str, str]] = {
    Cause.AUTHORIZATION: (Severity.CRITICAL, ", the authorization is dead", ""),
    Cause.PERMISSION: (Severity.CRITICAL, ", a permission is missing", ""),
    Cause.POLICY: (
        Severity.WARNING,
        ", the platform blocks or limits the account",
        "look at the account on the platform itself: it says there what it wants",
    ),
    Cause.CONTENT: (
        Severity.WARNING,
        ", the content was refused",
        "mend what the platform refused and publish again",
    ),
    Cause.TRANSIENT: (
        Severity.NOTICE,
        ", which may well pass",
        "publish again; should it go on, look at the account on the platform",
    ),
    Cause.UNKNOWN: (
        Severity.WARNING,
        "",
        "read what the platform says: publish again, or reconnect the account if it asks for that",
    ),
}


# What to do after a test that failed; if a cause isn't here: reconnect the account.
TEST_REMEDIES: Mapping[Cause, str] = {Cause.POLICY: PUBLISH_ERROR_SEVERITY[Cause.POLICY][2]}


def _explain(error: str, platform: str) -> tuple[Cause, str, str]:
    """Return the cause of an error, half a sentence about it, and a remedy if its kind has one of its own."""
    found = match_pattern(error, platform)
    if found is None:
        return Cause.UNKNOWN, PUBLISH_ERROR_SEVERITY[Cause.UNKNOWN][1], ""
    what = f", {found.explanation}" if found.explanation else PUBLISH_ERROR_SEVERITY[found.cause][1]
    return found.cause, what, found.remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishErrorRule:
    """
    The platform refused the newest post.

    Args:
        max_age: an error older than this when its connection is first seen is history.
    """

    max_age: timedelta = timedelta(days=7)
    name: RuleName = RuleName.PUBLISH_ERROR

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
        cause, what, remedy = _explain(error.message, known.connection.platform)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRemoved:
    """
    A connection that good polls list no more: told once, and over after a day without another word.

    Nobody has to act on it, so it must not stay open; it is told again only if the connection comes back first.

    Args:
        visible_for: how long it is among what is open.
    """

    visible_for: timedelta = timedelta(days=1)
    name: RuleName = RuleName.CONNECTION_REMOVED

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Find a connection that is gone, and not for long."""
        if known.removed_at is None:
            return NoProblem.UNKNOWN if known.missed_polls else NoProblem.OK
        if now >= known.removed_at + self.visible_for:
            return Superseded(resolution=Resolution.REMOVED, is_notified=False)
        last = f"; it was last seen at {format_time(known.last_seen_at)}" if known.last_seen_at else ""
        return Problem(
            rule=self.name,
            severity=Severity.NOTICE,
            summary=f"the API no longer lists this connection{last}",
            remedy="connect the account again, unless it was disconnected on purpose",
        )

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Give the end of the day, while it is ahead."""
        ends_at = known.removed_at + self.visible_for if known.removed_at else None
        return ends_at if ends_at and ends_at > now else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTestFailed:
    """A connection that the API tried on its platform, and that isn't what it was."""

    name: RuleName = RuleName.CONNECTION_TEST_FAILED

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Go by the newest test that proved something, until something good was seen after it."""
        tested = known.last_test
        if tested.result is None:
            return NoProblem.UNKNOWN
        if tested.is_older_than(known.connection.last_successful_post_at, known.renewals.expiry_set_at):
            return NoProblem.OK
        if tested.result is ConnectionTestResult.FAILED:
            cause, what, remedy = _explain(tested.message, known.connection.platform)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFailure:
    """
    An account that can't be asked: its key, its plan, the way to the API, or the answers; ``source`` judges it.

    Args:
        name: which kind of failure it looks for.
        after: failed polls in a row of one target until it is a problem.
    """

    name: RuleName
    severity: Severity
    after: int = 1


DEFAULT_ACCOUNT_RULES: tuple[AccountFailure, ...] = (
    AccountFailure(name=RuleName.API_KEY_REJECTED, severity=Severity.CRITICAL),
    AccountFailure(name=RuleName.ACCESS_DENIED, severity=Severity.CRITICAL),
    AccountFailure(name=RuleName.USER_NOT_MANAGED, severity=Severity.WARNING),
    AccountFailure(name=RuleName.API_UNREACHABLE, severity=Severity.WARNING, after=3),
    AccountFailure(name=RuleName.BAD_ANSWER, severity=Severity.WARNING, after=2),
)


# What one good look doesn't end: these come and go by themselves. A token's end needs no such patience.
NEEDS_TWO_RECOVERIES = frozenset({RuleName.API_UNREACHABLE, RuleName.BAD_ANSWER, RuleName.CONNECTION_REMOVED})


# What compares a token's date with the time: judged by the API's clock, which has written that date.
BY_API_TIME = frozenset({RuleName.TOKEN_EXPIRY, RuleName.RENEWAL_OVERDUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """
    When a problem that comes and goes is told as flapping: once, and then at its end.

    Args:
        times: how often it may come within the window before.
        quiet_for: how long it must stay away to be over.
    """

    times: int = 3
    window: timedelta = timedelta(hours=24)
    quiet_for: timedelta = timedelta(hours=6)


DEFAULT_FLAPPING = Flapping()


@dataclass(frozen=True, slots=True, kw_only=True)
class MassChange:
    """
    How many tokens of a target may get worse at once before the answer itself is doubted.

    Both must be exceeded; then nothing is said of any connection until the next poll shows the same.
    """

    share: float = 0.5
    count: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """
    The rules in force.

    Args:
        removed_after: good polls in a row without a connection until it counts as removed.
    """

    connection: tuple[ConnectionRule, ...] = (
        TokenExpiry(),
        RenewalOverdue(),
        PublishErrorRule(),
        ConnectionTestFailed(),
        ConnectionRemoved(),
    )
    account: tuple[AccountFailure, ...] = DEFAULT_ACCOUNT_RULES
    removed_after: int = 3
    flapping: Flapping = DEFAULT_FLAPPING
    mass_change: MassChange = MassChange()
