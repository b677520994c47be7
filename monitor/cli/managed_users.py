"""check-config for managed users: how often they can be polled, and what a client would get."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.cli.session import Session
from monitor.cli.tables import print_line
from monitor.clock import utc_now
from monitor.core.evaluation.workspace import OWNER_LISTED
from monitor.core.messages.client import render_for_client
from monitor.core.messages.phrases import format_duration
from monitor.core.messages.samples import sample_client_items
from monitor.core.model import Target
from monitor.core.routing.routes import Routing, unreachable_users
from monitor.core.text import one_line
from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.config.model import Config

NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTargets:
    """
    The managed users in the history database; empty if there is no history yet.

    Args:
        targets: the polled targets of all accounts.
        owners: managed users among them that seem to be the owner of their key.
    """

    targets: Sequence[Target] = ()
    owners: Sequence[Target] = ()


def load_known_targets(session: Session, config: "Config") -> KnownTargets:
    """Load them from the history database."""
    from monitor.storage import managed_users

    try:
        with session.open_database(config) as database, database.read() as store:
            return KnownTargets(targets=store.active_targets(), owners=managed_users.likely_owners(store))
    except StorageError:
        return KnownTargets()


def print_poll_rates(config: "Config", known: KnownTargets) -> None:
    """Print for each account with managed users how many targets share its key, and how often it can poll them."""
    from monitor.app import build_poll_scope, build_token_buckets
    from monitor.rate_limits import RateLimits

    counted = Counter(target.account for target in known.targets)
    every = {account.name: account.every or config.polling.every for account in config.accounts}
    plans = {account.name: build_poll_scope(account, every[account.name]) for account in config.accounts}
    rate_limits = RateLimits(every, build_token_buckets(config))
    for name, plan in plans.items():
        rate_limits.set_target_count(name, max(counted[name], len(plan.targets())))
    for rate in rate_limits.rates():
        plan = plans[rate.account]
        if plan.needs_user_list:
            known_as = "all that its workspace lists" if plan.all_users else f"{len(plan.users)} named"
            print_line(
                f"account {rate.account}: managed users: {known_as}; {rate.targets} targets known so far, "
                f"{rate.per_minute} requests a minute"
            )
        if rate.is_limited:
            print_line(
                f"account {rate.account}: every {_exact_duration(rate.every)} can't be kept for {rate.targets} targets "
                f"with {rate.per_minute} requests a minute; each is polled every "
                f"{_exact_duration(rate.effective_interval)}"
            )
    for owner in known.owners:
        print_line(
            f"account {owner.account}: managed user {owner.managed_user_id} seems to be the owner of the key, so "
            f"problems are reported twice; {OWNER_LISTED}"
        )


def print_clients(config: "Config", known: KnownTargets, routing: Routing) -> None:
    """Print what one client would get, and the clients without an address."""
    from monitor.app import build_channels

    users = [target for target in known.targets if target.managed_user_id is not None]
    for channel in build_channels(config).values():
        if channel.name not in routing.clients:
            continue
        now = utc_now()
        items = sample_client_items(config.accounts[0].name, now, with_link=channel.allow_reconnect_links)
        message = render_for_client(items, now=now, key="0123456789", limit=channel.body_limit)
        print_line(f"channel {channel.name}: notifies each managed user; sample:")
        if message:
            for line in (message.title, "", *message.body.splitlines()):
                print_line(f"    {one_line(line, 1000)}".rstrip())
        if alone := unreachable_users(channel.name, users, routing):
            names = [one_line(user.managed_user or user.managed_user_id or "", 60) for user in alone]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            print_line(
                f"channel {channel.name}: clients without a usable address: {', '.join(names[:NAMED])}{more}"
            )


def _exact_duration(duration: timedelta) -> str:
    return (
        format_duration(duration)
        if duration >= timedelta(minutes=1)
        else f"{duration.total_seconds():g} seconds"
    )
