"""The composition root: build everything that the jobs need from a configuration."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from monitor import __version__
from monitor.api_clocks import ApiClocks
from monitor.channels import open_channels
from monitor.channels.channel import Channel
from monitor.channels.templates import MessageTemplate, compile_template
from monitor.clock import Clock, steady_seconds, utc_now
from monitor.config.model import Account as AccountConfig
from monitor.config.model import Config
from monitor.core.evaluation.workspace import PollScope
from monitor.core.routing.client_channels import client_url
from monitor.core.routing.routes import Routing
from monitor.core.scheduling.token_bucket import TokenBucket
from monitor.errors import ConfigError
from monitor.heartbeat import Heartbeat, HeartbeatKind, detect_kind
from monitor.http.client import HttpClient
from monitor.jobs.context import JobContext
from monitor.providers import PROVIDERS, connect
from monitor.rate_limits import RateLimits
from monitor.storage.database import STATEMENT_TIMEOUT, Database
from monitor.workspace.managed_users import ManagedUsers
from monitor.workspace.reconnect_links import ReconnectLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """
    Everything that commands, the daemon and the web need, built once from one configuration.

    Args:
        context: the context of the jobs.
        http: the connections to the APIs.
    """

    config: Config
    context: JobContext
    http: HttpClient
    heartbeat: Heartbeat | None = None

    @property
    def database(self) -> Database:
        """The history database."""
        return self.context.database

    def channels_notified_on(self, what: str) -> list[Channel]:
        """Return the channels that get a message about the monitor itself: its start, stop or failure."""
        return [self.context.channels[each.name] for each in self.config.channels if what in each.notify_on]

    def close(self) -> None:
        """Close all connections."""
        self.http.close()
        self.database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChannelSettings:
    name: str
    url: str
    allow_reconnect_links: bool
    time_zone: tzinfo


def build_app(
    config: Config,
    *,
    clock: Clock = utc_now,
    monotonic: Callable[[], float] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> App:
    """
    Build the monitor. Connects to nothing and writes nothing.

    Args:
        monotonic: seconds that only grow, to detect a clock that was set. By default the machine's own if
            ``clock`` is the machine's; any other clock counts as one that is never set.

    Raises:
        ConfigError: a proxy, the CA bundle or a base URL can't be used.
    """
    accounts = config.accounts
    http = http_of(config, environ)
    every = {account.name: account.every or config.polling.every for account in accounts}
    if monotonic is None:
        monotonic = steady_seconds if clock is utc_now else lambda: clock().timestamp()
    clocks = ApiClocks(
        {account.name: account.base_url for account in accounts}, clock=clock, monotonic=monotonic
    )
    providers = {
        account.name: connect(
            account.provider,
            base_url=account.base_url,
            api_key=account.api_key.get_secret_value(),
            http=http,
            clock=clock,
            api_clock=clocks.clock_of(account.name),
        )
        for account in accounts
    }
    link_use = {account.name: account.reconnect_links for account in accounts}
    rate_limits, managed_users = RateLimits(every, build_token_buckets(config)), ManagedUsers()
    context = JobContext(
        database=Database(config.database.url.get_secret_value(), statement_timeout=STATEMENT_TIMEOUT),
        clock=clock,
        providers=providers,
        channels=build_channels(config, http),
        rules=config.active_rules(),
        routing=build_routing(config),
        poll_scopes={account.name: build_poll_scope(account, every[account.name]) for account in accounts},
        link_use=link_use,
        connection_tests={
            account.name: account.test_connections for account in accounts if account.test_connections
        },
        rate_limits=rate_limits,
        clocks=clocks,
        managed_users=managed_users,
        reconnect_link=ReconnectLinks(
            managed_users=managed_users,
            providers=providers,
            use=link_use,
            rate_limits=rate_limits,
            clock=clock,
        ),
        templates=build_templates(config, clock()),
        retention=config.retention,
        jitter=config.polling.jitter,
    )
    return App(config=config, context=context, http=http, heartbeat=build_heartbeat(config, http))


def build_token_bucket(account: AccountConfig, config: Config) -> TokenBucket:
    """Return the request limit of an account's key."""
    configured = config.polling.requests_per_minute
    return TokenBucket(per_minute=configured or PROVIDERS[account.provider].requests_per_minute)


def build_token_buckets(config: Config) -> dict[str, TokenBucket]:
    """Build the request limits of all accounts. Accounts with the same key share one."""
    by_key: dict[tuple[str, str], TokenBucket] = {}
    return {
        account.name: by_key.setdefault(
            (account.provider, account.api_key.get_secret_value()), build_token_bucket(account, config)
        )
        for account in config.accounts
    }


def build_poll_scope(account: AccountConfig, every: timedelta) -> PollScope:
    """Return what to poll of an account."""
    named = account.managed_users
    return PollScope(
        account=account.name,
        include_owner=account.include_owner,
        users=frozenset() if isinstance(named, str) else frozenset(named),
        all_users=named == "all",
        discover_every=account.discover_every or every,
    )


def build_heartbeat(config: Config, http: HttpClient) -> Heartbeat | None:
    """Build the heartbeat; None if there is none. Raises ConfigError if its address can't be used."""
    if config.heartbeat is None:
        return None
    url = config.heartbeat.url.get_secret_value()
    style = detect_kind(url) if config.heartbeat.style == "auto" else HeartbeatKind(config.heartbeat.style)
    return Heartbeat(url=url, kind=style, http=http)


def http_of(config: Config, environ: Mapping[str, str] = os.environ) -> HttpClient:
    """Build the shared HTTP client; raises ConfigError if a proxy or the CA bundle can't be used."""
    return HttpClient(
        timeout=config.polling.timeout,
        concurrency=config.polling.concurrency,
        max_answer=config.polling.max_answer,
        environ=environ,
        user_agent=f"postpost-monitor/{__version__}",
    )


def build_channels(config: Config, http: HttpClient | None = None) -> Mapping[str, Channel]:
    """Build the channels of a configuration. Without ``http`` they can be described, but not sent to."""
    return open_channels(
        (
            _ChannelSettings(
                name=channel.name,
                url=channel.url.get_secret_value(),
                allow_reconnect_links=channel.allow_reconnect_links,
                time_zone=channel.time_zone or config.time_zone,
            )
            for channel in config.channels
        ),
        http=http,
        sender=config.clients.sender,
    )


def build_templates(config: Config, now: datetime) -> Mapping[str, MessageTemplate]:
    """Compile the templates of the channels; raises ConfigError for one that fails."""
    words = {}
    for index, channel in enumerate(config.channels):
        if channel.template is None:
            continue
        try:
            words[channel.name] = compile_template(
                channel.name, title=channel.template.title, body=channel.template.body, now=now
            )
        except ConfigError as error:
            raise ConfigError(f"channels[{index}].template.{error}") from None
    return words


def build_routing(config: Config) -> Routing:
    """Build the routing from the configured routes."""
    return Routing(
        routes=config.routes,
        labels={account.name: account.labels for account in config.accounts},
        clients={
            channel.name: url
            for channel in config.channels
            if (url := client_url(channel.url.get_secret_value()))
        },
        incident_channels=frozenset(channel.name for channel in config.channels if channel.takes_incidents),
    )
