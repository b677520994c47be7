"""Tokens whose status says nothing, over their whole lives: a stand-in as a real server, both databases."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from monitor.core.model import PublishError, Severity
from monitor.core.routing.routes import Matcher, Route
from monitor.core.rules.connection_test import ConnectionTestFailed, ConnectionTestSettings
from monitor.core.rules.registry import Rules
from monitor.core.rules.renewal import RenewalOverdue, RenewedBy
from monitor.core.rules.renewal import RenewalProfile as TokenProfile
from monitor.core.rules.token_expiry import TokenExpiry
from monitor.http.client import HttpClient
from monitor.jobs.connection_tests import run_connection_tests
from monitor.jobs.context import JobContext
from monitor.providers import connect
from monitor.sandbox.profiles import Contract, SocialProfile
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE, NOW
from tests.fakes import FakeChannel, FrozenClock
from tests.needs import on_sqlite
from tests.sandbox.server import Server, serve
from tests.sandbox.service import FakeService
from tests.simulator import Simulator, moment

KEY = "sk_agency_0011.2233"
INSTAGRAM = "instagram-17841412345678"
FACEBOOK = "facebook-112233445566"
YOUTUBE = "youtube-UCabcdefghijkl"
BLUESKY = "bluesky-did:plc:abc123"
TELEGRAM = "telegram--1001234567890"
AT_ONCE = (Route(channels=("ops",), group_wait=timedelta()),)


@dataclass
class ConnectionTestSimulator(Simulator):
    """A house whose API is a real server, and that tests connections too."""

    fake_service: FakeService = field(kw_only=True)
    connection_test_settings: ConnectionTestSettings | None = None

    @property
    def context(self) -> JobContext:
        settings = self.connection_test_settings
        return replace(super().context, connection_tests={self.account: settings} if settings else {})

    def tick(self) -> None:
        super().tick()
        if run_connection_tests(self.context):
            self.deliver()

    def incidents(self, rule: str) -> list[dict[str, Any]]:
        return self.rows("incident_log", f"WHERE rule = '{rule}'")


@pytest.fixture
def served() -> Iterator[tuple[Server, FrozenClock]]:
    clock = FrozenClock()
    fake_service = FakeService(clock)
    fake_service.add_account(KEY)
    with serve(fake_service) as server:
        yield server, clock


@pytest.fixture
def simulator(database: Database, served: tuple[Server, FrozenClock]) -> Iterator[ConnectionTestSimulator]:
    server, clock = served
    http = HttpClient(timeout=timedelta(seconds=20), concurrency=1, environ={}, user_agent="test")
    api = connect("postpost", base_url=server.url, api_key=KEY, http=http, clock=clock)
    yield ConnectionTestSimulator(
        database,
        clock=clock,
        api=api,  # type: ignore[arg-type]  # the real provider
        routes=AT_ONCE,
        fake_service=server.fake_service,
    )
    http.close()


@pytest.fixture
def tests_seen(served: tuple[Server, FrozenClock]) -> Callable[[], list[str]]:
    """Give the paths of the tests that were asked for."""
    server, _ = served
    return lambda: [seen.path for seen in server.requests if "/test-connection/" in seen.path]


def profile(platform_id: str, left: timedelta | None = None, **given: Any) -> SocialProfile:
    expires_at = None if left is None else NOW + left
    return SocialProfile(platform_id=platform_id, username="ann", expires_at=expires_at, **given)


def renewing(
    simulator: ConnectionTestSimulator,
    platform_id: str,
    *,
    every: timedelta,
    lifetime: timedelta,
    until: timedelta,
    step: timedelta,
) -> None:
    """Let time pass while the vendor renews a token at even times."""
    ends = simulator.clock.now + until
    next_at = simulator.clock.now + every
    while simulator.clock.now < ends:
        simulator.clock.advance(step)
        if simulator.clock.now >= next_at:
            simulator.fake_service.set_expiry(platform_id, simulator.clock.now + lifetime)
            next_at += every
        simulator.review()
        simulator.poll()
        simulator.deliver()


@on_sqlite
def test_a_youtube_token_renewed_hourly_is_told_of_only_when_the_api_says_that_it_has_expired(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.every = HOUR
    simulator.fake_service.add_connection(profile(YOUTUBE, 3 * HOUR, overrides={"tokenStatus": "valid"}))
    simulator.poll_all()
    renewing(simulator, YOUTUBE, every=HOUR, lifetime=3 * HOUR, until=30 * DAY, step=HOUR)
    simulator.advance(DAY, step=HOUR)  # nothing was posted, so nothing renewed it
    assert simulator.titles() == []
    assert simulator.rows("incident_log") == []
    simulator.fake_service.override(YOUTUBE, {"tokenStatus": "expired"})
    simulator.advance(DAY, step=HOUR)
    assert simulator.titles() == ["[CRITICAL] YouTube @ann (agency): token has expired"]
    simulator.fake_service.override(YOUTUBE, {"tokenStatus": "valid"})
    simulator.fake_service.reconnect(YOUTUBE, lifetime=3 * HOUR)
    simulator.poll_all()
    assert simulator.titles()[1:] == ["[RESOLVED] YouTube @ann (agency): token is valid again"]


@on_sqlite
def test_facebook_dates_that_stop_moving_are_told_days_before_the_end(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.every = 6 * HOUR
    simulator.fake_service.add_connection(profile(FACEBOOK, 59 * DAY))
    simulator.poll_all()
    renewing(simulator, FACEBOOK, every=50 * DAY, lifetime=59 * DAY, until=160 * DAY, step=6 * HOUR)
    assert simulator.titles() == []
    end = NOW + 150 * DAY + 59 * DAY  # the third renewal was the last
    simulator.advance(end - simulator.clock.now - 7 * DAY, step=6 * HOUR)
    [notified] = simulator.sent
    assert notified.severity is Severity.WARNING
    [incident] = simulator.incidents("renewal_overdue")
    assert 7 * DAY < end - moment(incident["opened_at"]) < 9 * DAY
    assert "reconnect this account at https://app.postpost.dev" in notified.body
    simulator.advance(8 * DAY, step=6 * HOUR)  # from its last week on, the API says so itself
    severities = [message.severity for message in simulator.sent]
    assert severities[1:] == [Severity.NOTICE, Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL]


def test_the_first_poll_after_a_token_was_due_tells_though_it_shows_nothing_new(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.every = 6 * HOUR
    simulator.fake_service.add_connection(profile(FACEBOOK, 100 * DAY + HOUR))
    simulator.poll_all()
    simulator.advance(90 * DAY - HOUR, step=6 * HOUR)
    simulator.advance(3 * HOUR, step=10 * MINUTE)  # reviewed when it is due, polled later
    assert simulator.sent == []
    simulator.advance(6 * HOUR, step=10 * MINUTE)
    assert [message.severity for message in simulator.sent] == [Severity.WARNING]


def test_a_habit_survives_restarts(simulator: ConnectionTestSimulator) -> None:
    simulator.every = 6 * HOUR
    simulator.fake_service.add_connection(profile("mastodon-1", 20 * DAY))
    simulator.poll_all()
    for _ in range(4):
        renewing(
            simulator, "mastodon-1", every=10 * DAY, lifetime=20 * DAY, until=10 * DAY + HOUR, step=6 * HOUR
        )
        simulator.restart()
    assert simulator.titles() == []
    simulator.advance(12 * DAY, step=6 * HOUR)  # nobody would miss a renewal of a token that people renew
    assert simulator.titles() == [
        "[WARNING] Mastodon @ann (agency): token was not renewed, expires in 8 days"
    ]


def test_a_profile_of_the_operator_puts_facebook_on_the_ladder(simulator: ConnectionTestSimulator) -> None:
    profiles = {"facebook": TokenProfile(renewed_by=RenewedBy.PERSON)}
    simulator.rules = Rules(connection=(TokenExpiry(profiles=profiles), RenewalOverdue(profiles=profiles)))
    simulator.fake_service.add_connection(profile(FACEBOOK, 8 * DAY))
    simulator.poll_all()
    simulator.advance(2 * DAY, step=HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.NOTICE]


def test_an_x_connection_of_unknown_status_that_lost_its_token_is_critical(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.fake_service.add_connection(
        profile("twitter-123456789", overrides={"tokenStatus": "unknown", "accessTokenExpiresAt": None})
    )
    simulator.poll_all()
    simulator.fake_service.fail("twitter-123456789", "Invalid or expired token")
    simulator.poll_all()
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    assert "because the platform rejected the login: Invalid or expired token" in notified.body
    assert "What to do: reconnect this account" in notified.body


def test_a_missing_permission_says_so_and_what_to_do(simulator: ConnectionTestSimulator) -> None:
    simulator.fake_service.add_connection(profile(FACEBOOK, 50 * DAY))
    simulator.fake_service.fail(FACEBOOK, "(#200) Permissions error")
    simulator.poll_all()
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    assert "because a permission is missing" in notified.body
    assert "and grant all that it asks for" in notified.body


def test_refused_content_is_a_warning_that_says_so_and_asks_for_no_reconnect(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.fake_service.add_connection(profile(INSTAGRAM, 50 * DAY))
    simulator.fake_service.fail(INSTAGRAM, "Media upload failed: Invalid image format")
    simulator.poll_all()
    [notified] = simulator.sent
    assert notified.severity is Severity.WARNING
    assert (
        "because the platform refused the content: Media upload failed: Invalid image format" in notified.body
    )
    assert "reconnect" not in notified.body


def test_a_route_for_reconnects_leaves_content_out_and_takes_what_a_reconnect_mends(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.channels["clients"] = FakeChannel(name="clients")
    causes = Matcher(cause=("authorization", "permission"))
    simulator.routes = (Route(channels=("clients",), match=causes, group_wait=timedelta()), *AT_ONCE)
    simulator.fake_service.add_connection(profile(INSTAGRAM, 50 * DAY))
    simulator.fake_service.fail(INSTAGRAM, "Media upload failed: Invalid image format")
    simulator.poll_all()
    assert (len(simulator.titles("clients")), len(simulator.titles())) == (0, 1)
    simulator.clock.advance(HOUR)
    simulator.fake_service.fail(INSTAGRAM, "Error validating access token: Session has expired")
    simulator.poll_all()
    assert (len(simulator.titles("clients")), len(simulator.titles())) == (1, 2)
    simulator.clock.advance(HOUR)
    simulator.fake_service.fail(INSTAGRAM, "Media upload failed: Invalid image format")
    simulator.poll_all()
    simulator.clock.advance(HOUR)
    simulator.fake_service.post(INSTAGRAM)
    simulator.poll_all()
    assert simulator.titles("clients")[1:] == ["[RESOLVED] Instagram @ann (agency): publishing error is gone"]
    simulator.fake_service.expire(INSTAGRAM)
    simulator.poll_all()
    assert len(simulator.titles("clients")) == 3


def test_x_accounts_that_all_go_from_unknown_to_valid_are_told_to_nobody(
    simulator: ConnectionTestSimulator,
) -> None:
    unknown = {"tokenStatus": "unknown", "accessTokenExpiresAt": None}
    for n in range(30):
        simulator.fake_service.add_connection(profile(f"twitter-{n}", overrides=unknown))
    simulator.poll_all()
    for n in range(30):
        simulator.fake_service.override(f"twitter-{n}", {"tokenStatus": "valid"})
        simulator.fake_service.set_expiry(f"twitter-{n}", simulator.clock.now + 2 * HOUR)
    simulator.poll_all()
    for n in range(30):
        simulator.fake_service.override(f"twitter-{n}", unknown)
    simulator.poll_all()
    assert simulator.sent == []
    assert simulator.rows("incident_log") == []
    assert len(simulator.rows("token_transitions", "WHERE to_status = 'valid'")) == 30


# Gone


def test_a_connection_that_is_gone_is_told_once_with_its_problems_and_comes_back_as_the_same(
    simulator: ConnectionTestSimulator,
) -> None:
    gone = profile(INSTAGRAM, 2 * DAY)
    for each in (gone, profile("linkedin-1", 50 * DAY), profile("linkedin-2", 50 * DAY)):
        simulator.fake_service.add_connection(each)
    simulator.poll_all()
    simulator.fake_service.remove_connection(INSTAGRAM)
    simulator.advance(2 * HOUR, step=15 * MINUTE)
    assert len(simulator.sent) == 2
    notified = simulator.sent[1]
    assert simulator.titles()[1] == "[NOTICE] Instagram @ann (agency): connection is no longer listed"
    assert "REMOVED: The API no longer lists this connection." in notified.body
    assert (
        "NOTICE: Posts to this account will fail.\nThe API no longer lists this connection" in notified.body
    )
    [expiry], [removed] = simulator.incidents("token_expiry"), simulator.incidents("connection_removed")
    assert (expiry["resolution"], removed["resolution"]) == ("removed", None)
    [before] = simulator.rows("current_connections", "WHERE removed_at IS NOT NULL")
    simulator.fake_service.add_connection(replace(gone, expires_at=simulator.clock.now + 60 * DAY))
    simulator.poll_all()
    assert simulator.titles()[2:] == []  # one look more, before it is said to be back
    simulator.advance(15 * MINUTE, step=15 * MINUTE)
    assert simulator.titles()[2:] == ["[RESOLVED] Instagram @ann (agency): connection is listed again"]
    [after] = simulator.rows("current_connections", "WHERE platform = 'instagram'")
    assert (before["id"], None) == (after["id"], after["removed_at"])


def test_a_connection_that_stays_away_is_no_open_problem_for_longer_than_a_day(
    simulator: ConnectionTestSimulator,
) -> None:
    simulator.routes = (Route(channels=("ops",), group_wait=timedelta(), remind_every=DAY),)
    for each in (
        profile(INSTAGRAM, 50 * DAY),
        profile("linkedin-1", 50 * DAY),
        profile("linkedin-2", 50 * DAY),
    ):
        simulator.fake_service.add_connection(each)
    simulator.poll_all()
    simulator.fake_service.remove_connection(INSTAGRAM)
    simulator.advance(3 * DAY, step=30 * MINUTE)
    assert len(simulator.sent) == 1
    [removed] = simulator.incidents("connection_removed")
    assert removed["resolution"] == "removed"
    assert moment(removed["resolved_at"]) - moment(removed["opened_at"]) == DAY
    simulator.fake_service.add_connection(profile(INSTAGRAM, 50 * DAY))
    simulator.poll_all()
    assert len(simulator.sent) == 1


# Tests


SLOWLY = ConnectionTestSettings(every=DAY, per_hour=4)


def test_a_grant_that_only_a_test_sees_is_told_and_so_is_its_return(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}))
    simulator.poll_all()
    simulator.advance(2 * DAY, step=HOUR)
    assert simulator.sent == []
    assert 2 <= len(tests_seen()) <= 3
    simulator.fake_service.revoke_grant("mastodon-1")
    simulator.advance(DAY, step=HOUR)
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    assert (
        simulator.titles()[-1] == "[CRITICAL] Mastodon @ann (agency): connection test failed, login rejected"
    )
    assert "What to do: reconnect this account" in notified.body
    simulator.advance(2 * DAY, step=HOUR)
    assert len(simulator.sent) == 1
    simulator.fake_service.reconnect("mastodon-1")
    simulator.advance(DAY, step=HOUR)
    assert simulator.titles()[1:] == ["[RESOLVED] Mastodon @ann (agency): connection works again"]


@pytest.mark.parametrize("platform", ["twitter", "facebook", "mastodon", "youtube"])
def test_a_valid_token_without_a_date_is_tested_and_its_death_is_told(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]], platform: str
) -> None:
    simulator.fake_service.contract = Contract.NEWER
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.add_connection(profile(f"{platform}-1"))
    simulator.poll_all()
    [listed] = simulator.rows("current_connections")
    assert ("valid", None) == (listed["token_status"], listed["expires_at"])
    simulator.advance(DAY, step=HOUR)
    assert tests_seen() and simulator.sent == []
    simulator.fake_service.revoke_grant(f"{platform}-1")
    simulator.advance(DAY, step=HOUR)
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    assert "connection test failed" in notified.title
    simulator.fake_service.reconnect(f"{platform}-1")
    simulator.advance(DAY, step=HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.CRITICAL, None]


def test_a_token_with_a_date_is_left_to_its_date(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.fake_service.contract = Contract.NEWER
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.add_connection(profile("linkedin-1", 50 * DAY))
    simulator.poll_all()
    simulator.advance(2 * DAY, step=HOUR)
    assert tests_seen() == []


def test_tests_send_no_body_and_no_content_type(
    simulator: ConnectionTestSimulator,
    served: tuple[Server, FrozenClock],
    tests_seen: Callable[[], list[str]],
) -> None:
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.add_connection(profile("mastodon-1"))
    simulator.poll_all()
    assert tests_seen()
    for seen in served[0].requests:
        assert (seen.body, seen.headers.get("content-length", "0")) == (b"", "0")
        assert "content-type" not in seen.headers


@pytest.mark.parametrize("contract", Contract)
def test_a_user_account_of_telegram_is_no_problem_however_often_it_is_tested(
    simulator: ConnectionTestSimulator, contract: Contract, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.fake_service.contract = contract
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.add_connection(profile("telegram-1234567890", is_bot=False))
    simulator.poll_all()
    simulator.advance(3 * DAY, step=HOUR)
    assert len(tests_seen()) >= 3
    assert simulator.rows("incident_log") == []


@pytest.mark.parametrize("contract", Contract)
def test_a_bot_that_passed_a_test_once_is_remembered_and_its_lost_token_is_critical(
    simulator: ConnectionTestSimulator, contract: Contract
) -> None:
    simulator.fake_service.contract = contract
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.add_connection(profile(TELEGRAM))
    simulator.poll_all()
    simulator.advance(DAY, step=HOUR)
    assert simulator.sent == []
    simulator.restart()
    simulator.fake_service.revoke_grant(TELEGRAM)
    simulator.advance(3 * DAY, step=HOUR)  # the tests after the first that failed say the same
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    [incident] = simulator.incidents("connection_test_failed")
    assert incident["resolved_at"] is None
    simulator.fake_service.reconnect(TELEGRAM)
    simulator.advance(DAY, step=HOUR)
    assert [message.severity for message in simulator.sent] == [Severity.CRITICAL, None]


def test_a_bot_that_lost_its_rights_is_told_as_a_lost_permission(simulator: ConnectionTestSimulator) -> None:
    simulator.fake_service.contract = Contract.NEWER
    simulator.connection_test_settings = SLOWLY
    simulator.routes = (
        Route(channels=("ops",), match=Matcher(cause=("permission",)), group_wait=timedelta()),
        Route(channels=("others",), group_wait=timedelta()),
    )
    bot = profile(TELEGRAM)
    simulator.fake_service.add_connection(bot)
    simulator.poll_all()
    simulator.fake_service.add_connection(replace(bot, lost=frozenset({"can_post_messages"})))
    simulator.advance(DAY, step=HOUR)
    [notified] = simulator.sent
    assert notified.severity is Severity.CRITICAL
    assert "Bot needs channel administrator posting rights" in notified.body
    assert "What to do: make the bot an administrator of the channel again" in notified.body


def test_nothing_is_tested_unless_it_is_asked_for(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.fake_service.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}))
    simulator.poll_all()
    simulator.advance(2 * DAY, step=HOUR)
    assert tests_seen() == []


def test_many_connections_are_tested_one_by_one_however_long_the_monitor_was_away(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.connection_test_settings = SLOWLY
    for n in range(6):
        simulator.fake_service.add_connection(profile(f"mastodon-{n}", overrides={"tokenStatus": "unknown"}))
    simulator.poll_all()
    simulator.advance(HOUR - MINUTE, step=MINUTE)
    assert len(tests_seen()) == 4
    simulator.clock.advance(10 * DAY)
    for _ in range(5):
        simulator.restart()
        simulator.poll_all()
    assert len(tests_seen()) == 5
    simulator.advance(2 * HOUR, step=MINUTE)
    assert len(set(tests_seen())) == 6


def test_what_cannot_be_tested_is_no_problem(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.connection_test_settings = ConnectionTestSettings(every=HOUR, per_hour=360)
    unknown = {"tokenStatus": "unknown"}
    for each in (
        profile("pinterest-1", overrides=unknown),
        profile(BLUESKY, overrides=unknown),
        profile(TELEGRAM, is_bot=False, overrides=unknown),
    ):
        simulator.fake_service.add_connection(each)
    simulator.poll_all()
    simulator.advance(HOUR, step=MINUTE)
    assert simulator.sent == []
    assert set(tests_seen()) == {"/api/v1/test-connection/telegram--1001234567890"}


def test_a_lost_permission_is_told_and_so_is_its_return(simulator: ConnectionTestSimulator) -> None:
    simulator.connection_test_settings = ConnectionTestSettings(every=HOUR, per_hour=60)
    unknown = {"tokenStatus": "unknown"}
    whole = profile("threads-1", overrides=unknown)
    simulator.fake_service.add_connection(whole)
    simulator.poll_all()
    simulator.advance(HOUR, step=MINUTE)
    simulator.fake_service.add_connection(replace(whole, lost=frozenset({"threads_content_publish"})))
    simulator.advance(2 * HOUR, step=10 * MINUTE)
    [notified] = simulator.sent
    assert notified.severity is Severity.WARNING
    assert "missing permissions: threads_content_publish" in notified.body
    assert "grant all that it asks for" in notified.body
    simulator.fake_service.add_connection(whole)
    simulator.advance(2 * HOUR, step=10 * MINUTE)
    assert simulator.titles()[1:] == ["[RESOLVED] Threads @ann (agency): connection works again"]


def test_an_error_that_sounds_like_a_lost_login_is_tested_and_a_good_post_ends_it(
    simulator: ConnectionTestSimulator, tests_seen: Callable[[], list[str]]
) -> None:
    simulator.connection_test_settings = SLOWLY
    lost = profile(
        "linkedin-1", 50 * DAY, last_error=PublishError(message="REVOKED_ACCESS_TOKEN", occurred_at=NOW)
    )
    simulator.fake_service.add_connection(replace(lost, is_revoked=True))
    simulator.fake_service.add_connection(profile("linkedin-2", 50 * DAY))
    simulator.poll_all()
    assert tests_seen() == ["/api/v1/test-connection/linkedin-1"]
    assert len(simulator.incidents("connection_test_failed")) == 1
    simulator.clock.advance(HOUR)
    simulator.fake_service.post("linkedin-1")
    simulator.poll_all()
    assert {row["resolution"] for row in simulator.rows("incident_log")} == {"recovered"}


def test_a_failing_api_is_not_asked_to_test_anything(
    simulator: ConnectionTestSimulator,
    tests_seen: Callable[[], list[str]],
    served: tuple[Server, FrozenClock],
) -> None:
    simulator.fake_service.add_connection(profile("mastodon-1", overrides={"tokenStatus": "unknown"}))
    simulator.poll_all()
    simulator.connection_test_settings = SLOWLY
    simulator.fake_service.change_plan(api_access=False)
    simulator.poll_all()
    simulator.advance(DAY, step=HOUR)
    assert tests_seen() == []


def test_a_rule_that_is_switched_off_tells_nothing_of_tests(simulator: ConnectionTestSimulator) -> None:
    simulator.connection_test_settings = SLOWLY
    simulator.rules = Rules(
        connection=tuple(r for r in Rules().connection if not isinstance(r, ConnectionTestFailed))
    )
    simulator.fake_service.add_connection(
        profile("mastodon-1", overrides={"tokenStatus": "unknown"}, is_revoked=True)
    )
    simulator.poll_all()
    simulator.advance(DAY, step=HOUR)
    assert simulator.sent == []
