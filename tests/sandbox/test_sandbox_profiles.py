"""What the stand-in says of a token, at the edges of what the vendor's document promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.core.model import PublishError
from monitor.sandbox.clock import FastClock
from monitor.sandbox.profiles import Profile, diagnosed, listed, token_expires_in, token_status

NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("left", "status", "words"),
    [
        (timedelta(days=82, hours=4), "valid", "82d 4h"),
        (timedelta(days=7, hours=3), "valid", "7d 3h"),
        (timedelta(days=7), "valid", "7d 0h"),
        (timedelta(days=7) - MOMENT, "expiring_soon", "6d 23h"),
        (timedelta(days=6, hours=23), "expiring_soon", "6d 23h"),
        (timedelta(days=2, hours=12), "expiring_soon", "2d 12h"),
        (timedelta(days=1), "expiring_soon", "1d 0h"),
        (timedelta(days=1) - MOMENT, "expiring_soon", "23h"),
        (timedelta(hours=5, minutes=59), "expiring_soon", "5h"),
        (timedelta(hours=1), "expiring_soon", "1h"),
        (timedelta(hours=1) - MOMENT, "expiring_soon", "< 1h"),
        (MOMENT, "expiring_soon", "< 1h"),
        (timedelta(0), "expired", "expired"),
        (timedelta(days=-400), "expired", "expired"),
    ],
)
def test_status_and_words_follow_from_what_is_left(left: timedelta, status: str, words: str) -> None:
    assert (status, words) == (token_status(NOW + left, NOW), token_expires_in(NOW + left, NOW))


def test_a_token_without_expiry_is_unknown_and_has_no_words() -> None:
    assert (token_status(None, NOW), token_expires_in(None, NOW)) == ("unknown", None)


def test_a_listed_profile_has_the_documented_fields_in_their_order() -> None:
    item = listed(Profile(platform_id="twitter-1", username="ann"), NOW)

    assert list(item.items()) == [
        ("platformId", "twitter-1"),
        ("username", "ann"),
        ("displayName", None),
        ("profileImageUrl", None),
        ("profileUrl", None),
        ("accessTokenExpiresAt", None),
        ("tokenStatus", "unknown"),
        ("tokenExpiresIn", None),
        ("lastSuccessfulPost", None),
        ("lastError", None),
    ]


def test_an_error_without_a_time_is_bare_text() -> None:
    timed = Profile(
        platform_id="twitter-1", username="ann", last_error=PublishError(message="No", occurred_at=NOW)
    )
    bare = replace(timed, last_error=PublishError(message="No"))

    assert listed(timed, NOW)["lastError"] == {"message": "No", "occurredAt": "2026-02-22T20:00:00.000Z"}
    assert listed(bare, NOW)["lastError"] == "No"


def test_overrides_take_the_place_of_the_truth_and_left_out_fields_are_missing() -> None:
    profile = Profile(
        platform_id="twitter-1",
        username="ann",
        overrides={"tokenStatus": "sleeping", "username": 7, "warnings": ["new"]},
        left_out=frozenset({"displayName"}),
    )

    item = listed(profile, NOW)

    assert (item["tokenStatus"], item["username"], item["warnings"]) == ("sleeping", 7, ["new"])
    assert "displayName" not in item


@pytest.mark.parametrize(
    ("profile", "status", "message"),
    [
        (Profile(platform_id="twitter-1", username="ann"), "ok", "Connected as ann"),
        (Profile(platform_id="twitter-1", username="ann", display_name="Ann"), "ok", "Connected as Ann"),
        (
            Profile(platform_id="linkedin-1", username="ann", expires_at=NOW),
            "error",
            "Error validating access token: Session has expired",
        ),
        (
            Profile(platform_id="twitter-1", username="ann", is_revoked=True),
            "error",
            "Error validating access token: The user has not authorized application",
        ),
        (Profile(platform_id="pinterest-1", username="ann"), "error", "Unknown platform: pinterest"),
        (Profile(platform_id="telegram--1001", username="ann"), "ok", "Connected as ann"),
        (Profile(platform_id="telegram--1001", username="ann", is_bot=False), "error", "Invalid bot token"),
        (
            Profile(platform_id="telegram--1001", username="ann", is_revoked=True),
            "error",
            "Invalid bot token",
        ),
        (Profile(platform_id="bluesky-did:plc:a", username="ann"), "error", "Missing credentials"),
    ],
)
def test_a_test_answers_as_the_vendor_does_its_blind_spots_included(
    profile: Profile, status: str, message: str
) -> None:
    answer = diagnosed(profile, NOW)

    assert (status, message) == (answer["status"], answer["message"])


def test_a_test_answer_tells_permissions_only_where_it_is_well() -> None:
    well = Profile(platform_id="linkedin-1", username="ann", expires_at=NOW + timedelta(days=45, hours=3))

    assert list(diagnosed(well, NOW).items()) == [
        ("platform", "linkedin"),
        ("platformId", "linkedin-1"),
        ("username", "ann"),
        ("status", "ok"),
        ("message", "Connected as ann"),
        ("permissions", ["w_member_social", "r_basicprofile"]),
        ("tokenExpiresIn", "45d 3h"),
        ("lastSuccessfulPost", None),
        ("lastError", None),
    ]
    assert diagnosed(replace(well, expires_at=NOW), NOW)["permissions"] == []


def test_a_fast_clock_begins_where_it_is_told_and_runs_ahead() -> None:
    clock = FastClock(86_400_000, NOW)  # a day a millisecond

    first = clock()
    while clock() < first + timedelta(days=30):  # a real clock would need thirty days
        pass

    assert first >= NOW
    assert clock().tzinfo is UTC
    assert clock().microsecond % 1000 == 0


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_clock_that_does_not_run_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        FastClock(speed, NOW)


def test_a_test_shows_permissions_and_not_those_that_were_withdrawn() -> None:
    whole = Profile(platform_id="mastodon-1", username="ann")
    assert diagnosed(whole, NOW)["permissions"] == ["read", "write"]
    short = Profile(platform_id="mastodon-1", username="ann", lost=frozenset({"write"}))
    assert diagnosed(short, NOW)["permissions"] == ["read"]
