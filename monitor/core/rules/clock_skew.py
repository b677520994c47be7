"""
Compare the clock of an API with the local clock.

An offset is the API's time minus the local time: a local time plus the offset is the API's time.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from monitor.core.messages.phrases import format_duration
from monitor.core.model import RuleName, Severity
from monitor.core.rules.base import NoProblem, Problem, RuleResult

# Beyond this difference, the log reports it and expiry is judged by the API's time.
APPLIED_BEYOND = timedelta(minutes=2)
# Beyond this difference, it is a problem.
ALERTED_BEYOND = timedelta(minutes=10)
# Beyond this difference, it is unknown which clock is wrong.
UNDECIDED_BEYOND = timedelta(days=366)
# The number of `Date` headers for the median.
KEPT = 5
# The API didn't exist before. An earlier time is a zero, or comes from a clock that was never set.
EARLIEST = datetime(2015, 1, 1, tzinfo=UTC)
FARTHEST_AHEAD = timedelta(days=3653)


def is_plausible(moment: datetime, now: datetime) -> bool:
    """Return whether a time that the API gives counts: from 2015 on, and at most ten years ahead of ``now``."""
    return EARLIEST <= moment <= now + FARTHEST_AHEAD


def is_plausible_date_header(date: datetime, now: datetime) -> bool:
    """
    Return whether the ``Date`` header of an answer counts.

    Args:
        now: local time, aware UTC. Before 2015, the local clock was never set.
    """
    return date >= EARLIEST and (now < EARLIEST or is_plausible(date, now))


def date_offset(date: datetime, *, sent_at: datetime, answered_at: datetime) -> timedelta:
    """
    Return the smallest offset that explains a ``Date`` header.

    A server may write the header at any time between the request and the end of the answer. A header within that
    time shows no offset, so a slow answer is no skew. Any other counts from the nearer end.

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
    """Return the median of offsets, the smaller one of two; None if there are none."""
    found = sorted(offsets)
    if not found:
        return None
    middle = found[(len(found) - 1) // 2], found[len(found) // 2]
    return min(middle, key=abs)


def expiry_offset(offset: timedelta | None, now: datetime) -> timedelta:
    """
    Return the correction of local time for judging the expiry of a token.

    If the clocks are more than a year apart, it is unknown which one is wrong, so the earlier time counts. No
    date is then past by mistake, and the API's status counts in any case.

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
    Return whether the local clock and an API's clock are too far apart.

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
        remedy="turn on time synchronization (NTP) on this machine",
        dedup_key=base_url,
    )


def describe_skew(offset: timedelta) -> str:
    """Return how far the local clock is ahead or behind, in words that ignore small changes."""
    apart = abs(offset)
    unit = timedelta(minutes=5) if apart < timedelta(hours=3) else timedelta(hours=1)
    if apart >= timedelta(days=2):
        unit = timedelta(days=1)
    return f"{format_duration(round(apart / unit) * unit)} {'ahead' if offset < timedelta() else 'behind'}"
