"""The interface of a provider, and the values it returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from monitor.core.model import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """
    What differs between the two names of the service.

    Args:
        implementation: module and class of the provider, loaded when an account needs it.
        base_url: the default of the configuration.
        dashboard_url: where people reconnect by hand.
        api_path: what the API's paths begin with.
        key_variable: the environment variable with the key in the vendor's own samples.
        requests_per_minute: the default limit of one API key.
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
class UndecodedList:
    """
    A successful answer whose list isn't decoded yet, because mostly it is the one that is known already.

    Args:
        response_digest: as in the decoded list; empty if it must be decoded.
        decode: decodes it; raises FetchError if it isn't a list of connections.
        limit, remaining, reset_after, clock_offset: as in the decoded list.
    """

    decode: Callable[[], "ConnectionList"] = field(repr=False)
    response_digest: bytes = b""
    limit: int | None = None
    remaining: int | None = None
    reset_after: timedelta | None = None
    clock_offset: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionList:
    """
    One successful answer with the list of connections.

    Args:
        connections: in the order given, each ``platform_id`` once.
        warnings: problems with single connections or fields, one line each.
        unreadable_ids: the ids of connections that were left out, if the id could be read.
        response_digest: equal for equal answers, across restarts; empty if the answer must be evaluated.
        unknown_fields: names that the monitor doesn't know, a sign that the API changed.
        limit: requests that the API allows in its window, if it says so.
        remaining: how many are left.
        reset_after: time until the next window.
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
        username: the user's own name, often an address; None if the API gives none.
        reconnect_url: the page where this user reconnects, if there is one. Anyone who has it can use it.
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
        warnings: problems with single users, who are left out.
        unreadable_ids: the ids of those, if the id could be read. An unreadable user is not gone.
    """

    users: tuple[ManagedUser, ...]
    warnings: tuple[str, ...] = ()
    unreadable_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectLink:
    """The page where a managed user reconnects. Anyone who has the link can use it."""

    url: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTest:
    """
    The result of an active test of one connection. The meaning of a failure depends on the platform.

    Args:
        passed: whether the API's ``status`` was ``ok``.
        message: the API's text, from outside.
        permissions: what the token may do, in the API's terms, if it says so.
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

    def fetch_connections(self, managed_user_id: str | None = None) -> UndecodedList:
        """
        List the connections as ``connections`` does, and leave the list undecoded.

        Raises:
            FetchError: there was no answer, or it refuses.
        """

    def workspace_users(self) -> Workspace:
        """List the managed users of this key; raises FetchError."""

    def connection_url(self, managed_user_id: str, *, rotate: bool = False) -> ReconnectLink:
        """Create a link with which a managed user reconnects; raises FetchError."""

    def run_connection_test(self, platform_id: str, managed_user_id: str | None = None) -> ConnectionTest:
        """Test one connection on its platform through the API; raises FetchError."""
