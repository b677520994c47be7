"""Sample incidents, to try routes and templates before real ones come."""

from dataclasses import replace
from datetime import datetime, timedelta

from monitor.core.messages.events import Event, events_of
from monitor.core.messages.render import Item
from monitor.core.model import (
    Connection,
    Incident,
    PublishError,
    Reason,
    Resolution,
    RuleName,
    Severity,
    Subject,
    Target,
)
from monitor.core.text import format_time


def sample_items(account: str, now: datetime, dashboard_url: str) -> list[Item]:
    """Return one sample item of each kind, for an account."""
    target = Target(id=1, account=account)
    seen = Connection(
        platform_id="instagram-17841412345678",
        username="yourinstagram",
        display_name="Your Brand",
        token_status="expiring_soon",  # noqa: S106 - a status
        expires_at=now + timedelta(days=2, hours=12),
        last_successful_post_at=now - timedelta(days=4),
        last_error=PublishError(message="Media upload failed: Invalid image format", occurred_at=now),
    )
    about = Subject(account=account, target_id=1, platform_id=seen.platform_id)

    def item(id_: int, rule: RuleName, severity: Severity, summary: str, **given: object) -> Item:
        subject = (
            about if rule in {RuleName.TOKEN_EXPIRY, RuleName.PUBLISH_ERROR} else Subject(account=account)
        )
        values = {
            "id": id_,
            "rule": rule,
            "subject": subject,
            "severity": severity,
            "max_severity": severity,
            "summary": summary,
            "opened_at": now - timedelta(minutes=1),
        }
        incident = Incident(**values | given)  # type: ignore[arg-type]  # each by its own name
        return Item(
            incident=incident,
            reasons=frozenset({Reason.OPENED if incident.is_open else Reason.RESOLVED}),
            last_severity=None if incident.is_open else severity,
            target=target,
            connection=seen if subject is about else None,
            dashboard_url=dashboard_url,
        )

    expires_at = seen.expires_at or now
    return [
        item(
            1,
            RuleName.TOKEN_EXPIRY,
            Severity.WARNING,
            f"token expires at {format_time(expires_at)}",
            deadline_at=expires_at,
        ),
        item(
            2,
            RuleName.TOKEN_EXPIRY,
            Severity.CRITICAL,
            f"token expired at {format_time(now - timedelta(hours=3))}",
            deadline_at=now - timedelta(hours=3),
        ),
        item(
            3,
            RuleName.PUBLISH_ERROR,
            Severity.WARNING,
            "publishing failed, because the platform refused the content: Media upload failed: Invalid image format",
            remedy="correct the post and publish it again",
        ),
        item(
            4,
            RuleName.API_KEY_REJECTED,
            Severity.CRITICAL,
            "the API key is not valid",
            remedy="create a key in the dashboard and put it into the configuration",
        ),
        item(
            5,
            RuleName.API_UNREACHABLE,
            Severity.WARNING,
            "the API is returning errors: HTTP 500 Internal server error",
        ),
        item(
            6,
            RuleName.TOKEN_EXPIRY,
            Severity.CRITICAL,
            f"token expired at {format_time(now - timedelta(hours=3))}",
            resolved_at=now,
            resolution=Resolution.RECOVERED,
        ),
    ]


def trial_events(channel: str, name: str, now: datetime) -> list[Event]:
    """
    Return the events of a test incident, opened and resolved, for an incident service.

    Args:
        name: random, because a service may drop an event that it knows.
    """
    opened = Incident(
        id=0,
        rule=RuleName.CHANNEL_FAILING,
        subject=Subject(channel=channel),
        severity=Severity.NOTICE,  # a worse one might wake somebody
        max_severity=Severity.NOTICE,
        summary="this is a test incident of postpost-monitor, which resolves it at once",
        opened_at=now,
    )
    resolved = replace(opened, resolved_at=now, resolution=Resolution.RECOVERED)
    items = [
        Item(incident=opened, reasons=frozenset({Reason.OPENED})),
        Item(incident=resolved, reasons=frozenset({Reason.RESOLVED}), last_severity=Severity.NOTICE),
    ]
    return [
        event
        for item in items
        for event in events_of(item, installation=f"test-{name}", message_key=name, now=now)
    ]


def sample_client_items(account: str, now: datetime, *, with_link: bool) -> list[Item]:
    """Return sample items of a message to a client of an account."""
    target = Target(
        id=1,
        account=account,
        managed_user_id="507f1f77bcf86cd799439011",
        managed_user="North Bakery",
        username="client@example.com",
    )
    link = "https://app.postpost.dev/connections/0123456789abcdef" if with_link else ""
    return [replace(item, target=target, reconnect_url=link) for item in sample_items(account, now, "")[:1]]
