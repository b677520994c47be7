"""The configuration as a tree of frozen values."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from monitor.config.errors import config_error, expected
from monitor.config.maintenance import ConnectionTests, Profiles
from monitor.config.managed_users import ManagedUsers, overlap
from monitor.config.routes import RouteSection, Template
from monitor.config.rules import Damping, RuleList, active_rules
from monitor.config.secret import (
    Secret,
    checked_channel,
    checked_key,
    checked_ping,
    parts,
    resolve_secret,
    source_of,
)
from monitor.config.urls import (
    checked_base_url,
    checked_database,
    database_passwords,
    without_password,
)
from monitor.config.values import (
    AS_PERCENTAGE,
    Duration,
    LoadContext,
    Name,
    NotEmpty,
    OneOrMore,
    Section,
    Size,
    Written,
    Zone,
    join_choices,
    percentage,
    whole,
)
from monitor.config.web import Web
from monitor.core.routing.client_channels import client_url
from monitor.core.routing.incident_services import INCIDENT, events_wanted, incident_service
from monitor.core.routing.routes import Route
from monitor.core.rules.reconnect_link import LinkUse
from monitor.core.rules.registry import Rules
from monitor.providers import PROVIDERS

Reference: TypeAlias = str | None  # the name of a variable or a file that holds a secret


class Database(Section):
    """The history database. ``url`` has SQLAlchemy's form."""

    url: Annotated[SecretStr, PlainSerializer(lambda url: without_password(url.get_secret_value()))]
    url_env: Reference = None
    url_file: Reference = None

    @classmethod
    def resolve_references(cls, given: dict[str, Any], context: LoadContext) -> dict[str, Any]:
        """Fetch the URL from where it is kept."""
        url, at = resolve_secret(given, "url", context), source_of(given, "url")
        return {**given, "url": checked_database(url, at, context.folder)}


class Polling(Section):
    """How often to poll. ``requests_per_minute`` is for each key, by default the provider's."""

    every: Duration = timedelta(minutes=15)
    jitter: Annotated[float, percentage(10, most=50), AS_PERCENTAGE] = 0.1
    concurrency: Annotated[int, whole(1, 512)] = 16
    requests_per_minute: Annotated[int, whole(1, 1_000_000)] | None = None
    max_answer: Size = 2 * 2**20
    timeout: Duration = timedelta(seconds=20)


def _provider(value: object) -> str:
    if not isinstance(value, str) or value not in PROVIDERS:
        raise expected(join_choices(tuple(repr(name) for name in PROVIDERS)))
    return value


def _base_url(value: object, info: ValidationInfo) -> str:
    url = checked_base_url(value)
    provider = PROVIDERS.get(info.data.get("provider", ""))
    if provider and url.endswith(provider.api_path):
        url = url.removesuffix(provider.api_path).rstrip("/")
        if info.context:
            info.context.warnings.append(
                f"account {info.data.get('name', '')!r}: {provider.api_path} at the end of base_url is left out: "
                "the monitor adds it itself"
            )
    return url


class Account(Section):
    """One API key, its targets, and its differences from ``polling``."""

    misspellings: ClassVar[Mapping[str, str]] = {"api_key": "use api_key_env or api_key_file"}

    name: Name
    provider: Annotated[str, BeforeValidator(_provider)] = "postpost"
    base_url: Annotated[str, BeforeValidator(_base_url)] = Field(
        default_factory=lambda known: PROVIDERS[known["provider"]].base_url
    )
    api_key_env: Reference = None
    api_key_file: Reference = None
    managed_users: ManagedUsers = "none"
    include_owner: bool = True
    discover_every: Duration | None = None
    reconnect_links: LinkUse = LinkUse.USE
    every: Duration | None = None
    test_connections: ConnectionTests | None = None
    labels: Mapping[str, str] = {}

    _api_key: SecretStr = PrivateAttr(default=SecretStr(""))

    @property
    def api_key(self) -> SecretStr:
        """The key itself."""
        return self._api_key

    def overlaps(self, other: "Account") -> bool:
        """Return whether both accounts would poll the same target, if they have the same key."""
        return (self.include_owner and other.include_owner) or overlap(
            self.managed_users, other.managed_users
        )

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if self.managed_users == "none" and not self.include_owner:
            raise config_error("without managed_users there is nothing to poll; want true", "include_owner")
        return self

    @model_validator(mode="after")
    def _fetch_key(self, info: ValidationInfo) -> Self:
        given = {key: value for key in ("api_key_env", "api_key_file") if (value := getattr(self, key))}
        key = resolve_secret(given, "api_key", info.context or LoadContext(), direct=False)
        self._api_key = SecretStr(checked_key(key, source_of(given, "api_key")))
        if info.context and not key.startswith("sk_"):
            info.context.warnings.append(
                f"account {self.name!r}: the API key doesn't start with sk_, as all but the oldest keys do"
            )
        return self


