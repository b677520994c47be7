"""
What a service with incidents of its own is sent: one event for one incident and one change of it.

A message to people is about a group of incidents. An event is about one incident. All events of an incident have
the same key, by which the service knows that they belong together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeAlias

from monitor.core.messages.phrases import RESOLVED_TEXTS, format_duration
from monitor.core.messages.render import Item
from monitor.core.messages.wording import Wording, remedy, subject_name
from monitor.core.model import Connection, Incident, Reason, Severity, Target
from monitor.core.text import one_line, sanitize

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
        last_severity: the severity that the service was last sent; None before its first event.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
        reconnect_url: the managed user's own page to reconnect. Anyone who has it can use it.
        incident_url: the page of the incident; empty if there is none.
        time_zone: of the times in its texts.
    """

    key: str
    message_key: str
    reason: Reason
    at: datetime
    incident: Incident
    target: Target | None = None
    connection: Connection | None = None
    last_severity: Severity | None = None
    clock_offset: timedelta = timedelta()
    dashboard_url: str = ""
    reconnect_url: str = field(default="", repr=False)
    incident_url: str = ""
    time_zone: tzinfo = UTC

    @property
    def is_over(self) -> bool:
        """Whether the service must resolve its incident."""
        return self.reason is Reason.RESOLVED


def event_key(installation: str, incident_id: int) -> str:
    """Name an incident to every service: no other incident of any installation has this name."""
    return f"{installation}-{incident_id}"


def reasons_of(item: Item) -> tuple[Reason, ...]:
    """
    Compare what a service was last sent about an incident with its current state.

    An incident ends for the service if it began there, or may have. That also holds if another one replaced it,
    if the problem returned as another incident, and if a silence suppressed something.

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


def events_of(
    item: Item, *, installation: str, message_key: str, now: datetime, time_zone: tzinfo = UTC
) -> list[Event]:
    """
    Write the events of an incident that a service was not sent yet.

    Args:
        installation: the id of this installation.
        message_key: of the message that the events are; see ``Event``.
        time_zone: of the times in their texts.
    """
    return [
        _event(item, reason, installation=installation, now=now, time_zone=time_zone, message_key=message_key)
        for reason in reasons_of(item)
    ]


def event_again(item: Item, *, installation: str, now: datetime, time_zone: tzinfo = UTC) -> Event:
    """Write the reminder of an open incident, with the severity that the service was last sent."""
    incident = replace(item.incident, severity=item.last_severity or item.incident.severity)
    known = replace(item, incident=incident)
    return _event(known, Reason.REMINDER, installation=installation, now=now, time_zone=time_zone)


def title(event: Event, limit: int = TITLE_LENGTH) -> str:
    """Return one line: who has which problem, and the deadline. The severity is a field of its own."""
    wording = Wording(now=event.at, time_zone=event.time_zone)
    what = RESOLVED_TEXTS[event.incident.rule] if event.is_over else wording.problem(event)
    # A name that is harmless alone may act beside what follows it.
    found = sanitize(f"{subject_name(event)}: {what}", 1000)
    return found if len(found) <= limit else found[: limit - 1] + "…"


def text(event: Event) -> str:
    """Return a few lines with what a paged person needs to know."""
    incident, wording = event.incident, Wording(now=event.at, time_zone=event.time_zone)
    lines = [title(event)]
    if event.is_over:
        lasted = format_duration((incident.resolved_at or event.at) - incident.opened_at)
        lines.append(f"{wording.resolved(event)} The problem lasted {lasted}.")
    else:
        lines += [*wording.outlook(event), f"Open since {wording.time(incident.opened_at)}."]
    if event.connection and event.connection.last_successful_post_at:
        lines.append(f"Last successful post: {wording.time(event.connection.last_successful_post_at)}.")
    if event.reason is Reason.ACKNOWLEDGED:
        lines.append(f"Acknowledged by {sanitize(incident.acknowledged_by or '', 80)}.")
    if not event.is_over and (action := remedy(event)):
        lines.append(f"What to do: {action}")
    where = f": {event.incident_url}" if event.incident_url else "."
    return "\n".join([*lines, f"Incident {incident.id}{where}"])


def identity(event: Event) -> dict[str, str]:
    """Return what the incident is about, by stable names, for programs."""
    target, seen = event.target, event.connection
    found = {
        "account": event.incident.subject.account,
        "managed_user_id": target and target.managed_user_id,
        "platform": seen and seen.platform,
        "platform_id": seen and seen.platform_id,
    }
    return {name: value for name, value in found.items() if value}


def details(event: Event) -> dict[str, str]:
    """Return the details that a service shows beside the title, by name. Unknown ones are left out."""
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
        "what_to_do": "" if event.is_over else remedy(event),
        "dashboard_url": event.dashboard_url,
        "reconnect_url": event.reconnect_url,
        "incident_url": event.incident_url,
    }
    own_addresses = {"what_to_do", "dashboard_url", "reconnect_url", "incident_url"}
    return {
        name: one_line(value, 500) if name in own_addresses else sanitize(value, 500)
        for name, value in found.items()
        if value
    }


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
        "links": {"incident": event.incident_url or None},
    }


def wire_time(moment: datetime | None) -> str | None:
    """Write a time for programs: ISO 8601, UTC, milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(
    item: Item, reason: Reason, *, installation: str, now: datetime, time_zone: tzinfo, message_key: str = ""
) -> Event:
    return Event(
        key=event_key(installation, item.incident.id or 0),
        message_key=message_key and f"{message_key}-{reason}",
        reason=reason,
        at=now,
        incident=item.incident,
        target=item.target,
        connection=item.connection,
        last_severity=item.last_severity,
        clock_offset=item.clock_offset,
        dashboard_url=item.dashboard_url,
        reconnect_url=item.reconnect_url,
        incident_url=item.incident_url,
        time_zone=time_zone,
    )


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
