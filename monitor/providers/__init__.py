"""
Providers: the HTTP APIs that list connections.

One service runs under two names; a `Brand` is what differs between them, `PROVIDERS` are the names that the
configuration may use, and `connect` makes the `Provider` that jobs ask. The modules behind them:

==========  ==============================================================================
postpost    the calls of the API, one method each
wire        bodies into values, item by item
fields      what bodies are made of: documents, ids, times
refusals    what the API says when it says no, as a `Failure` with a remedy
failures    what keeps an answer from arriving, the same
http        the guarded edge: one pool, no redirects, no cookies, bounded in bytes and time
deadline    what ends a call when its time is up
network     proxies and the CA bundle, as the environment has them
==========  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from monitor.core.model import Connection

if TYPE_CHECKING:
    from monitor.api_clocks import ApiClock
    from monitor.clock import Clock
    from monitor.http.client import HttpClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """
    What differs between the names under which the service runs.

    Args:
        base_url: used unless the configuration names another.
        dashboard_url: where people reconnect by hand.
        requests_per_minute: the pace for one API key unless the configuration sets another.
    """

    name: str
    base_url: str
    dashboard_url: str
    key_header: str
    user_header: str
    requests_per_minute: int


PROVIDERS: Mapping[str, Brand] = MappingProxyType(
    {
        brand.name: brand
        for brand in (
            Brand(
                name="postpost",
                base_url="https://api.postpost.dev",
                dashboard_url="https://app.postpost.dev",
                key_header="x-api-key",
                user_header="x-postpost-user-id",
                requests_per_minute=300,
            ),
            Brand(
                name="publora",
                base_url="https://api.publora.com",
                dashboard_url="https://app.publora.com",
                key_header="x-publora-key",
                user_header="x-publora-user-id",
                requests_per_minute=300,
            ),
        )
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionList:
    """
    One good answer to "which connections are there?".

    Args:
        connections: in the order given, each ``platform_id`` once.
        warnings: what was wrong with single connections or fields, one line each.
        unreadable_ids: the ids of connections left out, where the id itself could be read.
        response_digest: equal for equal answers, across restarts; empty where the answer must be looked at.
        unknown_fields: names that the monitor doesn't know, a sign that the API changed.
        limit: requests the API grants in its window, where it says so.
        remaining: how many of those are left.
        reset_after: until the window starts anew.
        clock_offset: the API's time minus local time, as far as expiry is judged by it.
    """

    connections: tuple[Connection, ...]
    warnings: tuple[str, ...] = ()
    unreadable_ids: frozenset[str] = frozenset()
    response_digest: bytes = b""
    unknown_fields: frozenset[str] = frozenset()
    limit: int | None = None
    remaining: int | None = None
    reset_after: timedelta | None = None
    clock_offset: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedUser:
    """
    One user of a workspace.

    Args:
        name: what people know the user by; the id where the API gives no name.
        username: the user's own name, often an address; None where the API gives none.
        reconnect_url: the page where this user reconnects, if there is one. Whoever holds it can use it.
        reconnect_url_expires_at: aware UTC.
    """

    id: str
    name: str
    username: str | None = None
    reconnect_url: str | None = field(default=None, repr=False)
    reconnect_url_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """
    The managed users of one API key.

    Args:
        warnings: what was wrong with single users, who are left out.
        unreadable_ids: the ids of those, where the id itself could be read: unreadable is not gone.
    """

    users: tuple[ManagedUser, ...]
    warnings: tuple[str, ...] = ()
    unreadable_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectLink:
    """The page where a managed user reconnects. Whoever holds the link can use it."""

    url: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTest:
    """
    How an active test of one connection ended. What a failed one means depends on the platform.

    Args:
        passed: the API's ``status`` was ``ok``.
        message: the API's words, outside text.
        permissions: what the token may do, where the API says so, in its words.
    """

    passed: bool
    message: str
    permissions: tuple[str, ...] = ()


class Provider(Protocol):
    """What jobs ask."""

    @property
    def dashboard_url(self) -> str:
        """Where people reconnect by hand."""

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        """
        List the connections of the account, or of one managed user of it.

        Raises:
            FetchError: there was no usable answer; nothing else is raised.
        """

    def workspace_users(self) -> Workspace:
        """List the managed users of this key; raises FetchError."""

    def connection_url(self, managed_user_id: str, *, rotate: bool = False) -> ReconnectLink:
        """Make a link that a managed user opens to reconnect; raises FetchError."""

    def run_connection_test(self, platform_id: str, managed_user_id: str | None = None) -> ConnectionTest:
        """Have the API try one connection on its platform now; raises FetchError."""


def connect(
    provider: str,
    *,
    base_url: str | None = None,
    api_key: str,
    http: HttpClient,
    clock: Clock,
    api_clock: ApiClock | None = None,
) -> Provider:
    """
    Make ready to ask one account's questions; nothing is sent yet.

    Args:
        provider: a name in `PROVIDERS`.
        base_url: the brand's own by default; plain http only to loopback.
        api_clock: learns from every answer how far the API's clock is from the local one; None if nobody asks.

    Raises:
        ConfigError: the key or the base URL can't be used; the key is not in the text.
    """
    from monitor.providers.postpost import PostPost  # requests takes 0.2 s to import; --help needs none of it

    brand = PROVIDERS[provider]
    return PostPost(
        brand,
        base_url=base_url or brand.base_url,
        api_key=api_key,
        http=http,
        clock=clock,
        api_clock=api_clock,
    )
