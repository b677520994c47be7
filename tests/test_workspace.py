"""Whole workspaces, against the sandbox as a real server; each on SQLite and on PostgreSQL."""

from collections import Counter
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from structlog.testing import capture_logs

from monitor.jobs.report_poll_rates import report_poll_rates
from monitor.sandbox.fake_service import Shape
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE
from tests.needs import on_sqlite
from tests.sandbox.faults import Fault
from tests.workspace_simulator import KEY, WorkspaceSimulator, add_user, profile, workspace_simulator

SECOND = timedelta(seconds=1)
STEP = 5 * MINUTE
# As the provider has it, for what is about budgets.
AS_THE_BRAND_HAS_IT: dict[str, Any] = {"polling": {}}
BRANDS = ("postpost", "publora")
both_brands = pytest.mark.parametrize("brand", BRANDS)


def user_ids(simulator: WorkspaceSimulator) -> list[str]:
    return list(simulator.fake_service.account().users)


def of_users(
    simulator: WorkspaceSimulator, where: str = "WHERE managed_user_id IS NOT NULL"
) -> list[dict[str, object]]:
    return simulator.rows("incident_log", where)


# Discovery


@both_brands
def test_three_hundred_users_come_go_and_change_their_names_while_they_are_watched(
    database: Database, brand: str
) -> None:
    with workspace_simulator(database, users=300, brand=brand) as simulator:
        simulator.advance(16 * MINUTE, step=MINUTE)
        assert set(simulator.asked()) == {"", *user_ids(simulator)}
        before = user_ids(simulator)
        simulator.forget_requests()
        new = [add_user(simulator.fake_service, n) for n in (1000, 1001)]
        simulator.fake_service.remove_user(before[7])
        simulator.fake_service.rename_user(before[8], "renamed@example.com")
        simulator.advance(31 * MINUTE, step=MINUTE)  # the list is asked for, then everybody in it
        assert all(simulator.asked()[user] >= 1 for user in new)
        simulator.advance(20 * MINUTE, step=MINUTE)
        simulator.forget_requests()
        simulator.advance(20 * MINUTE, step=MINUTE)
        assert simulator.asked()[before[7]] == 0
        [gone] = of_users(simulator)
        assert (gone["managed_user_id"], gone["rule"], gone["resolved_at"]) == (
            before[7],
            "user_not_managed",
            None,
        )
        [notified] = simulator.ops.sent
        assert "Client 7" in notified.body
        of_gone = simulator.rows("current_connections", f"WHERE managed_user_id = '{before[7]}'")
        assert [row["removed_at"] is None for row in of_gone] == [False]
        [renamed] = simulator.rows("token_transitions", f"WHERE managed_user_id = '{before[8]}'")
        assert renamed["managed_user"] == "renamed@example.com"


def test_a_user_that_comes_back_is_the_same_as_before(database: Database) -> None:
    with workspace_simulator(database, users=6) as simulator:
        user = user_ids(simulator)[2]
        simulator.advance(21 * MINUTE, step=STEP)
        person = simulator.fake_service.account().users[user]
        simulator.fake_service.remove_user(user)
        simulator.advance(2 * HOUR, step=STEP)
        assert len(simulator.ops.sent) == 1
        simulator.fake_service.account().users[user] = person
        simulator.advance(HOUR, step=STEP)
        [incident] = of_users(simulator)
        assert incident["resolution"] == "recovered"
        assert len(simulator.ops.sent) == 2
        [connection] = simulator.rows("current_connections", f"WHERE managed_user_id = '{user}'")
        assert connection["removed_at"] is None


def test_the_incidents_of_who_left_end_as_removed(database: Database) -> None:
    with workspace_simulator(database, users=6) as simulator:
        user = user_ids(simulator)[2]
        simulator.fake_service.expire("linkedin-00002", user=user)
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.fake_service.remove_user(user)
        simulator.advance(2 * HOUR, step=STEP)
        by_rule = {str(row["rule"]): row["resolution"] for row in of_users(simulator)}
        assert by_rule == {"token_expiry": "removed", "user_not_managed": None}
        assert len(simulator.ops.sent) <= 3  # the token, the refusal of the poll in between, the end of both
        simulator.advance(8 * DAY, step=4 * HOUR)
        simulator.start()
        assert {row["resolution"] for row in of_users(simulator)} == {"removed"}
        assert simulator.ops.sent == []  # a week later, nobody is told


