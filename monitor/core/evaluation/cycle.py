"""
Assess a cycle: whether the monitor sees every target in time.

Each target has its own interval, so a cycle has no common beginning and end. It is judged by the time since each
target was polled: at most twice its interval plus the time of one request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from monitor.core.text import counted

MAX_DELIVERY_DELAY = timedelta(minutes=15)
_NAMED = 3


class CycleStatus(StrEnum):
    """The status of a cycle."""

    COMPLETE = "complete"  # every target was polled in time, and the newest poll of each succeeded
    PARTIAL = "partial"  # something is missing, but not for long enough to count as failed
    FAILED = "failed"  # something was not polled for too long, or alerts can't be sent


class PolledTarget(Protocol):
    """The polls of one target."""

    @property
    def account(self) -> str: ...
    @property
    def last_polled_at(self) -> datetime | None: ...
    @property
    def last_ok_at(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """
    One assessed cycle.

    Args:
        text: one line about it, for people.
        is_round: whether every target was polled in time, successfully or not.
    """

    status: CycleStatus
    text: str
    is_round: bool


def assess_cycle(
    targets: Iterable[PolledTarget],
    *,
    every: Mapping[str, timedelta],
    slack: timedelta,
    monitoring_since: datetime,
    pending_since: datetime | None,
    stalled: Sequence[str],
    now: datetime,
    unlisted_since: Mapping[str, datetime] = MappingProxyType({}),
) -> Cycle:
    """
    Assess the cycle that ended now.

    Args:
        every: the interval of each account's targets.
        slack: the time that one poll may take.
        monitoring_since: the start of monitoring; earlier gaps don't count.
        pending_since: since when the oldest message has been waiting to be sent.
        stalled: the stalled parts of the monitor.
        unlisted_since: since when the managed users of accounts can't be listed, so new ones aren't seen.
    """
    late: list[str] = []
    failing: list[str] = []
    blind: list[str] = []
    count = 0
    for target in targets:
        if target.account not in every:
            continue
        count += 1
        oldest = now - 2 * every[target.account] - slack
        if target.last_polled_at is None or target.last_polled_at < oldest:
            late.append(target.account)
        if target.last_ok_at is None or target.last_ok_at != target.last_polled_at:
            failing.append(target.account)
        if max(target.last_ok_at or monitoring_since, monitoring_since) < oldest:
            blind.append(target.account)
    reasons = [f"{part} hangs" for part in stalled]
    if every and not count:
        reasons.append("no target is polled")
    if blind:
        reasons.append(f"{counted(len(blind), 'target')} not seen in time ({_names(blind)})")
    unseen = [
        account
        for account, since in unlisted_since.items()
        if account in every and now - max(since, monitoring_since) > 2 * every[account] + slack
    ]
    if unseen:
        reasons.append(f"users not listed in time ({_names(unseen)})")
    if pending_since and now - max(pending_since, monitoring_since) > MAX_DELIVERY_DELAY:
        reasons.append("a message can't be delivered")
    if reasons:
        return Cycle(status=CycleStatus.FAILED, text=", ".join(reasons), is_round=not late)
    if late or failing:
        which, how = (late, "not looked at yet") if late else (failing, "failing")
        text = f"{counted(len(which), 'target')} {how} ({_names(which)})"
        return Cycle(status=CycleStatus.PARTIAL, text=text, is_round=not late)
    if unlisted_since:
        return Cycle(
            status=CycleStatus.PARTIAL, text=f"users not listed ({_names([*unlisted_since])})", is_round=True
        )
    return Cycle(status=CycleStatus.COMPLETE, text=f"{count} of {count} targets seen", is_round=True)


def _names(accounts: Sequence[str]) -> str:
    names = sorted(set(accounts))
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
