"""Connections that the API no longer lists."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from monitor.core.model import ConnectionState, Resolution, RuleName, Severity
from monitor.core.rules.base import Kind, NoProblem, Problem, RuleResult, Superseded
from monitor.core.text import format_time

# How long the incident stays open.
VISIBLE_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRemoved:
    """
    A connection that successful polls no longer list: one notice, which resolves silently after a day.

    It needs no action, so it doesn't stay open. It opens again only after the connection came back.
    """

    name: ClassVar[RuleName] = RuleName.CONNECTION_REMOVED
    kinds: ClassVar[tuple[Kind, ...]] = ((Severity.NOTICE, None),)

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """Find a connection that was removed less than a day ago."""
        if known.removed_at is None:
            return NoProblem.UNKNOWN if known.missed_polls else NoProblem.OK
        if now >= known.removed_at + VISIBLE_FOR:
            return Superseded(resolution=Resolution.REMOVED, is_notified=False)
        last = f" (last seen at {format_time(known.last_seen_at)})" if known.last_seen_at else ""
        return Problem(
            rule=self.name,
            severity=Severity.NOTICE,
            summary=f"the API no longer lists this connection{last}",
            remedy="connect the account again, unless it was disconnected on purpose",
        )

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """Return the end of that day, if it is in the future."""
        ends_at = known.removed_at + VISIBLE_FOR if known.removed_at else None
        return ends_at if ends_at and ends_at > now else None
