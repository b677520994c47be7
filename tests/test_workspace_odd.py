"""Workspaces that behave oddly: outages, odd lists, odd headers, clocks that jump; on both databases."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.jobs.sync_workspace import sync_workspaces
from monitor.storage import managed_users, registration
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.sandbox.faults import Fault
from tests.workspace_simulator import KEY, WorkspaceSimulator, add_user, profile, workspace_simulator

SECOND = timedelta(seconds=1)
STEP = 5 * MINUTE
USERS = "/api/v1/workspace/users"
AS_THE_BRAND_HAS_IT: dict[str, Any] = {"polling": {}}


def user_ids(simulator: WorkspaceSimulator) -> list[str]:
    return list(simulator.fake_service.account().users)


def list_shows(simulator: WorkspaceSimulator, users: object) -> None:
    simulator.server.faults.clear()
    simulator.server.faults.set(Fault(path=USERS, body=json.dumps({"users": users}).encode()))


def watched(simulator: WorkspaceSimulator) -> list[str]:
    """Name who is polled, each as often as it is; the account itself is ""."""
    with simulator.database.read() as store:
        return sorted(target.managed_user_id or "" for target in store.active_targets())


# Lists that are short after an outage


def test_an_outage_of_days_does_not_make_an_empty_list_of_users_believable(database: Database) -> None:
    with workspace_simulator(database, users=20) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.server.faults.set(Fault(path=USERS, status=500, body=b"{}"))
        simulator.advance(2 * DAY, step=2 * HOUR)
        list_shows(simulator, [])
        simulator.advance(6 * HOUR, step=15 * MINUTE)
        assert len(watched(simulator)) == 21
        [incident] = simulator.rows("incident_log")  # however the list fails, it is one problem
        assert incident["resolved_at"] is None
        assert len(simulator.ops.sent) == 1
        simulator.advance(20 * HOUR, step=15 * MINUTE)
        assert watched(simulator) == [""]


def test_an_outage_of_days_does_not_make_an_empty_list_of_connections_believable(database: Database) -> None:
    with workspace_simulator(database, given={"managed_users": "none"}) as simulator:
        for n in range(5):
            simulator.fake_service.add_connection(profile(simulator.fake_service, f"linkedin-{n}", 60 * DAY))
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.server.faults.set(Fault(status=503, body=b"{}"))
        simulator.advance(2 * DAY, step=2 * HOUR)
        simulator.server.faults.clear()
        simulator.server.faults.set(Fault(body=b'{"success": true, "connections": []}'))
        simulator.advance(6 * HOUR, step=15 * MINUTE)
        assert simulator.rows("current_connections", "WHERE removed_at IS NOT NULL") == []
        simulator.advance(20 * HOUR, step=15 * MINUTE)
        assert len(simulator.rows("current_connections", "WHERE removed_at IS NOT NULL")) == 5


def test_users_are_polled_on_for_as_long_as_their_list_cannot_be_had(database: Database) -> None:
    with workspace_simulator(database, users=5) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.server.faults.set(Fault(path=USERS, status=500, body=b"{}"))
        simulator.advance(4 * DAY, step=4 * HOUR)
        simulator.forget_requests()
        simulator.advance(31 * MINUTE, step=STEP)
        assert set(simulator.asked()) == {"", *user_ids(simulator)}
        assert len(simulator.ops.sent) == 1
        add_user(simulator.fake_service, 77)
        simulator.server.faults.clear()
        simulator.advance(31 * MINUTE, step=STEP)
        assert len(watched(simulator)) == 7
        assert len(simulator.ops.sent) == 2


# Ids, names and shapes


def test_an_id_is_the_same_in_upper_and_lower_case(database: Database) -> None:
    with workspace_simulator(database, users=2) as simulator:
        one, other = user_ids(simulator)
        upper = [{"_id": one.upper(), "displayName": "North"}, {"_id": other.upper(), "displayName": "South"}]
        simulator.given = {"managed_users": [one.upper()], "include_owner": False}
        simulator.start()
        list_shows(simulator, upper)
        with capture_logs() as lines:
            simulator.advance(HOUR, step=STEP)
        assert [line for line in lines if line["event"] == "workspace.user_not_managed"] == []
        assert {row["managed_user"] for row in simulator.rows("current_connections")} == {"North"}
        simulator.given = {}
        simulator.start()
        simulator.advance(HOUR, step=STEP)
        list_shows(simulator, [{"_id": one}, {"_id": other}, {"_id": one.upper()}])
        simulator.advance(HOUR, step=STEP)
        assert watched(simulator) == sorted(["", one, other])
        assert simulator.rows("incident_log") == []


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
    with workspace_simulator(database, users=3) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        users = [{"_id": user} for user in user_ids(simulator)]
        list_shows(simulator, [users[0], odd, *users[1:], users[0], odd])
        simulator.advance(HOUR, step=STEP)
        assert watched(simulator) == sorted(["", *user_ids(simulator)])
        assert simulator.rows("incident_log") == []


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
    with workspace_simulator(database, users=1) as simulator:
        [user] = user_ids(simulator)
        list_shows(simulator, [{"_id": user, "displayName": name, "username": name}])
        simulator.fake_service.expire("linkedin-00000", user=user)
        simulator.advance(21 * MINUTE, step=STEP)
        [notified] = simulator.ops.sent
        for text in (notified.title, *notified.body.splitlines()):
            assert len(text) < 1000
            assert not set(text) & set("\r\x1b\u202e\ud800")
        assert "\n" not in notified.title
        assert not any(line.startswith("Bcc:") for line in notified.body.splitlines())
        assert "@everyone" not in notified.body
        assert "<!channel>" not in notified.body


def test_the_owner_among_the_managed_users_is_said_once(database: Database) -> None:
    with workspace_simulator(database, users=2, given={"managed_users": "all"}) as simulator:
        owner = simulator.fake_service.account().owner.id
        simulator.fake_service.add_connection(profile(simulator.fake_service, "twitter-1"))
        list_shows(simulator, [{"_id": owner}, *({"_id": user} for user in user_ids(simulator))])
        with capture_logs() as lines:
            simulator.advance(3 * HOUR, step=STEP)
        said = [line for line in lines if line["event"] == "workspace.owner_listed"]
        assert [(line["managed_user_id"], line["log_level"]) for line in said] == [(owner, "warning")]
        assert "include_owner: false" in said[0]["remedy"]


def test_users_without_connections_are_not_taken_for_the_owner(database: Database) -> None:
    with workspace_simulator(database, users=0) as simulator:
        for n in range(3):
            simulator.fake_service.add_user(f"client{n}@example.com")
        with capture_logs() as lines:
            simulator.advance(2 * HOUR, step=STEP)
        assert len(watched(simulator)) == 4
        assert [line for line in lines if line["event"] == "workspace.owner_listed"] == []


@pytest.mark.parametrize(
    "touched",
    [
        lambda connection, ids: registration.deactivate(connection, ids, NOW),
        lambda connection, ids: managed_users.mark_missing(connection, ids, NOW),
        lambda connection, ids: managed_users.remove_connections(connection, ids, NOW),
        managed_users.open_incidents,
    ],
    ids=["detach", "miss", "remove", "incidents"],
)
def test_more_users_than_a_statement_takes_values_are_no_trouble(
    database: Database, touched: Callable[[Any, list[int]], object]
) -> None:
    with database.begin() as store:
        targets = registration.activate(store, [("agency", f"{n:024x}") for n in range(3)], NOW)
        touched(store, [*(each.id for each in targets), *range(1000, 71_000)])


def test_a_key_that_was_never_good_is_told_of_though_there_is_nobody_to_poll(database: Database) -> None:
    with workspace_simulator(database, users=3, given={"include_owner": False}) as simulator:
        simulator.fake_service.replace_key("sk_other1_00ff.11ee")
        simulator.advance(HOUR, step=STEP)
        simulator.forget_requests()
        simulator.advance(4 * HOUR, step=STEP)
        assert 14 <= len(simulator.server.requests) <= 17  # one an interval
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["severity"]) == ("api_key_rejected", "critical")
        assert len(simulator.ops.sent) == 1
        simulator.fake_service.replace_key(KEY, "sk_other1_00ff.11ee")
        simulator.advance(HOUR, step=STEP)
        assert len(watched(simulator)) == 3
        assert set(simulator.asked()) == set(user_ids(simulator))
        assert len(simulator.ops.sent) == 2


# Two accounts, one key


def test_accounts_with_one_key_share_its_requests(database: Database) -> None:
    with workspace_simulator(
        database, users=100, requests_per_minute=30, given={"every": "5m"}, more=AS_THE_BRAND_HAS_IT
    ) as simulator:
        users = user_ids(simulator)
        accounts = [
            {"name": name, "base_url": simulator.server.url, "api_key_env": "KEY", "managed_users": some}
            | {"include_owner": False, "every": "5m"}
            for name, some in (("north", users[:50]), ("south", users[50:]))
        ]
        polling = {"polling": {"requests_per_minute": 30}}
        simulator.more = {**AS_THE_BRAND_HAS_IT, "accounts": accounts, **polling}
        simulator.start()
        began_at = simulator.clock()
        for _ in range(5 * 30 + 20):
            simulator.clock.advance(2 * SECOND)
            sync_workspaces(simulator.context)
            simulator.dispatch()
        rates = simulator.context.rate_limits.rates()
        assert [(rate.account, rate.targets) for rate in rates] == [("north", 100), ("south", 100)]
        assert all(3.4 * MINUTE < rate.effective_interval <= 5 * MINUTE for rate in rates)
        by_minute = Counter((each.at - began_at) // MINUTE for each in simulator.server.requests)
        assert max(by_minute.values()) <= 30
        assert simulator.rows("poll_log", "WHERE outcome = 'rate_limited'") == []
        assert set(simulator.asked()) == set(users)


def test_what_two_accounts_cannot_keep_together_is_told_of_both(database: Database) -> None:
    with workspace_simulator(database, users=4, more=AS_THE_BRAND_HAS_IT) as simulator:
        users = user_ids(simulator)
        accounts = [
            {"name": name, "base_url": simulator.server.url, "api_key_env": "KEY", "managed_users": some}
            | {"include_owner": False, "every": "1m"}
            for name, some in (("north", users[:2]), ("south", users[2:]))
        ]
        simulator.more = {"accounts": accounts, "polling": {"requests_per_minute": 2}}
        simulator.start()
        assert [
            (each.account, each.is_limited) for each in simulator.context.rate_limits.changed_rates()
        ] == [
            ("north", True),
            ("south", True),
        ]


# Budgets


def test_one_request_a_minute_is_enough_for_a_few_users(database: Database) -> None:
    given = {"every": "30m", "discover_every": "30m"}
    more = {"polling": {"requests_per_minute": 1}}
    with workspace_simulator(database, users=12, requests_per_minute=1, given=given, more=more) as simulator:
        simulator.advance(2 * HOUR, step=20 * SECOND)
        asked = simulator.asked()
        assert set(asked) == {"", *user_ids(simulator)}
        assert min(asked.values()) >= 3
        assert len(simulator.server.requests) <= 2 * 60
        assert simulator.rows("poll_log", "WHERE outcome = 'rate_limited'") == []
        assert simulator.ops.sent == []


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
    with workspace_simulator(database, users=20, more=AS_THE_BRAND_HAS_IT) as simulator:
        simulator.server.faults.set(Fault(path="/api/v1/platform-connections", headers=headers))
        simulator.advance(40 * MINUTE, step=20 * SECOND)
        asked = simulator.asked()
        assert set(asked) == {"", *user_ids(simulator)}
        assert min(asked.values()) >= 2
        assert simulator.context.rate_limits.rates()[0].effective_interval == 15 * MINUTE
        assert simulator.ops.sent == []


@pytest.mark.parametrize("scale", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_window_that_is_used_up_is_waited_for_though_no_limit_is_named(
    database: Database, scale: int
) -> None:
    with workspace_simulator(
        database, users=60, given={"every": "1m"}, more=AS_THE_BRAND_HAS_IT
    ) as simulator:
        simulator.advance(2 * MINUTE, step=2 * SECOND)
        until = simulator.clock() + 40 * SECOND
        used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{until.timestamp() * scale:.0f}"}
        simulator.server.faults.set(Fault(path="/api/v1/platform-connections", headers=used_up, times=5))
        simulator.advance(10 * SECOND, step=2 * SECOND)
        simulator.server.faults.clear()
        simulator.forget_requests()
        simulator.advance(24 * SECOND, step=2 * SECOND)
        assert simulator.polls == []
        simulator.advance(20 * SECOND, step=2 * SECOND)
        assert simulator.polls != []


# Clocks


def test_a_clock_that_is_set_back_puts_off_no_list_of_users(database: Database) -> None:
    with workspace_simulator(database, users=3) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.clock.advance(-30 * DAY)
        simulator.forget_requests()
        add_user(simulator.fake_service, 88)
        sync_workspaces(simulator.context)
        assert [each.path for each in simulator.server.requests] == [USERS]
        assert len(watched(simulator)) == 5


def test_a_user_that_goes_and_comes_again_and_again_is_told_as_often_as_it_matters(
    database: Database,
) -> None:
    with workspace_simulator(database, users=6) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        user = user_ids(simulator)[2]
        person = simulator.fake_service.account().users[user]
        for _ in range(8):
            simulator.fake_service.remove_user(user)
            simulator.advance(HOUR, step=STEP)
            simulator.fake_service.account().users[user] = person
            simulator.advance(HOUR, step=STEP)
        [connection] = simulator.rows("current_connections", f"WHERE managed_user_id = '{user}'")
        assert connection["removed_at"] is None
        with simulator.database.read() as store:
            same = [each for each in store.active_targets() if each.managed_user_id == user]
        assert len(same) == 1
        assert len(simulator.ops.sent) <= 8
        simulator.advance(DAY, step=HOUR)
        assert simulator.rows("incident_log", "WHERE resolved_at IS NULL") == []
