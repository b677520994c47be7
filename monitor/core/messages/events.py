"""
What a service with incidents of its own is sent: one event for one incident and one change of it.

A message to people tells of a group, as it is now. An event is about one incident, and bears the same key from the
first to the last, so that the service knows what belongs together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeAlias

from monitor.core.messages.phrases import as_sentence, platform_name, resolved_text
from monitor.core.messages.render import Item, describe
from monitor.core.model import Cause, Connection, Incident, Reason, Severity, Target
from monitor.core.text import format_time, one_line, sanitize

VERSION = 1
TITLE_LENGTH = 250

Document: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    One change of one incident, for one service.

    Args:
        key: the same for every event of this incident, and of no other.
        message_key: the same however often this event is sent, another one for the next event.
        reason: what happened: opened, escalated, updated, reminder, acknowledged or resolved.
        at: when the event was written, aware UTC.
        last_severity: the severity that the service has heard of before; None before its first event.
        reconnect_url: the managed user's own page to reconnect; whoever holds it can use it.
    """

    key: str
    message_key: str
    reason: Reason
    at: datetime
    incident: Incident
    target: Target | None = None
    connection: Connection | None = None
    last_severity: Severity | None = None
    dashboard_url: str = ""
    reconnect_url: str = field(default="", repr=False)

    @property
    def is_over(self) -> bool:
        """Whether the service is to resolve its incident."""
        return self.reason is Reason.RESOLVED


def event_key(installation: str, incident_id: int) -> str:
    """Name an incident to every service: no other incident of any installation has this name."""
    return f"{installation}-{incident_id}"


def reasons_of(item: Item) -> tuple[Reason, ...]:
    """
    Compare what a service was last sent about an incident with what is true now.

    An incident ends for the service if and only if it began there, or may have: also when another took its place,
    when the same problem is back as another incident, and when a silence held something back.

    Returns:
        The events to send, in their order. Empty if the service knows it all.
    """
    incident = item.incident
    if not incident.is_open:
        has_begun = item.last_severity is not None or item.may_be_out
        return (Reason.RESOLVED,) if has_begun and not item.last_was_resolved else ()
    is_acknowledged = Reason.ACKNOWLEDGED in item.reasons and incident.acknowledged_by is not None
    acknowledged = (Reason.ACKNOWLEDGED,) if is_acknowledged else ()
    if item.last_severity is None:
        return (Reason.OPENED, *acknowledged)
    if incident.severity.rank > item.last_severity.rank:
        return (Reason.ESCALATED, *acknowledged)
    is_milder = incident.severity is not item.last_severity and Reason.ESCALATED in item.reasons
    is_changed = is_milder or item.reasons & {Reason.OPENED, Reason.UPDATED}
    # What changed and is back to what the service was last sent is no news to it.
    if is_changed and item.content_hash != item.told_hash:
        return (Reason.UPDATED, *acknowledged)
    if acknowledged:
        return acknowledged
    is_reminder = Reason.REMINDER in item.reasons and incident.acknowledged_by is None
    return (Reason.REMINDER,) if is_reminder else ()


def events_of(item: Item, *, installation: str, message_key: str, now: datetime) -> list[Event]:
    """
    Write the events that tell a service of an incident what it doesn't know yet.

    Args:
        installation: the id of this installation.
        message_key: of the message that the events are; see ``Event``.
    """
    return [
        _event(item, reason, installation=installation, message_key=f"{message_key}-{reason}", now=now)
        for reason in reasons_of(item)
    ]


def event_again(item: Item, *, installation: str, now: datetime) -> Event:
    """Write what a service has heard already of an incident that is open, as it has heard it."""
    incident = replace(item.incident, severity=item.last_severity or item.incident.severity)
    known = replace(item, incident=incident)
    return _event(known, Reason.REMINDER, installation=installation, message_key="", now=now)


def title(event: Event, limit: int = TITLE_LENGTH) -> str:
    """Say in one line who has which problem; the severity is a field of its own."""
    incident = event.incident
    what = as_sentence(resolved_text(incident.rule)) if event.is_over else describe(incident, event.at)
    found = f"{_subject(event)}: {what}"
    # Only cut: what came from outside is harmless, and one line, already.
    return found if len(found) <= limit else found[: limit - 1] + "…"


def text(event: Event) -> str:
    """Say in a few lines what people need to know who were paged."""
    incident = event.incident
    lines = [title(event), f"Open since {format_time(incident.opened_at)}."]
    if event.connection and event.connection.last_successful_post_at:
        lines.append(f"Last successful post: {format_time(event.connection.last_successful_post_at)}.")
    if event.reason is Reason.ACKNOWLEDGED:
        lines.append(f"Acknowledged by {sanitize(incident.acknowledged_by or '', 80)}.")
    if not event.is_over and (remedy := what_to_do(event)):
        lines.append(f"What to do: {remedy}")
    return "\n".join([*lines, f"Incident {incident.id}."])


def what_to_do(event: Event) -> str:
    """Say what ends the problem; empty if nobody can do anything."""
    incident = event.incident
    if incident.remedy or event.connection is None:
        return incident.remedy
    where = event.reconnect_url or event.dashboard_url
    place = f"at {where}" if where else "in the dashboard"
    if incident.cause is Cause.PERMISSION:
        place += " and grant all that is asked for"
    return f"reconnect this {platform_name(event.connection.platform)} account {place}"


