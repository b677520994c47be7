"""The example of the API's own document, from the first look to the end of its troubles."""

from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.core.model import Connection, PublishError, Severity
from monitor.core.routing.routes import Route
from monitor.jobs.deliver import deliver_channel
from tests.factories import DAY, HOUR, NOW, failure
from tests.jobs.simulator import JobSimulator

X = Connection(
    platform_id="twitter-123456789",
    username="yourhandle",
    display_name="Your Name",
    token_status="unknown",
    last_successful_post_at=NOW - 2 * DAY - timedelta(hours=5, minutes=30),
)
LINKEDIN = Connection(
    platform_id="linkedin-Tz9W5i6ZYG",
    username="John Doe",
    display_name="John Doe",
    token_status="valid",
    expires_at=NOW + 82 * DAY + 4 * HOUR,
    last_successful_post_at=NOW - timedelta(hours=10, minutes=45),
)
INSTAGRAM = Connection(
    platform_id="instagram-17841412345678",
    username="yourinstagram",
    display_name="Your Brand",
    token_status="expiring_soon",
    expires_at=NOW + 2 * DAY + 12 * HOUR,
    last_error=PublishError(
        message="Media upload failed: Invalid image format",
        occurred_at=NOW - timedelta(hours=27, minutes=15),
    ),
)
EXPIRED = replace(INSTAGRAM, token_status="expired", expires_at=NOW + HOUR)
WELL = replace(
    INSTAGRAM,
    token_status="valid",
    expires_at=NOW + 60 * DAY,
    last_successful_post_at=NOW + 2 * HOUR,
    last_error=None,
)


@pytest.fixture
def seen(simulator: JobSimulator) -> JobSimulator:
    """Give a house that has looked once."""
    simulator.poll_connections(X, LINKEDIN, INSTAGRAM)
    return simulator


def test_the_first_look_tells_what_is_wrong_in_one_message(seen: JobSimulator) -> None:
    assert ["twitter", "linkedin", "instagram"] == [r["platform"] for r in seen.view("current_connections")]
    assert [
        ("token_expiry", "warning", INSTAGRAM.platform_id),
        ("publish_error", "warning", INSTAGRAM.platform_id),
    ] == [(row["rule"], row["severity"], row["platform_id"]) for row in seen.view("incident_log")]
    (message,) = seen.deliver()
    assert message.severity is Severity.WARNING
    for notified in (
        "Instagram",
        "Your Brand",
        "yourinstagram",
        "in 2 days (25 Feb, 08:00 UTC)",
        "Invalid image format",
    ):
        assert notified in message.body
    for untold in ("LinkedIn", "John Doe", "Your Name", "twitter", "linkedin"):
        assert untold not in message.title + message.body
    assert "https://app.postpost.dev" in message.body


def test_groups_wait_to_fill_before_they_are_told(seen: JobSimulator) -> None:
    assert seen.deliver(wait=True) == []
    seen.advance(timedelta(seconds=30))
    assert len(seen.deliver(wait=True)) == 1


def test_looking_ten_times_more_sends_nothing_and_no_table_grows(seen: JobSimulator) -> None:
    seen.deliver()
    before = seen.sizes()
    for _ in range(10):
        seen.advance()
        seen.poll_connections(X, LINKEDIN, INSTAGRAM)
        seen.review()
        assert seen.deliver() == []
    assert before == seen.sizes()


def test_a_token_that_expires_is_one_critical_message(seen: JobSimulator) -> None:
    seen.deliver()
    seen.advance(2 * HOUR)
    seen.poll_connections(X, LINKEDIN, EXPIRED)
    (message,) = seen.deliver()
    assert message.severity is Severity.CRITICAL
    assert "CRITICAL" in message.title
    assert "Instagram" in message.title
    assert len(seen.view("incident_log")) == 2
    for _ in range(3):
        seen.advance()
        seen.poll_connections(X, LINKEDIN, EXPIRED)
        assert seen.deliver() == []


def test_reconnecting_and_posting_is_one_message_that_all_is_well(seen: JobSimulator) -> None:
    seen.deliver()
    seen.advance(2 * HOUR)
    seen.poll_connections(X, LINKEDIN, EXPIRED)
    seen.deliver()
    seen.advance(2 * HOUR)
    seen.poll_connections(X, LINKEDIN, WELL)
    (message,) = seen.deliver()
    assert message.severity is None
    assert message.title.startswith("[RESOLVED]")
    assert 2 == message.body.count("RESOLVED: ")
    assert "The token is valid again" in message.body
    assert ["recovered"] * 2 == [row["resolution"] for row in seen.view("incident_log")]
    assert [
        (None, "expiring_soon"),
        ("expiring_soon", "expired"),
        ("expired", "valid"),
    ] == [
        (row["from_status"], row["to_status"])
        for row in seen.view("token_transitions")
        if row["platform"] == "instagram"
    ]
    assert {"delivered"} == {row["state"] for row in seen.view("delivery_log")}
    assert 3 == len(seen.sent) == len({row["message"] for row in seen.view("delivery_log")})


def test_a_rung_is_told_while_the_api_is_down(seen: JobSimulator) -> None:
    seen.deliver()
    seen.provider.fails(failure())
    notified = []
    for _ in range(31):
        seen.advance(2 * HOUR)
        seen.poll()
        seen.review()
        notified += [message.title for message in seen.deliver() if "Instagram" in message.title]
    assert 2 == len(notified)  # one day before, and expired
    assert all(title.startswith("[CRITICAL]") for title in notified)
    assert "token expired" in notified[1]


def test_every_channel_of_a_route_is_told_and_one_that_is_gone_stops_nobody(seen: JobSimulator) -> None:
    seen.routes = (Route(channels=("gone", "ops")),)
    seen.advance(2 * HOUR)
    seen.poll_connections(X, LINKEDIN, EXPIRED)
    assert (0, 1) == deliver_channel("gone", seen.context, {}, wait=False)
    assert (1, 0) == deliver_channel("ops", seen.context, {}, wait=False)
    (lost,) = (row for row in seen.view("delivery_log") if row["channel"] == "gone")
    assert ("failed", "escalated") == (lost["state"], lost["reason"])
    assert "no channel 'gone' in the configuration" in lost["error"]
