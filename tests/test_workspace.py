"""Whole workspaces, against the sandbox as a real server; each on SQLite and on PostgreSQL."""

from collections import Counter
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from structlog.testing import capture_logs

from monitor.jobs.survey import log_pace
from monitor.sandbox.faults import Fault
from monitor.sandbox.world import Shape
from monitor.storage import Database
from tests.agency import KEY, Agency, add_user, agency, profile
from tests.factories import DAY, HOUR, MINUTE

SECOND = timedelta(seconds=1)
STEP = 5 * MINUTE
# As the provider has it, for what is about budgets.
AS_THE_BRAND_HAS_IT: dict[str, Any] = {"polling": {}}
BRANDS = ("postpost", "publora")
both_brands = pytest.mark.parametrize("brand", BRANDS)


def user_ids(house: Agency) -> list[str]:
    return list(house.world.account().users)


def of_users(house: Agency, where: str = "WHERE managed_user_id IS NOT NULL") -> list[dict[str, object]]:
    return house.rows("incident_log", where)


# Discovery


@both_brands
def test_three_hundred_users_come_go_and_change_their_names_while_they_are_watched(
    database: Database, brand: str
) -> None:
    with agency(database, users=300, brand=brand) as house:
        house.live(16 * MINUTE, step=MINUTE)
        assert set(house.asked()) == {"", *user_ids(house)}
        before = user_ids(house)
        house.forget_requests()
        new = [add_user(house.world, n) for n in (1000, 1001)]
        house.world.remove_user(before[7])
        house.world.rename_user(before[8], "renamed@example.com")
        house.live(31 * MINUTE, step=MINUTE)  # the list is asked for, then everybody in it
        assert all(house.asked()[user] >= 1 for user in new)
        house.live(20 * MINUTE, step=MINUTE)
        house.forget_requests()
        house.live(20 * MINUTE, step=MINUTE)
        assert house.asked()[before[7]] == 0
        [gone] = of_users(house)
        assert (gone["managed_user_id"], gone["rule"], gone["resolved_at"]) == (
            before[7],
            "user_not_managed",
            None,
        )
        [told] = house.ops.sent
        assert "Client 7" in told.body
        of_gone = house.rows("current_connections", f"WHERE managed_user_id = '{before[7]}'")
        assert [row["removed_at"] is None for row in of_gone] == [False]
        [renamed] = house.rows("token_transitions", f"WHERE managed_user_id = '{before[8]}'")
        assert renamed["managed_user"] == "renamed@example.com"


def test_a_user_that_comes_back_is_the_same_as_before(database: Database) -> None:
    with agency(database, users=6) as house:
        user = user_ids(house)[2]
        house.live(21 * MINUTE, step=STEP)
        person = house.world.account().users[user]
        house.world.remove_user(user)
        house.live(2 * HOUR, step=STEP)
        assert len(house.ops.sent) == 1
        house.world.account().users[user] = person
        house.live(HOUR, step=STEP)
        [incident] = of_users(house)
        assert incident["resolution"] == "recovered"
        assert len(house.ops.sent) == 2
        [connection] = house.rows("current_connections", f"WHERE managed_user_id = '{user}'")
        assert connection["removed_at"] is None


def test_the_incidents_of_who_left_end_as_removed(database: Database) -> None:
    with agency(database, users=6) as house:
        user = user_ids(house)[2]
        house.world.expire("linkedin-00002", user=user)
        house.live(21 * MINUTE, step=STEP)
        house.world.remove_user(user)
        house.live(2 * HOUR, step=STEP)
        by_rule = {str(row["rule"]): row["resolution"] for row in of_users(house)}
        assert by_rule == {"token_expiry": "removed", "user_not_managed": None}
        assert len(house.ops.sent) <= 3  # the token, the refusal of the poll in between, the end of both
        house.live(8 * DAY, step=4 * HOUR)
        house.start()
        assert {row["resolution"] for row in of_users(house)} == {"removed"}
        assert house.ops.sent == []  # a week later, nobody is told


