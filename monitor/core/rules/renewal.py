"""
Who renews a token, and by when: as observed, or by its platform before there is any history.

A token that the vendor renews is no problem while its date moves at the usual time. Medians make the result robust
against a single early or late renewal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median_low
from typing import ClassVar

from monitor.core.model import (
    Cause,
    ConnectionState,
    Renewal,
    RenewalHistory,
    Resolution,
    RuleName,
    Severity,
    TokenStatus,
)
from monitor.core.rules.base import Kind, NoProblem, Problem, RuleResult, Superseded
from monitor.core.text import format_time

# The number of renewals to keep, and the number that is enough to judge by.
MAX_RENEWALS = 5
MIN_SAMPLES = 3
# The API calls a token `expiring_soon` below this. People don't reconnect an account sooner.
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
# TikTok's access tokens last a day, its refresh tokens a year. The API shows either in the same field.
ACCESS_TOKEN_LIFE = timedelta(hours=25)
# The API's clock may be this far behind when it still calls a token valid that has less than a week.
CLOCK_TOLERANCE = timedelta(minutes=5)


class RenewedBy(StrEnum):
    """Who renews a token."""

    VENDOR = "vendor"  # the service, without any action
    PERSON = "person"  # a person, who reconnects the account


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalProfile:
    """
    How the tokens of a platform are renewed, as configured. It overrides what was learned.

    Args:
        overdue_before: how long before its end a token of the vendor's is overdue; None: as learned. More than a
            week, because the API itself reports ``expiring_soon`` in the last one.
    """

    renewed_by: RenewedBy
    overdue_before: timedelta | None = None


# Used without history. The vendor refreshes the access tokens of YouTube, Pinterest and X (hours or days) and
# the page tokens of Facebook (about 59 days). The others need a person, TikTok when its refresh token ends.
PLATFORMS: Mapping[str, RenewedBy] = {
    "youtube": RenewedBy.VENDOR,
    "tiktok": RenewedBy.PERSON,
    "pinterest": RenewedBy.VENDOR,
    "twitter": RenewedBy.VENDOR,
    "facebook": RenewedBy.VENDOR,
    "linkedin": RenewedBy.PERSON,
    "instagram": RenewedBy.PERSON,
    "threads": RenewedBy.PERSON,
}


def observe_renewal(
    history: RenewalHistory,
    *,
    before: datetime | None,
    after: datetime | None,
    first_seen_at: datetime,
    observed_at: datetime | None,
    now: datetime,
) -> RenewalHistory:
    """
    Return the history with the date that one poll shows.

    A renewal is a date that becomes later by more than an hour, or by more than a quarter of the new life if
    that is shorter, after the old token used a quarter of its own. A date that varies slightly or alternates
    isn't a renewal, nor is one that had passed when it was first seen. A date that moves back isn't one either.
    What was learned stays.

    Args:
        before: the expiry in the previous poll; ``after`` in this one.
        observed_at: the time of the previous poll.
    """
    if after is None or before == after:
        return history
    lifetime = after - now
    born_at = history.expiry_set_at or first_seen_at
    gap = now - (observed_at or born_at)
    slack = min(HOUR, max(lifetime, timedelta()) / 4)
    # A date that moves with the clock in small steps is a new one each time.
    if before is not None and abs(after - before) <= slack and after - before <= max(gap, timedelta()) / 2:
        return history
    moved = replace(history, expiry_set_at=now)
    if before is None or after - before <= slack or after <= now:
        return moved
    life = before - born_at
    if life <= timedelta() or now - born_at < life / 4:
        return moved
    renewed = replace(moved, count=history.count + 1, renewed_at=now)
    if gap > lifetime / 2:  # the time of the renewal is unknown
        return renewed
    newest = Renewal(lead=before - now, lifetime=lifetime, gap=max(gap, timedelta()))
    return replace(renewed, recent=(*history.recent, newest)[-MAX_RENEWALS:])


def renewed_by(platform: str, habit: RenewalHistory, profiles: Mapping[str, RenewalProfile]) -> RenewedBy:
    """
    Return who renews a token: as configured, else as observed if there is enough history, else by platform.

    Args:
        profiles: by platform, as configured.
    """
    if profile := profiles.get(platform):
        return profile.renewed_by
    at_first = PLATFORMS.get(platform, RenewedBy.PERSON)
    if platform == "tiktok" or len(habit.recent) < MIN_SAMPLES:
        return at_first
    usual = _TypicalRenewal.from_history(habit)
    # People renew after an alert, in the last week.
    by_itself = timedelta() if at_first is RenewedBy.VENDOR else WEEK
    is_regular = usual.spread <= max(usual.lifetime / 10, 2 * usual.gap)
    return RenewedBy.VENDOR if is_regular and usual.lead > by_itself else RenewedBy.PERSON


def renewal_due_at(
    platform: str,
    habit: RenewalHistory,
    *,
    expires_at: datetime,
    first_seen_at: datetime,
    profiles: Mapping[str, RenewalProfile],
) -> datetime:
    """
    Return by when the vendor should have renewed a token.

    Args:
        profiles: by platform, as configured.
    """
    profile = profiles.get(platform)
    if profile and profile.overdue_before:
        return expires_at - profile.overdue_before
    if not habit.recent:
        # The time left when the date was first seen is the least lifetime of the token.
        seen = max(expires_at - (habit.expiry_set_at or first_seen_at), timedelta())
        return expires_at - seen / 10
    usual = _TypicalRenewal.from_history(habit)
    if len(habit.recent) < MIN_SAMPLES:
        return min(expires_at - usual.lead + max(usual.lifetime / 10, usual.gap), expires_at)
    grace = usual.lifetime / 20
    if usual.lead > WEEK:  # the alert must come before the API's own status changes
        grace = min(grace, (usual.lead - WEEK) / 2)
    return min(expires_at - usual.lead + 2 * usual.spread + max(grace, usual.gap), expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TypicalRenewal:
    """The medians of the observed renewals, and the median distance from the lead."""

    lead: timedelta
    lifetime: timedelta
    gap: timedelta
    spread: timedelta

    @classmethod
    def from_history(cls, history: RenewalHistory) -> "_TypicalRenewal":
        lead = median_low(each.lead for each in history.recent)
        return cls(
            lead=lead,
            lifetime=median_low(each.lifetime for each in history.recent),
            gap=median_low(each.gap for each in history.recent),
            spread=median_low(abs(each.lead - lead) for each in history.recent),
        )


def is_access_token_date(known: ConnectionState) -> bool:
    """Return whether a TikTok date is an access token's: it was never as far ahead as a refresh token's."""
    seen = known.connection
    if seen.platform != "tiktok" or seen.expires_at is None:
        return False
    return seen.expires_at - (known.renewals.expiry_set_at or known.first_seen_at) <= ACCESS_TOKEN_LIFE


def may_be_access_token_date(known: ConnectionState) -> bool:
    return known.connection.platform == "youtube" or is_access_token_date(known)


def tolerance_ends_at(date: datetime | None, now: datetime) -> datetime | None:
    """Return when a valid token with this date certainly has less than a week; None if it already has."""
    if date is None or date - now <= WEEK - CLOCK_TOLERANCE:
        return None
    return date - (WEEK - CLOCK_TOLERANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalOverdue:
    """
    A valid token that the vendor renews, and whose date stopped moving.

    Args:
        profiles: the same as for ``TokenExpiry``.
    """

    profiles: Mapping[str, RenewalProfile] = field(default_factory=dict)
    name: ClassVar[RuleName] = RuleName.RENEWAL_OVERDUE
    kinds: ClassVar[tuple[Kind, ...]] = ((Severity.WARNING, Cause.AUTHORIZATION),)

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Find a token whose report is unchanged after it should have been renewed."""
        seen, reported_at = known.connection, observed_at or now
        date = seen.expires_at
        if seen.status is not TokenStatus.VALID:
            return NoProblem.UNKNOWN
        if date is None:
            return NoProblem.OK
        if not self._renews_itself(known):
            return Superseded(
                resolution=Resolution.SUPERSEDED, is_notified=False
            )  # ``token_expiry`` judges this date
        if date - reported_at <= WEEK:
            return NoProblem.OK if date - reported_at <= WEEK - CLOCK_TOLERANCE else NoProblem.UNKNOWN
        due_at = self._due_at(known, date)
        if reported_at < due_at:
            return NoProblem.UNKNOWN if now >= due_at else NoProblem.OK
        return Problem(
            rule=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the token was not renewed by {format_time(due_at)} as expected, and expires at "
                f"{format_time(date)}"
            ),
            deadline_at=date,
            dedup_key=format_time(date),
            cause=Cause.AUTHORIZATION,
        )

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Return when a repeated report next changes the result."""
        seen, date = known.connection, known.connection.expires_at
        if date is None or seen.status is not TokenStatus.VALID or not self._renews_itself(known):
            return None
        due_at = self._due_at(known, date)
        moments = (due_at if due_at > now else None, tolerance_ends_at(date, now))
        return min((moment for moment in moments if moment), default=None)

    def _renews_itself(self, known: ConnectionState) -> bool:
        return not may_be_access_token_date(known) and (
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
