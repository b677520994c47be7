"""
Tokens that come to their end: by a ladder where people renew them, by their habit where they renew themselves.

The two rules share every token between them: one that renews by itself is quiet while it keeps its habit, is
``renewal_overdue`` when it misses it, and ``token_expiry`` once it is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.core.model import KnownConnection, Resolution, RuleName, Severity, TokenStatus
from monitor.core.problems import Answer, Over, Problem, Verdict, at
from monitor.core.renewal import WEEK, Expectation, Profile, expectation
from monitor.core.wording import Cause

DEFAULT_LADDER: Mapping[timedelta, Severity] = {
    timedelta(days=7): Severity.NOTICE,
    timedelta(days=3): Severity.WARNING,
    timedelta(days=1): Severity.CRITICAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExpiry:
    """
    A token on its way to its end: one ladder, from the first rung to expired.

    One that renews by itself knows no rungs, only its end.

    Args:
        before: time left and the severity it means; ``expired`` is always critical.
        profiles: who renews the tokens of a platform, where somebody has said so.
    """

    before: Mapping[timedelta, Severity] = field(default_factory=lambda: DEFAULT_LADDER)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    name: RuleName = RuleName.TOKEN_EXPIRY

    def look(self, known: KnownConnection, now: datetime, looked_at: datetime | None = None) -> Verdict:
        """Climb to the highest rung that the date has passed or the API's word stands for."""
        seen, rungs = known.connection, self._rungs()
        if seen.status is TokenStatus.UNKNOWN:
            return Answer.HOLD
        if hope := _hope(known, self.profiles):
            if _is_over(known, hope, now, looked_at or now):
                return self._expired(known, now)
            # A word that the date doesn't explain is about something else that a person must renew.
            is_told = seen.status is TokenStatus.EXPIRING_SOON and hope.expires_at - now > WEEK
            step = 1 if is_told else 0
        else:
            if seen.status is TokenStatus.EXPIRED or (seen.expires_at and seen.expires_at <= now):
                return self._expired(known, now)
            step = 1 if seen.status is TokenStatus.EXPIRING_SOON else 0
            if seen.expires_at:
                step = max(step, sum(1 for before, _ in rungs if seen.expires_at - now <= before))
        if step == 0:
            return Answer.CLEAR
        return Problem(
            rule=self.name,
            severity=rungs[step - 1][1] if rungs else Severity.WARNING,
            summary=f"token expires at {at(seen.expires_at)}" if seen.expires_at else "token expires soon",
            deadline_at=seen.expires_at,
            step=step,
            mark=at(seen.expires_at) if seen.expires_at else "no date",
            cause=Cause.AUTHORISATION,
        )

    def changes_at(
        self, known: KnownConnection, now: datetime, looked_at: datetime | None = None
    ) -> datetime | None:
        """Give the next rung, or the expiry itself, that is still ahead."""
        if known.connection.status is TokenStatus.UNKNOWN:
            return None
        if hope := _hope(known, self.profiles):
            return hope.changes_at(now, looked_at or now)
        expires_at = known.connection.expires_at
        if expires_at is None or expires_at <= now:
            return None
        if known.connection.status is TokenStatus.EXPIRED:
            return expires_at
        left = expires_at - now
        return expires_at - max((before for before in self.before if before < left), default=timedelta())

    def _expired(self, known: KnownConnection, now: datetime) -> Problem:
        expires_at = known.connection.expires_at
        has_passed = expires_at is not None and expires_at <= now
        summary = "token has expired"
        if expires_at:
            date = at(expires_at)
            summary = f"token expired at {date}" if has_passed else f"{summary} before its date, {date}"
        return Problem(
            rule=self.name,
            severity=Severity.CRITICAL,
            summary=summary,
            deadline_at=expires_at if has_passed else None,
            # Above every rung, the one that the API's word stands for where there is none included.
            step=max(len(self.before), 1) + 1,
            mark=at(expires_at) if expires_at else "no date",
            cause=Cause.AUTHORISATION,
        )

    def _rungs(self) -> list[tuple[timedelta, Severity]]:
        return sorted(self.before.items(), reverse=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalOverdue:
    """
    A token that renews by itself and didn't when it usually does.

    Args:
        profiles: as for ``TokenExpiry``, and the same.
    """

    profiles: Mapping[str, Profile] = field(default_factory=dict)
    name: RuleName = RuleName.RENEWAL_OVERDUE

    def look(self, known: KnownConnection, now: datetime, looked_at: datetime | None = None) -> Verdict:
        """Find a token that was seen as it was after it should have been renewed."""
        looked_at = looked_at or now
        if known.connection.status is TokenStatus.UNKNOWN:
            return Answer.HOLD
        hope = _hope(known, self.profiles)
        if hope is None:
            if known.connection.expires_at is None:
                return Answer.CLEAR
            return Over(resolution=Resolution.SUPERSEDED, told=False)  # people renew it: it has a ladder
        if _is_over(known, hope, now, looked_at):
            return Over(resolution=Resolution.SUPERSEDED, told=False)  # ``token_expiry`` tells it
        if not hope.is_missed(now, looked_at):
            return Answer.HOLD if now >= hope.due_at else Answer.CLEAR
        return Problem(
            rule=self.name,
            severity=Severity.WARNING,
            summary=(
                f"the token should have been renewed by {at(hope.due_at)} and was not; "
                f"it expires at {at(hope.expires_at)}"
            ),
            deadline_at=hope.expires_at,
            mark=at(hope.expires_at),
            cause=Cause.AUTHORISATION,
        )

    def changes_at(
        self, known: KnownConnection, now: datetime, looked_at: datetime | None = None
    ) -> datetime | None:
        """Give the end of the habit, or of the token, that is still ahead."""
        if known.connection.status is TokenStatus.UNKNOWN:
            return None
        hope = _hope(known, self.profiles)
        return hope.changes_at(now, looked_at or now) if hope else None


def keeps_its_habit(
    known: KnownConnection, now: datetime, profiles: Mapping[str, Profile] | None = None
) -> bool:
    """Tell whether a token renews by itself and is in time, so that its date is nobody's concern."""
    hope = _hope(known, profiles or {})
    return hope is not None and not hope.is_missed(now, now) and not _is_over(known, hope, now, now)


def _hope(known: KnownConnection, profiles: Mapping[str, Profile]) -> Expectation | None:
    """Say by when a token renews itself; None where people renew it, or it has no date."""
    seen = known.connection
    if seen.expires_at is None:
        return None
    return expectation(
        seen.platform,
        known.habit,
        expires_at=seen.expires_at,
        first_seen_at=known.first_seen_at,
        profiles=profiles,
    )


def _is_over(known: KnownConnection, hope: Expectation, now: datetime, looked_at: datetime) -> bool:
    """
    Tell whether a token that renews by itself has expired for good.

    The API's word is believed, unless the token is one that is renewed late as a habit and isn't late for that.
    """
    has_passed = hope.expires_at <= now
    if known.connection.status is TokenStatus.EXPIRED:
        return not has_passed or now >= hope.due_at
    return has_passed and hope.is_missed(now, looked_at)