def test_a_list_of_users_that_is_suddenly_empty_is_one_question_and_detaches_nobody(
    database: Database,
) -> None:
    with agency(database, users=20) as house:
        house.live(21 * MINUTE, step=STEP)
        house.server.faults.put(Fault(path="/api/v1/workspace/users", body=b'{"users": []}'))
        house.live(3 * HOUR, step=STEP)
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("bad_answer", None)
        assert "lacks 20 of 20" in str(incident["summary"])
        house.server.faults.clear()
        house.live(HOUR, step=STEP)
        assert len(house.ops.sent) == 2
        with house.database.read() as store:
            assert len(store.watched()) == 21


@both_brands
@pytest.mark.parametrize("shape", Shape)
def test_a_workspace_is_read_in_either_shape(database: Database, brand: str, shape: Shape) -> None:
    with agency(database, users=3, shape=shape, brand=brand) as house:
        house.live(21 * MINUTE, step=STEP)
        assert {row["managed_user"] for row in house.rows("current_connections")} == {
            "Client 0",
            "Client 1",
            "Client 2",
        }


def test_a_workspace_that_may_not_be_read_is_one_incident_and_the_owner_is_polled_on(
    database: Database,
) -> None:
    with agency(database, users=5) as house:
        house.world.add_connection(profile(house.world, "twitter-1", None))
        house.world.change_plan(workspace_access=False)
        house.live(2 * HOUR, step=STEP)
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("access_denied", None)
        assert len(house.ops.sent) == 1
        assert "managed_users: none" in house.ops.sent[0].body
        assert house.asked()[""] >= 8
        house.world.change_plan(workspace_access=True)
        house.live(HOUR, step=STEP)
        assert len(house.ops.sent) == 2
        assert len(house.asked()) == 6


def test_listed_users_are_polled_alone_and_one_that_is_not_managed_is_told_once(database: Database) -> None:
    stranger = "507f1f77bcf86cd799439011"
    with agency(database, users=3) as house:
        wanted = user_ids(house)[0]
        house.given = {"managed_users": [wanted, stranger], "include_owner": False}
        house.start()
        with capture_logs() as lines:
            house.live(2 * HOUR, step=STEP)
        assert set(house.asked()) == {wanted, stranger}
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("user_not_managed", stranger)
        assert len(house.ops.sent) == 1
        assert [stranger] in [
            line.get("managed_user_ids") for line in lines if line["event"] == "workspace.unmanaged"
        ]
        [row] = house.rows("current_connections")
        assert row["managed_user"] == "Client 0"


@both_brands
def test_an_id_that_the_api_does_not_take_is_a_fault_of_that_target_alone(
    database: Database, brand: str
) -> None:
    with agency(database, users=4, brand=brand) as house:
        user = user_ids(house)[1]
        header = f"x-{brand}-user-id"
        house.server.faults.put(
            Fault(user=user, status=400, body=f'{{"error": "Invalid {header}"}}'.encode())
        )
        house.live(HOUR, step=STEP)
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("user_not_managed", user)
        assert "24 hexadecimal characters" in house.ops.sent[0].body
        assert len(house.ops.sent) == 1


# One key, one problem


@both_brands
def test_a_revoked_key_with_300_users_is_one_incident_and_one_request_an_interval(
    database: Database, brand: str
) -> None:
    with agency(database, users=300, brand=brand) as house:
        house.live(16 * MINUTE, step=MINUTE)
        other = "sk_other1_00ff.11ee"
        house.world.replace_key(other)
        house.live(15 * MINUTE, step=MINUTE)
        house.forget_requests()
        house.live(2 * HOUR, step=STEP)
        assert len(house.server.requests) == 8
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"], incident["severity"]) == (
            "api_key_rejected",
            None,
            "critical",
        )
        assert len(house.ops.sent) == 1
        house.world.replace_key(KEY, other)
        house.forget_requests()
        house.live(30 * MINUTE, step=MINUTE)
        assert len(house.ops.sent) == 2
        assert set(house.asked()) == {"", *user_ids(house)}
        assert all(row["resolved_at"] is not None for row in house.rows("incident_log"))
        by_minute = Counter(each.at.replace(second=0, microsecond=0) for each in house.polls)
        assert max(by_minute.values()) <= 30  # of 301 in fifteen minutes


