"""The one place that builds things: from a configuration to everything the jobs need."""

import os
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor import __version__
from monitor.api_clocks import ApiClocks
from monitor.budgets import Budgets
from monitor.channels import Channel, open_channels
from monitor.clock import Clock, steady_seconds, utc_now
from monitor.config import Account as AccountConfig
from monitor.config import (
    ApiUnreachable,
    Config,
    ConnectionRemoved,
    ConnectionTestFailed,
    PublishError,
    RenewalOverdue,
    TokenExpiry,
)
from monitor.config import Digest as DigestConfig
from monitor.config import Match as MatchConfig
from monitor.config import QuietHours as QuietHoursConfig
from monitor.config import Route as RouteConfig
from monitor.core import rules as core
from monitor.core.budget import Budget
from monitor.core.clients import client_url
from monitor.core.model import RuleName, Severity
from monitor.core.probing import Probing
from monitor.core.renewal import Profile
from monitor.core.routes import Match, QuietHours, Route, Routing, Schedule
from monitor.core.workspace import Plan
from monitor.dead_man import DeadMan, Style, style_of
from monitor.errors import ConfigError
from monitor.jobs.check_clocks import CheckClocks
from monitor.jobs.deliver import Post
from monitor.jobs.poll import Policy
from monitor.jobs.probe import Bench
from monitor.jobs.survey import Office
from monitor.links import Links
from monitor.providers import PROVIDERS, Provider, connect
from monitor.providers.http import Http
from monitor.roster import Roster
from monitor.storage import Database
from monitor.templates import Words, compile_words

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything that the doors need, built once from one configuration."""

    config: Config
    clock: Clock
    database: Database
    http: Http
    providers: Mapping[str, Provider]
    budgets: Budgets
    roster: Roster
    plans: Mapping[str, Plan]
    policy: Policy
    post: Post
    clocks: ApiClocks
    dead_man: DeadMan | None = None

    def close(self) -> None:
        """Give back what was opened."""
        self.http.close()
        self.database.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChannelSettings:
    name: str
    url: str
    private: bool


def assemble(
    config: Config,
    *,
    clock: Clock = utc_now,
    monotonic: Callable[[], float] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> App:
    """
    Build the monitor; nothing is connected to and nothing is written.

    Args:
        monotonic: seconds that only grow, by which a set clock is noticed. The machine's own beside the machine's
            clock; another clock is taken for one that nobody sets.

    Raises:
        ConfigError: a proxy, the CA bundle or a base URL can't be used.
    """
    polling = config.polling
    database = Database(config.database.url.get_secret_value())
    http = http_of(config, environ)
    every = {account.name: account.every or polling.every for account in config.accounts}
    budgets = Budgets(every, budgets_of(config))
    roster = Roster()
    if monotonic is None:
        monotonic = steady_seconds if clock is utc_now else lambda: clock().timestamp()
    base_urls = {account.name: account.base_url for account in config.accounts}
    clocks = ApiClocks(base_urls, clock=clock, monotonic=monotonic)
    providers = {
        account.name: connect(
            account.provider,
            base_url=account.base_url,
            api_key=account.api_key.get_secret_value(),
            http=http,
            clock=clock,
            api_clock=clocks.clock_of(account.name),
        )
        for account in config.accounts
    }
    return App(
        config=config,
        clock=clock,
        database=database,
        http=http,
        providers=providers,
        budgets=budgets,
        roster=roster,
        plans={account.name: plan_of(account, every[account.name]) for account in config.accounts},
        policy=Policy(
            rules=rules_of(config),
            routing=routing_of(config),
            every=every,
            jitter=polling.jitter,
            dice=random.random,
            budgets=budgets,
        ),
        post=Post(
            database=database,
            channels=channels_of(config, http),
            dashboards={account.name: dashboard_of(account) for account in config.accounts},
            clock=clock,
            dice=random.random,
            new_name=lambda: secrets.token_hex(5),
            words=words_of(config, clock()),
            routing=routing_of(config),
            clock_offset=clocks.expiry_offset,
            link_of=Links(
                roster=roster,
                providers=providers,
                use={account.name: account.reconnect_links for account in config.accounts},
                budgets=budgets,
                clock=clock,
            ),
        ),
        clocks=clocks,
        dead_man=dead_man_of(config, http),
    )


def budget_of(account: AccountConfig, config: Config) -> Budget:
    """Say how many requests the key of an account has."""
    configured = config.polling.requests_per_minute
    return Budget(per_minute=configured or PROVIDERS[account.provider].requests_per_minute)


def budgets_of(config: Config) -> dict[str, Budget]:
    """Make the budgets of all accounts; those with one key have one budget."""
    by_key: dict[tuple[str, str], Budget] = {}
    return {
        account.name: by_key.setdefault(
            (account.provider, account.api_key.get_secret_value()), budget_of(account, config)
        )
        for account in config.accounts
    }


def plan_of(account: AccountConfig, every: timedelta) -> Plan:
    """Say what of an account is to be polled."""
    named = account.managed_users
    return Plan(
        account=account.name,
        owner=account.include_owner,
        users=frozenset() if isinstance(named, str) else frozenset(named),
        everyone=named == "all",
        discover_every=account.discover_every or every,
    )


def office_of(app: App) -> Office:
    """Give what surveying the workspaces needs."""
    return Office(
        database=app.database,
        providers=app.providers,
        plans=app.plans,
        roster=app.roster,
        budgets=app.budgets,
        rules=app.policy.rules,
        routing=app.policy.routing,
        clock=app.clock,
        link_use={account.name: account.reconnect_links for account in app.config.accounts},
    )


def bench_of(app: App) -> Bench:
    """Give what testing connections needs."""
    return Bench(
        database=app.database,
        testers=app.providers,
        rules=app.policy.rules,
        routing=app.policy.routing,
        clock=app.clock,
        probing={
            account.name: Probing(every=account.probe.every, per_hour=account.probe.per_hour)
            for account in app.config.accounts
            if account.probe
        },
        budgets=app.budgets,
        clocks=app.clocks,
    )


def check_clocks_of(app: App) -> CheckClocks:
    """Return the job that compares the local clock with those of the APIs."""
    return CheckClocks(
        app.clocks,
        channels=tuple(app.post.channels),
        database=app.database,
        routing=app.policy.routing,
        flapping=app.policy.rules.flapping,
        clock=app.clock,
    )


def dead_man_of(config: Config, http: Http) -> DeadMan | None:
    """Make the dead man's switch ready; None where there is none. ConfigError where it can't be asked."""
    if config.dead_man is None:
        return None
    url = config.dead_man.url.get_secret_value()
    style = style_of(url) if config.dead_man.style == "auto" else Style(config.dead_man.style)
    return DeadMan(url=url, style=style, http=http)


def http_of(config: Config, environ: Mapping[str, str] = os.environ) -> Http:
    """Make the client ready that everything shares; ConfigError if a proxy or the CA bundle can't be used."""
    return Http(
        timeout=config.polling.timeout,
        concurrency=config.polling.concurrency,
        environ=environ,
        user_agent=f"postpost-monitor/{__version__}",
    )


