"""check-config, test-channel: validate the configuration, and test the channels."""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from monitor.cli.managed_users import load_known_targets, print_clients, print_poll_rates
from monitor.cli.route_preview import RouteResult, RouteResults, preview_routes
from monitor.cli.session import Session, pass_session
from monitor.cli.tables import Cell, print_line, print_table, styled
from monitor.clock import utc_now
from monitor.core.messages.message import Message
from monitor.core.messages.render import render
from monitor.core.messages.samples import sample_items, trial_events
from monitor.core.model import RuleName
from monitor.core.text import one_line
from monitor.errors import ConfigError, DeliveryError

if TYPE_CHECKING:
    from monitor.channels.channel import Channel
    from monitor.config.model import Config


@click.command("check-config")
@click.option("--show", is_flag=True, help="Print the effective configuration instead, with secrets hidden.")
@pass_session
def check_config(session: Session, show: bool) -> None:
    """
    Validate the configuration and show the routing.

    Sends nothing and writes nothing.
    """
    config = session.config()
    session.validate(config)
    session.warn(config)
    from monitor.app import build_routing
    from monitor.config.values import format_duration

    routing = build_routing(config)
    ways = preview_routes(config, routing)
    if not show:
        for account in config.accounts:
            every = format_duration(account.every or config.polling.every)
            print_line(f"account {account.name}: {account.provider} at {account.base_url}, every {every}")
        known = load_known_targets(session, config)
        print_poll_rates(config, known)
        _print_channels(config)
        print_clients(config, known, routing)
        if config.routes:
            print_line()
            print_table(
                ("a sample", "severity", "account", "platform", "route", "goes to"), _route_lines(ways)
            )
    session.validate_routes(config)
    if show:
        import yaml

        print_line(yaml.safe_dump(config.shown(), sort_keys=False, allow_unicode=True).rstrip())
    else:
        print_line("\nThe configuration is valid.")


@click.command("test-channel")
@click.argument("names", metavar="[CHANNEL]...", nargs=-1)
@pass_session
def send_test_messages(session: Session, names: tuple[str, ...]) -> int:
    """
    Send a test message to the named channels, or to all.

    The message follows the same path as a real alert. An incident service gets a test incident, which is resolved
    immediately. Exit status 1 if a channel did not accept it.
    """
    config = session.config()
    from monitor.app import build_channels, http_of

    http = http_of(config)
    channels = build_channels(config, http)
    if not channels:
        raise ConfigError("there is no channel in the configuration; add one under channels")
    for name in names:
        if name not in channels:
            raise ConfigError(f"no channel {name!r}; want one of {', '.join(channels)}")
    for_clients = [channel.name for channel in config.channels if channel.notifies_clients]
    for name in for_clients:
        if name in names:
            raise ConfigError(
                f"channel {name!r} notifies each managed user, so it can't be tested without one"
            )
        print_line(f"{one_line(name, 64)}: skipped, because it notifies each managed user")
    tried = dict.fromkeys(name for name in names or channels if name not in for_clients)
    try:
        outcomes = [_send_test_message(channels[name]) for name in tried]
    finally:
        http.close()
    return 0 if all(outcomes) else 1


def _send_test_message(channel: "Channel") -> bool:
    from monitor.channels.incident_channel import IncidentChannel
    from monitor.logs import scrub

    place = f"{one_line(channel.name, 64)} ({channel.service})"
    try:
        if isinstance(channel, IncidentChannel):
            for event in trial_events(channel.name, secrets.token_hex(8), utc_now()):
                channel.send_event(event)
        else:
            channel.send(
                Message(
                    title="[TEST] postpost-monitor: this channel works",
                    body=f"This is a test of the channel {one_line(channel.name, 64)!r}. "
                    "Alerts about tokens arrive here.",
                    severity=None,
                    key=secrets.token_hex(5),
                )
            )
    except DeliveryError as error:
        print_line(f"{place}: not sent: {one_line(scrub(str(error)))}")
        return False
    print_line(f"{place}: sent")
    return True


def _print_channels(config: "Config") -> None:
    """Print a sample message of every kind for every channel, with its template if it has one."""
    from monitor.app import build_channels, build_templates
    from monitor.channels.incident_channel import IncidentChannel

    now = utc_now()
    words = build_templates(config, now)
    items = sample_items(config.accounts[0].name, now, "https://app.postpost.dev")
    for channel in build_channels(config).values():
        if isinstance(channel, IncidentChannel):
            print_line(f"channel {channel.name}: {channel.service}, one event for each change of an incident")
            continue
        lengths = []
        for item in items:
            message = render([item], now=now, key="0123456789", limit=channel.body_limit)
            if message and channel.name in words:
                message = words[channel.name].apply(message, [item], now)
            lengths.append(len(message.body) if message else 0)
        limit = f" of {channel.body_limit}" if channel.body_limit else ""
        print_line(
            f"channel {channel.name}: {channel.service}, "
            f"{len(items)} samples take up to {max(lengths)}{limit} characters"
        )


def _route_lines(results: RouteResults) -> Iterator[list[Cell]]:
    """Return the routes of each kind of incident, equal ones on one line."""
    for (rule, severity, cause), by_account in results.items():
        alike: dict[tuple[tuple[str, RouteResult], ...], list[str]] = {}
        for account, by_platform in by_account.items():
            alike.setdefault(tuple(by_platform.items()), []).append(account)
        for outcome, accounts in alike.items():
            by_way: dict[RouteResult, list[str]] = {}
            for platform, way in outcome:
                by_way.setdefault(way, []).append(platform)
            for (numbers, channels), platforms in by_way.items():
                yield [
                    f"{rule}: {cause}" if rule is RuleName.PUBLISH_ERROR else rule,
                    styled(severity),
                    _some(accounts, of=len(by_account)),
                    "" if platforms == [""] else _some(platforms, of=len(outcome)),
                    ", ".join(map(str, numbers)) or "none",
                    ", ".join(channels) or "nobody",
                ]


def _some(names: list[str], *, of: int) -> str:
    return "any" if len(names) == of else ", ".join(names)
