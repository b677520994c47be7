"""
Tokens that come to their end. The API's word decides, and a date only where that word leaves it open.

``token_expiry`` goes by the word and by the dates that concern people. ``renewal_overdue`` finds a valid token
that renews by itself and whose date stopped moving, before the API says a word about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from monitor.core.model import ConnectionState, Resolution, RuleName, Severity, TokenStatus
from monitor.core.rules.base import DateAhead, NoProblem, Problem, RuleResult, Superseded, format_time
from monitor.core.rules.error_catalog import Cause
from monitor.core.rules.renewal import WEEK, RenewalProfile, RenewedBy, renewal_due_at, renewed_by

DEFAULT_THRESHOLDS: Mapping[timedelta, Severity] = {
    timedelta(days=7): Severity.NOTICE,
    timedelta(days=3): Severity.WARNING,
    timedelta(days=1): Severity.CRITICAL,
}
# TikTok's access tokens live a day, its refresh tokens a year; the API shows either in the same field.
ACCESS_TOKEN_LIFE = timedelta(hours=25)
# What is said of a token that expires soon by a date that nobody knows.
EXPIRES_SOON = "token expires soon"
# By this much the API's clock may be behind ours when it still calls a token valid that has less than a week.
CLOCK_TOLERANCE = timedelta(minutes=5)
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
    name: RuleName = RuleName.TOKEN_EXPIRY

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
        """Give the next moment at which the clock changes the verdict, or another report like the newest would."""
        status, reported_at = known.connection.status, observed_at or now
        date = deadline_of(known, reported_at, self.profiles)
        if date is None:
            is_tolerated = self._is_tolerated(known, reported_at)
            return _tolerance_ends_at(known.connection.expires_at, now) if is_tolerated else None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalOverdue:
    """
    A valid token that renews by itself, and whose date stopped moving.

    Args:
        profiles: as for ``TokenExpiry``, and the same.
    """

    profiles: Mapping[str, RenewalProfile] = field(default_factory=dict)
    name: RuleName = RuleName.RENEWAL_OVERDUE

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Find a token that was reported as it was after it should have been renewed."""
        seen, reported_at = known.connection, observed_at or now
        date = seen.expires_at
        if seen.status is not TokenStatus.VALID:
            return NoProblem.UNKNOWN
        if date is None:
            return NoProblem.OK
        if not self._renews_itself(known):
            return Superseded(
                resolution=Resolution.SUPERSEDED, is_notified=False
            )  # its date is for ``token_expiry``
        if date - reported_at <= WEEK:
            return NoProblem.OK if date - reported_at <= WEEK - CLOCK_TOLERANCE else NoProblem.UNKNOWN
        due_at = self._due_at(known, date)
        if reported_at < due_at:
            return NoProblem.UNKNOWN if now >= due_at else NoProblem.OK
        return Problem(
            rule=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the token should have been renewed by {format_time(due_at)} and was not; it expires at "
                f"{format_time(date)}"
            ),
            deadline_at=date,
            dedup_key=format_time(date),
            cause=Cause.AUTHORIZATION,
        )

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Give the next moment from which a report like the newest changes the verdict."""
        seen, date = known.connection, known.connection.expires_at
        if date is None or seen.status is not TokenStatus.VALID or not self._renews_itself(known):
            return None
        due_at = self._due_at(known, date)
        moments = (due_at if due_at > now else None, _tolerance_ends_at(date, now))
        return min((moment for moment in moments if moment), default=None)

    def _renews_itself(self, known: ConnectionState) -> bool:
        return not _may_be_access_token_date(known) and (
            renewed_by(known.connection.platform, known.renewals, self.profiles) is RenewedBy.VENDOR
        )

    def _due_at(self, known: ConnectionState, date: datetime) -> datetime:
        return renewal_due_at(
            known.connection.platform,
            known.renewals,
            expires_at=date,
            first_seen_at=known.first_seen_at,
            profiles=self.profiles,
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
    if date is None or _is_access_token_date(known):
        return None
    if seen.status is TokenStatus.UNKNOWN:
        return date
    if _may_be_access_token_date(known):
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


def _is_access_token_date(known: ConnectionState) -> bool:
    """Return whether a date of TikTok is an access token's: it was never seen as far ahead as a refresh token's."""
    seen = known.connection
    if seen.platform != "tiktok" or seen.expires_at is None:
        return False
    return seen.expires_at - (known.renewals.expiry_set_at or known.first_seen_at) <= ACCESS_TOKEN_LIFE


def _may_be_access_token_date(known: ConnectionState) -> bool:
    return known.connection.platform == "youtube" or _is_access_token_date(known)


def _tolerance_ends_at(date: datetime | None, now: datetime) -> datetime | None:
    """Return from when a valid token with this date certainly has less than a week; None if it has that already."""
    if date is None or date - now <= WEEK - CLOCK_TOLERANCE:
        return None
    return date - (WEEK - CLOCK_TOLERANCE)


def _mark(date: datetime | None) -> str:
    return format_time(date) if date else "no date"
