"""check-config on managed users: how often they can be looked at, and what a client would get."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from monitor.core.workspace import OWNER_LISTED
from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.config import Config

NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    What the history database knows of managed users; nothing where there is no history yet.

    Args:
        targets: that are polled, of all accounts.
        owners: the managed users among them that seem to be the owner of their key.
    """

    targets: Sequence[Target] = ()
    owners: Sequence[Target] = ()


def what_is_known(session: Session, config: "Config") -> Known:
    """Ask the history database."""
    from monitor.storage import workspaces

    try:
        with session.existing(config) as database, database.read() as store:
            return Known(targets=store.watched(), owners=workspaces.seeming_owners(store.connection))
    except StorageError:
        return Known()


def print_paces(config: "Config", known: Known) -> None:
    """Say of each account with managed users how many targets share its key, and how often it can look at them."""
    from monitor.app import budgets_of, plan_of
    from monitor.budgets import Budgets

    counted = Counter(target.account for target in known.targets)
    every = {account.name: account.every or config.polling.every for account in config.accounts}
    plans = {account.name: plan_of(account, every[account.name]) for account in config.accounts}
    budgets = Budgets(every, budgets_of(config))
    for name, plan in plans.items():
        budgets.count(name, max(counted[name], len(plan.targets())))
    for pace in budgets.paces():
        plan = plans[pace.account]
        if plan.asks_for_users:
            known_as = "all that its workspace lists" if plan.everyone else f"{len(plan.users)} named"
            say(
                f"account {pace.account}: managed users: {known_as}; {pace.targets} targets known so far, "
                f"{pace.per_minute} requests a minute"
            )
        if pace.is_stretched:
            say(
                f"account {pace.account}: every {_exact(pace.every)} can't be kept for {pace.targets} targets "
                f"with {pace.per_minute} requests a minute; each is looked at every {_exact(pace.kept)}"
            )
    for owner in known.owners:
        say(
            f"account {owner.account}: managed user {owner.managed_user_id} seems to be the owner of the key, so "
            f"what is wrong is told twice; {OWNER_LISTED}"
        )


def print_clients(config: "Config", known: Known, routing: Routing) -> None:
    """Show what one client would get, and who has no address to get it at."""
    from monitor.app import channels_of

    users = [target for target in known.targets if target.managed_user_id is not None]
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
