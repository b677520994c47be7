"""When to send a reminder of an open incident."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from monitor.core.model import Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNotification:
    """
    The last notification of a channel about an open incident.

    Args:
        notified_at: when the newest notification except reminders was written.
        reminded_at: when the newest reminder was; None before the first.
        is_pending: whether a notification is pending.
    """

    incident: Incident
    channel: str
    notified_at: datetime
    reminded_at: datetime | None
    is_pending: bool


def is_reminder_due(last: LastNotification, now: datetime, *, every: timedelta, at_most: int | None) -> bool:
    """
    Return whether a reminder is due now.

    Reminders come at whole multiples of ``every`` after the last notification, so a late one doesn't shift the
    others. One reminder replaces all that were missed.
    """
    if last.is_pending or last.incident.acknowledged_by is not None or not last.incident.is_open:
        return False
    due = (now - last.notified_at) // every
    done = (last.reminded_at - last.notified_at) // every if last.reminded_at else 0
    return max(done, 0) < due and (at_most is None or max(done, 0) < at_most)
