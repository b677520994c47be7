"""What a rule answers when it is asked whether something is wrong."""

from dataclasses import Field, dataclass
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeAlias

from monitor.core.model import Cause, ConnectionState, Resolution, RuleName, Severity


class NoProblem(Enum):
    """What a rule says when it sees no problem."""

    OK = "ok"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """
    What a rule says when its problem is over without anything being well again.

    Args:
        is_notified: False where another message says it, or nobody needs to be told.
    """

    resolution: Resolution
    is_notified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DateAhead:
    """
    What a rule answers if nothing but a date speaks for a token: it ends what an earlier date opened, no more.

    Args:
        date: when the token expires, aware UTC; further ahead than any threshold.
    """

    date: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    Something wrong, as a rule sees it now.

    Args:
        summary: one line in plain words, outside text made harmless; no countdowns, since it is kept.
        remedy: what to do, one line; empty if the message says it better.
        deadline_at: when it gets worse by itself.
        level: how far up the rule's own ladder it stands, from 1; 0 is a doubt that nobody is told of yet.
        dedup_key: what the steps are counted for (an expiry date, an error): each is told once for each mark.
        is_new_key: whether a mark never seen before is told even if its step was told for another.
        cause: what lies behind it; None if that can't be told, or isn't the platform's matter.
        keeps_worse: whether an incident that is open and at least as bad stays as it is.
    """

    rule: RuleName
    severity: Severity
    summary: str
    remedy: str = ""
    deadline_at: datetime | None = None
    level: int = 1
    dedup_key: str = ""
    is_new_key: bool = False
    cause: Cause | None = None
    keeps_worse: bool = False


RuleResult: TypeAlias = Problem | NoProblem | Superseded | DateAhead


class ConnectionRule(Protocol):
    """A rule about one connection: a frozen dataclass whose fields are its settings."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> RuleName:
        """The kind of problem it finds."""
        ...

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """
        Judge a connection.

        Args:
            observed_at: when it was last seen as it is known; by default now.
        """
        ...

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """
        Return when the verdict may next change though nothing new is reported.

        Returns:
            None if never; else a moment ahead. A report that repeats the newest one may change it then, too.
        """
        ...
