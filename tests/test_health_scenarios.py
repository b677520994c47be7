"""Tokens whose status says nothing, over their whole lives: a stand-in as a real server, both databases."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from monitor.core.model import PublishError, Severity
from monitor.core.probing import Probing
from monitor.core.renewal import Profile as TokenProfile
from monitor.core.renewal import RenewedBy
from monitor.core.routes import Match, Route
from monitor.core.rules import ConnectionTestFailed, RenewalOverdue, Rules, TokenExpiry
from monitor.jobs.probe import Bench, probe
from monitor.providers import connect
from monitor.providers.http import Http
from monitor.sandbox.profiles import Contract, Profile
from monitor.sandbox.server import Server, serve
from monitor.sandbox.world import World
from monitor.storage import Database
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.fakes import FakeChannel, FrozenClock
from tests.house import House, moment

KEY = "sk_agency_0011.2233"
INSTAGRAM = "instagram-17841412345678"
FACEBOOK = "facebook-112233445566"
YOUTUBE = "youtube-UCabcdefghijkl"
BLUESKY = "bluesky-did:plc:abc123"
TELEGRAM = "telegram--1001234567890"
AT_ONCE = (Route(channels=("ops",), group_wait=timedelta()),)


@dataclass
class Ward(House):
    """A house whose API is a real server, and that tests connections too."""

    world: World = field(kw_only=True)
    probing: Probing | None = None

    @property
    def bench(self) -> Bench:
        return Bench(
            database=self.database,
            testers={self.account: self.api},
            rules=self.rules,
            routing=self.routing,
            clock=self.clock,
            probing={self.account: self.probing} if self.probing else {},
        )

    def tick(self) -> None:
        super().tick()
        if probe(self.bench):
            self.deliver()

    def incidents(self, rule: str) -> list[dict[str, Any]]:
        return self.rows("incident_log", f"WHERE rule = '{rule}'")


@pytest.fixture
def served() -> Iterator[tuple[Server, FrozenClock]]:
    clock = FrozenClock()
    world = World(clock)
    world.add_account(KEY)
    with serve(world) as server:
        yield server, clock


@pytest.fixture
def ward(database: Database, served: tuple[Server, FrozenClock]) -> Iterator[Ward]:
    server, clock = served
    http = Http(timeout=timedelta(seconds=20), concurrency=1, environ={}, user_agent="test")
    api = connect("postpost", base_url=server.url, api_key=KEY, http=http, clock=clock)
    yield Ward(database, clock=clock, api=api, routes=AT_ONCE, world=server.world)  # type: ignore[arg-type]  # the real provider
    http.close()


@pytest.fixture
def tests_seen(served: tuple[Server, FrozenClock]) -> Callable[[], list[str]]:
    """Give the paths of the tests that were asked for."""
    server, _ = served
    return lambda: [seen.path for seen in server.requests if "/test-connection/" in seen.path]


def profile(platform_id: str, left: timedelta | None = None, **given: Any) -> Profile:
    expires_at = None if left is None else NOW + left
    return Profile(platform_id=platform_id, username="ann", expires_at=expires_at, **given)


def renewing(
    ward: Ward, platform_id: str, *, every: timedelta, lifetime: timedelta, until: timedelta, step: timedelta
) -> None:
    """Let time pass while the vendor renews a token at even times."""
    ends = ward.clock.now + until
    next_at = ward.clock.now + every
    while ward.clock.now < ends:
        ward.clock.advance(step)
        if ward.clock.now >= next_at:
            ward.world.set_expiry(platform_id, ward.clock.now + lifetime)
            next_at += every
        ward.review()
        ward.poll()
        ward.deliver()


def test_a_youtube_token_renewed_hourly_is_told_of_only_when_the_api_says_that_it_has_expired(
    ward: Ward,
) -> None:
    ward.every = HOUR
    ward.world.add_connection(profile(YOUTUBE, 3 * HOUR, overrides={"tokenStatus": "valid"}))
    ward.look()
    renewing(ward, YOUTUBE, every=HOUR, lifetime=3 * HOUR, until=30 * DAY, step=HOUR)
    ward.live(DAY, step=HOUR)  # nothing was posted, so nothing renewed it
    assert ward.titles() == []
    assert ward.rows("incident_log") == []
    ward.world.override(YOUTUBE, {"tokenStatus": "expired"})
    ward.live(DAY, step=HOUR)
    assert ward.titles() == ["CRITICAL: YouTube: the token has expired (agency)"]
    ward.world.override(YOUTUBE, {"tokenStatus": "valid"})
    ward.world.reconnect(YOUTUBE, lifetime=3 * HOUR)
    ward.look()
    assert ward.titles()[1:] == ["OK: YouTube: the token is good again (agency)"]


def test_facebook_dates_that_stop_moving_are_told_days_before_the_end(ward: Ward) -> None:
    ward.every = 6 * HOUR
    ward.world.add_connection(profile(FACEBOOK, 59 * DAY))
    ward.look()
    renewing(ward, FACEBOOK, every=50 * DAY, lifetime=59 * DAY, until=160 * DAY, step=6 * HOUR)
    assert ward.titles() == []
    end = NOW + 150 * DAY + 59 * DAY  # the third renewal was the last
    ward.live(end - ward.clock.now - 7 * DAY, step=6 * HOUR)
    [told] = ward.sent
    assert told.severity is Severity.WARNING
    [incident] = ward.incidents("renewal_overdue")
    assert 7 * DAY < end - moment(incident["opened_at"]) < 9 * DAY
    assert "reconnect this Facebook account at https://app.postpost.dev" in told.body
    ward.live(8 * DAY, step=6 * HOUR)  # from its last week on, the API says so itself
    severities = [message.severity for message in ward.sent]
    assert severities[1:] == [Severity.NOTICE, Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL]


def test_the_first_poll_after_a_token_was_due_tells_though_it_shows_nothing_new(ward: Ward) -> None:
    ward.every = 6 * HOUR
    ward.world.add_connection(profile(FACEBOOK, 100 * DAY + HOUR))
    ward.look()
    ward.live(90 * DAY - HOUR, step=6 * HOUR)
    ward.live(3 * HOUR, step=10 * MINUTE)  # reviewed when it is due, polled later
    assert ward.sent == []
    ward.live(6 * HOUR, step=10 * MINUTE)
    assert [message.severity for message in ward.sent] == [Severity.WARNING]


def test_a_habit_survives_restarts(ward: Ward) -> None:
    ward.every = 6 * HOUR
    ward.world.add_connection(profile("mastodon-1", 20 * DAY))
    ward.look()
    for _ in range(4):
        renewing(ward, "mastodon-1", every=10 * DAY, lifetime=20 * DAY, until=10 * DAY + HOUR, step=6 * HOUR)
        ward.restart()
    assert ward.titles() == []
    ward.live(12 * DAY, step=6 * HOUR)  # nobody would miss a renewal of a token that people renew
    assert ward.titles() == ["WARNING: Mastodon: the token was not renewed as usual (agency)"]


def test_a_profile_of_the_operator_puts_facebook_on_the_ladder(ward: Ward) -> None:
    profiles = {"facebook": TokenProfile(renewed_by=RenewedBy.PERSON)}
    ward.rules = Rules(connection=(TokenExpiry(profiles=profiles), RenewalOverdue(profiles=profiles)))
    ward.world.add_connection(profile(FACEBOOK, 8 * DAY))
    ward.look()
    ward.live(2 * DAY, step=HOUR)
    assert [message.severity for message in ward.sent] == [Severity.NOTICE]


def test_an_x_connection_of_unknown_status_that_lost_its_token_is_critical(ward: Ward) -> None:
    ward.world.add_connection(
        profile("twitter-123456789", overrides={"tokenStatus": "unknown", "accessTokenExpiresAt": None})
    )
    ward.look()
    ward.world.fail("twitter-123456789", "Invalid or expired token")
    ward.look()
    [told] = ward.sent
    assert told.severity is Severity.CRITICAL
    assert "the authorisation is dead: Invalid or expired token" in told.body
    assert "To do: reconnect this X account" in told.body


def test_a_missing_permission_says_so_and_what_to_do(ward: Ward) -> None:
    ward.world.add_connection(profile(FACEBOOK, 50 * DAY))
    ward.world.fail(FACEBOOK, "(#200) Permissions error")
    ward.look()
    [told] = ward.sent
    assert told.severity is Severity.CRITICAL
    assert "a permission is missing" in told.body
    assert "and grant all that is asked for" in told.body


def test_refused_content_is_a_warning_that_says_so_and_asks_for_no_reconnect(ward: Ward) -> None:
    ward.world.add_connection(profile(INSTAGRAM, 50 * DAY))
    ward.world.fail(INSTAGRAM, "Media upload failed: Invalid image format")
    ward.look()
    [told] = ward.sent
    assert told.severity is Severity.WARNING
    assert "the content was refused: Media upload failed: Invalid image format" in told.body
    assert "reconnect" not in told.body


def test_a_route_for_reconnects_leaves_content_out_and_takes_what_a_reconnect_mends(ward: Ward) -> None:
    ward.channels["clients"] = FakeChannel(name="clients")
    causes = Match(cause=("authorisation", "permission"))
    ward.routes = (Route(channels=("clients",), match=causes, group_wait=timedelta()), *AT_ONCE)
    ward.world.add_connection(profile(INSTAGRAM, 50 * DAY))
    ward.world.fail(INSTAGRAM, "Media upload failed: Invalid image format")
    ward.look()
    assert (len(ward.titles("clients")), len(ward.titles())) == (0, 1)
    ward.clock.advance(HOUR)
    ward.world.fail(INSTAGRAM, "Error validating access token: Session has expired")
    ward.look()
    assert (len(ward.titles("clients")), len(ward.titles())) == (1, 2)
    ward.clock.advance(HOUR)
    ward.world.fail(INSTAGRAM, "Media upload failed: Invalid image format")
    ward.look()
    ward.clock.advance(HOUR)
    ward.world.post(INSTAGRAM)
    ward.look()
    assert ward.titles("clients")[1:] == ["OK: Instagram: the publishing error is gone (agency)"]
    ward.world.expire(INSTAGRAM)
    ward.look()
    assert len(ward.titles("clients")) == 3


def test_x_accounts_that_all_go_from_unknown_to_valid_are_told_to_nobody(ward: Ward) -> None:
    unknown = {"tokenStatus": "unknown", "accessTokenExpiresAt": None}
    for n in range(30):
        ward.world.add_connection(profile(f"twitter-{n}", overrides=unknown))
    ward.look()
    for n in range(30):
        ward.world.override(f"twitter-{n}", {"tokenStatus": "valid"})
        ward.world.set_expiry(f"twitter-{n}", ward.clock.now + 2 * HOUR)
    ward.look()
    for n in range(30):
        ward.world.override(f"twitter-{n}", unknown)
    ward.look()
    assert ward.sent == []
    assert ward.rows("incident_log") == []
    assert len(ward.rows("token_transitions", "WHERE to_status = 'valid'")) == 30


# Gone


def test_a_connection_that_is_gone_is_told_once_with_its_problems_and_comes_back_as_the_same(
    ward: Ward,
) -> None:
    gone = profile(INSTAGRAM, 2 * DAY)
    for each in (gone, profile("linkedin-1", 50 * DAY), profile("linkedin-2", 50 * DAY)):
        ward.world.add_connection(each)
    ward.look()
    ward.world.remove_connection(INSTAGRAM)
    ward.live(2 * HOUR, step=15 * MINUTE)
    assert len(ward.sent) == 2
    told = ward.sent[1]
    assert told.title == "NOTICE: Instagram: the connection is no longer listed (agency)"
    assert "GONE: " in told.body
    assert "NOTICE: The API no longer lists this connection" in told.body
    [expiry], [removed] = ward.incidents("token_expiry"), ward.incidents("connection_removed")
    assert (expiry["resolution"], removed["resolution"]) == ("removed", None)
    [before] = ward.rows("current_connections", "WHERE removed_at IS NOT NULL")
    ward.world.add_connection(replace(gone, expires_at=ward.clock.now + 60 * DAY))
    ward.look()
    assert ward.titles()[2:] == []  # one look more, before it is said to be back
    ward.live(15 * MINUTE, step=15 * MINUTE)
    assert ward.titles()[2:] == ["OK: Instagram: the connection is listed again (agency)"]
    [after] = ward.rows("current_connections", "WHERE platform = 'instagram'")
    assert (before["id"], None) == (after["id"], after["removed_at"])


def test_a_connection_that_stays_away_is_no_open_problem_for_longer_than_a_day(ward: Ward) -> None:
    ward.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    for each in (
        profile(INSTAGRAM, 50 * DAY),
        profile("linkedin-1", 50 * DAY),
        profile("linkedin-2", 50 * DAY),
    ):
        ward.world.add_connection(each)
    ward.look()
    ward.world.remove_connection(INSTAGRAM)
    ward.live(3 * DAY, step=30 * MINUTE)
    assert len(ward.sent) == 1
    [removed] = ward.incidents("connection_removed")
    assert removed["resolution"] == "removed"
    assert moment(removed["resolved_at"]) - moment(removed["opened_at"]) == DAY
    ward.world.add_connection(profile(INSTAGRAM, 50 * DAY))
    ward.look()
    assert len(ward.sent) == 1


# Tests


SLOWLY = Probing(every=DAY, per_hour=4)


def test_a_grant_that_only_a_test_sees_is_told_and_so_is_its_return(
    ward: Ward, tests_seen: Callable[[], list[str]]
) -> None:
    ward.probing = SLOWLY
    ward.world.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}))
    ward.look()
    ward.live(2 * DAY, step=HOUR)
    assert ward.sent == []
    assert 2 <= len(tests_seen()) <= 3
    ward.world.revoke_grant("mastodon-1")
    ward.live(DAY, step=HOUR)
    [told] = ward.sent
    assert told.severity is Severity.CRITICAL
    assert told.title == "CRITICAL: Mastodon: a test of the connection failed (agency)"
    assert "reconnect this Mastodon account" in told.body
    ward.live(2 * DAY, step=HOUR)
    assert len(ward.sent) == 1
    ward.world.reconnect("mastodon-1")
    ward.live(DAY, step=HOUR)
    assert ward.titles()[1:] == ["OK: Mastodon: the connection works again (agency)"]


@pytest.mark.parametrize("platform", ["twitter", "facebook", "mastodon", "youtube"])
def test_a_valid_token_without_a_date_is_tested_and_its_death_is_told(
    ward: Ward, tests_seen: Callable[[], list[str]], platform: str
) -> None:
    ward.world.contract = Contract.NEWER
    ward.probing = SLOWLY
    ward.world.add_connection(profile(f"{platform}-1"))
    ward.look()
    [listed] = ward.rows("current_connections")
    assert ("valid", None) == (listed["token_status"], listed["expires_at"])
    ward.live(DAY, step=HOUR)
    assert tests_seen() and ward.sent == []
    ward.world.revoke_grant(f"{platform}-1")
    ward.live(DAY, step=HOUR)
    [told] = ward.sent
    assert told.severity is Severity.CRITICAL
    assert "a test of the connection failed" in told.title
    ward.world.reconnect(f"{platform}-1")
    ward.live(DAY, step=HOUR)
    assert [message.severity for message in ward.sent] == [Severity.CRITICAL, None]


def test_a_token_with_a_date_is_left_to_its_date(ward: Ward, tests_seen: Callable[[], list[str]]) -> None:
    ward.world.contract = Contract.NEWER
    ward.probing = SLOWLY
    ward.world.add_connection(profile("linkedin-1", 50 * DAY))
    ward.look()
    ward.live(2 * DAY, step=HOUR)
    assert tests_seen() == []


def test_tests_send_no_body_and_no_content_type(
    ward: Ward, served: tuple[Server, FrozenClock], tests_seen: Callable[[], list[str]]
) -> None:
    ward.probing = SLOWLY
    ward.world.add_connection(profile("mastodon-1"))
    ward.look()
    assert tests_seen()
    for seen in served[0].requests:
        assert (seen.body, seen.headers.get("content-length", "0")) == (b"", "0")
        assert "content-type" not in seen.headers


@pytest.mark.parametrize("contract", Contract)
def test_a_user_account_of_telegram_is_no_problem_however_often_it_is_tested(
    ward: Ward, contract: Contract, tests_seen: Callable[[], list[str]]
) -> None:
    ward.world.contract = contract
    ward.probing = SLOWLY
    ward.world.add_connection(profile("telegram-1234567890", is_bot=False))
    ward.look()
    ward.live(3 * DAY, step=HOUR)
    assert len(tests_seen()) >= 3
    assert ward.rows("incident_log") == []


@pytest.mark.parametrize("contract", Contract)
def test_a_bot_that_passed_a_test_once_is_remembered_and_its_lost_token_is_critical(
    ward: Ward, contract: Contract
) -> None:
    ward.world.contract = contract
    ward.probing = SLOWLY
    ward.world.add_connection(profile(TELEGRAM))
    ward.look()
    ward.live(DAY, step=HOUR)
    assert ward.sent == []
    ward.restart()
    ward.world.revoke_grant(TELEGRAM)
    ward.live(3 * DAY, step=HOUR)  # the tests after the first that failed say the same
    [told] = ward.sent
    assert told.severity is Severity.CRITICAL
    [incident] = ward.incidents("connection_test_failed")
    assert incident["resolved_at"] is None
    ward.world.reconnect(TELEGRAM)
    ward.live(DAY, step=HOUR)
    assert [message.severity for message in ward.sent] == [Severity.CRITICAL, None]


def test_a_bot_that_lost_its_rights_is_told_as_a_lost_permission(ward: Ward) -> None:
    ward.world.contract = Contract.NEWER
    ward.probing = SLOWLY
    ward.routes = (
        Route(channels=("ops",), match=Match(cause=("permission",)), group_wait=timedelta()),
        Route(channels=("others",), group_wait=timedelta()),
    )
    bot = profile(TELEGRAM)
    ward.world.add_connection(bot)
    ward.look()
    ward.world.add_connection(replace(bot, lost=frozenset({"can_post_messages"})))
    ward.live(DAY, step=HOUR)
    [told] = ward.sent
    assert told.severity is Severity.CRITICAL
    assert "Bot needs channel administrator posting rights" in told.body
    assert "To do: make the bot an administrator of the channel again" in told.body


def test_nothing_is_tested_unless_it_is_asked_for(ward: Ward, tests_seen: Callable[[], list[str]]) -> None:
    ward.world.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}))
    ward.look()
    ward.live(2 * DAY, step=HOUR)
    assert tests_seen() == []


def test_many_connections_are_tested_one_by_one_however_long_the_monitor_was_away(
    ward: Ward, tests_seen: Callable[[], list[str]]
) -> None:
    ward.probing = SLOWLY
    for n in range(6):
        ward.world.add_connection(profile(f"mastodon-{n}", overrides={"tokenStatus": "unknown"}))
    ward.look()
    ward.live(HOUR - MINUTE, step=MINUTE)
    assert len(tests_seen()) == 4
    ward.clock.advance(10 * DAY)
    for _ in range(5):
        ward.restart()
        ward.look()
    assert len(tests_seen()) == 5
    ward.live(2 * HOUR, step=MINUTE)
    assert len(set(tests_seen())) == 6


def test_what_cannot_be_tested_is_no_problem(ward: Ward, tests_seen: Callable[[], list[str]]) -> None:
    ward.probing = Probing(every=HOUR, per_hour=360)
    unknown = {"tokenStatus": "unknown"}
    for each in (
        profile("pinterest-1", overrides=unknown),
        profile(BLUESKY, overrides=unknown),
        profile(TELEGRAM, is_bot=False, overrides=unknown),
    ):
        ward.world.add_connection(each)
    ward.look()
    ward.live(HOUR, step=MINUTE)
    assert ward.sent == []
    assert set(tests_seen()) == {"/api/v1/test-connection/telegram--1001234567890"}


def test_a_lost_permission_is_told_and_so_is_its_return(ward: Ward) -> None:
    ward.probing = Probing(every=HOUR, per_hour=60)
    unknown = {"tokenStatus": "unknown"}
    whole = profile("threads-1", overrides=unknown)
    ward.world.add_connection(whole)
    ward.look()
    ward.live(HOUR, step=MINUTE)
    ward.world.add_connection(replace(whole, lost=frozenset({"threads_content_publish"})))
    ward.live(2 * HOUR, step=10 * MINUTE)
    [told] = ward.sent
    assert told.severity is Severity.WARNING
    assert "lost permissions: threads_content_publish" in told.body
    assert "grant all that is asked for" in told.body
    ward.world.add_connection(whole)
    ward.live(2 * HOUR, step=10 * MINUTE)
    assert ward.titles()[1:] == ["OK: Threads: the connection works again (agency)"]


def test_an_error_that_sounds_like_a_lost_login_is_tested_and_a_good_post_ends_it(
    ward: Ward, tests_seen: Callable[[], list[str]]
) -> None:
    ward.probing = SLOWLY
    lost = profile(
        "linkedin-1", 50 * DAY, last_error=PublishError(message="REVOKED_ACCESS_TOKEN", occurred_at=NOW)
    )
    ward.world.add_connection(replace(lost, is_revoked=True))
    ward.world.add_connection(profile("linkedin-2", 50 * DAY))
    ward.look()
    assert tests_seen() == ["/api/v1/test-connection/linkedin-1"]
    assert len(ward.incidents("connection_test_failed")) == 1
    ward.clock.advance(HOUR)
    ward.world.post("linkedin-1")
    ward.look()
    assert {row["resolution"] for row in ward.rows("incident_log")} == {"recovered"}


def test_a_failing_api_is_not_asked_to_test_anything(
    ward: Ward, tests_seen: Callable[[], list[str]], served: tuple[Server, FrozenClock]
) -> None:
    ward.world.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}))
    ward.look()
    ward.probing = SLOWLY
    ward.world.change_plan(api_access=False)
    ward.look()
    ward.live(DAY, step=HOUR)
    assert tests_seen() == []


def test_a_rule_that_is_switched_off_tells_nothing_of_tests(ward: Ward) -> None:
    ward.probing = SLOWLY
    ward.rules = Rules(
        connection=tuple(r for r in Rules().connection if not isinstance(r, ConnectionTestFailed))
    )
    ward.world.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}, is_revoked=True))
    ward.look()
    ward.live(DAY, step=HOUR)
    assert ward.sent == []
