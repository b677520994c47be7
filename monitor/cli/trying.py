"""test: one connection, tried on its platform now."""

from typing import TYPE_CHECKING

import click

from monitor.cli.session import Session, pass_session
from monitor.cli.tables import say
from monitor.core.phrases import platform_name
from monitor.core.probing import UNTESTABLE, Meaning
from monitor.core.text import one_line
from monitor.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from monitor.app import App
    from monitor.core.model import KnownConnection, Target
    from monitor.jobs.probe import Tried


@click.command("test")
@click.argument("platform_id")
@click.option("--account", metavar="NAME", help="The account that lists it, where several do.")
@click.option("--managed-user", "managed_user_id", metavar="ID", help="The managed user whose it is.")
@pass_session
def test(session: Session, platform_id: str, account: str | None, managed_user_id: str | None) -> int:
    """
    Test one connection on its platform now.

    It spends a request of the platform's quota. What it shows is recorded as after any other test. Exit status
    1 when the connection is broken, or the test could not be done.
    """
    config = session.config()
    names = [each.name for each in config.accounts]
    if account is not None and account not in names:
        raise ConfigError(f"no account {account!r}; want one of {', '.join(names)}")
    with session.existing(config):
        pass
    from monitor.app import assemble, bench_of
    from monitor.jobs.probe import try_one

    app = assemble(config)
    try:
        target, known = _the_one(app, platform_id, account, managed_user_id)
        platform = known.connection.platform
        if platform in UNTESTABLE:
            say(f"{_name(target, known)}: not tested: {UNTESTABLE[platform]}")
            return 0
        tried = try_one(bench_of(app), target, known)
    finally:
        app.close()
    say(f"{_name(target, known)}: {_outcome(tried)}")
    return 1 if tried.failure or tried.meaning is Meaning.BROKEN else 0


def _the_one(
    app: "App", platform_id: str, account: str | None, managed_user_id: str | None
) -> "tuple[Target, KnownConnection]":
    from monitor.storage import probing

    with app.database.read() as store:
        found = probing.named(store.connection, platform_id, account=account, managed_user_id=managed_user_id)
    found = [each for each in found if each[0].account in app.providers]
    if not found:
        raise StorageError(
            f"no connection {one_line(platform_id, 80)!r} is listed; `postpost-monitor status` shows those that are"
        )
    if len(found) > 1:
        places = ", ".join(
            f"--account {target.account}"
            + (f" --managed-user {target.managed_user_id}" if target.managed_user_id else "")
            for target, _ in found[:5]
        )
        raise click.UsageError(
            f"{one_line(platform_id, 80)!r} is listed {len(found)} times; say which: {places}."
        )
    return found[0]


def _name(target: "Target", known: "KnownConnection") -> str:
    seen = known.connection
    user = target.managed_user or target.managed_user_id
    place = f"{target.account}, {user}" if user else target.account
    return one_line(f"{platform_name(seen.platform)} {seen.name} ({place})")


def _outcome(tried: "Tried") -> str:
    if tried.failure:
        return f"the test could not be done: {tried.failure.error}; {tried.failure.remedy}"
    said = one_line(tried.trial.message) if tried.trial else ""
    if tried.meaning is Meaning.PASSED:
        return f"it works ({said})" if said else "it works"
    if tried.meaning is Meaning.BROKEN:
        return f"broken: {said or 'no reason given'}"
    return f"this proves nothing, it can't be tested this way or not now: {said or 'no reason given'}"
