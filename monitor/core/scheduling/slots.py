"""When targets that share a key are polled: evenly spread, each in its own slot of the interval."""

from datetime import UTC, datetime, timedelta

from monitor.core.model import to_milliseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# Its multiples modulo one fill an interval evenly, however many there are.
_GOLDEN = 0.6180339887498949


def phase(target_id: int) -> float:
    """Return a target's place in the interval, 0 to 1. It doesn't depend on other targets."""
    return target_id * _GOLDEN % 1.0


def next_slot(after: datetime, *, every: timedelta, target_id: int) -> datetime:
    """Return the first time of a target's slot after ``after``."""
    length = every // _MILLISECOND
    offset = int(length * phase(target_id))
    past = (to_milliseconds(after) - _EPOCH) // _MILLISECOND
    due_poll = (past - offset) // length + 1
    return _EPOCH + (due_poll * length + offset) * _MILLISECOND


def following_slot(taken_at: datetime, *, every: timedelta, target_id: int) -> datetime:
    """Return the slot after the one that a poll belongs to, even if the poll was a little early or late."""
    return next_slot(taken_at + every / 2, every=every, target_id=target_id)
