"""A key that the server asked to wait: every request of it waits, whatever asks and whatever was refused."""

import json
from datetime import timedelta

import pytest

from monitor.app import bench_of
from monitor.core.model import Target
from monitor.jobs.probe import probe
from monitor.jobs.survey import survey
from monitor.sandbox.faults import Fault
from monitor.storage import Database
from tests.agency import SECOND, Agency, agency, profile
from tests.factories import HOUR, MINUTE

ASKS_ALL = {"reconnect_links": "create", "probe": {"every": "1h", "per_hour": 360}}
# Enough for all in a moment: what isn't asked then waits for another reason.
MANY = {"polling": {"requests_per_minute": 6000}}


def poll(house: Agency) -> None:
    with house.database.begin() as store:
        store.pull_in("agency", latest=house.clock())
    house.dispatch()


def list_users(house: Agency) -> None:
    survey(house.office, force=True)


def make_link(house: Agency) -> None:
    with house.database.read() as store:
        user = next(each for each in store.watched() if each.managed_user_id)
    house.app.post.link_of(Target(id=user.id, account="agency", managed_user_id=user.managed_user_id))


def try_connection(house: Agency) -> None:
    probe(bench_of(house.app))


REQUESTS = {
    "a poll": (poll, "/platform-connections"),
    "the user list": (list_users, "/workspace/users"),
    "a reconnect link": (make_link, "/connection-url"),
    "a connection test": (try_connection, "/test-connection/"),
}
EVERYTHING = pytest.mark.parametrize("refused", REQUESTS)


def watched(house: Agency) -> None:
    """Poll one managed user and the account, whose Mastodon connection can be tested."""
    house.world.add_connection(profile(house.world, "mastodon-1", None, username="bakery"))
    house.tick()
    house.clock.advance(2 * MINUTE)
    has_no_link(house)
    list_users(house)
    house.forget_requests()


def has_no_link(house: Agency) -> None:
    for user in house.world.account().users.values():
        user.link_url = None


def seen(house: Agency) -> list[str]:
    return [each.path for each in house.server.requests]


@EVERYTHING
def test_after_a_429_to_any_request_every_request_of_the_key_waits(database: Database, refused: str) -> None:
    send, path = REQUESTS[refused]
    with agency(database, users=1, given=ASKS_ALL, more=MANY) as house:
        watched(house)
        house.server.faults.put(Fault(status=429, headers={"Retry-After": "300"}, body=b"{}"))
        send(house)
        assert path in seen(house)[0]
        house.server.faults.clear()
        house.forget_requests()
        house.clock.advance(299 * SECOND)
        for ask, _ in REQUESTS.values():
            ask(house)
        assert seen(house) == []
        # What couldn't be made or tested has its own time to be tried again.
        house.clock.advance(2 * HOUR)
        has_no_link(house)
        for ask, wanted in REQUESTS.values():
            ask(house)
            assert wanted in seen(house)[-1]


def test_the_daemon_sends_nothing_until_the_pause_is_over(database: Database) -> None:
    given = ASKS_ALL | {"every": "1m", "discover_every": "1m"}
    with agency(database, users=3, given=given, more=MANY) as house:
        house.live(2 * MINUTE)
        house.server.faults.put(Fault(status=429, headers={"Retry-After": "600"}, body=b"{}", times=1))
        house.live(MINUTE)
        limited_at = min(each.at for each in house.server.requests if each.at > house.clock() - MINUTE)
        house.forget_requests()
        house.live(9 * MINUTE - 20 * SECOND)
        assert seen(house) == []
        house.live(2 * MINUTE)
        assert {path.rpartition("/")[2] for path in seen(house)} == {"platform-connections", "users"}
        assert min(each.at for each in house.server.requests) >= limited_at + 10 * MINUTE


def test_accounts_with_one_key_wait_together(database: Database) -> None:
    with agency(database, users=2) as house:
        shared = {"base_url": house.server.url, "api_key_env": "KEY", "managed_users": "all"}
        house.more = {"accounts": [shared | {"name": name} for name in ("north", "south")]}
        house.start()
        house.server.faults.put(Fault(status=429, headers={"Retry-After": "60"}, body=b"{}"))
        survey(house.office, force=True)
        assert len(seen(house)) == 1


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
    with agency(database, users=1, more=MANY) as house:
        watched(house)
        house.server.faults.put(Fault(status=429, headers=headers, body=json.dumps(body).encode(), times=1))
        poll(house)
        refused_at = house.server.requests[-1].at
        house.forget_requests()
        house.clock.now = refused_at + wait - SECOND
        list_users(house)
        assert seen(house) == []
        house.clock.now = refused_at + wait + SECOND
        list_users(house)
        assert seen(house) == ["/api/v1/workspace/users"]


def test_both_providers_have_300_requests_a_minute_by_default(database: Database) -> None:
    for brand in ("postpost", "publora"):
        with agency(database, brand=brand, more={"polling": {}}) as house:
            assert [pace.per_minute for pace in house.app.budgets.paces()] == [300]
