"""The digest: a regular summary of what is open, what is coming and what is well."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration, platform_name, resolved_text
from monitor.core.messages.render import Item, describe
from monitor.core.model import Connection, Target
from monitor.core.text import format_time, one_line, sanitize

LOOKAHEAD = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiring:
    """
    A connection whose token ends soon, and whose it is.

    Args:
        renews_itself: whether nobody needs to do anything about that.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
    """

    target: Target
    connection: Connection
    renews_itself: bool = False
    clock_offset: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    What one digest tells of.

    Args:
        open: worst first.
        expiring: those without an open problem whose token ends within ``AHEAD``, soonest first.
        recovered: what ended since the last digest.
        healthy_count: connections that are none of these.
    """

    open: Sequence[Item]
    expiring: Sequence[Expiring]
    recovered: Sequence[Item]
    healthy_count: int


def render_digest(summary: Summary, *, now: datetime, key: str, limit: int | None = None) -> Message:
    """
    Write a digest.

    Args:
        limit: the longest body that the channel takes, in characters.
    """
    lines = _section(
        "Open", [f"{each.incident.severity.upper()}: {_item_line(each, now)}" for each in summary.open]
    )
    lines += _section(
        f"Expiring within {LOOKAHEAD.days} days", [_expiring_line(each, now) for each in summary.expiring]
    )
    lines += _section("Over since the last digest", [_resolved_line(each) for each in summary.recovered])
    others = "connection is" if summary.healthy_count == 1 else "connections are"
    foot = f"Everything else is well: {summary.healthy_count} {others} as they should be.\n\nmessage {key}"
    number = len(summary.open)
    return Message(
        title=f"Digest: {number} open problem{'' if number == 1 else 's'}"
        if number
        else "Digest: all is well",
        body="\n".join([*_fit_lines(lines, (limit or 1_000_000) - len(foot) - 1), foot]),
        severity=summary.open[0].incident.severity if summary.open else None,
        key=key,
    )


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return [f"{title} ({len(entries)}):", *(f"- {entry}" for entry in entries), ""] if entries else []


def _fit_lines(lines: Sequence[str], space: int) -> list[str]:
    if sum(len(line) + 1 for line in lines) <= space:
        return list(lines)
    kept: list[str] = []
    for line in lines:
        more = f"and {len(lines) - len(kept)} more lines: see `postpost-monitor status`"
        if sum(len(each) + 1 for each in kept) + len(line) + len(more) + 2 > space:
            return [*kept, more, ""]
        kept.append(line)
    return kept


def _item_line(item: Item, now: datetime) -> str:
    since = f" Open for {format_duration(now - item.incident.opened_at)}."
    held = item.incident.acknowledged_by
    who = f" {sanitize(held, 60)} has it in hand." if held else ""
    return (
        f"{_subject(item)}: {describe(item.incident, now + item.clock_offset)}{since}{who} (incident "
        f"{item.incident.id})"
    )


def _resolved_line(item: Item) -> str:
    return f"{_subject(item)}: {resolved_text(item.incident.rule)} (incident {item.incident.id})"


def _expiring_line(each: Expiring, now: datetime) -> str:
    expires_at = each.connection.expires_at or now
    whose = _connection_name(each.connection, each.target.account, each.target)
    return (
        f"{whose}: in {format_duration(expires_at - now - each.clock_offset)}, at {format_time(expires_at)}"
    )


def _subject(item: Item) -> str:
    incident = item.incident
    if item.connection is None:
        if incident.subject.base_url is not None:
            return f"API {one_line(incident.subject.base_url, 120)}"
        channel, account = incident.subject.channel, one_line(incident.subject.account or "", 64)
        user = item.target and (item.target.managed_user or item.target.managed_user_id)
        whose = f"{sanitize(user, 80)} of account {account}" if user else f"account {account}"
        return f"channel {channel}" if channel else whose
    return _connection_name(item.connection, incident.subject.account or "", item.target)


def _connection_name(seen: Connection, account: str, target: Target | None) -> str:
    user = target and (target.managed_user or target.managed_user_id)
    place = f"{one_line(account, 64)}, {sanitize(user, 80)}" if user else one_line(account, 64)
    return f"{sanitize(seen.name, 80)} on {platform_name(seen.platform)} ({place})"
