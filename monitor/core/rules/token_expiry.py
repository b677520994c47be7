"""
Tokens that expire. The API's status decides, and a date only if the status leaves it open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import ClassVar

from monitor.core.model import Cause, ConnectionState, RuleName, Severity, TokenStatus
from monitor.core.rules.base import DateAhead, Kind, NoProblem, Problem, RuleResult
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
# The text for a token that expires soon without a date.
EXPIRES_SOON = "token expires soon"
NO_PROFILES: Mapping[str, RenewalProfile] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExpiry:
    """
    A token that expires, by the API's status and by the date until which a person must act.

    Args:
        before: the severity by time left; ``expired`` is always critical.
        profiles: who renews the tokens of a platform, if configured.
    """

    before: Mapping[timedelta, Severity] = field(default_factory=lambda: DEFAULT_THRESHOLDS)
    profiles: Mapping[str, RenewalProfile] = field(default_factory=dict)
    name: ClassVar[RuleName] = RuleName.TOKEN_EXPIRY
    kinds: ClassVar[tuple[Kind, ...]] = tuple((severity, Cause.AUTHORIZATION) for severity in Severity)

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Judge the newest report of a token, made at ``observed_at``, by the time now."""
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
        """Return when the clock, or a repeated report, next changes the result."""
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
            moments.add(WEEK)  # from then on, a repeated report means that the date needs no action
        return date - max(before for before in moments if before < date - now)

    def _is_tolerated(self, known: ConnectionState, reported_at: datetime) -> bool:
        """Return whether a valid token has so nearly a week left that either clock may be wrong."""
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
            # The level above all thresholds, also above the one that a status sets without any threshold.
            level=max(len(self.before), 1) + 1,
            dedup_key=_mark(date),
            cause=Cause.AUTHORIZATION,
        )

    def _unknown(self, date: datetime) -> Problem:
        return Problem(
            rule=self.name,
            severity=Severity.WARNING,
            summary=f"token may have expired, because the API reports no status after its date, {format_time(date)}",
            dedup_key=_mark(date),
            keeps_worse=True,
            cause=Cause.AUTHORIZATION,
        )


def deadline_of(
    known: ConnectionState, reported_at: datetime, profiles: Mapping[str, RenewalProfile] = NO_PROFILES
) -> datetime | None:
    """
    Return the date of a token, if a person must act before it.

    Args:
        reported_at: when the newest report of the token was made.
        profiles: who renews the tokens of a platform, if configured.

    Returns:
        None without a date, or if it needs no action: an access token's date, or the date of a valid token that
        the vendor renews or that has less than a week. The API would call it ``expiring_soon`` if it needed a
        person.
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
    """Return whether a token has expired, by status or by a date that passed since its report."""
    status, date = known.connection.status, deadline_of(known, reported_at, profiles)
    if status is TokenStatus.UNKNOWN:
        return False
    return status is TokenStatus.EXPIRED or (date is not None and date <= now)


def _mark(date: datetime | None) -> str:
    return format_time(date) if date else "no date"
