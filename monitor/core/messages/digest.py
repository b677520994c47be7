"""The digest: a regular summary of open problems, tokens that expire soon, and what was resolved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import fit_lines, format_duration, format_roughly
from monitor.core.messages.render import Item
from monitor.core.messages.wording import Wording, client_name, connection_name, subject_name
from monitor.core.model import Connection, Target
from monitor.core.text import counted, one_line, sanitize

LOOKAHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """
    A connection whose token expires soon, and whose it is.

    Args:
        renews_itself: whether the vendor renews the token, so that there is nothing to do.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
    """

    target: Target
    connection: Connection
    renews_itself: bool = False
    clock_offset: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    The contents of one digest.

    Args:
        open: worst first.
        expiring: those without an open problem whose token expires within ``LOOKAHEAD``, soonest first.
        recovered: what was resolved since the last digest.
        healthy_count: connections that are none of these.
    """

    open: Sequence[Item]
    expiring: Sequence[Expiring]
    recovered: Sequence[Item]
    healthy_count: int


def render_digest(
    summary: Summary, *, now: datetime, key: str, limit: int | None = None, time_zone: tzinfo = UTC
) -> Message:
    """
    Write a digest.

    Args:
        limit: the longest body that the channel takes, in characters.
        time_zone: of the times in the message.
    """
    wording = Wording(now=now, time_zone=time_zone)
    sections = {
        "Open": [_open_line(each, wording) for each in summary.open],
        f"Expiring within {LOOKAHEAD.days} days": [
            _expiring_line(each, wording) for each in summary.expiring
        ],
        "Resolved since the last digest": [
            f"{subject_name(each)}: {wording.resolved(each)} Incident {each.incident.id}."
            for each in summary.recovered
        ],
    }
    lines: list[str] = []
    for title, entries in sections.items():
        if entries:
            lines += [f"{title} ({len(entries)}):", *(f"- {entry}" for entry in entries), ""]
    healthy = counted(summary.healthy_count, "other connection" if lines else "connection")
    foot = f"{healthy} {'has' if summary.healthy_count == 1 else 'have'} no problems.\n\nmessage {key}"
    fitting = fit_lines(
        lines,
        space=(limit or 1_000_000) - len(foot) - 1,
        more=lambda left: f"and {left} more lines: see `postpost-monitor status`\n",
    )
    return Message(
        title=f"[DIGEST] {counted(len(summary.open), 'open problem') if summary.open else 'No open problems'}",
        body="\n".join([*fitting, foot]),
        severity=summary.open[0].incident.severity if summary.open else None,
        key=key,
    )


def _open_line(item: Item, wording: Wording) -> str:
    incident = item.incident
    who = sanitize(incident.acknowledged_by or "", 60)
    acknowledged = f" Acknowledged by {who}." if who else ""
    return (
        f"{incident.severity.upper()}: {subject_name(item)}: {wording.describe(item)} "
        f"Open for {format_duration(wording.now - incident.opened_at)}.{acknowledged} Incident {incident.id}."
    )


def _expiring_line(each: Expiring, wording: Wording) -> str:
    name = connection_name(
        each.connection, client=client_name(each.target, 60), account=one_line(each.target.account, 64)
    )
    expires_at = each.connection.expires_at or wording.now
    left = format_roughly(expires_at - wording.now - each.clock_offset)
    return f"{name}: access expires in {left} ({wording.time(expires_at)})"
