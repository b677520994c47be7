"""When an open incident is told again, though nothing has changed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.core.model import Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNotification:
    """
    What a channel was told of an open incident.

    Args:
        notified_at: when the newest thing that wasn't a reminder was written for it.
        reminded_at: when the newest reminder was; None before the first.
        is_pending: whether something is still on its way.
    """

    incident: Incident
    channel: str
    notified_at: datetime
    reminded_at: datetime | None
    is_pending: bool


def is_reminder_due(last: LastNotification, now: datetime, *, every: timedelta, at_most: int | None) -> bool:
    """
    Return whether a channel is to be reminded now.

    Reminders fall on whole multiples of ``every`` after the news, so they stay even however late one of them
    was; those missed while nobody looked are made up for by one.
    """
    if last.is_pending or last.incident.acknowledged_by is not None or not last.incident.is_open:
        return False
    due = (now - last.notified_at) // every
    done = (last.reminded_at - last.notified_at) // every if last.reminded_at else 0
    return max(done, 0) < due and (at_most is None or max(done, 0) < at_most)