class Channel(Section):
    """A name for an Apprise URL that gets notifications. ``notify_on`` adds messages about the monitor itself."""

    name: Name
    url: Secret
    url_env: Reference = None
    url_file: Reference = None
    allow_reconnect_links: bool = False
    notify_on: Annotated[tuple[Literal["start", "stop", "failure"], ...], OneOrMore] = ()
    time_zone: Zone | None = None
    template: Template | None = None

    @property
    def notifies_clients(self) -> bool:
        """Whether the URL differs for each managed user."""
        return client_url(self.url.get_secret_value()) is not None

    @property
    def takes_incidents(self) -> bool:
        """Whether the URL leads to an incident service, which takes no text."""
        return incident_service(self.url.get_secret_value()) is not None

    @model_validator(mode="after")
    def _take_incidents_alone(self) -> Self:
        url = self.url.get_secret_value()
        key = "url_env" if self.url_env else "url_file" if self.url_file else "url"
        asked = events_wanted(url)
        if asked not in {None, INCIDENT}:
            raise config_error(
                "events= in the URL can only ask for incidents; want events=incident, or leave it out", key
            )
        if asked and not self.takes_incidents:
            raise config_error(
                "events=incident is for json:// and for services with incidents of their own; leave it out",
                key,
            )
        if not self.takes_incidents:
            return self
        if self.notify_on:
            raise config_error("the channel takes only incidents; use notify_on on another one", "notify_on")
        if self.template:
            raise config_error(
                "the channel takes incidents, which have no text to write; leave it out", "template"
            )
        if self.notifies_clients:
            raise config_error("an incident service can't have a URL for each managed user", key)
        return self

    @model_validator(mode="after")
    def _check_client_channel(self, info: ValidationInfo) -> Self:
        if self.notifies_clients and self.notify_on:
            raise config_error(
                "the channel notifies clients, who get no messages about the monitor", "notify_on"
            )
        if self.notifies_clients and not self.allow_reconnect_links and info.context:
            info.context.warnings.append(
                f"channel {self.name!r} notifies clients but doesn't set allow_reconnect_links: they get no "
                f"link to reconnect"
            )
        return self

    @classmethod
    def resolve_references(cls, given: dict[str, Any], context: LoadContext) -> dict[str, Any]:
        """Fetch the URL from where it is kept."""
        return {
            **given,
            "url": checked_channel(resolve_secret(given, "url", context), source_of(given, "url")),
        }


class Retention(Section):
    """How long records are kept: as long as ``history``, unless their kind has its own value."""

    history: Duration = timedelta(days=400)
    snapshots: Duration | None = None
    transitions: Duration | None = None
    poll_runs: Duration | None = None
    incidents: Duration | None = None
    deliveries: Duration | None = None

    def for_kind(self, kind: str) -> timedelta:
        """Return how long rows of a kind, such as ``poll runs``, are kept."""
        apart: timedelta | None = getattr(self, kind.replace(" ", "_"))
        return apart or self.history


