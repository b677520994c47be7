"""What every provider can be asked, and the values that it answers with."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from monitor.core.model import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """
    What differs between the names under which the service runs.

    Args:
        implementation: module and class of what asks its API, loaded when an account needs it.
        base_url: used unless the configuration names another.
        dashboard_url: where people reconnect by hand.
        api_path: what the API's paths begin with.
        key_variable: the environment variable that its own samples read the key from.
        requests_per_minute: the pace for one API key unless the configuration sets another.
    """

    name: str
    implementation: str
    base_url: str
    api_path: str
    dashboard_url: str
    key_header: str
    user_header: str
    key_variable: str
    requests_per_minute: int


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