def test_a_key_that_may_not_act_for_users_lets_them_rest_and_asks_for_itself_on(database: Database) -> None:
    with agency(database, users=30) as house:
        house.world.add_connection(profile(house.world, "twitter-1", None))
        house.live(21 * MINUTE, step=STEP)
        house.world.change_plan(workspace_access=False)
        house.live(20 * MINUTE, step=STEP)
        house.forget_requests()
        house.live(HOUR, step=STEP)
        asked = house.asked()
        assert asked.pop("") == 4
        assert sum(asked.values()) == 4
        assert [row["rule"] for row in house.rows("incident_log")] == ["access_denied"]
        house.world.change_plan(workspace_access=True)
        house.live(31 * MINUTE, step=STEP)
        assert len(house.asked()) == 31
        assert len(house.ops.sent) == 2


def test_one_user_that_always_fails_is_a_problem_of_that_user_told_once(database: Database) -> None:
    with agency(database, users=20) as house:
        house.live(21 * MINUTE, step=STEP)
        user = user_ids(house)[4]
        house.server.faults.put(Fault(user=user, status=500, body=b'{"error": "Internal server error"}'))
        house.live(6 * HOUR, step=STEP)
        [incident] = house.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("api_unreachable", user)
        [told] = house.ops.sent
        assert "Client 4" in told.body
        house.server.faults.clear()
        house.live(HOUR, step=STEP)
        assert len(house.ops.sent) == 2


def test_an_api_that_is_down_is_one_problem_of_the_account_however_many_users_it_has(
    database: Database,
) -> None:
    with agency(database, users=60) as house:
        house.live(21 * MINUTE, step=STEP)
        house.server.faults.put(Fault(status=503, body=b"{}"))
        house.live(2 * HOUR, step=STEP)
        assert [(row["rule"], row["managed_user_id"]) for row in house.rows("incident_log")] == [
            ("api_unreachable", None)
        ]
        house.server.faults.clear()
        house.live(HOUR, step=STEP)
        assert len(house.ops.sent) == 2


# Budget


def test_a_budget_that_cannot_keep_the_interval_is_told_once_and_the_polls_are_spread_over_what_it_can(
    database: Database,
) -> None:
    given = {"every": "5m", "include_owner": False}
    with agency(
        database, users=1000, requests_per_minute=60, brand="publora", given=given, more=AS_THE_BRAND_HAS_IT
    ) as house:
        with capture_logs() as lines:
            house.clock.advance(SECOND)
            house.tick()
            for _ in range(19 * 30):
                house.clock.advance(2 * SECOND)
                house.dispatch()
                for pace in house.app.budgets.news():
                    log_pace(pace)
        told = [line for line in lines if line["event"] == "cadence.stretched"]
        assert [(line["targets"], line["requests_per_minute"]) for line in told] == [(1000, 60)]
        assert 16.5 * 60 <= told[0]["kept_seconds"] <= 18 * 60
        asked = house.asked()
        assert len(asked) == 1000
        seen = house.polls
        assert 16 * MINUTE <= seen[999].at - seen[0].at <= 18 * MINUTE
        by_minute = Counter((each.at - seen[0].at) // MINUTE for each in seen)
        assert max(by_minute.values()) <= 60
        assert house.rows("poll_log", "WHERE outcome = 'rate_limited'") == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "30"}, b"{}"),
        ({}, b'{"error": "Too many requests", "retryAfter": 30}'),
        ({"Retry-After": "Sun, 22 Feb 2026 20:05:31 GMT"}, b"{}"),
    ],
    ids=["seconds", "in the body", "a date"],
)
def test_a_key_that_is_told_to_wait_waits_and_disturbs_no_other(
    database: Database, headers: dict[str, str], body: bytes
) -> None:
    with agency(database, users=120, given={"every": "2m"}, more=AS_THE_BRAND_HAS_IT) as house:
        house.live(5 * MINUTE, step=2 * SECOND)
        house.server.faults.put(Fault(status=429, headers=headers, body=body, times=1))
        house.forget_requests()
        house.live(10 * SECOND, step=SECOND)
        limited_at = house.server.requests[-1].at
        count = len(house.server.requests)
        # What came back first as a refusal was the last to be asked.
        assert house.rows("poll_log", "WHERE outcome = 'rate_limited'") != []
        house.live(40 * SECOND, step=SECOND)
        resumed = [each.at for each in house.server.requests if each.at > limited_at]
        assert timedelta(seconds=18) <= min(resumed) - limited_at <= timedelta(seconds=32)
        assert len(house.server.requests) > count
        assert house.app.budgets.take("another", house.clock())
        assert house.ops.sent == []


