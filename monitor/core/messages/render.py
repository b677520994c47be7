"""The message about a group of incidents: who is affected, what happens if nobody acts, and what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from hashlib import sha256

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import (
    RESOLVED_TEXTS,
    fit_lines,
    format_duration,
    format_roughly,
    list_some,
    platform_name,
)
from monitor.core.messages.wording import (
    Wording,
    account_handle,
    client_name,
    full_subject_name,
    needs_reconnect,
    remedy,
    subject_name,
)
from monitor.core.model import Connection, Incident, Reason, Resolution, Severity, Target
from monitor.core.text import counted, one_line, sanitize

FULL_BLOCKS = 5
NAMED_IN_TITLE = 2
_UNLIMITED = 1_000_000
_WHERE_ALL_ARE = "see `postpost-monitor incidents`"


class NotificationReason(StrEnum):
    """Why a channel is notified of an incident, given its last notification."""

    OPENED = "opened"
    ESCALATED = "escalated"
    UPDATED = "updated"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    MISSED = "missed"  # it opened and resolved before the channel could be notified


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    One incident in a message, as it is now.

    Args:
        reasons: why notifications were written since the channel's last one.
        last_severity: the severity of the channel's last notification; None if there was none.
        told_hash: the ``content_hash`` of its last notification; None if there was none.
        last_was_resolved: whether the last notification said that it resolved.
        silenced: whether a silence suppressed it. If it opened and resolved within the silence, it isn't sent.
        may_be_out: whether an earlier attempt with an unknown result may have arrived.
        reopened: whether it resolved, and the same problem is open again as another incident that the channel
            is notified of. It would be wrong to say that this one resolved.
        connection: its current state; None if the incident isn't about one.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
        dashboard_url: where to reconnect by hand.
        reconnect_url: the managed user's own page to reconnect; anyone who has it can use it.
        incident_url: the page of the incident; empty if there is none.
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
    incident_url: str = ""

    @property
    def content_hash(self) -> str:
        """16 hex digits, equal where a channel would read the same: the severity and the summary."""
        content = f"{self.incident.severity} {self.incident.summary}"
        return sha256(content.encode()).hexdigest()[:16]

    @property
    def reason(self) -> NotificationReason | None:
        """Return why to notify: the difference between the last notification and now; None if there is none."""
        if not self.incident.is_open:
            # The incident that replaced it is sent instead. It would be wrong to say that this one resolved.
            if self.last_was_resolved or self.reopened or self.incident.resolution is Resolution.SUPERSEDED:
                return None
            if self.last_severity is None:
                return None if self.silenced else NotificationReason.MISSED
            return NotificationReason.RESOLVED
        if self.last_severity is None or self.last_was_resolved:
            return NotificationReason.OPENED
        if self.incident.severity.rank > self.last_severity.rank:
            return NotificationReason.ESCALATED
        # A change that was undone since the last notification is no news.
        is_changed = self.reasons & {Reason.OPENED, Reason.ESCALATED, Reason.UPDATED}
        if is_changed and self.content_hash != self.told_hash:
            return NotificationReason.UPDATED
        # It may have been acknowledged since the reminder was written.
        is_in_hand = self.incident.acknowledged_by is not None
        return NotificationReason.REMINDER if Reason.REMINDER in self.reasons and not is_in_hand else None


def render(
    items: Iterable[Item], *, now: datetime, key: str, limit: int | None = None, time_zone: tzinfo = UTC
) -> Message | None:
    """
    Write one message about all incidents of a group that a channel must be notified of.

    Args:
        items: each incident once.
        key: stable for this message however often it is sent.
        limit: the longest body that the channel takes, in characters.
        time_zone: of the times in the message.

    Returns:
        None if there is no news.
    """
    notified = sort_for_message(items)
    if not notified:
        return None
    writer = _Writer(notified, Wording(now=now, time_zone=time_zone))
    return Message(
        # A name that is harmless alone may act beside what follows it: "@" before a bracket.
        title=sanitize(writer.title(), 1000),
        body=writer.body(key=key, limit=limit or _UNLIMITED),
        severity=next((item.incident.severity for item in notified if item.incident.is_open), None),
        key=key,
        links=own_links(notified),
        url=common_dashboard(notified),
        threads=thread_names(notified),
    )


def own_links(items: Iterable[Item]) -> tuple[str, ...]:
    """Collect the addresses that the monitor itself puts into a message about these items."""
    links = (link for item in items for link in (item.dashboard_url, item.reconnect_url, item.incident_url))
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
    """Keep the items that there is news of: open ones first, the worst first, then by deadline."""

    def order(item: Item) -> tuple[bool, int, str, str]:
        incident = item.incident
        deadline = incident.deadline_at.isoformat() if incident.deadline_at else "9999"
        return (not incident.is_open, -incident.severity.rank, deadline, incident.subject.key)

    return sorted((item for item in items if item.reason), key=order)


class _Writer:
    """Write the title and the body of one message."""

    def __init__(self, items: Sequence[Item], wording: Wording) -> None:
        self._items = items
        self._wording = wording
        self._open = [item for item in items if item.incident.is_open]

    def title(self) -> str:
        """Return one line: severity, who is affected, and the deadline."""
        shown = self._open or self._items
        tags = {self._tag(item) for item in shown}
        tag = "RESOLVED" if len(tags) > 1 and not self._open else self._tag(shown[0])
        subjects = _by_subject(shown)
        if len(subjects) == 1:
            more = counted(len(shown) - 1, "more problem")
            what = f"{subject_name(shown[0])}: {self._headline(shown[0])}"
            what += f" and {more}" if len(shown) > 1 else ""
        else:
            what = self._owner(shown) + self._name_some([each[0] for each in subjects])
        is_reminder = self._open and all(item.reason is NotificationReason.REMINDER for item in self._open)
        return f"[{tag}] {what}{' (reminder)' if is_reminder else ''}"

    def body(self, *, key: str, limit: int) -> str:
        """Write all about a few subjects or a line about each of many, and less if there is little room."""
        ids = [str(id_) for id_ in sorted(item.incident.id or 0 for item in self._items)]
        more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
        foot = f"Incident{'s' if len(ids) > 1 else ''} {', '.join(ids[:10])}{more} · message {key}"
        subjects, lead = _by_subject(self._items), self._lead()
        if len(subjects) <= FULL_BLOCKS:
            blocks = [self._block(each, is_alone=len(subjects) == 1) for each in subjects]
            full = "\n\n".join(part for part in (lead, *blocks, foot) if part)
            if len(full) <= limit:
                return full
        if len(foot) > limit // 3:
            foot = f"message {key}"
        actions = "\n".join(self._actions(self._items, are_several=len(subjects) > 1)[:3])
        if actions and len(actions) + len(foot) + 2 <= limit // 2:
            foot = f"{actions}\n\n{foot}"
        start = f"{lead}\n\n" if lead and len(lead) + len(foot) + 2 <= limit // 2 else ""
        return f"{start}{self._lines(limit - len(start) - len(foot) - 2)}\n\n{foot}"[:limit]

    def _tag(self, item: Item) -> str:
        if item.incident.is_open:
            return item.incident.severity.upper()
        return "REMOVED" if item.incident.resolution is Resolution.REMOVED else "RESOLVED"

    def _headline(self, item: Item) -> str:
        if item.incident.is_open:
            return self._wording.problem(item)
        if item.incident.resolution is Resolution.REMOVED:
            return "connection is no longer listed"
        return RESOLVED_TEXTS[item.incident.rule]

    def _owner(self, items: Sequence[Item]) -> str:
        """Name the managed user that all items are about, or else the account."""
        users = {client_name(item.target, 60) for item in items}
        accounts = sorted({one_line(item.incident.subject.account or "", 64) for item in items} - {""})
        if len(users) == 1 and len(accounts) == 1 and (user := users.pop()):
            return f"{user}: "
        if len(accounts) == 1:
            return f"{accounts[0]}: "
        return f"{len(accounts)} accounts: " if accounts else ""

    def _name_some(self, firsts: Sequence[Item]) -> str:
        """Name the first subjects, each with its worst problem, and count the others."""
        named = [self._short_name(item, firsts) for item in firsts]
        if not self._open:
            return list_some(named, NAMED_IN_TITLE)
        if all(needs_reconnect(item) for item in firsts):
            states = [
                f"{name} ({self._wording.state(item)})" for name, item in zip(named, firsts, strict=True)
            ]
            return f"reconnect {list_some(states, NAMED_IN_TITLE)}"
        problems = [
            f"{name} ({self._wording.problem(item)})" for name, item in zip(named, firsts, strict=True)
        ]
        return list_some(problems, NAMED_IN_TITLE)

    def _short_name(self, item: Item, others: Sequence[Item]) -> str:
        """Name a subject beside others: its platform is enough if there is one client with one of each."""
        if item.connection is None:
            return client_name(item.target, 40) or subject_name(item, length=40)
        platforms = [each.connection.platform for each in others if each.connection]
        is_clear = (
            platforms.count(item.connection.platform) == 1
            and len({client_name(each.target, 40) for each in others}) == 1
        )
        name = platform_name(item.connection.platform)
        return name if is_clear else f"{name} {account_handle(item.connection, 40)}"

    def _lead(self) -> str:
        """Return what happens to several connections if nobody acts; nothing if the message is about one."""
        firsts = [each[0] for each in _by_subject(self._open) if needs_reconnect(each[0])]
        if len(_by_subject(self._items)) == 1 or len(firsts) < 2:
            return ""
        wording = self._wording
        ahead = [item.incident.deadline_at for item in firsts if wording.is_ahead(item)]
        failing = len(firsts) - len(ahead)
        if not ahead:
            return f"Posts to {counted(failing, 'account')} will fail until they are reconnected."
        first = min((moment for moment in ahead if moment), default=None)
        by_when = (
            f", the first in {format_roughly(first - wording.now)} ({wording.time(first)})" if first else ""
        )
        if not failing:
            return f"Posts to {counted(len(ahead), 'account')} will fail{by_when}."
        return f"Posts to {counted(failing, 'account')} are failing now. Posts to {len(ahead)} more will fail{by_when}."

    def _block(self, items: Sequence[Item], *, is_alone: bool) -> str:
        """Write all about one subject; if it is alone in the message, the title names it already."""
        lines = [] if is_alone else [full_subject_name(items[0])]
        for item in items:
            lines.extend(self._story(item, is_tagged=not is_alone or len(items) > 1))
        connection = items[0].connection
        is_open = any(item.incident.is_open for item in items)
        if connection and is_open and connection.last_successful_post_at:
            lines.append(f"Last successful post: {self._wording.time(connection.last_successful_post_at)}.")
        lines.extend(self._actions(items))
        if is_alone and (connection or client_name(items[0].target, 80)):
            kind = "Connection" if connection else "Managed user"
            lines.append(f"{kind}: {full_subject_name(items[0])}.")
        lines.extend(
            f"Incident {item.incident.id}: {item.incident_url}" for item in items if item.incident_url
        )
        return "\n".join(lines)

    def _story(self, item: Item, *, is_tagged: bool) -> list[str]:
        """Write about one incident: what happens if nobody acts, then what happened, then since when."""
        incident, wording = item.incident, self._wording
        if not incident.is_open:
            text = self._ending(item)
            return [f"{self._tag(item)}: {text}" if is_tagged else text]
        first, *more = wording.outlook(item)
        severity = incident.severity.upper()
        match item.reason:
            case NotificationReason.ESCALATED:
                first = f"Escalated to {severity}: {first[:1].lower()}{first[1:]}"
            case NotificationReason.REMINDER:
                still = f"{severity}, still open" if is_tagged else "Still open"
                first = f"{still}: {first[:1].lower()}{first[1:]}"
            case _ if is_tagged:
                first = f"{severity}: {first}"
        if incident.flap_count:
            more.append(
                f"Flapping: the problem came back {incident.flap_count} times. "
                "A resolved alert follows once it stays away."
            )
        return [first, *more, f"Open since {wording.time(incident.opened_at)}."]

    def _ending(self, item: Item) -> str:
        incident = item.incident
        lasted = format_duration((incident.resolved_at or self._wording.now) - incident.opened_at)
        problem = self._wording.describe(item)
        if incident.resolution is Resolution.REMOVED:
            return f"The API no longer lists this connection. Its last problem: {problem}"
        if item.reason is NotificationReason.MISSED:
            return (
                f"{self._wording.resolved(item)} The problem began and ended before this message could be sent. "
                f"It lasted {lasted}: {problem}"
            )
        return f"{self._wording.resolved(item)} The problem lasted {lasted}."

    def _actions(self, items: Iterable[Item], *, are_several: bool = False) -> list[str]:
        actions = (remedy(item, are_several=are_several) for item in items if item.incident.is_open)
        return list(dict.fromkeys(f"What to do: {action}" for action in actions if action))

    def _lines(self, space: int) -> str:
        """Write a line for each incident, the worst first; shorter ones if not even one fits."""
        wording = self._wording
        full = [
            f"{self._tag(item)}: {subject_name(item)}: "
            f"{wording.describe(item) if item.incident.is_open else self._ending(item)} "
            f"Incident {item.incident.id}."
            for item in self._items
        ]
        short = [
            f"{self._tag(item)}: {self._headline(item)} (incident {item.incident.id})" for item in self._items
        ]
        for lines in (full, short):
            fitting = fit_lines(lines, space=space, more=lambda left: f"and {left} more: {_WHERE_ALL_ARE}")
            if fitting:
                return "\n".join(fitting)
        return f"{counted(len(self._items), 'problem')}: {_WHERE_ALL_ARE}"[: max(space, 0)]


def _by_subject(items: Iterable[Item]) -> list[list[Item]]:
    subjects: dict[str, list[Item]] = {}
    for item in items:
        subjects.setdefault(item.incident.subject.key, []).append(item)
    return list(subjects.values())
