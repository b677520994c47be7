"""The state behind the stand-in, changed as people and platforms change it."""

import json
import sys
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from monitor.sandbox.profiles import SocialProfile, listed
from tests.sandbox.service import FakeService
from tests.sandbox.worlds import SEED_NOW, sample_world, seed_world

NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)
LINKEDIN = "linkedin-1"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake_service(clock: Clock) -> FakeService:
    fake_service = FakeService(clock)
    fake_service.add_account("sk_a")
    fake_service.add_connection(
        SocialProfile(platform_id=LINKEDIN, username="ann", expires_at=NOW + timedelta(days=8))
    )
    return fake_service


def shown(
    fake_service: FakeService, platform_id: str = LINKEDIN, user: str | None = None
) -> dict[str, object]:
    return listed(fake_service.profile(platform_id, user=user), fake_service.now())


def test_a_token_ages_by_the_clock_of_its_world(fake_service: FakeService, clock: Clock) -> None:
    seen = []
    for _ in range(4):
        seen.append(shown(fake_service)["tokenStatus"])
        clock.now += timedelta(days=4, hours=1)

    assert seen == ["valid", "expiring_soon", "expired", "expired"]


def test_reconnecting_gives_a_new_term_and_leaves_the_past_as_it_was(
    fake_service: FakeService, clock: Clock
) -> None:
    fake_service.fail(LINKEDIN, "Session has expired")
    fake_service.expire(LINKEDIN)
    fake_service.revoke_grant(LINKEDIN)
    clock.now += timedelta(hours=1)

    fake_service.reconnect(LINKEDIN)

    assert fake_service.profile(LINKEDIN).expires_at == clock.now + timedelta(days=60)
    assert not fake_service.profile(LINKEDIN).is_revoked
    assert shown(fake_service)["lastError"] == {
        "message": "Session has expired",
        "occurredAt": "2026-02-22T20:00:00.000Z",
    }


def test_reconnecting_a_platform_whose_tokens_do_not_expire_gives_no_date(fake_service: FakeService) -> None:
    fake_service.add_connection(SocialProfile(platform_id="twitter-1", username="ann"))

    fake_service.reconnect("twitter-1")

    assert shown(fake_service, "twitter-1")["tokenStatus"] == "unknown"


def test_a_successful_post_leaves_the_last_error_to_be_cleared_on_its_own(
    fake_service: FakeService, clock: Clock
) -> None:
    fake_service.fail(LINKEDIN, "Too long")
    clock.now += timedelta(minutes=5)

    fake_service.post(LINKEDIN)

    assert shown(fake_service)["lastSuccessfulPost"] == "2026-02-22T20:05:00.000Z"
    assert shown(fake_service)["lastError"] is not None
    fake_service.clear_error(LINKEDIN)
    assert shown(fake_service)["lastError"] is None


def test_the_same_profile_may_be_linked_by_several_people(fake_service: FakeService) -> None:
    user = fake_service.add_user("bob@example.com")
    fake_service.add_connection(SocialProfile(platform_id=LINKEDIN, username="bob"), user=user)

    fake_service.rename_connection(LINKEDIN, username="robert", user=user)

    assert (shown(fake_service)["username"], shown(fake_service, user=user)["username"]) == ("ann", "robert")


def test_managed_users_come_go_and_change_their_names(fake_service: FakeService) -> None:
    user = fake_service.add_user("bob@example.com", display_name="Bob")
    assert (len(user), all(char in "0123456789abcdef" for char in user)) == (24, True)

    fake_service.rename_user(user, "robert@example.com")
    assert fake_service.person(user=user).username == "robert@example.com"

    fake_service.remove_user(user)
    with pytest.raises(LookupError, match="no managed user"):
        fake_service.person(user=user)


def test_users_of_one_name_have_ids_of_their_own(fake_service: FakeService) -> None:
    assert fake_service.add_user("bob@example.com") != fake_service.add_user("bob@example.com")


def test_a_link_is_kept_while_it_is_good_and_made_anew_when_it_is_not(
    fake_service: FakeService, clock: Clock
) -> None:
    user = fake_service.add_user("bob@example.com")
    first, until = fake_service.make_link(user, lifetime=timedelta(days=30))

    assert until == NOW + timedelta(days=30)
    assert fake_service.make_link(user) == (first, until)
    rotated, _ = fake_service.make_link(user, rotate=True)
    assert rotated != first
    clock.now += timedelta(days=90)
    assert fake_service.make_link(user)[0] != rotated


