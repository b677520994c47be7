"""Workspaces that behave oddly: outages, odd lists, odd headers, clocks that jump; on both databases."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.jobs.survey import survey
from monitor.sandbox.faults import Fault
from monitor.storage import Database, registration, workspaces
from tests.agency import KEY, Agency, add_user, agency, profile
from tests.factories import DAY, HOUR, MINUTE, NOW

SECOND = timedelta(seconds=1)
STEP = 5 * MINUTE
USERS = "/api/v1/workspace/users"
AS_THE_BRAND_HAS_IT: dict[str, Any] = {"polling": {}}


def user_ids(house: Agency) -> list[str]:
    return list(house.world.account().users)


def list_shows(house: Agency, users: object) -> None:
    house.server.faults.clear()
    house.server.faults.put(Fault(path=USERS, body=json.dumps({"users": users}).encode()))


def watched(house: Agency) -> list[str]:
    """Name who is polled, each as often as it is; the account itself is ""."""
    with house.database.read() as store:
        return sorted(target.managed_user_id or "" for target in store.watched())


# Lists that are short after an outage


def test_an_outage_of_days_does_not_make_an_empty_list_of_users_believable(database: Database) -> None:
    with agency(database, users=20) as house:
        house.live(21 * MINUTE, step=STEP)
        house.server.faults.put(Fault(path=USERS, status=500, body=b"{}"))
        house.live(2 * DAY, step=2 * HOUR)
        list_shows(house, [])
        house.live(6 * HOUR, step=15 * MINUTE)
        assert len(watched(house)) == 21
        [incident] = house.rows("incident_log")  # however the list fails, it is one problem
        assert incident["resolved_at"] is None
        assert len(house.ops.sent) == 1
        house.live(20 * HOUR, step=15 * MINUTE)
        assert watched(house) == [""]


def test_an_outage_of_days_does_not_make_an_empty_list_of_connections_believable(database: Database) -> None:
    with agency(database, given={"managed_users": "none"}) as house:
        for n in range(5):
            house.world.add_connection(profile(house.world, f"linkedin-{n}", 60 * DAY))
        house.live(21 * MINUTE, step=STEP)
        house.server.faults.put(Fault(status=503, body=b"{}"))
        house.live(2 * DAY, step=2 * HOUR)
        house.server.faults.clear()
        house.server.faults.put(Fault(body=b'{"success": true, "connections": []}'))
        house.live(6 * HOUR, step=15 * MINUTE)
        assert house.rows("current_connections", "WHERE removed_at IS NOT NULL") == []
        house.live(20 * HOUR, step=15 * MINUTE)
        assert len(house.rows("current_connections", "WHERE removed_at IS NOT NULL")) == 5


def test_users_are_polled_on_for_as_long_as_their_list_cannot_be_had(database: Database) -> None:
    with agency(database, users=5) as house:
        house.live(21 * MINUTE, step=STEP)
        house.server.faults.put(Fault(path=USERS, status=500, body=b"{}"))
        house.live(4 * DAY, step=4 * HOUR)
        house.forget_requests()
        house.live(31 * MINUTE, step=STEP)
        assert set(house.asked()) == {"", *user_ids(house)}
        assert len(house.ops.sent) == 1
        add_user(house.world, 77)
        house.server.faults.clear()
        house.live(31 * MINUTE, step=STEP)
        assert len(watched(house)) == 7
        assert len(house.ops.sent) == 2


# Ids, names and shapes


def test_an_id_is_the_same_in_upper_and_lower_case(database: Database) -> None:
    with agency(database, users=2) as house:
        one, other = user_ids(house)
        upper = [{"_id": one.upper(), "displayName": "North"}, {"_id": other.upper(), "displayName": "South"}]
        house.given = {"managed_users": [one.upper()], "include_owner": False}
        house.start()
        list_shows(house, upper)
        with capture_logs() as lines:
            house.live(HOUR, step=STEP)
        assert [line for line in lines if line["event"] == "workspace.unmanaged"] == []
        assert {row["managed_user"] for row in house.rows("current_connections")} == {"North"}
        house.given = {}
        house.start()
        house.live(HOUR, step=STEP)
        list_shows(house, [{"_id": one}, {"_id": other}, {"_id": one.upper()}])
        house.live(HOUR, step=STEP)
        assert watched(house) == sorted(["", one, other])
        assert house.rows("incident_log") == []


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        "507f1f77bcf86cd799439011",
        [],
        {},
        {"_id": None, "username": "x"},
        {"_id": {"$oid": "507f1f77bcf86cd799439011"}},
        {"_id": "a\r\nX-Evil: 1"},
        {"_id": "x" * 300},
        {"_id": 507},
    ],
    ids=lambda odd: json.dumps(odd)[:40],
)
def test_an_entry_that_is_none_costs_no_other_and_detaches_nobody(database: Database, odd: object) -> None:
    with agency(database, users=3) as house:
        house.live(21 * MINUTE, step=STEP)
        users = [{"_id": user} for user in user_ids(house)]
        list_shows(house, [users[0], odd, *users[1:], users[0], odd])
        house.live(HOUR, step=STEP)
        assert watched(house) == sorted(["", *user_ids(house)])
        assert house.rows("incident_log") == []


HOSTILE = (
    "Acme\r\nBcc: everybody@example.com",
    "<!channel> @everyone <@U1> <script>alert(1)</script>",
    '=HYPERLINK("http://evil.example")',
    "\u202egnirts\u202c \x1b[31mred\x1b[0m",
    "{{ 7 * 7 }} ${HOME} %s {managed_user.id}",
    "\ud800 half an emoji",
    "n" * 5000,
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_forges_no_line_and_mentions_nobody(database: Database, name: str) -> None:
    with agency(database, users=1) as house:
        [user] = user_ids(house)
        list_shows(house, [{"_id": user, "displayName": name, "username": name}])
        house.world.expire("linkedin-00000", user=user)
        house.live(21 * MINUTE, step=STEP)
        [told] = house.ops.sent
        for text in (told.title, *told.body.splitlines()):
            assert len(text) < 1000
            assert not set(text) & set("\r\x1b\u202e\ud800")
        assert "\n" not in told.title
        assert not any(line.startswith("Bcc:") for line in told.body.splitlines())
        assert "@everyone" not in told.body
        assert "<!channel>" not in told.body


def test_the_owner_among_the_managed_users_is_said_once(database: Database) -> None:
    with agency(database, users=2, given={"managed_users": "all"}) as house:
        owner = house.world.account().owner.id
        house.world.add_connection(profile(house.world, "twitter-1"))
        list_shows(house, [{"_id": owner}, *({"_id": user} for user in user_ids(house))])
        with capture_logs() as lines:
            house.live(3 * HOUR, step=STEP)
        said = [line for line in lines if line["event"] == "workspace.owner_listed"]
        assert [(line["managed_user_id"], line["log_level"]) for line in said] == [(owner, "warning")]
        assert "include_owner: false" in said[0]["remedy"]


def test_users_without_connections_are_not_taken_for_the_owner(database: Database) -> None:
    with agency(database, users=0) as house:
        for n in range(3):
            house.world.add_user(f"client{n}@example.com")
        with capture_logs() as lines:
            house.live(2 * HOUR, step=STEP)
        assert len(watched(house)) == 4
        assert [line for line in lines if line["event"] == "workspace.owner_listed"] == []


@pytest.mark.parametrize(
    "touched",
    [
        lambda connection, ids: registration.detach(connection, ids, NOW),
        lambda connection, ids: workspaces.miss(connection, ids, NOW),
        lambda connection, ids: workspaces.remove_connections(connection, ids, NOW),
        workspaces.open_incidents,
    ],
    ids=["detach", "miss", "remove", "incidents"],
)
def test_more_users_than_a_statement_takes_values_are_no_trouble(
    database: Database, touched: Callable[[Any, list[int]], object]
) -> None:
    with database.begin() as store:
        targets = registration.attach(store.connection, [("agency", f"{n:024x}") for n in range(3)], NOW)
        touched(store.connection, [*(each.id for each in targets), *range(1000, 71_000)])


def test_a_key_that_was_never_good_is_told_of_though_there_is_nobody_to_poll(database: Database) -> None:
    with agency(database, users=3, given={"include_owner": False}) as house:
        house.world.replace_key("sk_other1_00ff.11ee")
        house.live(HOUR, step=STEP)
        house.forget_requests()
        house.live(4 * HOUR, step=STEP)
        assert 14 <= len(house.server.requests) <= 17  # one an interval
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["severity"]) == ("api_key_rejected", "critical")
        assert len(house.ops.sent) == 1
        house.world.replace_key(KEY, "sk_other1_00ff.11ee")
        house.live(HOUR, step=STEP)
        assert len(watched(house)) == 3
        assert set(house.asked()) == set(user_ids(house))
        assert len(house.ops.sent) == 2


# Two accounts, one key


def test_accounts_with_one_key_share_its_requests(database: Database) -> None:
    with agency(
        database, users=100, requests_per_minute=30, given={"every": "5m"}, more=AS_THE_BRAND_HAS_IT
    ) as house:
        users = user_ids(house)
        accounts = [
            {"name": name, "base_url": house.server.url, "api_key_env": "KEY", "managed_users": some}
            | {"include_owner": False, "every": "5m"}
            for name, some in (("north", users[:50]), ("south", users[50:]))
        ]
        polling = {"polling": {"requests_per_minute": 30}}
        house.more = {**AS_THE_BRAND_HAS_IT, "accounts": accounts, **polling}
        house.start()
        began_at = house.clock()
        for _ in range(5 * 30 + 20):
            house.clock.advance(2 * SECOND)
            survey(house.office)
            house.dispatch()
        paces = house.app.budgets.paces()
        assert [(pace.account, pace.targets) for pace in paces] == [("north", 100), ("south", 100)]
        assert all(3.4 * MINUTE < pace.kept <= 5 * MINUTE for pace in paces)
        by_minute = Counter((each.at - began_at) // MINUTE for each in house.server.requests)
        assert max(by_minute.values()) <= 30
        assert house.rows("poll_log", "WHERE outcome = 'rate_limited'") == []
        assert set(house.asked()) == set(users)


def test_what_two_accounts_cannot_keep_together_is_told_of_both(database: Database) -> None:
    with agency(database, users=4, more=AS_THE_BRAND_HAS_IT) as house:
        users = user_ids(house)
        accounts = [
            {"name": name, "base_url": house.server.url, "api_key_env": "KEY", "managed_users": some}
            | {"include_owner": False, "every": "1m"}
            for name, some in (("north", users[:2]), ("south", users[2:]))
        ]
        house.more = {"accounts": accounts, "polling": {"requests_per_minute": 2}}
        house.start()
        assert [(each.account, each.is_stretched) for each in house.app.budgets.news()] == [
            ("north", True),
            ("south", True),
        ]


# Budgets


def test_one_request_a_minute_is_enough_for_a_few_users(database: Database) -> None:
    given = {"every": "30m", "discover_every": "30m"}
    more = {"polling": {"requests_per_minute": 1}}
    with agency(database, users=12, requests_per_minute=1, given=given, more=more) as house:
        house.live(2 * HOUR, step=20 * SECOND)
        asked = house.asked()
        assert set(asked) == {"", *user_ids(house)}
        assert min(asked.values()) >= 3
        assert len(house.server.requests) <= 2 * 60
        assert house.rows("poll_log", "WHERE outcome = 'rate_limited'") == []
        assert house.ops.sent == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Limit": "0", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"},
        {"X-RateLimit-Limit": "-1", "X-RateLimit-Remaining": "-5", "X-RateLimit-Reset": "-3600"},
        {"X-RateLimit-Limit": "1e9", "X-RateLimit-Remaining": "NaN", "X-RateLimit-Reset": "inf"},
        {"X-RateLimit-Limit": "999999999999999999999", "X-RateLimit-Reset": "9" * 400},
        {"X-RateLimit-Limit": "100, 100;w=60", "X-RateLimit-Remaining": "many"},
        {"X-RateLimit-Limit": "\u0663\u0660".encode().decode("latin-1"), "X-RateLimit-Remaining": ""},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "yesterday"},
        {"X-RateLimit-Limit": "999999999", "X-RateLimit-Remaining": "999999999"},
    ],
    ids=range(8),
)
def test_nonsense_in_the_headers_of_a_limit_stops_nobody(database: Database, headers: dict[str, str]) -> None:
    with agency(database, users=20, more=AS_THE_BRAND_HAS_IT) as house:
        house.server.faults.put(Fault(path="/api/v1/platform-connections", headers=headers))
        house.live(40 * MINUTE, step=20 * SECOND)
        asked = house.asked()
        assert set(asked) == {"", *user_ids(house)}
        assert min(asked.values()) >= 2
        assert house.app.budgets.paces()[0].kept == 15 * MINUTE
        assert house.ops.sent == []


@pytest.mark.parametrize("scale", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_window_that_is_used_up_is_waited_for_though_no_limit_is_named(
    database: Database, scale: int
) -> None:
    with agency(database, users=60, given={"every": "1m"}, more=AS_THE_BRAND_HAS_IT) as house:
        house.live(2 * MINUTE, step=2 * SECOND)
        until = house.clock() + 40 * SECOND
        used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{until.timestamp() * scale:.0f}"}
        house.server.faults.put(Fault(path="/api/v1/platform-connections", headers=used_up, times=5))
        house.live(10 * SECOND, step=2 * SECOND)
        house.server.faults.clear()
        house.forget_requests()
        house.live(24 * SECOND, step=2 * SECOND)
        assert house.polls == []
        house.live(20 * SECOND, step=2 * SECOND)
        assert house.polls != []


# Clocks


def test_a_clock_that_is_set_back_puts_off_no_list_of_users(database: Database) -> None:
    with agency(database, users=3) as house:
        house.live(21 * MINUTE, step=STEP)
        house.clock.advance(-30 * DAY)
        house.forget_requests()
        add_user(house.world, 88)
        survey(house.office)
        assert [each.path for each in house.server.requests] == [USERS]
        assert len(watched(house)) == 5


def test_a_user_that_goes_and_comes_again_and_again_is_told_as_often_as_it_matters(
    database: Database,
) -> None:
    with agency(database, users=6) as house:
        house.live(21 * MINUTE, step=STEP)
        user = user_ids(house)[2]
        person = house.world.account().users[user]
        for _ in range(8):
            house.world.remove_user(user)
            house.live(HOUR, step=STEP)
            house.world.account().users[user] = person
            house.live(HOUR, step=STEP)
        [connection] = house.rows("current_connections", f"WHERE managed_user_id = '{user}'")
        assert connection["removed_at"] is None
        with house.database.read() as store:
            same = [each for each in store.watched() if each.managed_user_id == user]
        assert len(same) == 1
        assert len(house.ops.sent) <= 8
        house.live(DAY, step=HOUR)
        assert house.rows("incident_log", "WHERE resolved_at IS NULL") == []