def channels_of(config: Config, http: Http | None = None) -> Mapping[str, Channel]:
    """Make the channels of a configuration ready; without ``http`` to be described, not to be sent to."""
    return open_channels(
        (
            _ChannelSettings(name=channel.name, url=channel.url.get_secret_value(), private=channel.private)
            for channel in config.channels
        ),
        http=http,
    )


def words_of(config: Config, now: datetime) -> Mapping[str, Words]:
    """Make the templates of the channels that have some ready; raises ConfigError for one that fails."""
    words = {}
    for index, channel in enumerate(config.channels):
        if channel.template is None:
            continue
        try:
            words[channel.name] = compile_words(
                channel.name, title=channel.template.title, body=channel.template.body, now=now
            )
        except ConfigError as error:
            raise ConfigError(f"channels[{index}].template.{error}") from None
    return words


def dashboard_of(account: AccountConfig) -> str:
    """Say where the connections of an account are mended by hand."""
    return PROVIDERS[account.provider].dashboard_url


def rules_of(config: Config) -> core.Rules:
    """Turn the configured rules into those that decide; a disabled one is left out."""
    profiles = {
        platform: Profile(renewed_by=given.renewed_by, overdue_before=given.overdue_before)
        for platform, given in config.profiles.items()
    }
    connection: list[core.ConnectionRule] = []
    source: list[core.SourceFailure] = [
        rule for rule in core.DEFAULT_SOURCE_RULES if rule.name is RuleName.USER_NOT_MANAGED
    ]
    for rule in config.rules:
        if not rule.enabled:
            continue
        if isinstance(rule, TokenExpiry):
            connection.append(core.TokenExpiry(before=dict(rule.before), profiles=profiles))
        elif isinstance(rule, RenewalOverdue):
            connection.append(core.RenewalOverdue(profiles=profiles))
        elif isinstance(rule, PublishError):
            connection.append(core.PublishFailure(max_age=rule.max_age))
        elif isinstance(rule, ConnectionTestFailed):
            connection.append(core.ConnectionTestFailed())
        elif isinstance(rule, ConnectionRemoved):
            connection.append(core.ConnectionRemoved())
        else:
            milder = isinstance(rule, ApiUnreachable) or rule.rule is RuleName.BAD_ANSWER
            severity = Severity.WARNING if milder else Severity.CRITICAL
            source.append(core.SourceFailure(name=rule.rule, severity=severity, after=rule.after))
    damping = config.damping
    return core.Rules(
        connection=tuple(connection),
        source=tuple(source),
        removed_after=damping.removed_after,
        flapping=core.Flapping(
            times=damping.flapping.times, within=damping.flapping.within, calm=damping.flapping.calm
        ),
        blast_radius=core.BlastRadius(share=damping.blast_radius.share, count=damping.blast_radius.count),
    )


