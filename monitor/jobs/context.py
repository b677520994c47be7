"""The one context of all jobs: what they read, decide by and send to."""

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.api_clocks import ApiClocks
from monitor.channels.channel import Channel
from monitor.channels.templates import MessageTemplate
from monitor.clock import Clock, steady_seconds, utc_now
from monitor.config.model import Retention
from monitor.core.evaluation.workspace import PollScope
from monitor.core.model import Target
from monitor.core.routing.routes import Routing
from monitor.core.rules.connection_test import ConnectionTestSettings
from monitor.core.rules.reconnect_link import LinkUse
from monitor.core.rules.registry import Rules
from monitor.providers.base import Provider
from monitor.rate_limits import RateLimits
from monitor.storage.database import Database
from monitor.storage.store import Store
from monitor.workspace.managed_users import ManagedUsers


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """
    Hold what jobs work with, built once from one configuration.

    Everything but the database has a default that does nothing, so a command gives what its job uses. What changes
    while the monitor runs is in the history database, and in four objects that any thread may use: ``rate_limits``,
    ``managed_users``, ``clocks`` and ``channels``.

    Args:
        providers: the API of each account, by the account's name.
        channels: by name.
        rules: what counts as a problem.
        routing: which channels are notified of which incident.
        poll_scopes: which targets each account has; the account itself unless given.
        link_use: what reconnect links of each account are used for; nothing unless given.
        connection_tests: how the connections of an account are tested; not at all unless given.
        rate_limits: how often each account is polled, and the requests that its key has left.
        clocks: of the APIs.
        managed_users: what workspaces last listed.
        reconnect_link: returns the page where a managed user reconnects; empty if there is none.
        templates: of the channels that have templates.
        retention: how long history is kept.
        jitter: the share of the poll interval that chance may add or take away.
        random: returns a number from 0 to 1.
        new_message_key: returns a name for a message, another one at each call.
    """

    database: Database
    clock: Clock = utc_now
    providers: Mapping[str, Provider] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    routing: Routing = field(default_factory=lambda: Routing(routes=()))
    poll_scopes: Mapping[str, PollScope] = field(default_factory=dict)
    link_use: Mapping[str, LinkUse] = field(default_factory=dict)
    connection_tests: Mapping[str, ConnectionTestSettings] = field(default_factory=dict)
    rate_limits: RateLimits = field(default_factory=lambda: RateLimits({}, {}))
    clocks: ApiClocks = field(default_factory=lambda: ApiClocks({}, clock=utc_now, monotonic=steady_seconds))
    managed_users: ManagedUsers = field(default_factory=ManagedUsers, repr=False)
    reconnect_link: Callable[[Target], str] = field(default=lambda target: "", repr=False)
    templates: Mapping[str, MessageTemplate] = field(default_factory=dict)
    retention: Retention = field(default_factory=Retention)
    jitter: float = 0
    random: Callable[[], float] = random.random
    new_message_key: Callable[[], str] = lambda: secrets.token_hex(5)

    @property
    def dashboards(self) -> Mapping[str, str]:
        """Return the page where people reconnect by hand, by account."""
        return {name: provider.dashboard_url for name, provider in self.providers.items()}

    def scope_of(self, account: str) -> PollScope:
        """Return which targets an account has."""
        return self.poll_scopes.get(account) or PollScope(account=account)

    def recent_since(self, now: datetime) -> datetime:
        """Return since when incidents count as recent, to detect problems that come and go."""
        return now - self.rules.flapping.window

    def current_routing(self, store: Store, now: datetime) -> Routing:
        """Return the routing with the silences that are in force."""
        return replace(self.routing, silences=store.active_silences(now))

    def clock_offset(self, account: str) -> timedelta:
        """Return the correction of local time for judging the expiry of a token."""
        return self.clocks.expiry_offset(account)
