"""Preview where incidents would go."""

from typing import TYPE_CHECKING, TypeAlias

from monitor.clock import utc_now
from monitor.core.messages.phrases import PLATFORMS
from monitor.core.model import Cause, Incident, RuleName, Severity, Subject, Target
from monitor.core.routing.routes import Routing, labels_of, matching_routes
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.config.model import Config

# A kind of incident that can be opened: rule, severity, cause.
Kind: TypeAlias = tuple[RuleName, Severity, Cause | None]
# The numbers of the routes that an incident takes, from 1, and the channels they lead to.
RouteResult: TypeAlias = tuple[tuple[int, ...], tuple[str, ...]]
# Where a kind of incident goes: for each account, by platform.
RouteResults: TypeAlias = dict[Kind, dict[str, dict[str, RouteResult]]]


def preview_routes(config: "Config", routing: Routing) -> RouteResults:
    """Return where every kind of incident that the rules can open would go: by which routes, to which channels."""
    ways: RouteResults = {}
    rules = config.active_rules()
    configurable = {section.rule for section in config.rules}
    opened = [(rule.name, rule.kinds, tuple(PLATFORMS)) for rule in rules.connection]
    opened += [(rule.name, rule.kinds, ("",)) for rule in rules.account if rule.name in configurable]
    for name, kinds, platforms in opened:
        for severity, cause in kinds:
            kind = (name, severity, cause)
            ways[kind] = {
                account.name: {
                    platform: _route_sample(kind, account.name, platform, routing) for platform in platforms
                }
                for account in config.accounts
            }
    return ways


def _route_sample(kind: Kind, account: str, platform: str, routing: Routing) -> RouteResult:
    rule, severity, cause = kind
    subject = Subject(account=account)
    if platform:
        subject = Subject(account=account, target_id=0, platform_id=f"{platform}-sample")
    incident = Incident(
        id=0,
        rule=rule,
        subject=subject,
        severity=severity,
        max_severity=severity,
        cause=cause,
        summary="a sample",
        opened_at=utc_now(),
    )
    taken = matching_routes(labels_of(incident, Target(id=0, account=account), routing), routing.routes)
    notified = (channel for route in taken for channel in route.channels)
    # Client channels get only the client's own connections, so they don't count here.
    channels = tuple(dict.fromkeys(channel for channel in notified if channel not in routing.clients))
    return tuple(number for number, route in enumerate(routing.routes, 1) if route in taken), channels


def refuse_unrouted(ways: RouteResults) -> None:
    """
    Raise an error if an incident would reach no channel.

    Raises:
        ConfigError: one doesn't.
    """
    for (rule, severity, cause), by_account in ways.items():
        for account, by_platform in by_account.items():
            lost = [platform for platform, (_, channels) in by_platform.items() if not channels]
            if lost:
                about = f" about {', '.join(lost)}" if lost != [""] else ""
                about += f" (cause: {cause})" if cause else ""
                raise ConfigError(
                    f"routes: no route takes a {severity} {rule}{about} of account {account!r}; "
                    "add a last route without match, or write unrouted: ignore"
                )
