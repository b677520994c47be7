"""What the stand-in says of a token, at the edges of what the vendor's document promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.core.model import PublishError
from monitor.sandbox.clock import FastClock
from monitor.sandbox.profiles import (
    Contract,
    SocialProfile,
    diagnosed,
    listed,
    token_expires_in,
    token_status,
)

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


@pytest.mark.parametrize(
    ("platform", "left", "status", "has_date"),
    [
        ("linkedin", timedelta(days=7), "valid", True),
        ("linkedin", timedelta(days=7) - MOMENT, "expiring_soon", True),
        ("instagram", timedelta(days=1), "expiring_soon", True),
        ("threads", timedelta(0), "expired", True),
        ("pinterest", timedelta(days=20), "valid", True),
        ("tiktok", timedelta(days=30), "valid", True),
        ("tiktok", timedelta(days=30) - MOMENT, "expiring_soon", True),
        ("tiktok", timedelta(0), "expired", True),
        ("youtube", timedelta(days=100), "valid", False),
        ("youtube", timedelta(hours=-1), "valid", False),
        ("facebook", timedelta(days=3), "valid", False),
        ("twitter", None, "valid", False),
        ("mastodon", None, "valid", False),
        ("bluesky", None, "valid", False),
        ("telegram", None, "valid", False),
    ],
)
def test_the_newer_contract_reports_what_is_known_of_the_credential(
    platform: str, left: timedelta | None, status: str, has_date: bool
) -> None:
    profile = SocialProfile(
        platform_id=f"{platform}-1", username="ann", expires_at=None if left is None else NOW + left
    )
    item = listed(profile, NOW, Contract.NEWER)

    assert (status, has_date) == (item["tokenStatus"], item["accessTokenExpiresAt"] is not None)
    assert has_date is (item["tokenExpiresIn"] is not None)


@pytest.mark.parametrize(
    ("platform", "left"),
    [("twitter", None), ("youtube", timedelta(days=90)), ("linkedin", timedelta(days=30))],
)
def test_the_newer_contract_says_expired_of_what_the_platform_rejected_whatever_the_date(
    platform: str, left: timedelta | None
) -> None:
    expires_at = None if left is None else NOW + left
    profile = SocialProfile(
        platform_id=f"{platform}-1", username="ann", expires_at=expires_at, is_rejected=True
    )

    assert listed(profile, NOW, Contract.NEWER)["tokenStatus"] == "expired"
    assert listed(profile, NOW)["tokenStatus"] == ("unknown" if left is None else "valid")
    assert diagnosed(profile, NOW, Contract.NEWER)["status"] == "error"


def test_the_newer_contract_says_unknown_of_a_bluesky_profile_without_a_name() -> None:
    assert (
        listed(SocialProfile(platform_id="bluesky-did:plc:a", username=""), NOW, Contract.NEWER)[
            "tokenStatus"
        ]
        == "unknown"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (None, None),
        ("https://social.example/Harbour Studio", "https://social.example/Harbour%20Studio"),
        ("https://social.example/łódź?a=1&b=%20", "https://social.example/%C5%82%C3%B3d%C5%BA?a=1&b=%20"),
        ("https://social.example/@ann@example.social", "https://social.example/@ann@example.social"),
    ],
)
def test_the_address_of_a_profile_is_percent_encoded(url: str | None, shown: str | None) -> None:
    item = listed(SocialProfile(platform_id="twitter-1", username="ann", profile_url=url), NOW)

    assert shown == item["profileUrl"]


def test_a_listed_profile_has_the_documented_fields_in_their_order() -> None:
    item = listed(SocialProfile(platform_id="twitter-1", username="ann"), NOW)

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
    timed = SocialProfile(
        platform_id="twitter-1", username="ann", last_error=PublishError(message="No", occurred_at=NOW)
    )
    bare = replace(timed, last_error=PublishError(message="No"))

    assert listed(timed, NOW)["lastError"] == {"message": "No", "occurredAt": "2026-02-22T20:00:00.000Z"}
    assert listed(bare, NOW)["lastError"] == "No"


def test_overrides_take_the_place_of_the_truth_and_left_out_fields_are_missing() -> None:
    profile = SocialProfile(
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
        (SocialProfile(platform_id="twitter-1", username="ann"), "ok", "Connected as ann"),
        (
            SocialProfile(platform_id="twitter-1", username="ann", display_name="Ann"),
            "ok",
            "Connected as Ann",
        ),
        (
            SocialProfile(platform_id="linkedin-1", username="ann", expires_at=NOW),
            "error",
            "Error validating access token: Session has expired",
        ),
        (
            SocialProfile(platform_id="twitter-1", username="ann", is_revoked=True),
            "error",
            "Error validating access token: The user has not authorized application",
        ),
        (SocialProfile(platform_id="pinterest-1", username="ann"), "error", "Unknown platform: pinterest"),
        (SocialProfile(platform_id="telegram--1001", username="ann"), "ok", "Connected as ann"),
        (
            SocialProfile(platform_id="telegram--1001", username="ann", is_bot=False),
            "error",
            "Invalid bot token",
        ),
        (
            SocialProfile(platform_id="telegram--1001", username="ann", is_revoked=True),
            "error",
            "Invalid bot token",
        ),
        (SocialProfile(platform_id="bluesky-did:plc:a", username="ann"), "error", "Missing credentials"),
    ],
)
def test_a_test_answers_as_the_vendor_does_its_blind_spots_included(
    profile: SocialProfile, status: str, message: str
) -> None:
    answer = diagnosed(profile, NOW)

    assert (status, message) == (answer["status"], answer["message"])


@pytest.mark.parametrize(
    ("given", "status", "message"),
    [
        ({}, "ok", "Bot can post to Ann's News"),
        ({"is_bot": False}, "error", "Invalid bot connection"),
        ({"is_revoked": True}, "error", "Request failed with status code 401"),
        (
            {"lost": frozenset({"can_post_messages"})},
            "error",
            "Bot needs channel administrator posting rights",
        ),
    ],
)
def test_the_newer_contract_tests_a_bot_for_its_rights(
    given: dict[str, Any], status: str, message: str
) -> None:
    bot = SocialProfile(platform_id="telegram--1001", username="ann", display_name="Ann's News", **given)
    answer = diagnosed(bot, NOW, Contract.NEWER)

    assert (status, message) == (answer["status"], answer["message"])


def test_a_test_answer_tells_permissions_only_where_it_is_well() -> None:
    well = SocialProfile(
        platform_id="linkedin-1", username="ann", expires_at=NOW + timedelta(days=45, hours=3)
    )

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
    whole = SocialProfile(platform_id="mastodon-1", username="ann")
    assert diagnosed(whole, NOW)["permissions"] == ["read", "write"]
    short = SocialProfile(platform_id="mastodon-1", username="ann", lost=frozenset({"write"}))
    assert diagnosed(short, NOW)["permissions"] == ["read"]
