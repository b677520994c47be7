"""The request limit of each account's key, shared by all that send requests with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from monitor.core.model import Failure, FailureScope, Outcome, Target
from monitor.core.scheduling.token_bucket import TokenBucket

# Long enough to record a refusal of the whole key before the next request with it.
_REJECTION_PAUSE = timedelta(seconds=2)
# A smaller change of the interval is not logged.
_MIN_REPORTED_CHANGE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRate:
    """
    How often the targets of an account are polled.

    Args:
        every: as configured.
        effective_interval: as the key's limit allows.
        targets: how many share the key.
        per_minute: requests that the key may make.
    """

    account: str
    every: timedelta
    effective_interval: timedelta
    targets: int
    per_minute: int

    @property
    def is_limited(self) -> bool:
        """Whether the limit is too low for the configured interval."""
        return self.effective_interval > self.every

    @property
    def shares_key(self) -> bool:
        """Whether several targets are polled with one key."""
        return self.per_minute > 0 and self.targets > 1


class RateLimits:
    """
    The request limits of all accounts. Safe for threads.

    Args:
        every: the configured interval of each account.
        buckets: the bucket of each account that has a limit. Accounts with the same key share one.
    """

    def __init__(self, every: Mapping[str, timedelta], buckets: Mapping[str, TokenBucket]) -> None:
        self.every = dict(every)
        self._buckets = dict(buckets)
        self._targets: dict[str, int] = {}
        self._reported: dict[str, timedelta] = {}
        self._lock = Lock()

    def set_targets(self, targets: Iterable[Target]) -> None:
        """Set which targets are polled, of all accounts."""
        counted: dict[str, int] = {}
        for target in targets:
            counted[target.account] = counted.get(target.account, 0) + 1
        with self._lock:
            self._targets = counted

    def set_target_count(self, account: str, targets: int) -> None:
        """Set how many targets of one account are polled."""
        with self._lock:
            self._targets[account] = targets

    def target_count(self, account: str) -> int:
        """Return how many targets share an account's limit."""
        mine = self._buckets.get(account)
        return sum(
            self._targets.get(name, 1)
            for name in self.every
            if name == account or (mine is not None and self._buckets.get(name) is mine)
        )

    def try_acquire(self, account: str, now: datetime, *, ahead: int = 0) -> bool:
        """Use one request of an account, at most ``ahead`` requests early; False if there is none."""
        bucket = self._buckets.get(account)
        if bucket is None:
            return True
        with self._lock:
            return bucket.try_acquire(now, ahead=ahead)

    def force_acquire(self, account: str, now: datetime) -> None:
        """Use a request even if none is available."""
        if bucket := self._buckets.get(account):
            with self._lock:
                bucket.acquire(now)

    def is_paused(self, account: str, now: datetime) -> bool:
        """Return whether the server asked that no request is sent yet with the key of an account."""
        bucket = self._buckets.get(account)
        if bucket is None:
            return False
        with self._lock:
            return bucket.is_paused(now)

    def filter_ready(self, due: Iterable[Target], now: datetime) -> list[Target]:
        """Pick the targets that may be polled now, in their order. Uses no request."""
        available: dict[int, int] = {}
        admitted = []
        with self._lock:
            for target in due:
                bucket = self._buckets.get(target.account)
                if bucket is not None:
                    left = available[id(bucket)] if id(bucket) in available else bucket.available(now)
                    available[id(bucket)] = left - 1
                    if left < 1:
                        continue
                admitted.append(target)
        return admitted

    def capacity(self, now: datetime, otherwise: int) -> int:
        """Return the most requests that any account has now; ``otherwise`` if one has no limit."""
        with self._lock:
            if not self._buckets or self.every.keys() - self._buckets.keys():
                return otherwise
            return min(max(bucket.available(now) for bucket in self._buckets.values()), otherwise)

    def on_response(
        self,
        account: str,
        now: datetime,
        *,
        limit: int | None,
        remaining: int | None,
        reset_after: timedelta | None,
    ) -> None:
        """Update the limit from the headers of an answer."""
        bucket = self._buckets.get(account)
        if bucket is not None and (limit is not None or remaining is not None):
            with self._lock:
                bucket.update_from_headers(now, limit=limit, remaining=remaining, reset_after=reset_after)

    def on_rejection(self, account: str, now: datetime, failure: Failure) -> None:
        """Update the limit from a refusal, which pauses the key if it concerns the key."""
        bucket = self._buckets.get(account)
        if bucket is None or failure.scope is not FailureScope.KEY:
            return
        with self._lock:
            bucket.update_from_headers(now, limit=failure.limit, remaining=None, reset_after=None)
            is_limited = failure.outcome is Outcome.RATE_LIMITED
            bucket.pause(now, failure.retry_after if is_limited else _REJECTION_PAUSE)

    def interval(self, account: str) -> timedelta:
        """Return the effective interval of an account's targets."""
        return self.rate(account).effective_interval

    def intervals(self) -> dict[str, timedelta]:
        """Return the effective intervals of all accounts."""
        return {account: self.interval(account) for account in self.every}

    def rates(self) -> list[PollRate]:
        """Return the poll rate of every account."""
        return [self.rate(account) for account in self.every]

    def changed_rates(self) -> list[PollRate]:
        """Return the poll rates that changed since the last call."""
        fresh = []
        for rate in self.rates():
            said = self._reported.get(rate.account, rate.every)
            if abs(rate.effective_interval - said) > said * _MIN_REPORTED_CHANGE:
                self._reported[rate.account] = rate.effective_interval
                fresh.append(rate)
        return fresh

    def rate(self, account: str) -> PollRate:
        """Return how often the targets of an account are polled, and why not more often."""
        every, targets = self.every[account], self.target_count(account)
        bucket = self._buckets.get(account)
        if bucket is None:
            return PollRate(
                account=account, every=every, effective_interval=every, targets=targets, per_minute=0
            )
        return PollRate(
            account=account,
            every=every,
            effective_interval=bucket.min_interval(every, targets),
            targets=targets,
            per_minute=bucket.limit,
        )
