"""check-config on managed users: how often they can be looked at, and what a client would get."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.cli.session import Session
from monitor.cli.tables import say
from monitor.clock import utc_now
from monitor.core.client_words import render_for_client
from monitor.core.model import Target
from monitor.core.phrases import span
from monitor.core.routes import Routing, unreached
from monitor.core.samples import sample_client_items
from monitor.core.text import one_line
from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.config import Config

NAMED = 20


def known_targets(session: Session, config: "Config") -> list[Target]:
    """Give the targets that the history database knows; none where there is no history yet."""
    try:
        with session.existing(config) as database, database.read() as store:
            return store.watched()
    except StorageError:
        return []


def print_paces(config: "Config", known: Sequence[Target]) -> None:
    """Say of each account that shares its key how many targets it has, and what that means for its pace."""
    from monitor.app import budget_of, plan_of

    counted = Counter(target.account for target in known)
    for account in config.accounts:
        every = account.every or config.polling.every
        plan = plan_of(account, every)
        if not plan.asks_for_users:
            continue
        targets = max(counted[account.name], len(plan.targets()))
        budget = budget_of(account, config)
        kept = budget.cadence(every, targets)
        known_as = "all that its workspace lists" if plan.everyone else f"{len(plan.users)} named"
        say(
            f"account {account.name}: managed users: {known_as}; {targets} targets known so far, "
            f"{budget.limit} requests a minute"
        )
        if kept > every:
            say(
                f"account {account.name}: every {_exact(every)} can't be kept for {targets} targets with "
                f"{budget.limit} requests a minute; each is looked at every {_exact(kept)}"
            )


def print_clients(config: "Config", known: Sequence[Target], routing: Routing) -> None:
    """Show what one client would get, and who has no address to get it at."""
    from monitor.app import channels_of

    users = [target for target in known if target.managed_user_id is not None]
    for channel in channels_of(config).values():
        if channel.name not in routing.clients:
            continue
        now = utc_now()
        items = sample_client_items(config.accounts[0].name, now, with_link=channel.private)
        message = render_for_client(items, now=now, key="0123456789", limit=channel.body_limit)
        say(f"channel {channel.name}: tells each managed user apart; one would get:")
        if message:
            for line in (message.title, "", *message.body.splitlines()):
                say(f"    {one_line(line, 1000)}".rstrip())
        if alone := unreached(channel.name, users, routing):
            names = [one_line(user.managed_user or user.managed_user_id or "", 60) for user in alone]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            say(f"channel {channel.name}: no plausible address: {', '.join(names[:NAMED])}{more}")


def _exact(duration: timedelta) -> str:
    return span(duration) if duration >= timedelta(minutes=1) else f"{duration.total_seconds():g} seconds"
