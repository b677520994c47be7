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
    return Problem(
        rule=RuleName.RECONNECT_LINK_EXPIRING,
        severity=Severity.WARNING,
        summary=(
            f"the reconnect link expires at {format_time(link.expires_at)}, and "
            f"{'1 connection still needs' if needed_by == 1 else f'{needed_by} connections still need'} it"
        ),
        remedy=(
            "ask the managed user to reconnect before that"
            if use is LinkUse.CREATE  # then the monitor creates the next link
            else "create another link in the dashboard"
        ),
        deadline_at=link.expires_at,
        dedup_key=format_time(link.expires_at),
    )
