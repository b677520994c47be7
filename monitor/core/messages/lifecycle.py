"""What channels are told of the monitor itself: that it watches, and that it stops watching."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration
from monitor.core.model import Severity
from monitor.core.text import format_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """A time in which nobody watched."""

    starts_at: datetime
    ends_at: datetime


def started_message(
    *,
    accounts: int,
    connections: int,
    incidents: Mapping[Severity, int],
    downtime: Downtime | None,
    found: int,
    key: str,
) -> Message:
    """
    Say that the monitor watches, and what was missed before.

    Args:
        incidents: the open ones, by severity.
        downtime: when nobody watched, if that was for long enough to matter.
        found: incidents opened by the first look after that.
        key: the same for this message however often it is sent.
    """
    lines = [f"Watching {_many(accounts, 'account')} with {_many(connections, 'connection')}."]
    title = "The monitor is watching"
    if downtime:
        title = f"The monitor is watching again, after {format_duration(downtime.ends_at - downtime.starts_at)} down"
        lines.append(
            f"Nobody watched from {format_time(downtime.starts_at)} to {format_time(downtime.ends_at)}; "
            f"{_many(found, 'problem')} came up in that time."
        )
    lines.append(open_incidents_line(incidents))
    return Message(title=title, body="\n".join(lines), severity=None, key=key)


def stopping_message(*, now: datetime, key: str) -> Message:
    """Say that the monitor was told to stop."""
    body = (
        f"It was told to stop at {format_time(now)}. Nobody watches until it is started again; "
        "what it still had to tell, it tells then."
    )
    return Message(title="The monitor is stopping", body=body, severity=None, key=key)


def write_failure_message(*, host: str, since: datetime, error: str, key: str) -> Message:
    """
    Say that the history can't be written, so that nothing is recorded and nobody is alerted.

    Args:
        host: where the monitor runs.
        error: what the database said.
        key: the same for this message however often it is sent.
    """
    body = (
        f"Since {format_time(since)} the monitor on {host} can't save anything: {error}.\n"
        "It records no polls and sends no alerts until its database works again. What it missed, it alerts then."
    )
    return Message(title="The monitor can't save anything", body=body, severity=Severity.CRITICAL, key=key)


def open_incidents_line(incidents: Mapping[Severity, int]) -> str:
    """Count the open incidents, the worst first."""
    counts = [
        f"{incidents[severity]} {severity}" for severity in reversed(Severity) if incidents.get(severity)
    ]
    return f"Open: {', '.join(counts)}." if counts else "Nothing is open."


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