def identity(event: Event) -> dict[str, str]:
    """Give what the incident is about, by names that nobody changes: for programs, as they are."""
    target, seen = event.target, event.connection
    found = {
        "account": event.incident.subject.account,
        "managed_user_id": target and target.managed_user_id,
        "platform": seen and seen.platform,
        "platform_id": seen and seen.platform_id,
    }
    return {name: value for name, value in found.items() if value}


def details(event: Event) -> dict[str, str]:
    """Give what a service shows beside the title, each under a name; nothing that is not known."""
    incident, target, seen = event.incident, event.target, event.connection
    found = {
        "incident": str(incident.id),
        "rule": incident.rule,
        "severity": incident.severity,
        "account": incident.subject.account,
        "managed_user": target and (target.managed_user or target.managed_user_id),
        "managed_user_id": target and target.managed_user_id,
        "platform": seen and seen.platform,
        "platform_id": seen and seen.platform_id,
        "connection": seen and seen.name,
        "opened_at": wire_time(incident.opened_at),
        "deadline_at": wire_time(incident.deadline_at),
        "resolution": incident.resolution,
        "acknowledged_by": incident.acknowledged_by,
        "what_to_do": "" if event.is_over else what_to_do(event),
        "dashboard_url": event.dashboard_url,
        "reconnect_url": event.reconnect_url,
    }
    return {name: _harmless_detail(name, value) for name, value in found.items() if value}


def document(event: Event) -> Document:
    """Write the event as plain data; ``docs/events.schema.json`` describes it."""
    return {
        "version": VERSION,
        "event": event.reason.value,
        "key": event.key,
        "at": wire_time(event.at),
        "incident": _incident(event),
        "connection": _connection(event),
        "reconnect": {
            "dashboard_url": event.dashboard_url or None,
            "client_page_url": None,
            "reconnect_url": event.reconnect_url or None,
        },
        "links": {"incident": None},
    }


def wire_time(moment: datetime | None) -> str | None:
    """Write a time for programs: ISO 8601, UTC, milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(item: Item, reason: Reason, *, installation: str, message_key: str, now: datetime) -> Event:
    return Event(
        key=event_key(installation, item.incident.id or 0),
        message_key=message_key,
        reason=reason,
        at=now,
        incident=item.incident,
        target=item.target,
        connection=item.connection,
        last_severity=item.last_severity,
        dashboard_url=item.dashboard_url,
        reconnect_url=item.reconnect_url,
    )


def _harmless_detail(name: str, value: str) -> str:
    """Make a detail safe to be shown; the addresses in some are our own."""
    is_own = name in {"what_to_do", "dashboard_url", "reconnect_url"}
    return one_line(value, 500) if is_own else sanitize(value, 500)


def _subject(event: Event) -> str:
    incident, target, seen = event.incident, event.target, event.connection
    account = sanitize(incident.subject.account or "", 64)
    if incident.subject.base_url is not None:
        return f"API {sanitize(incident.subject.base_url, 120)}"
    if seen is None and not account:
        return f"Channel {sanitize(incident.subject.channel or '', 64)}"
    user = sanitize((target and (target.managed_user or target.managed_user_id)) or "", 80)
    if seen is None:
        return f"Account {account}, managed user {user}" if user else f"Account {account}"
    return f"{platform_name(seen.platform)} {sanitize(seen.name, 80)} ({user or account})"


def _incident(event: Event) -> Document:
    """Write the columns of the view ``incident_log``."""
    incident, target, seen = event.incident, event.target, event.connection
    return {
        "id": incident.id,
        "account": incident.subject.account,
        "managed_user_id": target.managed_user_id if target else None,
        "managed_user": target.managed_user if target else None,
        "platform": seen.platform if seen else None,
        "platform_id": seen.platform_id if seen else None,
        "username": seen.username if seen else None,
        "name": seen.name if seen else None,
        "rule": incident.rule.value,
        "severity": incident.severity.value,
        "summary": incident.summary,
        "cause": incident.cause.value if incident.cause else None,
        "opened_at": wire_time(incident.opened_at),
        "deadline_at": wire_time(incident.deadline_at),
        "acknowledged_at": wire_time(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by,
        "resolved_at": wire_time(incident.resolved_at),
        "resolution": incident.resolution.value if incident.resolution else None,
    }


def _connection(event: Event) -> Document | None:
    seen, target = event.connection, event.target
    if seen is None:
        return None
    error = seen.last_error
    return {
        "account": event.incident.subject.account,
        "managed_user_id": target.managed_user_id if target else None,
        "managed_user": target.managed_user if target else None,
        "platform": seen.platform,
        "platform_id": seen.platform_id,
        "username": seen.username,
        "name": seen.name,
        "display_name": seen.display_name,
        "token_status": seen.token_status,
        "expires_at": wire_time(seen.expires_at),
        "last_successful_post_at": wire_time(seen.last_successful_post_at),
        "last_error": error.message if error else None,
        "last_error_at": wire_time(error.occurred_at) if error else None,
    }
