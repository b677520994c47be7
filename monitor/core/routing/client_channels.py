"""
Client channels: each managed user gets messages about their own connections only.

The URL of such a channel contains ``{managed_user.username}`` or ``{managed_user.id}``, and differs for each user.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from monitor.core.messages.render import Item
from monitor.core.model import Incident, Severity, Target

USERNAME = "{managed_user.username}"
ID = "{managed_user.id}"
SAMPLE_ID = "507f1f77bcf86cd799439011"
SAMPLE_USERNAME = "client@example.com"
# A client gets at most one message in this time, unless something escalated.
MIN_NOTIFICATION_INTERVAL = timedelta(days=1)

_EMAIL = re.compile(
    r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+"
)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]*")
_MAX_LENGTH = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientUrl:
    """
    A channel's URL with placeholders for a managed user.

    Args:
        template: as configured; a secret.
    """

    template: str

    def __repr__(self) -> str:
        return "ClientUrl(***)"

    def render(self, user_id: str, username: str | None) -> str | None:
        """Return the URL for a managed user, percent-encoded; None without a plausible address."""
        if USERNAME in self.template and not self._is_address(username or ""):
            return None
        return self.template.replace(USERNAME, quote(username or "", safe="")).replace(
            ID, quote(user_id, safe="")
        )

    def can_reach(self, target: Target) -> bool:
        """Return whether a managed user has a plausible address."""
        return self.render(target.managed_user_id or "", target.username) is not None

    def _is_address(self, username: str) -> bool:
        by_mail = self.template.lower().startswith("mailto")
        return len(username) <= _MAX_LENGTH and bool((_EMAIL if by_mail else _PLAIN).fullmatch(username))


def client_url(url: str) -> ClientUrl | None:
    """Return whether a channel's URL is for clients."""
    return ClientUrl(template=url) if USERNAME in url or ID in url else None


def is_for_clients(incident: Incident, target: Target | None) -> bool:
    """Return whether an incident concerns a client: it is about a connection of a managed user."""
    return (
        target is not None and target.managed_user_id is not None and incident.subject.platform_id is not None
    )


def client_group(target: Target) -> str:
    """Return the group of all messages to one client."""
    return f"client {target.managed_user_id} of {target.account}"


def throttled_until(
    items: Iterable[Item], now: datetime, *, notified_at: datetime | None, notified: Severity | None
) -> datetime | None:
    """
    Return until when a client gets no message; None if one may be sent.

    Args:
        notified_at: when the client was last notified.
        notified: the worst severity it was notified of within the last day.
    """
    if notified_at is None or now - notified_at >= MIN_NOTIFICATION_INTERVAL or notified_at > now:
        return None
    worst = max((each.incident.severity.rank for each in items if each.incident.is_open), default=-1)
    return None if worst > (notified.rank if notified else -1) else notified_at + MIN_NOTIFICATION_INTERVAL