def test_a_list_of_users_that_is_suddenly_empty_is_one_question_and_detaches_nobody(
    database: Database,
) -> None:
    with workspace_simulator(database, users=20) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.server.faults.set(Fault(path="/api/v1/workspace/users", body=b'{"users": []}'))
        simulator.advance(3 * HOUR, step=STEP)
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("bad_answer", None)
        assert "lacks 20 of 20" in str(incident["summary"])
        simulator.server.faults.clear()
        simulator.advance(HOUR, step=STEP)
        assert len(simulator.ops.sent) == 2
        with simulator.database.read() as store:
            assert len(store.active_targets()) == 21


@both_brands
@pytest.mark.parametrize("shape", Shape)
def test_a_workspace_is_read_in_either_shape(database: Database, brand: str, shape: Shape) -> None:
    with workspace_simulator(database, users=3, shape=shape, brand=brand) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        assert {row["managed_user"] for row in simulator.rows("current_connections")} == {
            "Client 0",
            "Client 1",
            "Client 2",
        }


def test_a_workspace_that_may_not_be_read_is_one_incident_and_the_owner_is_polled_on(
    database: Database,
) -> None:
    with workspace_simulator(database, users=5) as simulator:
        simulator.fake_service.add_connection(profile(simulator.fake_service, "twitter-1", None))
        simulator.fake_service.change_plan(workspace_access=False)
        simulator.advance(2 * HOUR, step=STEP)
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("access_denied", None)
        assert len(simulator.ops.sent) == 1
        assert "managed_users: none" in simulator.ops.sent[0].body
        assert simulator.asked()[""] >= 8
        simulator.fake_service.change_plan(workspace_access=True)
        simulator.advance(HOUR, step=STEP)
        assert len(simulator.ops.sent) == 2
        assert len(simulator.asked()) == 6


def test_listed_users_are_polled_alone_and_one_that_is_not_managed_is_told_once(database: Database) -> None:
    stranger = "507f1f77bcf86cd799439011"
    with workspace_simulator(database, users=3) as simulator:
        wanted = user_ids(simulator)[0]
        simulator.given = {"managed_users": [wanted, stranger], "include_owner": False}
        simulator.start()
        with capture_logs() as lines:
            simulator.advance(2 * HOUR, step=STEP)
        assert set(simulator.asked()) == {wanted, stranger}
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("user_not_managed", stranger)
        assert len(simulator.ops.sent) == 1
        assert [stranger] in [
            line.get("managed_user_ids") for line in lines if line["event"] == "workspace.user_not_managed"
        ]
        [row] = simulator.rows("current_connections")
        assert row["managed_user"] == "Client 0"


@both_brands
def test_an_id_that_the_api_does_not_take_is_a_fault_of_that_target_alone(
    database: Database, brand: str
) -> None:
    with workspace_simulator(database, users=4, brand=brand) as simulator:
        user = user_ids(simulator)[1]
        header = f"x-{brand}-user-id"
        simulator.server.faults.set(
            Fault(user=user, status=400, body=f'{{"error": "Invalid {header}"}}'.encode())
        )
        simulator.advance(HOUR, step=STEP)
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("user_not_managed", user)
        assert "24 hexadecimal characters" in simulator.ops.sent[0].body
        assert len(simulator.ops.sent) == 1


# One key, one problem


@both_brands
def test_a_revoked_key_with_300_users_is_one_incident_and_one_request_an_interval(
    database: Database, brand: str
) -> None:
    with workspace_simulator(database, users=300, brand=brand) as simulator:
        simulator.advance(16 * MINUTE, step=MINUTE)
        other = "sk_other1_00ff.11ee"
        simulator.fake_service.replace_key(other)
        simulator.advance(15 * MINUTE, step=MINUTE)
        simulator.forget_requests()
        simulator.advance(2 * HOUR, step=STEP)
        assert len(simulator.server.requests) == 8
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"], incident["severity"]) == (
            "api_key_rejected",
            None,
            "critical",
        )
        assert len(simulator.ops.sent) == 1
        simulator.fake_service.replace_key(KEY, other)
        simulator.forget_requests()
        simulator.advance(30 * MINUTE, step=MINUTE)
        assert len(simulator.ops.sent) == 2
        assert set(simulator.asked()) == {"", *user_ids(simulator)}
        assert all(row["resolved_at"] is not None for row in simulator.rows("incident_log"))
        by_minute = Counter(each.at.replace(second=0, microsecond=0) for each in simulator.polls)
        assert max(by_minute.values()) <= 30  # of 301 in fifteen minutes


