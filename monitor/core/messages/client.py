"""What a client is told of its own connections: what to do and where, for somebody who never saw the monitor."""

from collections.abc import Iterable
from datetime import datetime

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration, platform_name
from monitor.core.messages.render import Item, NotificationReason, own_links, sort_for_message, thread_names
from monitor.core.model import Resolution, RuleName
from monitor.core.rules.renewal import WEEK
from monitor.core.rules.token_expiry import EXPIRES_SOON
from monitor.core.text import format_time, sanitize


def render_for_client(
    items: Iterable[Item], *, now: datetime, key: str, limit: int | None = None
) -> Message | None:
    """
    Write one message for one client.

    Args:
        items: all about connections of one managed user.
        limit: the longest body that the channel takes, in characters.

    Returns:
        None where nothing is left to tell: what a client has disconnected it need not hear of.
    """
    notified = [item for item in sort_for_message(items) if _is_for_client(item)]
    if not notified:
        return None
    open_ones = [item for item in notified if item.incident.is_open]
    to_reconnect = [item for item in open_ones if not item.incident.remedy]
    foot = f"\n\nmessage {key}"
    body = "\n\n".join(
        part
        for part in (
            _greeting(notified[0]),
            _unique_lines([_problem_line(item, now) for item in open_ones]),
            _reconnect_instructions(to_reconnect),
            _unique_lines([_resolved_line(item) for item in notified if not item.incident.is_open]),
            f"message {key}",
        )
        if part
    )
    return Message(
        title=_title(notified, open_ones, to_reconnect),
        body=body if len(body) <= (limit or len(body)) else body[: (limit or 0) - len(foot)] + foot,
        severity=open_ones[0].incident.severity if open_ones else None,
        key=key,
        links=own_links(notified),
        url=_link(to_reconnect),
        threads=thread_names(notified),
    )


def _is_for_client(item: Item) -> bool:
    return item.connection is not None and item.incident.resolution is not Resolution.REMOVED


def _title(notified: list[Item], open_ones: list[Item], to_reconnect: list[Item]) -> str:
    """Say in the title what is to be done; no text from outside, since it becomes a mail header."""
    again = (
        "Reminder: "
        if open_ones and all(item.reason is NotificationReason.REMINDER for item in open_ones)
        else ""
    )
    platforms = sorted({_platform(item) for item in to_reconnect or open_ones or notified})
    which = platforms[0] if len(platforms) == 1 else "social"
    if to_reconnect:
        several = "" if len(_connections(to_reconnect)) == 1 else "s"
        what = f"please reconnect your {which} account{several}"
    elif open_ones:
        what = f"a post to your {which} account could not be published"
    else:
        what = f"your {which} account{'' if len(_connections(notified)) == 1 else 's'} can publish again"
    return f"{again}{what}" if again else what[:1].upper() + what[1:]


def _greeting(item: Item) -> str:
    name = sanitize(item.target.managed_user or "", 80) if item.target else ""
    return f"Hello {name}," if name else "Hello,"


def _problem_line(item: Item, now: datetime) -> str:
    account = f"Your {_platform(item)} account {_connection_name(item)}"
    incident = item.incident
    if incident.remedy:
        return f"{account}: {incident.summary}."
    ends_at = incident.deadline_at  # the connection's own date may be an access token's, or no longer count
    if incident.summary == EXPIRES_SOON:
        return f"{account} needs to be reconnected: our permission to publish to it ends soon."
    if incident.rule is RuleName.PUBLISH_ERROR or ends_at is None:
        return f"{account} needs to be reconnected: we are no longer allowed to publish to it."
    api_now = now + item.clock_offset
    if ends_at > api_now:
        return (
            f"{account} needs to be reconnected within {format_duration(ends_at - api_now)}: "
            f"our permission to publish to it ends at {format_time(ends_at)}."
        )
    return (
        f"{account} needs to be reconnected: our permission to publish to it ended at {format_time(ends_at)}."
    )


def _reconnect_instructions(to_reconnect: list[Item]) -> str:
    if not to_reconnect:
        return ""
    if link := _link(to_reconnect):
        return f"Please reconnect here:\n{link}\nThe link is yours alone: please don't pass it on."
    return "Please ask whoever manages your posts for your link to reconnect."


def _link(to_reconnect: list[Item]) -> str:
    return next((item.reconnect_url for item in to_reconnect if item.reconnect_url), "")


def _resolved_line(item: Item) -> str:
    expires_at = item.connection.expires_at if item.connection else None
    until = ""
    if (
        item.incident.rule is not RuleName.PUBLISH_ERROR
        and expires_at
        and expires_at - _resolved_at(item) > WEEK
    ):
        until = f", until {format_time(expires_at)}"
    return f"Your {_platform(item)} account {_connection_name(item)} can publish again{until}. There is nothing to do."


def _resolved_at(item: Item) -> datetime:
    return item.incident.resolved_at or item.incident.opened_at


def _unique_lines(lines: list[str]) -> str:
    return "\n".join(dict.fromkeys(lines))


def _connections(items: list[Item]) -> set[str | None]:
    return {item.incident.subject.platform_id for item in items}


def _platform(item: Item) -> str:
    return platform_name(item.connection.platform) if item.connection else ""


def _connection_name(item: Item) -> str:
    return f'"{sanitize(item.connection.name, 80)}"' if item.connection else ""