def _sender_name(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > 80:
        raise expected("a name on one line, of at most 80 characters")
    return value.strip()


class Clients(Section):
    """How managed users are notified whose alerts go to themselves; ``sender`` is the name they know."""

    sender: Annotated[str, AfterValidator(_sender_name)] = ""


class Heartbeat(Section):
    """The service to ping after each complete, successful cycle."""

    url: Secret
    url_env: Reference = None
    url_file: Reference = None
    style: Literal["auto", "healthchecks", "uptime_kuma", "plain"] = "auto"
    every: Duration | None = None

    @classmethod
    def resolve_references(cls, given: dict[str, Any], context: LoadContext) -> dict[str, Any]:
        """Fetch the URL from where it is kept."""
        return {**given, "url": checked_ping(resolve_secret(given, "url", context), source_of(given, "url"))}


class Log(Section):
    """The format and the level of the log."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


def _unique_names(named: tuple[Any, ...]) -> tuple[Any, ...]:
    seen: dict[str, int] = {}
    for index, item in enumerate(named):
        if item.name in seen:
            raise expected(f"a name of its own: number {seen[item.name] + 1} has the same", index, "name")
        seen[item.name] = index
    return named


def _every_channel(known: dict[str, Any]) -> tuple[Route, ...]:
    channels = tuple(channel.name for channel in known["channels"])
    return (Route(channels=channels),) if channels else ()


class Config(Section):
    """
    The whole configuration.

    ``routes`` and ``rules`` include the defaults: without routes every channel gets everything, and a rule that
    isn't listed has its defaults.
    """

    database: Database
    polling: Polling = Polling()
    accounts: Annotated[tuple[Account, ...], NotEmpty, AfterValidator(_unique_names)]
    channels: Annotated[tuple[Channel, ...], AfterValidator(_unique_names)] = ()
    routes: Annotated[tuple[Annotated[Route, Written(RouteSection)], ...], NotEmpty] = Field(
        default_factory=_every_channel
    )
    unrouted: Literal["error", "ignore"] = "error"
    rules: RuleList
    profiles: Profiles = Field(default={})
    damping: Damping = Damping()
    retention: Retention = Retention()
    web: Web | None = None
    clients: Clients = Clients()
    time_zone: Zone = ZoneInfo("UTC")
    heartbeat: Heartbeat | None = None
    log: Log = Log()

    _warnings: tuple[str, ...] = PrivateAttr(default=())
    _notes: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Settings that are valid and probably not intended, one line each."""
        return self._warnings

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about the configuration, one line each."""
        return self._notes

    def active_rules(self) -> Rules:
        """Return the rules in force, as core judges by them."""
        return active_rules(self.rules, self.profiles, self.damping)

    @model_validator(mode="after")
    def _check_duplicate_targets(self, info: ValidationInfo) -> Self:
        if info.context:
            info.context.warnings.extend(
                f"accounts {one.name!r} and {other.name!r} have the same key and poll some of the same targets: "
                "problems with those are reported twice"
                for one, other in combinations(self.accounts, 2)
                if one.provider == other.provider and one.api_key == other.api_key and one.overlaps(other)
            )
        return self

    @model_validator(mode="after")
    def _check_channels_exist(self, info: ValidationInfo) -> Self:
        by_name = {channel.name: channel for channel in self.channels}
        for index, route in enumerate(self.routes):
            for place, name in enumerate(route.channels):
                if name not in by_name:
                    raise expected("the name of a channel", "routes", index, "channels", place)
                if route.digest and by_name[name].takes_incidents:
                    raise config_error(
                        f"channel {name!r} takes incidents, one by one; want the digest on a route without it",
                        "routes",
                        index,
                        "digest",
                    )
        if info.context:
            for_clients = [channel.name for channel in self.channels if channel.notifies_clients]
            if for_clients and not self.clients.sender:
                info.context.warnings.append(
                    f"channel {for_clients[0]!r} notifies clients, but clients.sender is missing: "
                    "the messages don't say who sends them"
                )
            if not self.channels:
                info.context.warnings.append("there is no channel: no alert will be sent")
            elif not any(channel.allow_reconnect_links for channel in self.channels):
                info.context.warnings.extend(
                    f"account {account.name!r}: no channel has allow_reconnect_links: true, so "
                    f"reconnect_links: create makes none"
                    for account in self.accounts
                    if account.reconnect_links is LinkUse.CREATE
                )
            self._warnings, self._notes = tuple(info.context.warnings), tuple(info.context.notes)
        return self

    def secrets(self) -> frozenset[str]:
        """Return every text that must be hidden: keys, channel URLs and their parts, passwords."""
        urls = [channel.url.get_secret_value() for channel in self.channels]
        urls += [self.heartbeat.url.get_secret_value()] if self.heartbeat else []
        return frozenset(
            {account.api_key.get_secret_value() for account in self.accounts}
            | set(urls)
            | ({self.web.token.get_secret_value()} if self.web and self.web.token else set())
            | {part for url in urls for part in parts(url)}
            | database_passwords(self.database.url.get_secret_value())
        )

    def shown(self) -> dict[str, Any]:
        """Return the effective configuration as plain data with every secret hidden."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
