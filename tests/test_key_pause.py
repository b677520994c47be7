"""A key that the server asked to wait: every request of it waits, whatever asks and whatever was refused."""

import json
from datetime import timedelta

import pytest

from monitor.core.model import Target
from monitor.jobs.connection_tests import run_connection_tests
from monitor.jobs.sync_workspace import sync_workspaces
from monitor.storage.database import Database
from tests.factories import HOUR, MINUTE
from tests.sandbox.faults import Fault
from tests.workspace_simulator import SECOND, WorkspaceSimulator, profile, workspace_simulator

ASKS_ALL = {"reconnect_links": "create", "test_connections": {"every": "1h", "per_hour": 360}}
# Enough for all in a moment: what isn't asked then waits for another reason.
MANY = {"polling": {"requests_per_minute": 6000}}


def poll(simulator: WorkspaceSimulator) -> None:
    with simulator.database.begin() as store:
        store.cap_next_poll("agency", latest=simulator.clock())
    simulator.dispatch()


def list_users(simulator: WorkspaceSimulator) -> None:
    sync_workspaces(simulator.context, force=True)


def make_link(simulator: WorkspaceSimulator) -> None:
    with simulator.database.read() as store:
        user = next(each for each in store.active_targets() if each.managed_user_id)
    simulator.context.reconnect_link(
        Target(id=user.id, account="agency", managed_user_id=user.managed_user_id)
    )


def try_connection(simulator: WorkspaceSimulator) -> None:
    run_connection_tests(simulator.context)


REQUESTS = {
    "a poll": (poll, "/platform-connections"),
    "the user list": (list_users, "/workspace/users"),
    "a reconnect link": (make_link, "/connection-url"),
    "a connection test": (try_connection, "/test-connection/"),
}
EVERYTHING = pytest.mark.parametrize("refused", REQUESTS)


def watched(simulator: WorkspaceSimulator) -> None:
    """Poll one managed user and the account, whose Mastodon connection can be tested."""
    simulator.fake_service.add_connection(
        profile(simulator.fake_service, "mastodon-1", None, username="bakery")
    )
    simulator.tick()
    simulator.clock.advance(2 * MINUTE)
    has_no_link(simulator)
    list_users(simulator)
    simulator.forget_requests()


def has_no_link(simulator: WorkspaceSimulator) -> None:
    for user in simulator.fake_service.account().users.values():
        user.link_url = None


def seen(simulator: WorkspaceSimulator) -> list[str]:
    return [each.path for each in simulator.server.requests]


@EVERYTHING
def test_after_a_429_to_any_request_every_request_of_the_key_waits(database: Database, refused: str) -> None:
    send, path = REQUESTS[refused]
    with workspace_simulator(database, users=1, given=ASKS_ALL, more=MANY) as simulator:
        watched(simulator)
        simulator.server.faults.set(Fault(status=429, headers={"Retry-After": "300"}, body=b"{}"))
        send(simulator)
        assert path in seen(simulator)[0]
        simulator.server.faults.clear()
        simulator.forget_requests()
        simulator.clock.advance(299 * SECOND)
        for ask, _ in REQUESTS.values():
            ask(simulator)
        assert seen(simulator) == []
        # What couldn't be made or tested has its own time to be tried again.
        simulator.clock.advance(2 * HOUR)
        has_no_link(simulator)
        for ask, wanted in REQUESTS.values():
            ask(simulator)
            assert wanted in seen(simulator)[-1]


def test_the_daemon_sends_nothing_until_the_pause_is_over(database: Database) -> None:
    given = ASKS_ALL | {"every": "1m", "discover_every": "1m"}
    with workspace_simulator(database, users=3, given=given, more=MANY) as simulator:
        simulator.advance(2 * MINUTE)
        simulator.server.faults.set(Fault(status=429, headers={"Retry-After": "600"}, body=b"{}", times=1))
        simulator.advance(MINUTE)
        limited_at = min(
            each.at for each in simulator.server.requests if each.at > simulator.clock() - MINUTE
        )
        simulator.forget_requests()
        simulator.advance(9 * MINUTE - 20 * SECOND)
        assert seen(simulator) == []
        simulator.advance(2 * MINUTE)
        assert {path.rpartition("/")[2] for path in seen(simulator)} == {"platform-connections", "users"}
        assert min(each.at for each in simulator.server.requests) >= limited_at + 10 * MINUTE


def test_accounts_with_one_key_wait_together(database: Database) -> None:
    with workspace_simulator(database, users=2) as simulator:
        shared = {"base_url": simulator.server.url, "api_key_env": "KEY", "managed_users": "all"}
        simulator.more = {"accounts": [shared | {"name": name} for name in ("north", "south")]}
        simulator.start()
        simulator.server.faults.set(Fault(status=429, headers={"Retry-After": "60"}, body=b"{}"))
        sync_workspaces(simulator.context, force=True)
        assert len(seen(simulator)) == 1


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({"Retry-After": "90"}, {}, timedelta(seconds=90)),
        ({}, {"retryAfter": 90}, timedelta(seconds=90)),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "90"}, {}, timedelta(seconds=90)),
        ({"Retry-After": "86400"}, {}, timedelta(hours=1)),
        ({}, {}, timedelta(minutes=1)),
    ],
    ids=["Retry-After", "retryAfter", "X-RateLimit-Reset", "a day is cut to an hour", "nothing is a minute"],
)
def test_a_key_waits_for_as_long_as_the_server_says(
    database: Database, headers: dict[str, str], body: object, wait: timedelta
) -> None:
    with workspace_simulator(database, users=1, more=MANY) as simulator:
        watched(simulator)
        simulator.server.faults.set(
            Fault(status=429, headers=headers, body=json.dumps(body).encode(), times=1)
        )
        poll(simulator)
        refused_at = simulator.server.requests[-1].at
        simulator.forget_requests()
        simulator.clock.now = refused_at + wait - SECOND
        list_users(simulator)
        assert seen(simulator) == []
        simulator.clock.now = refused_at + wait + SECOND
        list_users(simulator)
        assert seen(simulator) == ["/api/v1/workspace/users"]


def test_both_providers_have_300_requests_a_minute_by_default(database: Database) -> None:
    for brand in ("postpost", "publora"):
        with workspace_simulator(database, brand=brand, more={"polling": {}}) as simulator:
            assert [rate.per_minute for rate in simulator.context.rate_limits.rates()] == [300]
