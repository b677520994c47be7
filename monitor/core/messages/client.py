"""The message to a client about its own connections: what to do, where, and how to check who sent it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo
from urllib.parse import urlsplit

from monitor.core.messages.message import Message
from monitor.core.messages.phrases import as_sentence, platform_name
from monitor.core.messages.render import Item, NotificationReason, own_links, sort_for_message, thread_names
from monitor.core.messages.wording import Wording, needs_reconnect
from monitor.core.model import Resolution, RuleName
from monitor.core.rules.renewal import WEEK
from monitor.core.text import sanitize


def render_for_client(
    items: Iterable[Item],
    *,
    now: datetime,
    key: str,
    limit: int | None = None,
    time_zone: tzinfo = UTC,
    sender: str = "",
) -> Message | None:
    """
    Write one message for one client.

    Args:
        items: all about connections of one managed user.
        limit: the longest body that the channel takes, in characters.
        time_zone: of the times in the message.
        sender: whom the client knows as the publisher of its posts; empty if the configuration doesn't say.

    Returns:
        None if there is no news: a client isn't notified of what it has disconnected itself.
    """
    notified = [
        item
        for item in sort_for_message(items)
        if item.connection is not None and item.incident.resolution is not Resolution.REMOVED
    ]
    if not notified:
        return None
    writer = _ClientWriter(notified, Wording(now=now, time_zone=time_zone), sender)
    foot = f"\n\nReference: {key}"
    body = writer.body()
    return Message(
        title=writer.title(),
        body=(body if limit is None else body[: max(limit - len(foot), 0)]) + foot,
        severity=next((item.incident.severity for item in notified if item.incident.is_open), None),
        key=key,
        links=own_links(notified),
        url=writer.link,
        threads=thread_names(notified),
    )


class _ClientWriter:
    """Write in plain words, without anything that looks like phishing: no urgency, and a named sender."""

    def __init__(self, items: Sequence[Item], wording: Wording, sender: str) -> None:
        self._wording = wording
        self._sender = sanitize(sender, 80)
        self._open = [item for item in items if item.incident.is_open]
        self._resolved = [item for item in items if not item.incident.is_open]
        self._to_reconnect = [item for item in self._open if needs_reconnect(item)]
        self.link = next((item.reconnect_url for item in self._to_reconnect if item.reconnect_url), "")

    def title(self) -> str:
        """Return the title: who writes, and what the client is asked to do."""
        shown = self._to_reconnect or self._open or self._resolved
        platforms = sorted({platform_name(item.connection.platform) for item in shown if item.connection})
        which = platforms[0] if len(platforms) == 1 else "social media"
        accounts = "account" if len({item.incident.subject.key for item in shown}) == 1 else "accounts"
        if self._to_reconnect:
            what = f"please reconnect your {which} {accounts}"
        elif self._open:
            what = f"a problem with your {which} {accounts}"
        else:
            what = f"your {which} {accounts} can publish again"
        if self._open and all(item.reason is NotificationReason.REMINDER for item in self._open):
            what = f"reminder, {what}"
        return f"{self._sender}: {what}" if self._sender else f"{what[:1].upper()}{what[1:]}"

    def body(self) -> str:
        """Write all but the last line, which has the key of the message."""
        paragraphs = (
            [self._greeting()],
            [self._problem(item) for item in self._open],
            self._instructions(),
            [
                *map(self._ending, self._resolved),
                *(["You do not need to do anything."] if not self._open else []),
            ],
            self._closing(),
        )
        return "\n\n".join("\n".join(dict.fromkeys(lines)) for lines in paragraphs if lines)

    def _greeting(self) -> str:
        target = (self._open or self._resolved)[0].target
        name = sanitize((target and target.managed_user) or "", 80)
        why = f"{self._sender} publishes posts for you on social media." if self._sender else ""
        return "\n".join(part for part in (f"Hello {name}," if name else "Hello,", why) if part)

    def _problem(self, item: Item) -> str:
        account, incident, wording = self._account(item), item.incident, self._wording
        if not needs_reconnect(item):
            return f"There is a problem with {account}.\n{as_sentence(wording.localize(incident.summary))}"
        if not wording.is_ahead(item):
            return f"Please reconnect {account}. We can't publish to it anymore."
        if incident.deadline_at is None:
            return f"Please reconnect {account}. Our permission to publish to it ends soon."
        return f"Please reconnect {account} by {self._time(incident.deadline_at)}. After that, we can't publish to it."

    def _instructions(self) -> list[str]:
        if not self._to_reconnect:
            return []
        if not self.link:
            return [f"Please ask {self._sender or 'your usual contact'} for your reconnect link."]
        return [
            "This link opens your reconnect page:",
            self.link,
            f"The page is on {urlsplit(self.link).hostname}, the service that we use to publish your posts.",
            "The link is for you alone, so please do not pass it on.",
        ]

    def _ending(self, item: Item) -> str:
        expires_at = item.connection.expires_at if item.connection else None
        resolved_at = item.incident.resolved_at or item.incident.opened_at
        until = ""
        # A nearer date of a valid token is an access token's.
        if (
            item.incident.rule is not RuleName.PUBLISH_ERROR
            and expires_at
            and expires_at - resolved_at > WEEK
        ):
            until = f" until {self._time(expires_at)}"
        return f"We can publish to {self._account(item)} again{until}."

    def _closing(self) -> list[str]:
        contact = f"your contact at {self._sender}" if self._sender else "your usual contact"
        lines = [
            f"If you are not sure that this message is genuine, please ask {contact} before you open the link."
        ]
        if not self.link:
            lines = [f"If you have questions, please ask {contact}."]
        return [*lines, "We never ask for a password in a message."] + (
            [f"\n{self._sender}"] if self._sender else []
        )

    def _time(self, moment: datetime) -> str:
        written = self._wording.time(moment)
        return written if written.endswith(" UTC") else f"{written} time"

    def _account(self, item: Item) -> str:
        seen = item.connection
        return f'your {platform_name(seen.platform)} account "{sanitize(seen.name, 80)}"' if seen else ""
