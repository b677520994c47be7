"""The one place that asks the machine what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from monitor.core.model import to_milliseconds

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """Tell the time: aware UTC, whole milliseconds, as the history database keeps it."""
    return to_milliseconds(datetime.now(UTC))
