"""The interface of a rule, and its results."""

from dataclasses import Field, dataclass
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Protocol, TypeAlias

from monitor.core.model import Cause, ConnectionState, Resolution, RuleName, Severity


class NoProblem(Enum):
    """The result if there is no problem: ``OK`` resolves an incident, ``UNKNOWN`` leaves it as it is."""

    OK = "ok"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded:
    """
    The result if a problem ended although nothing recovered.

    Args:
        is_notified: False if another message says so, or no message is needed.
    """

    resolution: Resolution
    is_notified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DateAhead:
    """
    The result if only a date shows that a token is valid. It resolves only what an earlier date opened.

    Args:
        date: when the token expires, aware UTC; further ahead than any threshold.
    """

    date: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    A problem that a rule found.

    Args:
        summary: one line in plain words, with outside text made harmless; no countdowns, because it is stored.
        remedy: what to do, one line; empty if the message says it better.
        deadline_at: when it gets worse without a change.
        level: the number of the threshold that was reached, from 1; 0 waits for confirmation and notifies nobody.
        dedup_key: what the levels belong to (an expiry date, an error). Each level is notified once for each key.
        is_new_key: whether a new key is notified even if its level was notified for another key.
        cause: the cause; None if unknown, or if no platform is involved.
        keeps_worse: whether an open incident of at least this severity stays as it is.
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


Kind: TypeAlias = tuple[Severity, Cause | None]
RuleResult: TypeAlias = Problem | NoProblem | Superseded | DateAhead


class ConnectionRule(Protocol):
    """
    A rule about one connection: a frozen dataclass whose fields are its settings.

    Attributes:
        kinds: every severity that its problems can have, each with what may lie behind it; None for nothing.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    kinds: ClassVar[tuple[Kind, ...]]

    @property
    def name(self) -> RuleName:
        """The kind of problem it finds."""
        ...

    def check(self, known: ConnectionState, now: datetime, observed_at: datetime | None = None) -> RuleResult:
        """
        Judge a connection.

        Args:
            observed_at: when its state was last confirmed; by default now.
        """
        ...

    def next_change_at(
        self, known: ConnectionState, now: datetime, observed_at: datetime | None = None
    ) -> datetime | None:
        """
        Return when the result may next change without a new report.

        Returns:
            None if never, else a future time. From then on, a repeated report may change it too.
        """
        ...