def test_a_limit_that_is_lowered_while_running_is_learned(database: Database) -> None:
    with agency(
        database, users=100, requests_per_minute=300, given={"every": "2m"}, more=AS_THE_BRAND_HAS_IT
    ) as house:
        house.live(3 * MINUTE, step=2 * SECOND)
        assert house.app.budgets.paces()[0].kept == 2 * MINUTE
        house.world.requests_per_minute = 30
        house.live(4 * MINUTE, step=2 * SECOND)
        pace = house.app.budgets.paces()[0]
        assert pace.per_minute == 30
        assert pace.kept > 3 * MINUTE
        house.forget_requests()
        house.live(5 * MINUTE, step=2 * SECOND)
        assert len(house.server.requests) <= 5 * 30
        assert len(house.server.requests) > 5 * 24


# Who is who


def test_the_same_profile_of_two_users_is_two_connections(database: Database) -> None:
    with agency(database, users=2) as house:
        first, second = user_ids(house)
        for user in (first, second):
            house.world.add_connection(profile(house.world, "instagram-178414", DAY / 2), user=user)
        house.live(21 * MINUTE, step=STEP)
        both = house.rows("current_connections", "WHERE platform_id = 'instagram-178414'", "managed_user")
        assert [row["managed_user"] for row in both] == ["Client 0", "Client 1"]
        incidents = house.rows("incident_log", "WHERE platform_id = 'instagram-178414'", "managed_user")
        assert [row["managed_user"] for row in incidents] == ["Client 0", "Client 1"]


def test_odd_ids_are_right_everywhere(database: Database) -> None:
    bluesky, telegram = "bluesky-did:plc:abc123", "telegram--1001234567890"
    with agency(database, users=1) as house:
        [user] = user_ids(house)
        for platform_id in (bluesky, telegram):
            house.world.add_connection(profile(house.world, platform_id, DAY / 2), user=user)
        house.live(21 * MINUTE, step=STEP)
        found = house.rows("current_connections", "WHERE platform <> 'linkedin'", "platform_id")
        assert [(row["platform"], row["platform_id"]) for row in found] == [
            ("bluesky", bluesky),
            ("telegram", telegram),
        ]
        incidents = house.rows("incident_log", "WHERE platform_id IS NOT NULL", "platform_id")
        assert [row["platform_id"] for row in incidents] == [bluesky, telegram]
        body = "\n".join(message.body for message in house.ops.sent)
        assert "on Bluesky" in body
        assert "on Telegram" in body
        for platform_id in (bluesky, telegram):
            house.app.providers["agency"].test_connection(platform_id, user)
            path = house.server.requests[-1].path
            assert unquote(path).endswith(f"/test-connection/{platform_id}")
            assert ":" not in path


# Reconnect links

PRIVATE = {"channels": [{"name": "ops", "url": "json://localhost/", "private": True}]}


@both_brands
def test_a_private_channel_gets_the_users_own_link_and_no_table_or_log_ever_holds_it(
    database: Database, brand: str
) -> None:
    with agency(database, users=3, brand=brand, more=PRIVATE) as house:
        user = user_ids(house)[1]
        link, _ = house.world.make_link(user)
        with capture_logs() as lines:
            house.live(21 * MINUTE, step=STEP)
            house.world.expire("linkedin-00001", user=user)
            house.live(21 * MINUTE, step=STEP)
        [told] = house.ops.sent
        assert link in told.body
        token = link.rpartition("/")[2]
        assert token not in house.dump()
        assert token not in repr(lines)
        assert token not in repr(house.app.post)
        assert token not in told.title


