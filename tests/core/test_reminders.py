"""Reminders fall on whole multiples of their interval after the news, and each is sent once."""

from datetime import timedelta

import pytest

from monitor.core.model import Incident, Resolution, RuleName, Severity, Subject
from monitor.core.routing.reminders import LastNotification, is_reminder_due
from tests.factories import DAY, NOW

SECOND = timedelta(seconds=1)


def last(
    reminded_at: timedelta | None = None, *, is_pending: bool = False, **given: object
) -> LastNotification:
    incident = Incident(
        rule=RuleName.TOKEN_EXPIRY,
        subject=Subject(account="agency"),
        severity=Severity.WARNING,
        max_severity=Severity.WARNING,
        summary="token expires soon",
        opened_at=NOW - 30 * DAY,
        **given,  # type: ignore[arg-type]  # the fields that a case names
    )
    return LastNotification(
        incident=incident,
        channel="ops",
        notified_at=NOW,
        reminded_at=None if reminded_at is None else NOW + reminded_at,
        is_pending=is_pending,
    )


@pytest.mark.parametrize(
    ("reminded_at", "after", "at_most", "is_due"),
    [
        pytest.param(None, DAY - SECOND, None, False, id="too-early"),
        pytest.param(None, DAY, None, True, id="after-one-interval"),
        pytest.param(DAY, 2 * DAY - SECOND, None, False, id="sent-in-this-interval"),
        pytest.param(DAY, 2 * DAY, None, True, id="next-interval"),
        pytest.param(DAY + 9 * DAY / 10, 2 * DAY, None, True, id="a-late-one-moves-nothing"),
        pytest.param(DAY, 9 * DAY, None, True, id="one-makes-up-for-many"),
        pytest.param(-DAY, DAY - SECOND, None, False, id="before-the-news-counts-for-nothing"),
        pytest.param(-DAY, DAY, None, True, id="before-the-news-and-due"),
        pytest.param(None, DAY, 1, True, id="first-of-one"),
        pytest.param(DAY, 2 * DAY, 1, False, id="second-of-one"),
        pytest.param(DAY, 2 * DAY, 2, True, id="second-of-two"),
        pytest.param(2 * DAY, 3 * DAY, 2, False, id="third-of-two"),
        pytest.param(None, DAY, 0, False, id="none-wanted"),
        pytest.param(-3 * DAY, DAY, 1, True, id="those-before-the-news-are-not-counted"),
    ],
)
def test_a_reminder_is_due_once_in_each_interval(
    reminded_at: timedelta | None, after: timedelta, at_most: int | None, is_due: bool
) -> None:
    assert is_reminder_due(last(reminded_at), NOW + after, every=DAY, at_most=at_most) is is_due


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"is_pending": True}, id="a-message-is-on-its-way"),
        pytest.param({"acknowledged_by": "mara"}, id="acknowledged"),
        pytest.param({"resolved_at": NOW, "resolution": Resolution.RECOVERED}, id="resolved"),
    ],
)
def test_who_knows_already_is_not_reminded(given: dict[str, object]) -> None:
    assert is_reminder_due(last(), NOW + 5 * DAY, every=DAY, at_most=None)
    assert not is_reminder_due(last(**given), NOW + 5 * DAY, every=DAY, at_most=None)  # type: ignore[arg-type]  # as above
