"""Messages about the monitor itself: it started, or it is stopping."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration
from monitor.core.messages.wording import Wording
from monitor.core.model import Severity
from monitor.core.text import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Downtime:
    """A time in which the monitor didn't run."""

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
    time_zone: tzinfo = UTC,
) -> Message:
    """
    Return the message that the monitor started, and what it missed.

    Args:
        incidents: the open ones, by severity.
        downtime: when the monitor didn't run, if that was for long enough to matter.
        found: incidents opened by the first polls after that.
        key: the same for this message however often it is sent.
        time_zone: of the times in the message.
    """
    monitored = f"{counted(accounts, 'account')} with {counted(connections, 'connection')}"
    lines = [f"The monitor polls {monitored}."]
    title = f"[STARTED] Monitoring {monitored}"
    if downtime:
        wording = Wording(now=downtime.ends_at, time_zone=time_zone)
        lasted = format_duration(downtime.ends_at - downtime.starts_at)
        title = f"[STARTED] Monitoring resumed after {lasted} of downtime"
        lines.append(
            f"The monitor did not run from {wording.time(downtime.starts_at)} to {wording.time(downtime.ends_at)}. "
            f"It found {counted(found, 'new problem')} since."
        )
    lines.append(open_incidents_line(incidents))
    return Message(title=title, body="\n".join(lines), severity=None, key=key)


def stopping_message(*, now: datetime, key: str, time_zone: tzinfo = UTC) -> Message:
    """Return the message that the monitor is stopping."""
    stopped_at = Wording(now=now, time_zone=time_zone).time(now)
    body = f"Monitoring stopped at {stopped_at}. Pending alerts are sent after the restart."
    return Message(title="[STOPPED] No monitoring until the restart", body=body, severity=None, key=key)


def write_failure_message(
    *, host: str, since: datetime, error: str, key: str, now: datetime, time_zone: tzinfo = UTC
) -> Message:
    """
    Return the message that the history can't be written, so that nothing is recorded and no alert is sent.

    Args:
        host: where the monitor runs.
        error: what the database said.
        key: the same for this message however often it is sent.
        time_zone: of the times in the message.
    """
    body = (
        "The monitor records no polls and sends no alerts until its database works again. "
        "It sends the missed alerts then.\n"
        f"It can't save anything since {Wording(now=now, time_zone=time_zone).time(since)}: {error}."
    )
    title = f"[CRITICAL] The monitor on {host} can't save anything"
    return Message(title=title, body=body, severity=Severity.CRITICAL, key=key)


def open_incidents_line(incidents: Mapping[Severity, int]) -> str:
    """Count the open incidents, the worst first."""
    counts = [
        f"{incidents[severity]} {severity}" for severity in reversed(Severity) if incidents.get(severity)
    ]
    return f"Open incidents: {', '.join(counts)}." if counts else "No open incidents."