def test_other_channels_get_the_dashboard(database: Database) -> None:
    with agency(database, users=2) as house:
        user = user_ids(house)[1]
        link, _ = house.world.make_link(user)
        house.world.expire("linkedin-00001", user=user)
        house.live(21 * MINUTE, step=STEP)
        [told] = house.ops.sent
        assert link not in told.body
        assert "https://app.postpost.dev" in told.body


@pytest.mark.parametrize(("use", "made"), [("use", 0), ("create", 1), ("off", 0)])
def test_a_link_is_made_only_where_that_is_wanted_and_never_rotated(
    database: Database, use: str, made: int
) -> None:
    with agency(database, users=2, given={"reconnect_links": use}, more=PRIVATE) as house:
        user = user_ids(house)[1]
        house.world.expire("linkedin-00001", user=user)
        house.live(21 * MINUTE, step=STEP)
        posted = [each for each in house.server.requests if each.method == "POST"]
        assert len(posted) == made
        assert all(b"rotate" not in each.body for each in posted)
        link = house.world.account().users[user].link_url
        [told] = house.ops.sent
        assert (bool(link) and str(link) in told.body) is bool(made)


def test_a_link_that_ends_while_it_is_needed_is_told_once(database: Database) -> None:
    with agency(database, users=2, more=PRIVATE) as house:
        user = user_ids(house)[1]
        house.world.make_link(user, lifetime=5 * DAY)
        house.live(21 * MINUTE, step=STEP)
        house.live(3 * DAY, step=4 * HOUR)
        assert house.ops.sent == []
        house.world.expire("linkedin-00001", user=user)
        house.live(HOUR, step=STEP)
        rules = [row["rule"] for row in house.rows("incident_log")]
        assert rules == ["token_expiry", "reconnect_link_expiring"]
        told = len(house.ops.sent)
        house.live(3 * HOUR, step=STEP)
        assert len(house.ops.sent) == told
        house.world.make_link(user, rotate=True)
        house.live(HOUR, step=STEP)
        [row] = house.rows("incident_log", "WHERE rule = 'reconnect_link_expiring'")
        assert row["resolution"] == "recovered"


def test_a_link_that_ends_is_no_trouble_to_who_need_not_reconnect(database: Database) -> None:
    with agency(database, users=2, more=PRIVATE) as house:
        user = user_ids(house)[1]
        house.world.make_link(user, lifetime=DAY)
        house.world.fail("linkedin-00001", "Media upload failed: Invalid image format", user=user)
        house.live(HOUR, step=STEP)
        assert [row["rule"] for row in house.rows("incident_log")] == ["publish_error"]


def test_links_are_made_though_polls_use_up_every_request(database: Database) -> None:
    given = {"reconnect_links": "create", "every": "1m"}
    more = {**PRIVATE, "polling": {"requests_per_minute": 30}}
    with agency(database, users=60, given=given, more=more) as house:
        for n, user in enumerate(user_ids(house)):
            if n % 10 == 0:
                house.world.expire(f"linkedin-{n:05}", user=user)
        for _ in range(150):
            house.clock.advance(2 * SECOND)
            house.tick()
        assert len(house.ops.sent) > 0
        made = {str(person.link_url) for person in house.world.account().users.values() if person.link_url}
        assert len(made) == 6
        told = "".join(message.body for message in house.ops.sent)
        assert all(link in told for link in made)


# Clients

CLIENTS = {
    "channels": [
        {"name": "ops", "url": "json://localhost/"},
        {
            "name": "clients",
            "url": "mailto://robot:secretword@mail.example.com/?from=robot@mail.example.com&to={managed_user.username}",
            "private": True,
        },
    ],
    "routes": [
        {"channels": ["ops"], "group_wait": "0s"},
        {"channels": ["clients"], "group_wait": "0s", "match": {"rule": "token_expiry"}},
    ],
}


