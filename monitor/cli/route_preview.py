"""Preview where incidents would go."""

from typing import TYPE_CHECKING, TypeAlias

from monitor.clock import utc_now
from monitor.core.messages.phrases import PLATFORMS
from monitor.core.model import Cause, Incident, RuleName, Severity, Subject, Target
from monitor.core.routing.routes import Routing, labels_of, matching_routes
from monitor.core.rules.publish_error import PUBLISH_ERROR_SEVERITY
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.config.model import Config

# A kind of incident that can be opened: rule, severity, cause.
Kind: TypeAlias = tuple[RuleName, Severity, Cause | None]
# The numbers of the routes that an incident takes, from 1, and the channels they lead to.
RouteResult: TypeAlias = tuple[tuple[int, ...], tuple[str, ...]]
# Where a kind of incident goes: for each account, by platform.
RouteResults: TypeAlias = dict[Kind, dict[str, dict[str, RouteResult]]]

_ABOUT_CONNECTIONS = {
    RuleName.TOKEN_EXPIRY,
    RuleName.RENEWAL_OVERDUE,
    RuleName.PUBLISH_ERROR,
    RuleName.CONNECTION_TEST_FAILED,
    RuleName.CONNECTION_REMOVED,
}
_KINDS: dict[RuleName, tuple[tuple[Severity, Cause | None], ...]] = {
    RuleName.TOKEN_EXPIRY: tuple((severity, Cause.AUTHORIZATION) for severity in Severity),
    RuleName.RENEWAL_OVERDUE: ((Severity.WARNING, Cause.AUTHORIZATION),),
    RuleName.PUBLISH_ERROR: tuple((PUBLISH_ERROR_SEVERITY[cause][0], cause) for cause in Cause),
    RuleName.CONNECTION_TEST_FAILED: (
        (Severity.CRITICAL, Cause.AUTHORIZATION),
        (Severity.CRITICAL, Cause.PERMISSION),
        (Severity.WARNING, Cause.PERMISSION),
        (Severity.WARNING, Cause.UNKNOWN),
    ),
    RuleName.CONNECTION_REMOVED: ((Severity.NOTICE, None),),
    RuleName.API_KEY_REJECTED: ((Severity.CRITICAL, None),),
    RuleName.ACCESS_DENIED: ((Severity.CRITICAL, None),),
    RuleName.USER_NOT_MANAGED: ((Severity.WARNING, None),),
    RuleName.API_UNREACHABLE: ((Severity.WARNING, None),),
    RuleName.BAD_ANSWER: ((Severity.WARNING, None),),
    RuleName.RECONNECT_LINK_EXPIRING: ((Severity.WARNING, None),),
}


def preview_routes(config: "Config", routing: Routing) -> RouteResults:
    """Return where every kind of incident that the rules can open would go: by which routes, to which channels."""
    ways: RouteResults = {}
    for rule in config.rules:
        platforms = list(PLATFORMS) if rule.rule in _ABOUT_CONNECTIONS else [""]
        for severity, cause in _KINDS[rule.rule] if rule.enabled else ():
            kind = (rule.rule, severity, cause)
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
