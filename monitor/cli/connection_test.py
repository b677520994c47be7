"""test-connection: test one connection on its platform."""

from typing import TYPE_CHECKING

import click

from monitor.cli.session import Session, pass_session
from monitor.cli.tables import print_line
from monitor.core.messages.phrases import platform_name
from monitor.core.model import ConnectionTestResult
from monitor.core.rules.connection_test import UNTESTABLE
from monitor.core.text import one_line
from monitor.errors import FetchError, StorageError

if TYPE_CHECKING:
    from monitor.app import App
    from monitor.core.model import ConnectionState, Target


@click.command("test-connection")
@click.argument("platform_id")
@click.option("--account", metavar="NAME", help="The account, if several list the connection.")
@click.option("--managed-user", "managed_user_id", metavar="ID", help="The managed user that it belongs to.")
@pass_session
def run_test(session: Session, platform_id: str, account: str | None, managed_user_id: str | None) -> int:
    """
    Test one connection on its platform.

    It uses one request of the platform's quota and records the result. Exit status 1 if the connection is broken
    or could not be tested.
    """
    config = session.config(account=account)
    with session.open_database(config):
        pass
    from monitor.app import build_app
    from monitor.jobs.connection_tests import run_connection_test

    app = build_app(config)
    try:
        target, known = _find_one(app, platform_id, account, managed_user_id)
        platform = known.connection.platform
        if platform in UNTESTABLE:
            print_line(f"{_name(target, known)}: not tested: {UNTESTABLE[platform]}")
            return 0
        tried = run_connection_test(app.context, target, known)
    finally:
        app.close()
    said = one_line(tried.response.message) if tried.response else ""
    if tried.failure:
        outcome = f"the test could not be done: {FetchError(tried.failure)}"
    elif tried.result is ConnectionTestResult.PASSED:
        outcome = f"it works ({said})" if said else "it works"
    elif tried.result is ConnectionTestResult.FAILED:
        outcome = f"broken: {said or 'no reason given'}"
    else:
        outcome = (
            f"no result, the connection can't be tested this way or not now: {said or 'no reason given'}"
        )
    print_line(f"{_name(target, known)}: {outcome}")
    return 1 if tried.failure or tried.result is ConnectionTestResult.FAILED else 0


def _find_one(
    app: "App", platform_id: str, account: str | None, managed_user_id: str | None
) -> "tuple[Target, ConnectionState]":
    from monitor.storage import connection_tests

    with app.database.read() as store:
        found = connection_tests.find_connections(
            store, platform_id, account=account, managed_user_id=managed_user_id
        )
    found = [each for each in found if each[0].account in app.context.providers]
    if not found:
        raise StorageError(
            f"no connection {one_line(platform_id, 80)!r}; `postpost-monitor status` lists the connections"
        )
    if len(found) > 1:
        places = ", ".join(
            f"--account {target.account}"
            + (f" --managed-user {target.managed_user_id}" if target.managed_user_id else "")
            for target, _ in found[:5]
        )
        raise click.UsageError(
            f"{one_line(platform_id, 80)!r} is listed {len(found)} times; name one: {places}."
        )
    return found[0]


def _name(target: "Target", known: "ConnectionState") -> str:
    seen = known.connection
    user = target.managed_user or target.managed_user_id
    place = f"{target.account}, {user}" if user else target.account
    return one_line(f"{platform_name(seen.platform)} {seen.name} ({place})")
