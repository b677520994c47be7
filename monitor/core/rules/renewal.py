"""
Who renews a token, and by when: learned from its past, or from what is known of its platform before there is one.

A token that renews by itself is no problem as long as its date moves on when it usually does. What is learned is
robust against a single renewal that came early or late: medians, and the median distance from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median_low

# Renewals remembered, and how many of them it takes to be sure of what they say.
MAX_RENEWALS = 5
MIN_SAMPLES = 3
# What the API calls `expiring_soon` has less than this left. Nobody reconnects an account by hand sooner.
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """
    One renewal, as it was seen.

    Args:
        lead: how long before the old token's end; negative where it had ended.
        lifetime: what the new token had ahead of it.
        gap: since the look before, when the old token was still there.
    """

    lead: timedelta
    lifetime: timedelta
    gap: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalHistory:
    """
    What is remembered of the renewals of one connection.

    Args:
        count: how many were ever seen.
        renewed_at: when the newest was seen.
        expiry_set_at: since when the token has had the date that it has; None for since it was first seen. So the
            date was never further ahead than it was then.
        recent: the newest that tell something, oldest first, at most ``KEPT``.
    """

    count: int = 0
    renewed_at: datetime | None = None
    expiry_set_at: datetime | None = None
    recent: tuple[Renewal, ...] = ()


NO_HISTORY = RenewalHistory()


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