def test_a_key_that_may_not_act_for_users_lets_them_rest_and_asks_for_itself_on(database: Database) -> None:
    with workspace_simulator(database, users=30) as simulator:
        simulator.fake_service.add_connection(profile(simulator.fake_service, "twitter-1", None))
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.fake_service.change_plan(workspace_access=False)
        simulator.advance(20 * MINUTE, step=STEP)
        simulator.forget_requests()
        simulator.advance(HOUR, step=STEP)
        asked = simulator.asked()
        assert asked.pop("") == 4
        assert sum(asked.values()) == 4
        assert [row["rule"] for row in simulator.rows("incident_log")] == ["access_denied"]
        simulator.fake_service.change_plan(workspace_access=True)
        simulator.advance(31 * MINUTE, step=STEP)
        assert len(simulator.asked()) == 31
        assert len(simulator.ops.sent) == 2


def test_one_user_that_always_fails_is_a_problem_of_that_user_told_once(database: Database) -> None:
    with workspace_simulator(database, users=20) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        user = user_ids(simulator)[4]
        simulator.server.faults.set(Fault(user=user, status=500, body=b'{"error": "Internal server error"}'))
        simulator.advance(6 * HOUR, step=STEP)
        [incident] = simulator.rows("incident_log")
        assert (incident["rule"], incident["managed_user_id"]) == ("api_unreachable", user)
        [notified] = simulator.ops.sent
        assert "Client 4" in notified.body
        simulator.server.faults.clear()
        simulator.advance(HOUR, step=STEP)
        assert len(simulator.ops.sent) == 2


def test_an_api_that_is_down_is_one_problem_of_the_account_however_many_users_it_has(
    database: Database,
) -> None:
    with workspace_simulator(database, users=60) as simulator:
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.server.faults.set(Fault(status=503, body=b"{}"))
        simulator.advance(2 * HOUR, step=STEP)
        assert [(row["rule"], row["managed_user_id"]) for row in simulator.rows("incident_log")] == [
            ("api_unreachable", None)
        ]
        simulator.server.faults.clear()
        simulator.advance(HOUR, step=STEP)
        assert len(simulator.ops.sent) == 2


# Budget


