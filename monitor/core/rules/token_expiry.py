"""
Tokens that come to their end. The API's word decides, and a date only where that word leaves it open.

``token_expiry`` goes by the word and by the dates that concern people. ``renewal_overdue`` finds a valid token
that renews by itself and whose date stopped moving, before the API says a word about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import ClassVar

from monitor.core.model import Cause, ConnectionState, RuleName, Severity, TokenStatus
from monitor.core.rules.base import DateAhead, NoProblem, Problem, RuleResult
from monitor.core.rules.renewal import (
    CLOCK_TOLERANCE,
    WEEK,
    RenewalProfile,
    RenewedBy,
    is_access_token_date,
    may_be_access_token_date,
    renewed_by,
    tolerance_ends_at,
)
from monitor.core.text import format_time

DEFAULT_THRESHOLDS: Mapping[timedelta, Severity] = {
    timedelta(days=7): Severity.NOTICE,
    timedelta(days=3): Severity.WARNING,
    timedelta(days=1): Severity.CRITICAL,
}
# What is said of a token that expires soon by a date that nobody knows.
EXPIRES_SOON = "token expires soon"
NO_PROFILES: Mapping[str, RenewalProfile] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExpiry:
    """
    A token on its way to its end: by the API's word, and by the date that a person must act by.

    Args:
        before: time left and the severity it means; ``expired`` is always critical.
        profiles: who renews the tokens of a platform, where somebody has said so.
    """

    before: Mapping[timedelta, Severity] = field(default_factory=lambda: DEFAULT_THRESHOLDS)
    profiles: Mapping[str, RenewalProfile] = field(default_factory=dict)
    name: ClassVar[RuleName] = RuleName.TOKEN_EXPIRY

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Judge the newest report of a token, made at ``observed_at``, as of now."""
        seen, reported_at = known.connection, observed_at or now
        date = deadline_of(known, reported_at, self.profiles)
        has_passed = date is not None and date <= now
        if seen.status is TokenStatus.UNKNOWN:
            return self._unknown(date) if date and has_passed else NoProblem.UNKNOWN
        if seen.status is TokenStatus.EXPIRED or has_passed:
            return self._expired(date, now)
        thresholds = sorted(self.before.items(), reverse=True)
        step = sum(1 for before, _ in thresholds if date - now <= before) if date else 0
        if seen.status is TokenStatus.EXPIRING_SOON:
            step = max(step, 1)
        if step:
            return Problem(
                rule=self.name,
                severity=thresholds[step - 1][1] if thresholds else Severity.WARNING,
                summary=f"token expires at {format_time(date)}" if date else EXPIRES_SOON,
                deadline_at=date,
                level=step,
                dedup_key=_mark(date),
                cause=Cause.AUTHORIZATION,
            )
        if seen.status is None:
            return DateAhead(date=date) if date else NoProblem.UNKNOWN
        return NoProblem.UNKNOWN if self._is_tolerated(known, reported_at) else NoProblem.OK

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Return the next moment at which the clock changes the verdict, or another report like the newest would."""
        status, reported_at = known.connection.status, observed_at or now
        date = deadline_of(known, reported_at, self.profiles)
        if date is None:
            is_tolerated = self._is_tolerated(known, reported_at)
            return tolerance_ends_at(known.connection.expires_at, now) if is_tolerated else None
        if date <= now:
            return None
        moments = {timedelta()}
        if status not in {TokenStatus.EXPIRED, TokenStatus.UNKNOWN}:
            moments |= {*self.before}
        if status is TokenStatus.VALID:
            moments.add(WEEK)  # from then on the same report says that the date is none to act by
        return date - max(before for before in moments if before < date - now)

    def _is_tolerated(self, known: ConnectionState, reported_at: datetime) -> bool:
        """Return whether a valid token has so little more or less than a week that either clock may be wrong."""
        date = known.connection.expires_at
        return (
            date is not None
            and WEEK - CLOCK_TOLERANCE < date - reported_at <= WEEK
            and deadline_of(known, reported_at - CLOCK_TOLERANCE, self.profiles) is not None
        )

    def _expired(self, date: datetime | None, now: datetime) -> Problem:
        has_passed = date is not None and date <= now
        summary = "token has expired"
        if date:
            summary = (
                f"token expired at {format_time(date)}"
                if has_passed
                else f"{summary} before its date, {format_time(date)}"
            )
        return Problem(
            rule=self.name,
            severity=Severity.CRITICAL,
            summary=summary,
            deadline_at=date if has_passed else None,
            # Above every rung, the one that the API's word stands for where there is none included.
            level=max(len(self.before), 1) + 1,
            dedup_key=_mark(date),
            cause=Cause.AUTHORIZATION,
        )

    def _unknown(self, date: datetime) -> Problem:
        return Problem(
            rule=self.name,
            severity=Severity.WARNING,
            summary=f"token reached its date, {format_time(date)}, and the API doesn't know its status",
            dedup_key=_mark(date),
            keeps_worse=True,
            cause=Cause.AUTHORIZATION,
        )


def deadline_of(
    known: ConnectionState, reported_at: datetime, profiles: Mapping[str, RenewalProfile] = NO_PROFILES
) -> datetime | None:
    """
    Return the date of a token, if a person must act by it.

    Args:
        reported_at: when the newest report of the token was made.
        profiles: who renews the tokens of a platform, where somebody has said so.

    Returns:
        None if there is no date, or none to act by: it is an access token's, or that of a valid token which
        renews by itself or has less than a week. The API would call it ``expiring_soon`` if it were in danger.
    """
    seen = known.connection
    date = seen.expires_at
    if date is None or is_access_token_date(known):
        return None
    if seen.status is TokenStatus.UNKNOWN:
        return date
    if may_be_access_token_date(known):
        return None
    if seen.status is TokenStatus.VALID and (
        date - reported_at <= WEEK or renewed_by(seen.platform, known.renewals, profiles) is RenewedBy.VENDOR
    ):
        return None
    return date


def has_expired(
    known: ConnectionState,
    now: datetime,
    *,
    reported_at: datetime,
    profiles: Mapping[str, RenewalProfile] = NO_PROFILES,
) -> bool:
    """Return whether a token has expired, by the API's word or by a date that passed since its report."""
    status, date = known.connection.status, deadline_of(known, reported_at, profiles)
    if status is TokenStatus.UNKNOWN:
        return False
    return status is TokenStatus.EXPIRED or (date is not None and date <= now)


def _mark(date: datetime | None) -> str:
    return format_time(date) if date else "no date"