def test_a_key_must_be_given_where_there_are_several(fake_service: FakeService) -> None:
    fake_service.add_account("sk_b")

    with pytest.raises(LookupError, match="give a key"):
        fake_service.account()
    with pytest.raises(LookupError, match="no account has this key"):
        fake_service.account("sk_c")


def test_what_does_not_exist_cannot_be_changed(fake_service: FakeService) -> None:
    with pytest.raises(LookupError, match="nothing is linked as twitter-9"):
        fake_service.expire("twitter-9")


def test_changes_from_many_threads_are_all_made(fake_service: FakeService) -> None:
    def link(first: int) -> None:
        for number in range(first, first + 50):
            fake_service.add_connection(SocialProfile(platform_id=f"twitter-{number}", username="ann"))
            fake_service.rename_connection(f"twitter-{number}", username="bob")

    threads = [Thread(target=link, args=(50 * part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    names = [
        profile.username
        for profile in fake_service.person().profiles.values()
        if profile.platform == "twitter"
    ]
    assert names == ["bob"] * 200


def test_two_changes_of_one_profile_never_undo_each_other(fake_service: FakeService) -> None:
    patience = sys.getswitchinterval()
    finished = Event()

    def fail_all_the_while() -> None:
        while not finished.is_set():
            fake_service.fail(LINKEDIN, "Too long")

    failing = Thread(target=fail_all_the_while)
    sys.setswitchinterval(1e-6)
    try:
        failing.start()
        seen = []
        for number in range(2000):
            fake_service.rename_connection(LINKEDIN, username=str(number))
            seen.append(fake_service.profile(LINKEDIN).username)
    finally:
        finished.set()
        failing.join()
        sys.setswitchinterval(patience)

    assert seen == [str(number) for number in range(2000)]


def test_the_seed_world_is_the_vendors_example_field_by_field() -> None:
    fake_service = seed_world(lambda: SEED_NOW)

    connections = [listed(profile, SEED_NOW) for profile in fake_service.person().profiles.values()]

    # The example says 2026-05-15T10:30 and "82d 4h" of LinkedIn, which no one moment makes both true.
    assert connections[1].pop("accessTokenExpiresAt") == "2026-05-16T00:00:00.000Z"
    expected = [
        {
            "platformId": "twitter-123456789",
            "username": "yourhandle",
            "displayName": "Your Name",
            "profileImageUrl": "https://pbs.twimg.com/profile_images/...",
            "profileUrl": "https://twitter.com/yourhandle",
            "accessTokenExpiresAt": None,
            "tokenStatus": "unknown",
            "tokenExpiresIn": None,
            "lastSuccessfulPost": "2026-02-20T14:30:00.000Z",
            "lastError": None,
        },
        {
            "platformId": "linkedin-Tz9W5i6ZYG",
            "username": "John Doe",
            "displayName": "John Doe",
            "profileImageUrl": "https://media.licdn.com/...",
            "profileUrl": "https://linkedin.com/in/johndoe",
            "tokenStatus": "valid",
            "tokenExpiresIn": "82d 4h",
            "lastSuccessfulPost": "2026-02-22T09:15:00.000Z",
            "lastError": None,
        },
        {
            "platformId": "instagram-17841412345678",
            "username": "yourinstagram",
            "displayName": "Your Brand",
            "profileImageUrl": "https://...",
            "profileUrl": None,
            "accessTokenExpiresAt": "2026-02-25T08:00:00.000Z",
            "tokenStatus": "expiring_soon",
            "tokenExpiresIn": "2d 12h",
            "lastSuccessfulPost": None,
            "lastError": {
                "message": "Media upload failed: Invalid image format",
                "occurredAt": "2026-02-21T16:45:00.000Z",
            },
        },
    ]
    assert json.dumps(expected) == json.dumps(connections)


def test_the_seed_worlds_dates_move_with_now() -> None:
    later = SEED_NOW + timedelta(days=300)

    instagram = seed_world(lambda: later).profile("instagram-17841412345678")

    assert instagram.expires_at == later + timedelta(days=2, hours=12)
    assert instagram.last_error is not None
    assert instagram.last_error.occurred_at == later - timedelta(days=1, hours=3, minutes=15)


def test_the_sample_world_has_all_eleven_platforms_and_every_status() -> None:
    fake_service = sample_world(lambda: NOW)

    profiles = fake_service.person().profiles.values()

    platforms = (
        "twitter linkedin instagram threads tiktok youtube facebook bluesky mastodon telegram pinterest"
    )
    assert set(platforms.split()) == {profile.platform for profile in profiles}
    statuses = {listed(profile, NOW)["tokenStatus"] for profile in profiles}
    assert {"valid", "expiring_soon", "expired", "unknown"} == statuses
    assert len(fake_service.account().users) == 3
