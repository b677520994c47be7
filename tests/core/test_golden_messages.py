"""The commonest alerts and the messages to clients in full, so that a reader sees what readers see."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from monitor.core.evaluation.workspace import KnownUser, user_removed
from monitor.core.messages.client import render_for_client
from monitor.core.messages.render import Item, render
from monitor.core.model import (
    Connection,
    ConnectionState,
    Incident,
    PublishError,
    Reason,
    Resolution,
    Severity,
    Subject,
    Target,
)
from monitor.core.rules.base import Problem, RuleResult
from monitor.core.rules.channel_failing import ChannelState, check_channel
from monitor.core.rules.publish_error import PublishErrorRule
from monitor.core.rules.token_expiry import TokenExpiry
from monitor.http.client import Response
from monitor.providers import PROVIDERS
from monitor.providers.api_errors import from_response

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 12, 1, 23, 45, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OWNER = Target(id=1, account="north-bakery")
CLIENT = Target(
    id=2, account="agency", managed_user_id="65f0c0ffee65f0c0ffee65f0", managed_user="Bakery & Söhne"
)
SLACK = ChannelState(channel="ops", dead=1, attempts=9, failing_since=NOW - 2 * HOUR, error="slack: HTTP 404")
INSTAGRAM = Connection(
    platform_id="instagram-17841400022233",
    username="northbakery",
    display_name="North Bakery",
    token_status="expiring_soon",
    expires_at=NOW + 22 * HOUR,
    last_successful_post_at=NOW - 8 * DAY,
)
EXPIRED = replace(INSTAGRAM, token_status="expired", expires_at=NOW - 2 * DAY)
VALID = replace(INSTAGRAM, token_status="valid", expires_at=NOW + 60 * DAY)
PAGE = "https://tokens.example.com/incidents/12"
LINK = "https://app.postpost.dev/connections/0123456789abcdef"


def found(result: RuleResult, target: Target = OWNER, seen: Connection | None = None, **given: Any) -> Item:
    """Make the item of a problem as a rule found it."""
    assert isinstance(result, Problem)
    id_ = given.pop("id", 12)
    about = Subject(
        account=target.account, target_id=target.id, platform_id=seen.platform_id if seen else None
    )
    incident = Incident(
        id=id_,
        rule=result.rule,
        subject=given.pop("subject", about),
        severity=result.severity,
        max_severity=result.severity,
        summary=result.summary,
        remedy=result.remedy,
        cause=result.cause,
        deadline_at=result.deadline_at,
        opened_at=given.pop("opened_at", NOW),
    )
    given = {"reasons": frozenset({Reason.OPENED}), "dashboard_url": "https://app.postpost.dev"} | given
    return Item(incident=incident, connection=seen, target=target, **given)


def token(seen: Connection, target: Target = OWNER, **given: Any) -> Item:
    state = ConnectionState(connection=seen, first_seen_at=NOW - 30 * DAY)
    return found(TokenExpiry().check(state, NOW), target, seen, **given)


def publish_error(message: str, target: Target = OWNER) -> Item:
    seen = replace(VALID, last_error=PublishError(message=message, occurred_at=NOW - HOUR))
    state = ConnectionState(connection=seen, first_seen_at=NOW - 30 * DAY)
    return found(PublishErrorRule().check(state, NOW), target, seen)


def refused(status: int, body: bytes, severity: Severity) -> Item:
    response = Response(status=status, headers={}, body=body)
    failure = from_response(response, brand=PROVIDERS["postpost"], for_user=False, now=NOW)
    problem = Problem(rule=failure.rule, severity=severity, summary=failure.error, remedy=failure.remedy)
    return found(problem, subject=Subject(account="north-bakery"))


def resolved(item: Item) -> Item:
    incident = replace(
        item.incident, opened_at=NOW - 11 * DAY, resolved_at=NOW, resolution=Resolution.RECOVERED
    )
    return replace(item, incident=incident, connection=VALID, last_severity=Severity.CRITICAL)


def several() -> list[Item]:
    """Five connections of one client: one has expired, and the others expire in the next days."""
    left = {"threads": -2, "instagram": 3, "linkedin": 4, "tiktok": 5, "pinterest": 6}
    return [
        token(
            replace(EXPIRED if days < 0 else INSTAGRAM, platform_id=f"{name}-1", expires_at=NOW + days * DAY),
            CLIENT,
            id=number,
        )
        for number, (name, days) in enumerate(left.items(), start=1)
    ]


ALERTS = {
    "token expires": (
        [token(INSTAGRAM)],
        """\
