"""
Who renews a token, and by when: learned from its past, or from what is known of its platform before there is one.

A token that renews by itself is no problem as long as its date moves on when it usually does. What is learned is
robust against a single renewal that came early or late: medians, and the median distance from them.
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
from monitor.core.rules.base import NoProblem, Problem, RuleResult, Superseded
from monitor.core.text import format_time

# Renewals remembered, and how many of them it takes to be sure of what they say.
MAX_RENEWALS = 5
MIN_SAMPLES = 3
# What the API calls `expiring_soon` has less than this left. Nobody reconnects an account by hand sooner.
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
# TikTok's access tokens live a day, its refresh tokens a year; the API shows either in the same field.
ACCESS_TOKEN_LIFE = timedelta(hours=25)
# By this much the API's clock may be behind ours when it still calls a token valid that has less than a week.
CLOCK_TOLERANCE = timedelta(minutes=5)


class RenewedBy(StrEnum):
    """Who sees to it that a token is renewed."""

    VENDOR = "vendor"  # the service, without anybody doing anything
    PERSON = "person"  # whoever reconnects the account


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalProfile:
    """
    How the tokens of a platform are renewed, as somebody who knows has said: it stands above what is learned.

    Args:
        overdue_before: how long before its end a token that renews by itself is overdue; None: by its habit.
            More than a week, since the API itself speaks up in the last one.
    """

    renewed_by: RenewedBy
    overdue_before: timedelta | None = None


# Before a token has a past of its own. YouTube, Pinterest and X hand out access tokens of hours or days, and
# Facebook page tokens of about 59 days, all of which the vendor refreshes; the others ask for a person, TikTok
# once a refresh token ends.
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
    Take into account what one look shows of a token's date.

    A renewal is a date that moves later by more than an hour, or by more than a quarter of the new life where
    that is shorter, once the old token has had a quarter of its own: a date that trembles or alternates isn't
    one, nor is one that had passed when it was first seen. A date that moves back is none either; what was
    learned stays.

    Args:
        before: when the token expired as of the look before; ``after`` as of this one.
        observed_at: when the look before was.
    """
    if after is None or before == after:
        return history
    lifetime = after - now
    born_at = history.expiry_set_at or first_seen_at
    gap = now - (observed_at or born_at)
    slack = min(HOUR, max(lifetime, timedelta()) / 4)
    # A date that is moved on as fast as the clock, in small steps, is a new one each time.
    if before is not None and abs(after - before) <= slack and after - before <= max(gap, timedelta()) / 2:
        return history
    moved = replace(history, expiry_set_at=now)
    if before is None or after - before <= slack or after <= now:
        return moved
    life = before - born_at
    if life <= timedelta() or now - born_at < life / 4:
        return moved
    renewed = replace(moved, count=history.count + 1, renewed_at=now)
    if gap > lifetime / 2:  # nobody can say when in all that time it was renewed
        return renewed
    newest = Renewal(lead=before - now, lifetime=lifetime, gap=max(gap, timedelta()))
    return replace(renewed, recent=(*history.recent, newest)[-MAX_RENEWALS:])


def renewed_by(platform: str, habit: RenewalHistory, profiles: Mapping[str, RenewalProfile]) -> RenewedBy:
    """
    Return who renews a token: as configured, else by its past once there is enough of it, else by its platform.

    Args:
        profiles: by platform, as configured.
    """
    if profile := profiles.get(platform):
        return profile.renewed_by
    at_first = PLATFORMS.get(platform, RenewedBy.PERSON)
    if platform == "tiktok" or len(habit.recent) < MIN_SAMPLES:
        return at_first
    usual = _TypicalRenewal.from_history(habit)
    # People renew when they are told, and that is in the last week.
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
    Return by when a token that renews by itself should have been renewed.

    Args:
        profiles: by platform, as configured.
    """
    profile = profiles.get(platform)
    if profile and profile.overdue_before:
        return expires_at - profile.overdue_before
    if not habit.recent:
        # The life that it had ahead when it was first seen with this date is the least that it was given.
        seen = max(expires_at - (habit.expiry_set_at or first_seen_at), timedelta())
        return expires_at - seen / 10
    usual = _TypicalRenewal.from_history(habit)
    if len(habit.recent) < MIN_SAMPLES:
        return min(expires_at - usual.lead + max(usual.lifetime / 10, usual.gap), expires_at)
    grace = usual.lifetime / 20
    if usual.lead > WEEK:  # to speak up before the API does is all that this is for
        grace = min(grace, (usual.lead - WEEK) / 2)
    return min(expires_at - usual.lead + 2 * usual.spread + max(grace, usual.gap), expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TypicalRenewal:
    """The renewals of a habit in the middle: the usual one, and how far the others are from it."""

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
    """Return whether a date of TikTok is an access token's: it was never seen as far ahead as a refresh token's."""
    seen = known.connection
    if seen.platform != "tiktok" or seen.expires_at is None:
        return False
    return seen.expires_at - (known.renewals.expiry_set_at or known.first_seen_at) <= ACCESS_TOKEN_LIFE


def may_be_access_token_date(known: ConnectionState) -> bool:
    return known.connection.platform == "youtube" or is_access_token_date(known)


def tolerance_ends_at(date: datetime | None, now: datetime) -> datetime | None:
    """Return from when a valid token with this date certainly has less than a week; None if it has that already."""
    if date is None or date - now <= WEEK - CLOCK_TOLERANCE:
        return None
    return date - (WEEK - CLOCK_TOLERANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalOverdue:
    """
    A valid token that renews by itself, and whose date stopped moving.

    Args:
        profiles: as for ``TokenExpiry``, and the same.
    """

    profiles: Mapping[str, RenewalProfile] = field(default_factory=dict)
    name: ClassVar[RuleName] = RuleName.RENEWAL_OVERDUE

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
        """Return the next moment from which a report like the newest changes the verdict."""
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
