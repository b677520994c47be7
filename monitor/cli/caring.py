"""check-config, send-test: is it right, and does it arrive."""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import click

from monitor.cli.agency import print_clients, print_paces, what_is_known
from monitor.cli.session import Session, pass_session
from monitor.cli.tables import Cell, print_table, say, styled
from monitor.clock import utc_now
from monitor.core.messages import render
from monitor.core.model import Incident, RuleName, Severity, Subject, Target
from monitor.core.outgoing import Message
from monitor.core.phrases import PLATFORMS
from monitor.core.routes import Routing, circumstances, matching
from monitor.core.rules import REFUSED
from monitor.core.samples import sample_items
from monitor.core.text import one_line
from monitor.core.wording import Cause
from monitor.errors import ConfigError, DeliveryError

if TYPE_CHECKING:
    from monitor.channels import Channel
    from monitor.config import Config

# A kind of incident that can be opened: its rule, how bad it is, and what lies behind it.
Kind: TypeAlias = tuple[RuleName, Severity, Cause | None]
# Where an incident of a kind goes: for each account, by platform.
Ways: TypeAlias = dict[Kind, dict[str, dict[str, tuple[str, ...]]]]

_ABOUT_CONNECTIONS = {
    RuleName.TOKEN_EXPIRY,
    RuleName.RENEWAL_OVERDUE,
    RuleName.PUBLISH_ERROR,
    RuleName.CONNECTION_TEST_FAILED,
    RuleName.CONNECTION_REMOVED,
}
_KINDS: dict[RuleName, tuple[tuple[Severity, Cause | None], ...]] = {
    RuleName.TOKEN_EXPIRY: tuple((severity, Cause.AUTHORISATION) for severity in Severity),
    RuleName.RENEWAL_OVERDUE: ((Severity.WARNING, Cause.AUTHORISATION),),
    RuleName.PUBLISH_ERROR: tuple((REFUSED[cause][0], cause) for cause in Cause),
    RuleName.CONNECTION_TEST_FAILED: (
        (Severity.CRITICAL, Cause.AUTHORISATION),
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


@click.command("check-config")
@click.option("--show", is_flag=True, help="Print the configuration in force instead, secrets hidden.")
@pass_session
def check_config(session: Session, show: bool) -> None:
    """
    Check the configuration, and show who is told what.

    Nothing is sent and nothing is written.
    """
    config = session.config()
    session.prove_channels(config)
    session.warn(config)
    from monitor.app import routing_of, words_of

    words_of(config, utc_now())
    routing = routing_of(config)
    ways = _ways(config, routing)
    if not show:
        _print_accounts(config)
        known = what_is_known(session, config)
        print_paces(config, known)
        _print_channels(config)
        print_clients(config, known, routing)
        if config.routes:
            say()
            print_table(("a sample", "severity", "account", "platform", "goes to"), _lines(ways))
    if config.routes and config.unrouted == "error":
        _refuse_unrouted(ways)
    if show:
        import yaml

        say(yaml.safe_dump(config.shown(), sort_keys=False, allow_unicode=True).rstrip())
    else:
        say("\nThe configuration is right.")


@click.command("send-test")
@click.argument("names", metavar="[CHANNEL]...", nargs=-1)
@pass_session
def send_test(session: Session, names: tuple[str, ...]) -> int:
    """
    Send a test message to the channels named, or to all.

    It goes the way that real ones go. Exit status 1 when one wasn't taken.
    """
    config = session.config()
    from monitor.app import channels_of

    channels = channels_of(config)
    if not channels:
        raise ConfigError("there is no channel in the configuration; add one under channels")
    for name in names:
        if name not in channels:
            raise ConfigError(f"no channel {name!r}; want one of {', '.join(channels)}")
    for_clients = [channel.name for channel in config.channels if channel.tells_clients]
    for name in for_clients:
        if name in names:
            raise ConfigError(f"channel {name!r} tells each managed user apart: there is nobody to try it on")
        say(f"{one_line(name, 64)}: left out, since it tells each managed user apart")
    tried = dict.fromkeys(name for name in names or channels if name not in for_clients)
    outcomes = [_tried(channels[name]) for name in tried]
    return 0 if all(outcomes) else 1


def _tried(channel: "Channel") -> bool:
    from monitor.logs import scrub

    message = Message(
        title="Test message of postpost-monitor",
        body=f"If you can read this, the channel {one_line(channel.name, 64)!r} works: "
        "this is where you will be told of tokens that need you.",
        severity=None,
        key=secrets.token_hex(5),
    )
    place = f"{one_line(channel.name, 64)} ({channel.service})"
    try:
        channel.send(message)
    except DeliveryError as error:
        say(f"{place}: not sent: {one_line(scrub(str(error)))}")
        return False
    say(f"{place}: sent")
    return True


def _print_accounts(config: "Config") -> None:
    from monitor.config import format_duration

    for account in config.accounts:
        every = format_duration(account.every or config.polling.every)
        say(f"account {account.name}: {account.provider} at {account.base_url}, every {every}")


def _print_channels(config: "Config") -> None:
    """Render a sample of every kind for every channel, in its own words where it has some."""
    from monitor.app import channels_of, words_of

    now = utc_now()
    words = words_of(config, now)
    items = sample_items(config.accounts[0].name, now, "https://app.postpost.dev")
    for channel in channels_of(config).values():
        lengths = []
        for item in items:
            message = render([item], now=now, key="0123456789", limit=channel.body_limit)
            if message and channel.name in words:
                message = words[channel.name].rewritten(message, [item], now)
            lengths.append(len(message.body) if message else 0)
        limit = f" of {channel.body_limit}" if channel.body_limit else ""
        say(
            f"channel {channel.name}: {channel.service}, "
            f"{len(items)} samples take up to {max(lengths)}{limit} characters"
        )


def _incident(kind: Kind, account: str, platform: str) -> Incident:
    rule, severity, cause = kind
    subject = Subject(account=account)
    if platform:
        subject = Subject(account=account, target_id=0, platform_id=f"{platform}-sample")
    return Incident(
        id=0,
        rule=rule,
        subject=subject,
        severity=severity,
        worst=severity,
        cause=cause,
        summary="a sample",
        opened_at=utc_now(),
    )


def _ways(config: "Config", routing: Routing) -> Ways:
    """Find where an incident of every kind that the rules can open would go."""
    ways: Ways = {}
    for rule in config.rules:
        if not rule.enabled:
            continue
        platforms = list(PLATFORMS) if rule.rule in _ABOUT_CONNECTIONS else [""]
        for severity, cause in _KINDS[rule.rule]:
            kind = (rule.rule, severity, cause)
            ways[kind] = {
                account.name: {
                    platform: _channels(_incident(kind, account.name, platform), routing)
                    for platform in platforms
                }
                for account in config.accounts
            }
    return ways


def _channels(incident: Incident, routing: Routing) -> tuple[str, ...]:
    target = Target(id=0, account=incident.subject.account or "")
    taken = matching(circumstances(incident, target, routing), routing.routes)
    told = (channel for route in taken for channel in route.channels)
    # A client is told of its own connections alone: somebody else must be told of everything.
    return tuple(dict.fromkeys(channel for channel in told if channel not in routing.clients))


def _lines(ways: Ways) -> Iterator[list[Cell]]:
    """Write the ways, those that are alike on one line."""
    for (rule, severity, cause), by_account in ways.items():
        alike: dict[tuple[tuple[str, tuple[str, ...]], ...], list[str]] = {}
        for account, by_platform in by_account.items():
            alike.setdefault(tuple(by_platform.items()), []).append(account)
        for outcome, accounts in alike.items():
            by_channels: dict[tuple[str, ...], list[str]] = {}
            for platform, channels in outcome:
                by_channels.setdefault(channels, []).append(platform)
            for channels, platforms in by_channels.items():
                yield [
                    f"{rule}: {cause}" if rule is RuleName.PUBLISH_ERROR else rule,
                    styled(severity),
                    _some(accounts, of=len(by_account)),
                    "" if platforms == [""] else _some(platforms, of=len(outcome)),
                    ", ".join(channels) or "nobody",
                ]


def _some(names: list[str], *, of: int) -> str:
    return "any" if len(names) == of else ", ".join(names)


def _refuse_unrouted(ways: Ways) -> None:
    for (rule, severity, cause), by_account in ways.items():
        for account, by_platform in by_account.items():
            lost = [platform for platform, channels in by_platform.items() if not channels]
            if lost:
                about = f" about {', '.join(lost)}" if lost != [""] else ""
                about += f" (cause: {cause})" if cause else ""
                raise ConfigError(
                    f"routes: no route takes a {severity} {rule}{about} of account {account!r}; "
                    "add a last route without match, or write unrouted: ignore"
                )