@on_sqlite
def test_a_budget_that_cannot_keep_the_interval_is_told_once_and_the_polls_are_spread_over_what_it_can(
    database: Database,
) -> None:
    given = {"every": "5m", "include_owner": False}
    with workspace_simulator(
        database, users=1000, requests_per_minute=60, brand="publora", given=given, more=AS_THE_BRAND_HAS_IT
    ) as simulator:
        with capture_logs() as lines:
            simulator.clock.advance(SECOND)
            simulator.tick()
            for _ in range(19 * 30):
                simulator.clock.advance(2 * SECOND)
                simulator.dispatch()
                report_poll_rates(simulator.context)
        notified = [line for line in lines if line["event"] == "poll_rate.limited"]
        assert [(line["targets"], line["requests_per_minute"]) for line in notified] == [(1000, 60)]
        assert 16.5 * 60 <= notified[0]["kept_seconds"] <= 18 * 60
        asked = simulator.asked()
        assert len(asked) == 1000
        seen = simulator.polls
        assert 16 * MINUTE <= seen[999].at - seen[0].at <= 18 * MINUTE
        by_minute = Counter((each.at - seen[0].at) // MINUTE for each in seen)
        assert max(by_minute.values()) <= 60
        assert simulator.rows("poll_log", "WHERE outcome = 'rate_limited'") == []


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
    with workspace_simulator(
        database, users=120, given={"every": "2m"}, more=AS_THE_BRAND_HAS_IT
    ) as simulator:
        simulator.advance(5 * MINUTE, step=2 * SECOND)
        simulator.server.faults.set(Fault(status=429, headers=headers, body=body, times=1))
        simulator.forget_requests()
        simulator.advance(10 * SECOND, step=SECOND)
        limited_at = simulator.server.requests[-1].at
        count = len(simulator.server.requests)
        # What came back first as a refusal was the last to be asked.
        assert simulator.rows("poll_log", "WHERE outcome = 'rate_limited'") != []
        simulator.advance(40 * SECOND, step=SECOND)
        resumed = [each.at for each in simulator.server.requests if each.at > limited_at]
        assert timedelta(seconds=18) <= min(resumed) - limited_at <= timedelta(seconds=32)
        assert len(simulator.server.requests) > count
        assert simulator.context.rate_limits.try_acquire("another", simulator.clock())
        assert simulator.ops.sent == []


def test_a_limit_that_is_lowered_while_running_is_learned(database: Database) -> None:
    with workspace_simulator(
        database, users=100, requests_per_minute=300, given={"every": "2m"}, more=AS_THE_BRAND_HAS_IT
    ) as simulator:
        simulator.advance(3 * MINUTE, step=2 * SECOND)
        assert simulator.context.rate_limits.rates()[0].effective_interval == 2 * MINUTE
        simulator.fake_service.requests_per_minute = 30
        simulator.advance(4 * MINUTE, step=2 * SECOND)
        rate = simulator.context.rate_limits.rates()[0]
        assert rate.per_minute == 30
        assert rate.effective_interval > 3 * MINUTE
        simulator.forget_requests()
        simulator.advance(5 * MINUTE, step=2 * SECOND)
        assert len(simulator.server.requests) <= 5 * 30
        assert len(simulator.server.requests) > 5 * 24


# Who is who


def test_the_same_profile_of_two_users_is_two_connections(database: Database) -> None:
    with workspace_simulator(database, users=2) as simulator:
        first, second = user_ids(simulator)
        for user in (first, second):
            simulator.fake_service.add_connection(
                profile(simulator.fake_service, "instagram-178414", DAY / 2), user=user
            )
        simulator.advance(21 * MINUTE, step=STEP)
        both = simulator.rows("current_connections", "WHERE platform_id = 'instagram-178414'", "managed_user")
        assert [row["managed_user"] for row in both] == ["Client 0", "Client 1"]
        incidents = simulator.rows("incident_log", "WHERE platform_id = 'instagram-178414'", "managed_user")
        assert [row["managed_user"] for row in incidents] == ["Client 0", "Client 1"]


def test_odd_ids_are_right_everywhere(database: Database) -> None:
    bluesky, telegram = "bluesky-did:plc:abc123", "telegram--1001234567890"
    with workspace_simulator(database, users=1) as simulator:
        [user] = user_ids(simulator)
        for platform_id in (bluesky, telegram):
            simulator.fake_service.add_connection(
                profile(simulator.fake_service, platform_id, DAY / 2), user=user
            )
        simulator.advance(21 * MINUTE, step=STEP)
        found = simulator.rows("current_connections", "WHERE platform <> 'linkedin'", "platform_id")
        assert [(row["platform"], row["platform_id"]) for row in found] == [
            ("bluesky", bluesky),
            ("telegram", telegram),
        ]
        incidents = simulator.rows("incident_log", "WHERE platform_id IS NOT NULL", "platform_id")
        assert [row["platform_id"] for row in incidents] == [bluesky, telegram]
        body = "\n".join(message.body for message in simulator.ops.sent)
        assert "on Bluesky" in body
        assert "on Telegram" in body
        for platform_id in (bluesky, telegram):
            simulator.context.providers["agency"].run_connection_test(platform_id, user)
            path = simulator.server.requests[-1].path
            assert unquote(path).endswith(f"/test-connection/{platform_id}")
            assert ":" not in path


# Reconnect links

PRIVATE = {"channels": [{"name": "ops", "url": "json://localhost/", "allow_reconnect_links": True}]}


@both_brands
def test_a_private_channel_gets_the_users_own_link_and_no_table_or_log_ever_holds_it(
    database: Database, brand: str
) -> None:
    with workspace_simulator(database, users=3, brand=brand, more=PRIVATE) as simulator:
        user = user_ids(simulator)[1]
        link, _ = simulator.fake_service.make_link(user)
        with capture_logs() as lines:
            simulator.advance(21 * MINUTE, step=STEP)
            simulator.fake_service.expire("linkedin-00001", user=user)
            simulator.advance(21 * MINUTE, step=STEP)
        [notified] = simulator.ops.sent
        assert link in notified.body
        token = link.rpartition("/")[2]
        assert token not in simulator.dump()
        assert token not in repr(lines)
        assert token not in repr(simulator.context)
        assert token not in notified.title


def test_other_channels_get_the_dashboard(database: Database) -> None:
    with workspace_simulator(database, users=2) as simulator:
        user = user_ids(simulator)[1]
        link, _ = simulator.fake_service.make_link(user)
        simulator.fake_service.expire("linkedin-00001", user=user)
        simulator.advance(21 * MINUTE, step=STEP)
        [notified] = simulator.ops.sent
        assert link not in notified.body
        assert "https://app.postpost.dev" in notified.body


@pytest.mark.parametrize(("use", "made"), [("use", 0), ("create", 1), ("off", 0)])
def test_a_link_is_made_only_where_that_is_wanted_and_never_rotated(
    database: Database, use: str, made: int
) -> None:
    with workspace_simulator(database, users=2, given={"reconnect_links": use}, more=PRIVATE) as simulator:
        user = user_ids(simulator)[1]
        simulator.fake_service.expire("linkedin-00001", user=user)
        simulator.advance(21 * MINUTE, step=STEP)
        posted = [each for each in simulator.server.requests if each.method == "POST"]
        assert len(posted) == made
        assert all(b"rotate" not in each.body for each in posted)
        link = simulator.fake_service.account().users[user].link_url
        [notified] = simulator.ops.sent
        assert (bool(link) and str(link) in notified.body) is bool(made)


def test_a_link_that_ends_while_it_is_needed_is_told_once(database: Database) -> None:
    with workspace_simulator(database, users=2, more=PRIVATE) as simulator:
        user = user_ids(simulator)[1]
        simulator.fake_service.make_link(user, lifetime=5 * DAY)
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.advance(3 * DAY, step=4 * HOUR)
        assert simulator.ops.sent == []
        simulator.fake_service.expire("linkedin-00001", user=user)
        simulator.advance(HOUR, step=STEP)
        rules = [row["rule"] for row in simulator.rows("incident_log")]
        assert rules == ["token_expiry", "reconnect_link_expiring"]
        notified = len(simulator.ops.sent)
        simulator.advance(3 * HOUR, step=STEP)
        assert len(simulator.ops.sent) == notified
        simulator.fake_service.make_link(user, rotate=True)
        simulator.advance(HOUR, step=STEP)
        [row] = simulator.rows("incident_log", "WHERE rule = 'reconnect_link_expiring'")
        assert row["resolution"] == "recovered"


def test_a_link_that_ends_is_no_trouble_to_who_need_not_reconnect(database: Database) -> None:
    with workspace_simulator(database, users=2, more=PRIVATE) as simulator:
        user = user_ids(simulator)[1]
        simulator.fake_service.make_link(user, lifetime=DAY)
        simulator.fake_service.fail("linkedin-00001", "Media upload failed: Invalid image format", user=user)
        simulator.advance(HOUR, step=STEP)
        assert [row["rule"] for row in simulator.rows("incident_log")] == ["publish_error"]


def test_links_are_made_though_polls_use_up_every_request(database: Database) -> None:
    given = {"reconnect_links": "create", "every": "1m"}
    more = {**PRIVATE, "polling": {"requests_per_minute": 30}}
    with workspace_simulator(database, users=60, given=given, more=more) as simulator:
        for n, user in enumerate(user_ids(simulator)):
            if n % 10 == 0:
                simulator.fake_service.expire(f"linkedin-{n:05}", user=user)
        for _ in range(150):
            simulator.clock.advance(2 * SECOND)
            simulator.tick()
        assert len(simulator.ops.sent) > 0
        made = {
            str(person.link_url)
            for person in simulator.fake_service.account().users.values()
            if person.link_url
        }
        assert len(made) == 6
        notified = "".join(message.body for message in simulator.ops.sent)
        assert all(link in notified for link in made)


# Clients

CLIENTS = {
    "channels": [
        {"name": "ops", "url": "json://localhost/"},
        {
            "name": "clients",
            "url": "mailto://robot:secretword@mail.example.com/?from=robot@mail.example.com&to={managed_user.username}",
            "allow_reconnect_links": True,
            "time_zone": "Europe/Berlin",
        },
    ],
    "clients": {"sender": "Harbour Agency"},
    "routes": [
        {"channels": ["ops"], "group_wait": "0s"},
        {"channels": ["clients"], "group_wait": "0s", "match": {"rule": "token_expiry"}},
    ],
}


@on_sqlite
def test_each_of_300_clients_is_told_of_its_own_and_those_without_an_address_are_listed(
    database: Database,
) -> None:
    with workspace_simulator(database, more=CLIENTS) as simulator:
        for n in range(300):
            name = {50: "no address", 51: "@nobody", 52: "two@example.com,more@example.com"}.get(n)
            user = add_user(simulator.fake_service, n, name)
            simulator.fake_service.expire(f"linkedin-{n:05}", user=user)
            simulator.fake_service.make_link(user)
        simulator.advance(16 * MINUTE, step=MINUTE)
        assert len(simulator.inboxes) == 297
        links = {person.link_url: person for person in simulator.fake_service.account().users.values()}
        for url, inbox in simulator.inboxes.items():
            [message] = inbox.sent
            assert [link for link in links if str(link) in message.body] == [
                link for link, person in links.items() if url.endswith(person.username.replace("@", "%40"))
            ]
            mine = url.partition("to=client")[2].partition("%40")[0]
            assert f"linkedin-{int(mine):05}".partition("-")[2] in message.body
            assert message.body.count("Page ") == 1
            assert "This link opens your reconnect page:" in message.body
            assert "agency" not in message.body
            assert message.title.startswith("Harbour Agency: please reconnect your ")
            assert "ask your contact at Harbour Agency before you open the link" in message.body
        simulator.check_channels()
        [listed] = simulator.rows("incident_log", "WHERE rule = 'channel_failing'")
        assert listed["severity"] == "notice"
        for n in (50, 51, 52):
            assert f"Client {n}" in str(listed["summary"])
        assert "Client 50" in simulator.ops.sent[-1].body
        assert simulator.rows("delivery_log", "WHERE state = 'failed'") == []
        sent = len(simulator.ops.sent)
        simulator.check_channels()
        assert len(simulator.ops.sent) == sent


def test_a_client_hears_once_a_day_unless_it_got_worse(database: Database) -> None:
    with workspace_simulator(database, users=1, more=CLIENTS) as simulator:
        [user] = user_ids(simulator)
        simulator.fake_service.set_expiry("linkedin-00000", simulator.clock() + 6 * DAY, user=user)
        simulator.advance(21 * MINUTE, step=STEP)
        [inbox] = simulator.inboxes.values()
        assert len(inbox.sent) == 1
        assert " Berlin time. After that, we can't publish to it." in inbox.sent[0].body
        simulator.fake_service.add_connection(
            profile(simulator.fake_service, "threads-1", 6 * DAY), user=user
        )
        simulator.advance(20 * HOUR, step=STEP)
        assert len(inbox.sent) == 1  # as bad as what it was told of
        simulator.advance(5 * HOUR, step=STEP)
        assert len(inbox.sent) == 2
        assert "Threads" in inbox.sent[1].body
        simulator.fake_service.expire("threads-1", user=user)
        simulator.advance(20 * MINUTE, step=STEP)
        assert len(inbox.sent) == 3
        assert "We can't publish to it anymore." in inbox.sent[2].body
        simulator.fake_service.reconnect("threads-1", user=user)
        simulator.fake_service.reconnect("linkedin-00000", user=user)
        simulator.advance(2 * DAY, step=HOUR)
        assert len(inbox.sent) == 4
        assert inbox.sent[3].title.endswith(" can publish again")


def test_a_client_that_gets_an_address_is_told_what_is_open(database: Database) -> None:
    with workspace_simulator(database, more=CLIENTS) as simulator:
        user = add_user(simulator.fake_service, 0, "not an address")
        simulator.fake_service.expire("linkedin-00000", user=user)
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.check_channels()
        assert simulator.inboxes == {}
        assert [row["rule"] for row in simulator.rows("incident_log")] == ["token_expiry", "channel_failing"]
        simulator.fake_service.rename_user(user, "now@example.com")
        simulator.advance(HOUR, step=STEP)
        simulator.check_channels()
        [(url, inbox)] = simulator.inboxes.items()
        assert url.endswith("to=now%40example.com")
        assert len(inbox.sent) == 1
        [row] = simulator.rows("incident_log", "WHERE rule = 'channel_failing'")
        assert row["resolution"] == "recovered"


def test_clients_are_never_told_of_the_owner_of_the_key_or_of_who_left(database: Database) -> None:
    with workspace_simulator(database, users=4, more=CLIENTS) as simulator:
        simulator.fake_service.add_connection(profile(simulator.fake_service, "linkedin-own", timedelta()))
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.fake_service.expire("linkedin-00002", user=user_ids(simulator)[2])
        simulator.advance(21 * MINUTE, step=STEP)
        simulator.fake_service.remove_user(user_ids(simulator)[2])
        simulator.advance(3 * DAY, step=4 * HOUR)
        [inbox] = simulator.inboxes.values()
        assert len(inbox.sent) == 1
        assert "own" not in "".join(message.body for message in inbox.sent).replace("your own", "")
