"""The state behind the stand-in, changed as people and platforms change it."""

import json
import sys
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from monitor.sandbox.profiles import Profile, listed
from monitor.sandbox.samples import SEED_NOW, sample_world, seed_world
from monitor.sandbox.world import World

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
def world(clock: Clock) -> World:
    world = World(clock)
    world.add_account("sk_a")
    world.add_connection(Profile(platform_id=LINKEDIN, username="ann", expires_at=NOW + timedelta(days=8)))
    return world


def shown(world: World, platform_id: str = LINKEDIN, user: str | None = None) -> dict[str, object]:
    return listed(world.profile(platform_id, user=user), world.now())


def test_a_token_ages_by_the_clock_of_its_world(world: World, clock: Clock) -> None:
    seen = []
    for _ in range(4):
        seen.append(shown(world)["tokenStatus"])
        clock.now += timedelta(days=4, hours=1)

    assert seen == ["valid", "expiring_soon", "expired", "expired"]


def test_reconnecting_gives_a_new_term_and_leaves_the_past_as_it_was(world: World, clock: Clock) -> None:
    world.fail(LINKEDIN, "Session has expired")
    world.expire(LINKEDIN)
    world.revoke_grant(LINKEDIN)
    clock.now += timedelta(hours=1)

    world.reconnect(LINKEDIN)

    assert world.profile(LINKEDIN).expires_at == clock.now + timedelta(days=60)
    assert not world.profile(LINKEDIN).is_revoked
    assert shown(world)["lastError"] == {
        "message": "Session has expired",
        "occurredAt": "2026-02-22T20:00:00.000Z",
    }


def test_reconnecting_a_platform_whose_tokens_do_not_expire_gives_no_date(world: World) -> None:
    world.add_connection(Profile(platform_id="twitter-1", username="ann"))

    world.reconnect("twitter-1")

    assert shown(world, "twitter-1")["tokenStatus"] == "unknown"


def test_a_successful_post_leaves_the_last_error_to_be_cleared_on_its_own(world: World, clock: Clock) -> None:
    world.fail(LINKEDIN, "Too long")
    clock.now += timedelta(minutes=5)

    world.post(LINKEDIN)

    assert shown(world)["lastSuccessfulPost"] == "2026-02-22T20:05:00.000Z"
    assert shown(world)["lastError"] is not None
    world.clear_error(LINKEDIN)
    assert shown(world)["lastError"] is None


def test_the_same_profile_may_be_linked_by_several_people(world: World) -> None:
    user = world.add_user("bob@example.com")
    world.add_connection(Profile(platform_id=LINKEDIN, username="bob"), user=user)

    world.rename_connection(LINKEDIN, username="robert", user=user)

    assert (shown(world)["username"], shown(world, user=user)["username"]) == ("ann", "robert")


def test_managed_users_come_go_and_change_their_names(world: World) -> None:
    user = world.add_user("bob@example.com", display_name="Bob")
    assert (len(user), all(char in "0123456789abcdef" for char in user)) == (24, True)

    world.rename_user(user, "robert@example.com")
    assert world.person(user=user).username == "robert@example.com"

    world.remove_user(user)
    with pytest.raises(LookupError, match="no managed user"):
        world.person(user=user)


def test_users_of_one_name_have_ids_of_their_own(world: World) -> None:
    assert world.add_user("bob@example.com") != world.add_user("bob@example.com")


def test_a_link_is_kept_while_it_is_good_and_made_anew_when_it_is_not(world: World, clock: Clock) -> None:
    user = world.add_user("bob@example.com")
    first, until = world.make_link(user, lifetime=timedelta(days=30))

    assert until == NOW + timedelta(days=30)
    assert world.make_link(user) == (first, until)
    rotated, _ = world.make_link(user, rotate=True)
    assert rotated != first
    clock.now += timedelta(days=90)
    assert world.make_link(user)[0] != rotated


def test_a_key_must_be_given_where_there_are_several(world: World) -> None:
    world.add_account("sk_b")

    with pytest.raises(LookupError, match="give a key"):
        world.account()
    with pytest.raises(LookupError, match="no account has this key"):
        world.account("sk_c")


def test_what_does_not_exist_cannot_be_changed(world: World) -> None:
    with pytest.raises(LookupError, match="nothing is linked as twitter-9"):
        world.expire("twitter-9")


def test_changes_from_many_threads_are_all_made(world: World) -> None:
    def link(first: int) -> None:
        for number in range(first, first + 50):
            world.add_connection(Profile(platform_id=f"twitter-{number}", username="ann"))
            world.rename_connection(f"twitter-{number}", username="bob")

    threads = [Thread(target=link, args=(50 * part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    names = [
        profile.username for profile in world.person().profiles.values() if profile.platform == "twitter"
    ]
    assert names == ["bob"] * 200


def test_two_changes_of_one_profile_never_undo_each_other(world: World) -> None:
    patience = sys.getswitchinterval()
    finished = Event()

    def fail_all_the_while() -> None:
        while not finished.is_set():
            world.fail(LINKEDIN, "Too long")

    failing = Thread(target=fail_all_the_while)
    sys.setswitchinterval(1e-6)
    try:
        failing.start()
        seen = []
        for number in range(2000):
            world.rename_connection(LINKEDIN, username=str(number))
            seen.append(world.profile(LINKEDIN).username)
    finally:
        finished.set()
        failing.join()
        sys.setswitchinterval(patience)

    assert seen == [str(number) for number in range(2000)]


def test_the_seed_world_is_the_vendors_example_field_by_field() -> None:
    world = seed_world(lambda: SEED_NOW)

    connections = [listed(profile, SEED_NOW) for profile in world.person().profiles.values()]

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
    world = sample_world(lambda: NOW)

    profiles = world.person().profiles.values()

    platforms = (
        "twitter linkedin instagram threads tiktok youtube facebook bluesky mastodon telegram pinterest"
    )
    assert set(platforms.split()) == {profile.platform for profile in profiles}
    statuses = {listed(profile, NOW)["tokenStatus"] for profile in profiles}
    assert {"valid", "expiring_soon", "expired", "unknown"} == statuses
    assert len(world.account().users) == 3
