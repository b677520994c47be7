"""Reconnect links of managed users: which is valid, and when one ends too soon."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from monitor.core.model import RuleName, Severity
from monitor.core.rules.base import NoProblem, Problem, RuleResult
from monitor.core.text import format_time

EXPIRING_WITHIN = timedelta(days=3)


class LinkUse(StrEnum):
    """How reconnect links are used."""

    USE = "use"  # use existing ones
    CREATE = "create"  # create missing ones too
    OFF = "off"


class Link(Protocol):
    """A page where a managed user reconnects."""

    @property
    def expires_at(self) -> datetime | None: ...


_L = TypeVar("_L", bound=Link)


def usable_link(links: Iterable[_L], now: datetime) -> _L | None:
    """Return the first valid link; None if none is."""
    return next((link for link in links if link.expires_at is None or link.expires_at > now), None)


def check_link(link: Link | None, now: datetime, *, needed_by: int, use: LinkUse) -> RuleResult:
    """
    Return whether the link of a managed user ends too soon.

    Args:
        link: the valid one; None if there is none.
        needed_by: how many of the user's connections wait to be reconnected.
    """
    if use is LinkUse.OFF or not needed_by:
        return NoProblem.OK
    if link is None:  # ended, or never created: messages name the dashboard instead
        return NoProblem.UNKNOWN
    if link.expires_at is None or link.expires_at - now > EXPIRING_WITHIN:
        return NoProblem.OK
    after = "another is made then" if use is LinkUse.CREATE else "make another in the dashboard"
    return Problem(
        rule=RuleName.RECONNECT_LINK_EXPIRING,
        severity=Severity.WARNING,
        summary=(
            f"the reconnect link ends at {format_time(link.expires_at)}, and "
            f"{needed_by} connection{'' if needed_by == 1 else 's'} still wait{'s' if needed_by == 1 else ''} for it"
        ),
        remedy=f"have it used before then; {after}",
        deadline_at=link.expires_at,
        dedup_key=format_time(link.expires_at),
    )
