"""How long to wait before a retry."""

from datetime import datetime, timedelta

from monitor.core.model import Failure
from monitor.core.scheduling.slots import following_slot

POLL_RETRY = timedelta(minutes=1)
SEND_RETRY = timedelta(seconds=5)
MAX_SEND_RETRY = timedelta(hours=1)
SEND_GIVE_UP_AFTER = timedelta(hours=24)
PERMANENT_GIVE_UP_AFTER = timedelta(hours=1)
GIVE_UP_ATTEMPTS = 8
MAX_RETRY_AFTER = timedelta(hours=1)

# Retrying soon helps only these failures. For all others a person must act, so polling keeps its interval.
_BACKOFF_HELPS = frozenset({"rate_limited", "server_error", "network_error", "timeout", "bad_answer"})


def next_poll_at(
    now: datetime,
    *,
    every: timedelta,
    jitter: float,
    chance: float,
    failure: Failure | None,
    failures: int,
    sharing: int | None = None,
) -> datetime:
    """
    Return when a target is due again.

    A failed poll is retried after a minute, then two, then four, at the latest after ``every``, and never sooner
    than the server asked for. A retry within seconds would open ``api_unreachable`` for every short failure.

    Args:
        jitter: the share of the interval to add or subtract at most, 0 to 1.
        chance: a random number from 0 to 1.
        failures: failed polls in a row, this one included.
        sharing: the target's id if several targets share the key. The target then keeps its slot in the
            interval, so that they stay evenly spread.
    """
    shift = jitter * (2 * chance - 1)
    if failure and failure.outcome.value in _BACKOFF_HELPS:
        wait = min(every, POLL_RETRY * _backoff_factor(failures)) * (1 + shift)
    elif sharing is not None:
        wait = following_slot(now, every=every, target_id=sharing) - now + every * shift
    else:
        wait = every * (1 + shift)
    if failure and failure.retry_after:
        wait = max(wait, min(failure.retry_after, MAX_RETRY_AFTER))
    return now + wait


def next_attempt_at(
    now: datetime, *, attempts: int, chance: float, retry_after: timedelta | None
) -> datetime:
    """
    Return when a refused message is sent again: after seconds to an hour, doubling.

    Args:
        attempts: the number of attempts, including this one.
        chance: a random number from 0 to 1. It subtracts up to a quarter, so that channels don't retry at the
            same time.
    """
    wait = min(MAX_SEND_RETRY, SEND_RETRY * _backoff_factor(attempts)) * (1 - chance / 4)
    return now + max(wait, min(retry_after or timedelta(), MAX_RETRY_AFTER))


def should_give_up(now: datetime, *, first_attempt_at: datetime, attempts: int, permanent: bool) -> bool:
    """
    Return whether a message becomes a dead letter.

    A failure that looks permanent ends sooner, but not at once: a service that answers 403 during an outage must
    not cost an alert. Time alone isn't enough, because a monitor that was stopped in between has hardly tried.

    Args:
        attempts: how often it was tried, this time included.
    """
    give_up_after = PERMANENT_GIVE_UP_AFTER if permanent else SEND_GIVE_UP_AFTER
    return attempts >= GIVE_UP_ATTEMPTS and now - first_attempt_at >= give_up_after


def _backoff_factor(times: int) -> int:
    return 1 << min(max(times - 1, 0), 16)
