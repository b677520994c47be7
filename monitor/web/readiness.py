"""Check whether the monitor works: the database answers, targets are polled, messages are sent."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from monitor.core.messages.phrases import format_duration
from monitor.core.text import counted, one_line
from monitor.storage import stats
from monitor.storage.database import Database
from monitor.storage.migrate import HEAD

MAX_DELIVERY_DELAY = timedelta(minutes=15)
# A poll that just became due may still be running.
SLACK = timedelta(minutes=1)
_NAMED = 3


def readiness_problems(database: Database, every: Mapping[str, timedelta], now: datetime) -> list[str]:
    """
    Return why the monitor isn't ready, one line for each reason.

    Args:
        every: how often the targets of each account are polled.

    Raises:
        StorageError: the database can't be used.
    """
    if database.damage:
        return [one_line(database.damage, 300)]
    if database.write_error:
        return [f"the last write failed: {one_line(database.write_error, 300)}"]
    found = database.current_revision()
    if found != HEAD:
        return [f"the database has schema {found or 'none'}, this program needs {HEAD}"]
    with database.read() as store:
        if every and not store.has_targets():
            return ["no target is polled"]
        due_at = stats.due_since(store, now)
        unsent_at = stats.oldest_pending(store, now)
    lines = []
    late = {account: count for account, count in count_overdue(due_at, every, now).items() if count}
    if late:
        names = ", ".join(one_line(name) for name in sorted(late)[:_NAMED])
        names += ", …" if len(late) > _NAMED else ""
        lines.append(f"{counted(sum(late.values()), 'target')} not polled for three intervals ({names})")
    if unsent_at and now - unsent_at > MAX_DELIVERY_DELAY:
        lines.append(f"a message has been due for {format_duration(now - unsent_at)}")
    return lines


def count_overdue(
    due_at: Mapping[str, list[datetime]], every: Mapping[str, timedelta], now: datetime
) -> Mapping[str, int]:
    """Count the targets of each account that are late by more than three times their interval."""
    return {
        account: sum(1 for moment in moments if now - moment > 3 * every[account] + SLACK)
        for account, moments in due_at.items()
        if account in every
    }