def routing_of(config: Config) -> Routing:
    """Turn the configured routes into those that decide who is told."""
    return Routing(
        routes=[_route(route) for route in config.routes],
        labels={account.name: account.labels for account in config.accounts},
        clients={
            channel.name: url
            for channel in config.channels
            if (url := client_url(channel.url.get_secret_value()))
        },
        incident_channels=frozenset(channel.name for channel in config.channels if channel.takes_incidents),
    )


def _route(route: RouteConfig) -> Route:
    return Route(
        channels=route.channels,
        match=_match(route.match),
        group_by=route.group_by,
        group_wait=route.group_wait,
        remind_every=route.remind_every,
        remind_at_most=route.remind_at_most,
        quiet_hours=_quiet_hours(route.quiet_hours),
        resolved=route.resolved,
        continues=route.continue_,
        digest=_schedule(route.digest),
    )


def _match(match: MatchConfig) -> Match:
    return Match(
        account=match.account,
        managed_user=match.managed_user,
        platform=match.platform,
        rule=match.rule,
        severity=tuple(match.severity),
        cause=tuple(match.cause),
        labels=match.labels,
    )


def _schedule(digest: DigestConfig | None) -> Schedule | None:
    if digest is None:
        return None
    weekday = WEEKDAYS.index(digest.weekday) if digest.every == "weekly" else None
    return Schedule(at=digest.at, zone=digest.time_zone, weekday=weekday)


def _quiet_hours(quiet: QuietHoursConfig | None) -> QuietHours | None:
    if quiet is None:
        return None
    return QuietHours(starts=quiet.from_, ends=quiet.to, zone=quiet.time_zone, critical=quiet.critical)