[CRITICAL] Instagram @northbakery (North Bakery): token expires in 22 hours
Access expires in 22 hours (2 Dec, 22:45 Berlin). Posts to this account will fail after that.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev
Connection: North Bakery (@northbakery) on Instagram, account north-bakery.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "token of a client escalates, with the page of the incident": (
        [
            token(
                INSTAGRAM,
                CLIENT,
                last_severity=Severity.WARNING,
                opened_at=NOW - 6 * DAY,
                incident_url=PAGE,
            )
        ],
        """\
[CRITICAL] Instagram @northbakery (Bakery & Söhne): token expires in 22 hours
Escalated to CRITICAL: access expires in 22 hours (2 Dec, 22:45 Berlin). Posts to this account will fail after that.
Open since 26 Nov, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev
Connection: North Bakery (@northbakery) on Instagram, managed user Bakery & Söhne, account agency.
Incident 12: https://tokens.example.com/incidents/12

Incident 12 · message 0a1b2c3d4e""",
    ),
    "token has expired": (
        [
            token(
                EXPIRED,
                opened_at=NOW - 9 * DAY,
                last_severity=Severity.CRITICAL,
                reasons=frozenset({Reason.UPDATED}),
            )
        ],
        """\
[CRITICAL] Instagram @northbakery (North Bakery): token expired 2 days ago
Access expired 2 days ago (30 Nov, 00:45 Berlin). Posts to this account will fail until it is reconnected.
Open since 23 Nov, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev
Connection: North Bakery (@northbakery) on Instagram, account north-bakery.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "reminder": (
        [
            token(
                EXPIRED,
                opened_at=NOW - 9 * DAY,
                last_severity=Severity.CRITICAL,
                reasons=frozenset({Reason.REMINDER}),
            )
        ],
        """\
[CRITICAL] Instagram @northbakery (North Bakery): token expired 2 days ago (reminder)
Still open: access expired 2 days ago (30 Nov, 00:45 Berlin). Posts to this account will fail until it is reconnected.
Open since 23 Nov, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev
Connection: North Bakery (@northbakery) on Instagram, account north-bakery.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "token is valid again": (
        [resolved(token(EXPIRED))],
        """\
[RESOLVED] Instagram @northbakery (North Bakery): token is valid again
The token is valid again until 31 Jan 2027, 00:45 Berlin. The problem lasted 11 days.
Connection: North Bakery (@northbakery) on Instagram, account north-bakery.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "login rejected": (
        [publish_error("Error validating access token (#190)")],
        """\
[CRITICAL] Instagram @northbakery (North Bakery): publishing failed, login rejected
Posts to this account will fail until it is reconnected.
Publishing failed at 1 Dec, 23:45 Berlin, because the platform rejected the login: Error validating access token (#190).
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev
Connection: North Bakery (@northbakery) on Instagram, account north-bakery.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "content refused": (
        [publish_error("Media upload failed: wrong format", CLIENT)],
        """\
[WARNING] Instagram @northbakery (Bakery & Söhne): publishing failed, content refused
The post was not published. Other posts are not affected.
Publishing failed at 1 Dec, 23:45 Berlin, because the platform refused the content: Media upload failed: wrong format.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: correct the post and publish it again
Connection: North Bakery (@northbakery) on Instagram, managed user Bakery & Söhne, account agency.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "API key rejected": (
        [refused(401, b'{"error": "Invalid API key"}', Severity.CRITICAL)],
        """\
[CRITICAL] Account north-bakery: API key rejected
The monitor can't check the connections of this account. New problems go unnoticed until the API accepts the key.
The API key is invalid or was revoked.
Open since 2 Dec, 00:45 Berlin.
What to do: replace the key with a valid one from https://app.postpost.dev

Incident 12 · message 0a1b2c3d4e""",
    ),
    "API returns errors": (
        [refused(500, b'{"error": "Failed to fetch platform connections"}', Severity.WARNING)],
        """\
[WARNING] Account north-bakery: API is returning errors
The monitor can't check the connections of this account. It keeps retrying, and known expiry dates still raise alerts.
The API is returning errors: HTTP 500 Failed to fetch platform connections.
Open since 2 Dec, 00:45 Berlin.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "managed user has left": (
        [
            found(
                user_removed(KnownUser(target=CLIENT, missing_since=NOW - HOUR)),
                CLIENT,
                subject=Subject(account="agency", target_id=2),
            )
        ],
        """\
[WARNING] Bakery & Söhne (agency): user is no longer managed
The monitor no longer checks the connections of this managed user.
The workspace no longer lists this managed user (since 1 Dec, 23:45 Berlin).
Open since 2 Dec, 00:45 Berlin.
What to do: add the user to the workspace again, unless they were removed on purpose
Managed user: Bakery & Söhne, account agency.

Incident 12 · message 0a1b2c3d4e""",
    ),
    "channel fails": (
        [found(check_channel(SLACK, NOW), subject=Subject(channel="ops"))],
        """\
[WARNING] Channel ops: messages are not delivered
Alerts for this channel are not being delivered.
Channel ops has not accepted messages since 1 Dec, 22:45 Berlin: slack: HTTP 404.
Open since 2 Dec, 00:45 Berlin.
What to do: test the channel with `postpost-monitor test-channel`

Incident 12 · message 0a1b2c3d4e""",
    ),
    "several connections of a client": (
        several(),
        """\
[CRITICAL] Bakery & Söhne: reconnect Threads (expired), Instagram (3 days left) and 3 more
Posts to 1 account are failing now. Posts to 4 more will fail, the first in 3 days (5 Dec, 00:45 Berlin).

North Bakery (@northbakery) on Threads, managed user Bakery & Söhne, account agency
CRITICAL: Access expired 2 days ago (30 Nov, 00:45 Berlin). Posts to this account will fail until it is reconnected.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev

North Bakery (@northbakery) on Instagram, managed user Bakery & Söhne, account agency
WARNING: Access expires in 3 days (5 Dec, 00:45 Berlin). Posts to this account will fail after that.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev

North Bakery (@northbakery) on LinkedIn, managed user Bakery & Söhne, account agency
NOTICE: Access expires in 4 days (6 Dec, 00:45 Berlin). Posts to this account will fail after that.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev

North Bakery (@northbakery) on TikTok, managed user Bakery & Söhne, account agency
NOTICE: Access expires in 5 days (7 Dec, 00:45 Berlin). Posts to this account will fail after that.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev

North Bakery (@northbakery) on Pinterest, managed user Bakery & Söhne, account agency
NOTICE: Access expires in 6 days (8 Dec, 00:45 Berlin). Posts to this account will fail after that.
Open since 2 Dec, 00:45 Berlin.
Last successful post: 24 Nov, 00:45 Berlin.
What to do: reconnect this account at https://app.postpost.dev

Incidents 1, 2, 3, 4, 5 · message 0a1b2c3d4e""",
    ),
}

CLIENT_MESSAGES = {
    "reconnect, with a link": (
        [token(INSTAGRAM, CLIENT, reconnect_url=LINK)],
        "Harbour Agency",
        """\
Harbour Agency: please reconnect your Instagram account
Hello Bakery & Söhne,
Harbour Agency publishes posts for you on social media.

Please reconnect your Instagram account "North Bakery" by 2 Dec, 22:45 Berlin time. After that, we can't publish to it.

This link opens your reconnect page:
https://app.postpost.dev/connections/0123456789abcdef
The page is on app.postpost.dev, the service that we use to publish your posts.
The link is for you alone, so please do not pass it on.

If you are not sure that this message is genuine, please ask your contact at Harbour Agency before you open the link.
We never ask for a password in a message.

Harbour Agency

Reference: 0a1b2c3d4e""",
    ),
    "several, without a link, from a sender without a name": (
        several()[:2],
        "",
        """\
Please reconnect your social media accounts
Hello Bakery & Söhne,

Please reconnect your Threads account "North Bakery". We can't publish to it anymore.
Please reconnect your Instagram account "North Bakery" by 5 Dec, 00:45 Berlin time. After that, we can't publish to it.

Please ask your usual contact for your reconnect link.

If you have questions, please ask your usual contact.
We never ask for a password in a message.

Reference: 0a1b2c3d4e""",
    ),
    "content refused": (
        [publish_error("Media upload failed: wrong format", CLIENT)],
        "Harbour Agency",
        """\
Harbour Agency: a problem with your Instagram account
Hello Bakery & Söhne,
Harbour Agency publishes posts for you on social media.

There is a problem with your Instagram account "North Bakery".
Publishing failed at 1 Dec, 23:45 Berlin, because the platform refused the content: Media upload failed: wrong format.

If you have questions, please ask your contact at Harbour Agency.
We never ask for a password in a message.

Harbour Agency

Reference: 0a1b2c3d4e""",
    ),
    "reconnected": (
        [resolved(token(EXPIRED, CLIENT))],
        "Harbour Agency",
        """\
Harbour Agency: your Instagram account can publish again
Hello Bakery & Söhne,
Harbour Agency publishes posts for you on social media.

We can publish to your Instagram account "North Bakery" again until 31 Jan 2027, 00:45 Berlin time.
You do not need to do anything.

If you have questions, please ask your contact at Harbour Agency.
We never ask for a password in a message.

Harbour Agency

Reference: 0a1b2c3d4e""",
    ),
}


def as_read(title: str, body: str) -> str:
    """Return what readers see: a zero-width space keeps ``@`` from acting, and nobody sees it."""
    return f"{title}\n{body}".replace("\u200b", "")


@pytest.mark.parametrize(("items", "expected"), ALERTS.values(), ids=ALERTS)
def test_an_alert_in_full(items: Sequence[Item], expected: str) -> None:
    message = render(items, now=NOW, key="0a1b2c3d4e", time_zone=BERLIN)
    assert message
    assert expected == as_read(message.title, message.body)


@pytest.mark.parametrize(("items", "sender", "expected"), CLIENT_MESSAGES.values(), ids=CLIENT_MESSAGES)
def test_a_message_to_a_client_in_full(items: Sequence[Item], sender: str, expected: str) -> None:
    message = render_for_client(items, now=NOW, key="0a1b2c3d4e", time_zone=BERLIN, sender=sender)
    assert message
    assert expected == as_read(message.title, message.body)
