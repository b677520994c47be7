"""
Who renews a token, and by when: learnt from its past, or from what is known of its platform before there is one.

A token that renews by itself is no problem however short it lives, as long as it is renewed when it usually is.
What is learnt is robust against a single renewal that came early or late: medians, and the median distance from
them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median_low

# Renewals remembered, and how many of them it takes to be sure of what they say.
KEPT = 5
ENOUGH = 3
# Nobody reconnects an account by hand more often than this, or sooner than the first warning would ask for it.
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
# What has at most a day ahead when it is first seen may well be renewed in its last minute; with more than that,
# people get time to act.
SHORT_LIVED = timedelta(days=1)
TIME_TO_ACT = timedelta(days=3)


class RenewedBy(StrEnum):
    """Who sees to it that a token is renewed."""

    VENDOR = "vendor"  # the service, without anybody doing anything
    PERSON = "person"  # whoever reconnects the account


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """
    How the tokens of a platform are renewed, as somebody who knows has said: it stands above what is learnt.

    Args:
        overdue_before: how long before its end a token that renews by itself is overdue; None: by its habit.
    """

    renewed_by: RenewedBy
    overdue_before: timedelta | None = None


# Before a token has a past of its own. YouTube, TikTok, Pinterest and X hand out access tokens of hours or days,
# and Facebook page tokens of about 59 days, all of which the vendor refreshes; the others ask for a person.
PLATFORMS: Mapping[str, RenewedBy] = {
    "youtube": RenewedBy.VENDOR,
    "tiktok": RenewedBy.VENDOR,
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
class Habit:
    """
    What is remembered of the renewals of one connection.

    Args:
        renewals: how many were ever seen.
        renewed_at: when the newest was seen.
        dated_at: since when the token has had the date that it has; None for since it was first seen.
        newest: the newest that tell something, oldest first, at most ``KEPT``.
    """

    renewals: int = 0
    renewed_at: datetime | None = None
    dated_at: datetime | None = None
    newest: tuple[Renewal, ...] = ()


FIRST = Habit()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """
    By when a token renews itself, if it does as usual.

    Args:
        usual_at: a look from here on that shows the old token shows that the habit was missed.
        due_at: when that is said; not before ``usual_at``.
    """

    usual_at: datetime
    due_at: datetime
    expires_at: datetime

    def is_missed(self, now: datetime, looked_at: datetime) -> bool:
        """Tell whether it should have been renewed by now, and was seen not to be."""
        return now >= self.due_at and looked_at >= self.usual_at

    def changes_at(self, now: datetime, looked_at: datetime) -> datetime | None:
        """Say when the answer may change; None if it won't, a moment that has passed where a look will tell."""
        if now >= self.due_at and not self.is_missed(now, looked_at):
            return self.due_at
        return min((each for each in (self.due_at, self.expires_at) if each > now), default=None)


def learn(
    habit: Habit,
    *,
    before: datetime | None,
    after: datetime | None,
    first_seen_at: datetime,
    looked_at: datetime | None,
    now: datetime,
) -> Habit:
    """
    Take into account what one look shows of a token's date.

    A renewal is a date that moves later by more than an hour, or by more than a quarter of the new life where
    that is shorter, once the old token has had a quarter of its own: a date that trembles or alternates isn't
    one, nor is one that had passed when it was first seen. A date that moves back is none either; what was
    learnt stays.

    Args:
        before: when the token expired as of the look before; ``after`` as of this one.
        looked_at: when the look before was.
    """
    if after is None or before == after:
        return habit
    lifetime = after - now
    slack = min(HOUR, max(lifetime, timedelta()) / 4)
    if before is not None and abs(after - before) <= slack:
        return habit
    moved = replace(habit, dated_at=now)
    born_at = habit.dated_at or first_seen_at
    if before is None or after < before or after <= now:
        return moved
    life = before - born_at
    if life <= timedelta() or now - born_at < life / 4:
        return moved
    renewed = replace(moved, renewals=habit.renewals + 1, renewed_at=now)
    gap = now - (looked_at or born_at)
    if gap > lifetime / 2:  # nobody can say when in all that time it was renewed
        return renewed
    newest = Renewal(lead=before - now, lifetime=lifetime, gap=max(gap, timedelta()))
    return replace(renewed, newest=(*habit.newest, newest)[-KEPT:])


def expectation(
    platform: str,
    habit: Habit,
    *,
    expires_at: datetime,
    first_seen_at: datetime,
    profiles: Mapping[str, Profile],
) -> Expectation | None:
    """
    Say by when a token should be renewed by itself; None where that is up to people.

    Args:
        profiles: by platform, as configured.
    """
    profile = profiles.get(platform)
    if (profile.renewed_by if profile else _renewed_by(platform, habit)) is RenewedBy.PERSON:
        return None
    if profile and profile.overdue_before:
        return _at(expires_at - profile.overdue_before, expires_at)
    if not habit.newest:
        # The life that it had ahead when it was first seen with this date is the least that it was given.
        seen = max(expires_at - (habit.dated_at or first_seen_at), timedelta())
        lead = timedelta() if seen <= SHORT_LIVED else max(seen / 10, TIME_TO_ACT)
        return _at(expires_at - lead, expires_at)
    usual = _Usual.of(habit)
    if len(habit.newest) < ENOUGH:
        due_at = expires_at - usual.lead + max(usual.lifetime / 10, usual.gap)
        return _at(min(due_at, expires_at), expires_at)
    # Short-lived ones may be renewed late as a habit; with a long life, a token past its end is a fault.
    latest_at = expires_at + usual.lifetime if usual.lifetime <= WEEK else expires_at
    usual_at = expires_at - usual.lead + 2 * usual.spread
    due_at = min(usual_at + max(usual.lifetime / 20, usual.gap), latest_at)
    return Expectation(usual_at=min(usual_at, due_at), due_at=due_at, expires_at=expires_at)


def _at(moment: datetime, expires_at: datetime) -> Expectation:
    return Expectation(usual_at=moment, due_at=moment, expires_at=expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Usual:
    """The renewals of a habit in the middle: the usual one, and how far the others are from it."""

    lead: timedelta
    lifetime: timedelta
    gap: timedelta
    spread: timedelta

    @classmethod
    def of(cls, habit: Habit) -> "_Usual":
        lead = median_low(each.lead for each in habit.newest)
        return cls(
            lead=lead,
            lifetime=median_low(each.lifetime for each in habit.newest),
            gap=median_low(each.gap for each in habit.newest),
            spread=median_low(abs(each.lead - lead) for each in habit.newest),
        )


def _renewed_by(platform: str, habit: Habit) -> RenewedBy:
    """Go by the past once there is enough of it; before, and where it says nothing, by the platform."""
    at_first = PLATFORMS.get(platform, RenewedBy.PERSON)
    if len(habit.newest) < ENOUGH:
        return at_first
    usual = _Usual.of(habit)
    is_regular = usual.spread <= max(usual.lifetime / 10, 2 * usual.gap)
    if usual.lifetime <= WEEK:
        return RenewedBy.VENDOR if is_regular else at_first
    # People renew when they are told, and that is in the last week.
    by_itself = timedelta() if at_first is RenewedBy.VENDOR else WEEK
    return RenewedBy.VENDOR if is_regular and usual.lead > by_itself else RenewedBy.PERSON
