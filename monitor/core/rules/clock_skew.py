"""
The clock of an API against the local clock: how far they are apart, and what follows from that.

An offset is the API's time minus the local time: a local time plus the offset is the API's time.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from monitor.core.messages.phrases import format_duration
from monitor.core.model import RuleName, Severity
from monitor.core.rules.base import NoProblem, Problem, RuleResult

# How far the clocks may be apart before the log says so and expiry is judged by the API's time.
APPLIED_BEYOND = timedelta(minutes=2)
# How far apart they are a problem that somebody must solve.
ALERTED_BEYOND = timedelta(minutes=10)
# Further apart than this, nobody can say which of the two is wrong.
UNDECIDED_BEYOND = timedelta(days=366)
# How many `Date` headers the median is taken of.
KEPT = 5
# The API didn't exist before: an earlier time is a zero, or the time of a clock that was never set.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
FARTHEST_AHEAD = timedelta(days=3653)


def is_plausible(moment: datetime, now: datetime) -> bool:
    """Return whether a time that the API gives counts: from 2015 on, and at most ten years ahead of ``now``."""
    return EARLIEST <= moment <= now + FARTHEST_AHEAD


def is_plausible_date_header(date: datetime, now: datetime) -> bool:
    """
    Return whether the ``Date`` header of an answer counts.

    Args:
        now: local time, aware UTC. Before 2015 it is the local clock that was never set.
    """
    return date >= EARLIEST and (now < EARLIEST or is_plausible(date, now))


def date_offset(date: datetime, *, sent_at: datetime, answered_at: datetime) -> timedelta:
    """
    Return the smallest offset that explains a ``Date`` header.

    A server may write the header at any moment between the request and the end of the answer. A header from
    within that time shows no offset, so a slow answer is no skew; any other counts from the nearer end.

    Args:
        date: whole seconds, aware UTC.
        sent_at: local time, aware UTC, as is ``answered_at``.
    """
    if date + timedelta(seconds=1) < sent_at:
        return date - sent_at
    if date > answered_at:
        return date - answered_at
    return timedelta()


def median_offset(offsets: Iterable[timedelta]) -> timedelta | None:
    """Return the middle of some offsets, of two in the middle the smaller one; None if there are none."""
    found = sorted(offsets)
    if not found:
        return None
    middle = found[(len(found) - 1) // 2], found[len(found) // 2]
    return min(middle, key=abs)


def expiry_offset(offset: timedelta | None, now: datetime) -> timedelta:
    """
    Return what local time is corrected by when the expiry of a token is judged.

    Clocks that are more than a year apart don't show which of them is wrong: then the earlier time counts. It
    takes no date for past by mistake, and what the API says of a token counts in any case.

    Args:
        offset: the median of the newest ``Date`` headers; None if there was none.
        now: local time, aware UTC.

    Returns:
        Whole seconds; zero for clocks that are at most two minutes apart.
    """
    if offset is None or abs(offset) <= APPLIED_BEYOND:
        return timedelta()
    if abs(offset) > UNDECIDED_BEYOND and now >= EARLIEST:
        offset = min(offset, timedelta())
    return timedelta(seconds=round(offset.total_seconds()))


def check_clock(base_url: str, offset: timedelta | None) -> RuleResult:
    """
    Judge how far the local clock and an API's clock are apart.

    Args:
        offset: the median of the newest ``Date`` headers; None if none was seen since the start, or since the
            local clock was set.
    """
    if offset is None:
        return NoProblem.UNKNOWN
    if abs(offset) <= ALERTED_BEYOND:
        return NoProblem.OK
    return Problem(
        rule=RuleName.CLOCK_SKEW,
        severity=Severity.WARNING,
        summary=f"this machine's clock is {describe_skew(offset)} of the clock of {base_url}",
        remedy="turn on time synchronization (NTP) on this machine; `timedatectl` shows its state",
        dedup_key=base_url,
    )


def describe_skew(offset: timedelta) -> str:
    """Write how far the local clock is ahead or behind, in a few words that stay the same while it hardly moves."""
    apart = abs(offset)
    unit = timedelta(minutes=5) if apart < timedelta(hours=3) else timedelta(hours=1)
    if apart >= timedelta(days=2):
        unit = timedelta(days=1)
    return f"{format_duration(round(apart / unit) * unit)} {'ahead' if offset < timedelta() else 'behind'}"
