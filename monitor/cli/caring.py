"""check-config, send-test: is it right, and does it arrive."""

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from monitor.cli.agency import print_clients, print_paces, what_is_known
from monitor.cli.session import Session, pass_session
from monitor.cli.tables import Cell, print_table, say, styled
from monitor.cli.ways import Way, Ways, ways_of
from monitor.clock import utc_now
from monitor.core.messages import render
from monitor.core.model import RuleName
from monitor.core.outgoing import Message
from monitor.core.samples import sample_items, trial_events
from monitor.core.text import one_line
from monitor.errors import ConfigError, DeliveryError

if TYPE_CHECKING:
    from monitor.channels import Channel
    from monitor.config import Config


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
    from monitor.app import routing_of

    session.prove_words(config)
    routing = routing_of(config)
    ways = ways_of(config, routing)
    if not show:
        _print_accounts(config)
        known = what_is_known(session, config)
        print_paces(config, known)
        _print_channels(config)
        print_clients(config, known, routing)
        if config.routes:
            say()
            print_table(("a sample", "severity", "account", "platform", "route", "goes to"), _lines(ways))
    session.prove_routes(config)
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

    It goes the way that real ones go. A service with incidents of its own gets a test incident, which is resolved
    at once. Exit status 1 when one wasn't taken.
    """
    config = session.config()
    from monitor.app import channels_of, http_of

    http = http_of(config)
    channels = channels_of(config, http)
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
    try:
        outcomes = [_tried(channels[name]) for name in tried]
    finally:
        http.close()
    return 0 if all(outcomes) else 1


def _tried(channel: "Channel") -> bool:
    from monitor.channels import IncidentChannel
    from monitor.logs import scrub

    place = f"{one_line(channel.name, 64)} ({channel.service})"
    try:
        if isinstance(channel, IncidentChannel):
            for event in trial_events(channel.name, secrets.token_hex(8), utc_now()):
                channel.send_event(event)
        else:
            channel.send(_trial_message(channel))
    except DeliveryError as error:
        say(f"{place}: not sent: {one_line(scrub(str(error)))}")
        return False
    say(f"{place}: sent")
    return True


def _trial_message(channel: "Channel") -> Message:
    return Message(
        title="Test message of postpost-monitor",
        body=f"If you can read this, the channel {one_line(channel.name, 64)!r} works: "
        "this is where you will be told of tokens that need you.",
        severity=None,
        key=secrets.token_hex(5),
    )


def _print_accounts(config: "Config") -> None:
    from monitor.config import format_duration

    for account in config.accounts:
        every = format_duration(account.every or config.polling.every)
        say(f"account {account.name}: {account.provider} at {account.base_url}, every {every}")


def _print_channels(config: "Config") -> None:
    """Render a sample of every kind for every channel, in its own words where it has some."""
    from monitor.app import channels_of, words_of
    from monitor.channels import IncidentChannel

    now = utc_now()
    words = words_of(config, now)
    items = sample_items(config.accounts[0].name, now, "https://app.postpost.dev")
    for channel in channels_of(config).values():
        if isinstance(channel, IncidentChannel):
            say(f"channel {channel.name}: {channel.service}, one event for each change of an incident")
            continue
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


def _lines(ways: Ways) -> Iterator[list[Cell]]:
    """Write the ways, those that are alike on one line."""
    for (rule, severity, cause), by_account in ways.items():
        alike: dict[tuple[tuple[str, Way], ...], list[str]] = {}
        for account, by_platform in by_account.items():
            alike.setdefault(tuple(by_platform.items()), []).append(account)
        for outcome, accounts in alike.items():
            by_way: dict[Way, list[str]] = {}
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
