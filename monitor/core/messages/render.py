"""What a channel is told, in words for people: who, what, since when, by when, what to do and where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import (
    PLATFORMS,
    as_sentence,
    format_duration,
    platform_name,
    problem_text,
    resolved_text,
)
from monitor.core.model import Cause, Connection, Incident, Reason, Resolution, RuleName, Severity, Target
from monitor.core.rules.renewal import WEEK
from monitor.core.text import format_time, one_line, sanitize

FULL_BLOCKS = 5
_UNLIMITED = 1_000_000
_WHERE_ALL_ARE = "see `postpost-monitor incidents`"


class NotificationReason(StrEnum):
    """What an incident is to a channel, given what the channel was last told."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UPDATED = "updated"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    MISSED = "missed"  # it came and went before the channel could be told


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    One incident that a channel is to be told of, as it is now.

    Args:
        reasons: why notifications were written since the channel was last told.
        last_severity: the severity the channel was last told; None if it was never told.
        told_hash: the ``content_hash`` of what it was last told; None if it was never told.
        last_was_resolved: whether the channel was last told that it is over.
        silenced: whether a silence held it back; what came and went meanwhile is not told.
        may_be_out: whether an earlier attempt, of which nothing is known, may have told the channel.
        reopened: whether it ended, and the same problem is open again as another incident that the channel
            hears of: to say that it is over would be wrong by now.
        connection: as it is known now; None where the incident isn't about one.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
        dashboard_url: where to reconnect by hand.
        reconnect_url: the managed user's own page to reconnect; whoever holds it can use it.
    """

    incident: Incident
    reasons: frozenset[Reason]
    last_severity: Severity | None = None
    told_hash: str | None = None
    last_was_resolved: bool = False
    silenced: bool = False
    may_be_out: bool = False
    reopened: bool = False
    target: Target | None = None
    connection: Connection | None = None
    clock_offset: timedelta = timedelta()
    dashboard_url: str = ""
    reconnect_url: str = field(default="", repr=False)

    @property
    def content_hash(self) -> str:
        """16 hex digits, equal where a channel would read the same: the severity and the summary."""
        content = f"{self.incident.severity} {self.incident.summary}"
        return sha256(content.encode()).hexdigest()[:16]

    @property
    def reason(self) -> NotificationReason | None:
        """Name the difference between what was last told and what is true now; None if there is none."""
        if not self.incident.is_open:
            # What took its place is told instead; to say that this one is over would be wrong.
            if self.last_was_resolved or self.reopened or self.incident.resolution is Resolution.SUPERSEDED:
                return None
            if self.last_severity is None:
                return None if self.silenced else NotificationReason.MISSED
            return NotificationReason.RESOLVED
        if self.last_severity is None or self.last_was_resolved:
            return NotificationReason.OPENED
        if self.incident.severity.rank > self.last_severity.rank:
            return NotificationReason.ESCALATED
        # What changed and is back to what the channel was last told is no news to it.
        is_changed = self.reasons & {Reason.OPENED, Reason.ESCALATED, Reason.UPDATED}
        if is_changed and self.content_hash != self.told_hash:
            return NotificationReason.UPDATED
        # Somebody may have taken it in hand since the reminder was written.
        is_in_hand = self.incident.acknowledged_by is not None
        return NotificationReason.REMINDER if Reason.REMINDER in self.reasons and not is_in_hand else None


def render(items: Iterable[Item], *, now: datetime, key: str, limit: int | None = None) -> Message | None:
    """
    Write one message for all that a channel is to be told of one group.

    Args:
        items: each incident once.
        key: stable for this message however often it is sent.
        limit: the longest body that the channel takes, in characters.

    Returns:
        None where nothing is left to tell.
    """
    notified = sort_for_message(items)
    if not notified:
        return None
    return Message(
        title=_title(notified, now),
        body=_body(notified, now, key=key, limit=limit or _UNLIMITED),
        severity=next((item.incident.severity for item in notified if item.incident.is_open), None),
        key=key,
        links=own_links(notified),
        url=common_dashboard(notified),
        threads=thread_names(notified),
    )


def own_links(items: Iterable[Item]) -> tuple[str, ...]:
    """Collect the addresses that the monitor itself puts into a message about these items."""
    links = (link for item in items for link in (item.dashboard_url, item.reconnect_url))
    return tuple(dict.fromkeys(link for link in links if link))


def common_dashboard(items: Iterable[Item]) -> str:
    """Return the one dashboard of all items; empty if there are several, or none."""
    dashboards = {item.dashboard_url for item in items}
    return dashboards.pop() if len(dashboards) == 1 else ""


def thread_names(items: Iterable[Item]) -> tuple[str, ...]:
    """Name each incident in a way that no other incident has, also not one of another monitor."""
    found = (item.incident for item in items)
    return tuple(f"incident-{each.id}-{each.opened_at:%Y%m%dT%H%M%S%f}" for each in found)


def sort_for_message(items: Iterable[Item]) -> list[Item]:
    """Keep the items that there is news of: what is open first, the worst first, then by deadline."""
    return sorted((item for item in items if item.reason), key=_order)


def describe(incident: Incident, now: datetime) -> str:
    """Say in one sentence what is wrong, or what was."""
    if incident.rule is not RuleName.TOKEN_EXPIRY:
        return as_sentence(incident.summary)
    if not (incident.is_open and incident.deadline_at):
        return as_sentence(f"the {incident.summary}")
    left = incident.deadline_at - now
    if left > timedelta():
        return f"The token expires in {format_duration(left)}, at {format_time(incident.deadline_at)}."
    return f"The token expired {format_duration(-left)} ago, at {format_time(incident.deadline_at)}."


def _order(item: Item) -> tuple[bool, int, str, str]:
    incident = item.incident
    deadline = incident.deadline_at.isoformat() if incident.deadline_at else "9999"
    return (not incident.is_open, -incident.severity.rank, deadline, incident.subject.key)


def _by_subject(items: Iterable[Item]) -> list[list[Item]]:
    subjects: dict[str, list[Item]] = {}
    for item in items:
        subjects.setdefault(item.incident.subject.key, []).append(item)
    return list(subjects.values())


# The title: no text from outside, since it becomes a mail header and a push notification.


def _title(items: Sequence[Item], now: datetime) -> str:
    accounts = sorted({item.incident.subject.account or "" for item in items} - {""})
    where = one_line(accounts[0], 64) if len(accounts) == 1 else f"{len(accounts)} accounts"
    open_ones = [item for item in items if item.incident.is_open]
    word, what = _status_word(items[0]), _headline((open_ones or items)[0], now)
    if all(item.reason is NotificationReason.REMINDER for item in open_ones) and open_ones:
        word = f"REMINDER, {word}"
    if len(open_ones or items) > 1:
        what = f"{len(open_ones)} problems" if open_ones else f"{len(items)} problems are over"
        if len(_by_subject(open_ones or items)) == 1:
            what = _platform(items[0]) + what
        if not open_ones:
            word = "GONE" if {_status_word(item) for item in items} == {"GONE"} else "OK"
    return f"{word}: {what} ({where})" if accounts else f"{word}: {what}"


def _headline(item: Item, now: datetime) -> str:
    incident = item.incident
    if not incident.is_open:
        is_gone = incident.resolution is Resolution.REMOVED
        return _platform(item) + (
            "the connection is no longer listed" if is_gone else resolved_text(incident.rule)
        )
    if incident.rule is not RuleName.TOKEN_EXPIRY:
        return _platform(item) + problem_text(incident.rule)
    if incident.deadline_at is None:
        return f"{_platform(item)}the {incident.summary}"
    left = incident.deadline_at - (now + item.clock_offset)
    what = f"expires in {format_duration(left)}" if left > timedelta() else "has expired"
    return f"{_platform(item)}the token {what}"


def _platform(item: Item) -> str:
    name = PLATFORMS.get(item.connection.platform) if item.connection else None
    return f"{name}: " if name else ""


# The body: the whole story of a few, a line for each of many, and fewer words where there is little room.


def _body(items: Sequence[Item], now: datetime, *, key: str, limit: int) -> str:
    foot = f"{_incidents(items)} · message {key}"
    subjects = _by_subject(items)
    if len(subjects) <= FULL_BLOCKS:
        full = "\n\n".join([*(_block(block, now) for block in subjects), foot])
        if len(full) <= limit:
            return full
    if len(foot) > limit // 3:
        foot = f"message {key}"
    to_do = "\n".join(_to_do(items, several=len(subjects) > 1)[:3])
    if to_do and len(to_do) + len(foot) + 2 <= limit // 2:
        foot = f"{to_do}\n\n{foot}"
    notified = _fit_lines(
        [_line(item, now) for item in items],
        [f"{_status_word(item)}: {_headline(item, now)} (incident {item.incident.id})" for item in items],
        space=limit - len(foot) - 2,
    )
    return f"{notified}\n\n{foot}"[:limit]


def _fit_lines(lines: Sequence[str], short: Sequence[str], *, space: int) -> str:
    """Give as many whole lines as there is room for, and say how many are left; short ones if need be."""
    for wanted in (lines, short):
        if len(text := "\n".join(wanted)) <= space:
            return text
        kept, used = 0, 0
        while kept < len(wanted) - 1:
            used += len(wanted[kept]) + 1
            if used + len(_more(len(wanted) - kept - 1)) > space:
                break
            kept += 1
        if kept:
            return "\n".join([*wanted[:kept], _more(len(wanted) - kept)])
    return f"{len(lines)} {'problem' if len(lines) == 1 else 'problems'}: {_WHERE_ALL_ARE}"[: max(space, 0)]


def _more(count: int) -> str:
    return f"and {count} more: {_WHERE_ALL_ARE}"


def _block(items: Sequence[Item], now: datetime) -> str:
    lines = [_subject(items[0])]
    lines.extend(f"{_status_word(item)}: {_description(item, now)}{_since(item, now)}" for item in items)
    connection = items[0].connection
    if connection and any(item.incident.is_open for item in items):
        posted_at = connection.last_successful_post_at
        lines.append(f"Last good post: {format_time(posted_at) if posted_at else 'none known'}.")
    lines.extend(_to_do(items))
    return "\n".join(lines)


def _line(item: Item, now: datetime) -> str:
    return f"{_status_word(item)}: {_subject(item)}. {_description(item, now)} (incident {item.incident.id})"


def _subject(item: Item) -> str:
    account = one_line(item.incident.subject.account or "", 64)
    if item.connection is None and item.incident.subject.base_url is not None:
        return f"API {one_line(item.incident.subject.base_url, 120)}"
    if item.connection is None and not account:
        return f"Channel {one_line(item.incident.subject.channel or '', 64)}"
    user = item.target and (item.target.managed_user or item.target.managed_user_id)
    place = f"account {account}" + (f", managed user {sanitize(user, 80)}" if user else "")
    if item.connection is None:
        return place[:1].upper() + place[1:]
    name, handle = sanitize(item.connection.name, 80), sanitize(item.connection.username.lstrip("@"), 80)
    known_as = f"{name} (handle {handle})" if handle and handle != name else name
    return f"{known_as} on {platform_name(item.connection.platform)}, {place}"


def _status_word(item: Item) -> str:
    if item.incident.is_open:
        return item.incident.severity.upper()
    if item.incident.resolution is Resolution.REMOVED:
        return "GONE"
    return "OVER" if item.reason is NotificationReason.MISSED else "OK"


def _description(item: Item, now: datetime) -> str:
    incident = item.incident
    said = describe(incident, now + item.clock_offset)
    if incident.is_open:
        again = {NotificationReason.REMINDER: "Still open: ", NotificationReason.ESCALATED: "Worse now: "}
        comes_and_goes = ""
        if incident.flap_count:
            comes_and_goes = (
                f" It comes and goes, {incident.flap_count} times lately; its lasting end is told."
            )
        return again.get(item.reason or NotificationReason.OPENED, "") + said + comes_and_goes
    if incident.resolution is Resolution.REMOVED:
        return f"The API no longer lists this connection. Its problem was: {said}"
    good_until = ""
    dated = incident.rule in {RuleName.TOKEN_EXPIRY, RuleName.RENEWAL_OVERDUE}
    expires_at = item.connection.expires_at if item.connection else None
    if (
        dated and expires_at and expires_at - now > WEEK
    ):  # a nearer date of a valid token is an access token's
        good_until = f", until {format_time(expires_at)}"
    lasted = format_duration((incident.resolved_at or now) - incident.opened_at)
    if item.reason is NotificationReason.MISSED:
        return f"{resolved_text(incident.rule)}{good_until}. Not told before, it lasted {lasted}: {said}"
    return f"{resolved_text(incident.rule)}{good_until}. The problem lasted {lasted}."


def _since(item: Item, now: datetime) -> str:
    opened_at = item.incident.opened_at
    if not item.incident.is_open:
        return ""
    if item.reason is NotificationReason.OPENED:
        return f" Noticed at {format_time(opened_at)}."
    return f" Open for {format_duration(now - opened_at)}, since {format_time(opened_at)}."


def _to_do(items: Iterable[Item], *, several: bool = False) -> list[str]:
    remedies = (_remedy(item, several=several) for item in items if item.incident.is_open)
    return list(dict.fromkeys(f"To do: {remedy}" for remedy in remedies if remedy))


def _remedy(item: Item, *, several: bool) -> str:
    if item.incident.remedy or item.connection is None:
        return item.incident.remedy
    where = f"at {item.dashboard_url}" if item.dashboard_url else "in the dashboard"
    if item.incident.cause is Cause.PERMISSION:
        where += " and grant all that is asked for"
    if several:
        return f"reconnect these accounts {where}"
    if item.reconnect_url:
        where = f"at {item.reconnect_url}"
    return f"reconnect this {platform_name(item.connection.platform)} account {where}"


def _incidents(items: Sequence[Item]) -> str:
    ids = sorted(item.incident.id or 0 for item in items)
    shown = ", ".join(str(i) for i in ids[:10])
    more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
    return f"Incident{'s' if len(ids) > 1 else ''} {shown}{more}"