def test_each_of_300_clients_is_told_of_its_own_and_those_without_an_address_are_listed(
    database: Database,
) -> None:
    with agency(database, more=CLIENTS) as house:
        for n in range(300):
            name = {50: "no address", 51: "@nobody", 52: "two@example.com,more@example.com"}.get(n)
            user = add_user(house.world, n, name)
            house.world.expire(f"linkedin-{n:05}", user=user)
            house.world.make_link(user)
        house.live(16 * MINUTE, step=MINUTE)
        assert len(house.inboxes) == 297
        links = {person.link_url: person for person in house.world.account().users.values()}
        for url, inbox in house.inboxes.items():
            [message] = inbox.sent
            assert [link for link in links if str(link) in message.body] == [
                link for link, person in links.items() if url.endswith(person.username.replace("@", "%40"))
            ]
            mine = url.partition("to=client")[2].partition("%40")[0]
            assert f"linkedin-{int(mine):05}".partition("-")[2] in message.body
            assert message.body.count("Page ") == 1
            assert "Please reconnect here" in message.body
            assert "agency" not in message.body
        house.oversee()
        [listed] = house.rows("incident_log", "WHERE rule = 'channel_failing'")
        assert listed["severity"] == "notice"
        for n in (50, 51, 52):
            assert f"Client {n}" in str(listed["summary"])
        assert "Client 50" in house.ops.sent[-1].body
        assert house.rows("delivery_log", "WHERE state = 'failed'") == []
        sent = len(house.ops.sent)
        house.oversee()
        assert len(house.ops.sent) == sent


def test_a_client_hears_once_a_day_unless_it_got_worse(database: Database) -> None:
    with agency(database, users=1, more=CLIENTS) as house:
        [user] = user_ids(house)
        house.world.set_expiry("linkedin-00000", house.clock() + 6 * DAY, user=user)
        house.live(21 * MINUTE, step=STEP)
        [inbox] = house.inboxes.values()
        assert len(inbox.sent) == 1
        house.world.add_connection(profile(house.world, "threads-1", 6 * DAY), user=user)
        house.live(20 * HOUR, step=STEP)
        assert len(inbox.sent) == 1  # as bad as what it was told of
        house.live(5 * HOUR, step=STEP)
        assert len(inbox.sent) == 2
        assert "Threads" in inbox.sent[1].body
        house.world.expire("threads-1", user=user)
        house.live(20 * MINUTE, step=STEP)
        assert len(inbox.sent) == 3
        assert "ended at" in inbox.sent[2].body
        house.world.reconnect("threads-1", user=user)
        house.world.reconnect("linkedin-00000", user=user)
        house.live(2 * DAY, step=HOUR)
        assert len(inbox.sent) == 4
        assert "can publish again" in inbox.sent[3].body


def test_a_client_that_gets_an_address_is_told_what_is_open(database: Database) -> None:
    with agency(database, more=CLIENTS) as house:
        user = add_user(house.world, 0, "not an address")
        house.world.expire("linkedin-00000", user=user)
        house.live(21 * MINUTE, step=STEP)
        house.oversee()
        assert house.inboxes == {}
        assert [row["rule"] for row in house.rows("incident_log")] == ["token_expiry", "channel_failing"]
        house.world.rename_user(user, "now@example.com")
        house.live(HOUR, step=STEP)
        house.oversee()
        [(url, inbox)] = house.inboxes.items()
        assert url.endswith("to=now%40example.com")
        assert len(inbox.sent) == 1
        [row] = house.rows("incident_log", "WHERE rule = 'channel_failing'")
        assert row["resolution"] == "recovered"


def test_clients_are_never_told_of_the_owner_of_the_key_or_of_who_left(database: Database) -> None:
    with agency(database, users=4, more=CLIENTS) as house:
        house.world.add_connection(profile(house.world, "linkedin-own", timedelta()))
        house.live(21 * MINUTE, step=STEP)
        house.world.expire("linkedin-00002", user=user_ids(house)[2])
        house.live(21 * MINUTE, step=STEP)
        house.world.remove_user(user_ids(house)[2])
        house.live(3 * DAY, step=4 * HOUR)
        [inbox] = house.inboxes.values()
        assert len(inbox.sent) == 1
        assert "own" not in "".join(message.body for message in inbox.sent).replace("your own", "")
