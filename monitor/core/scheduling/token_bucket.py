"""The requests of one API key: a bucket that fills evenly, limited by what the server says."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

_MINUTE = timedelta(minutes=1)
# The share of the server's limit that is used, since its minute and the monitor's don't begin together.
_USABLE_SHARE = 0.96
# The time for which unused requests add up.
_BURST_SECONDS = 1.5
DEFAULT_PAUSE = timedelta(minutes=1)
MAX_PAUSE = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class TokenBucket:
    """
    The requests of one key.

    Args:
        per_minute: as configured, or the provider's default. A server may lower it, not raise it.
    """

    per_minute: int
    server_limit: int | None = None
    paused_until: datetime | None = None
    _tokens: float = field(default=0.0, init=False)
    _filled_at: datetime | None = field(default=None, init=False)

    @property
    def limit(self) -> int:
        """The effective limit in requests a minute."""
        return self.per_minute if self.server_limit is None else min(self.per_minute, self.server_limit)

    @property
    def per_second(self) -> float:
        """Requests that become available each second."""
        return self.limit * _USABLE_SHARE / 60

    def available(self, now: datetime) -> int:
        """Return how many requests may go now."""
        if self.is_paused(now):
            return 0
        self.paused_until = None
        self._refill(now)
        return int(self._tokens)

    def is_paused(self, now: datetime) -> bool:
        """Return whether the server asked that no request is sent yet."""
        # After the clock was set back, a pause must not last longer than a server may ask for.
        return self.paused_until is not None and now < self.paused_until <= now + MAX_PAUSE

    def try_acquire(self, now: datetime, *, ahead: int = 0) -> bool:
        """
        Use one request, if there is one.

        Args:
            ahead: how many future requests may be used already. If polls use every request at once, nothing else
                would
            get one.
        """
        if self.available(now) < 1 and (self.paused_until is not None or self._tokens + ahead < 1):
            return False
        self._tokens -= 1
        return True

    def acquire(self, now: datetime) -> None:
        """Use a request that can't wait. Later requests wait longer."""
        self._refill(now)
        self._tokens -= 1

    def update_from_headers(
        self, now: datetime, *, limit: int | None, remaining: int | None, reset_after: timedelta | None
    ) -> None:
        """Apply the server's limit and the requests that it says are left."""
        if limit:
            self.server_limit = limit
        if remaining == 0 and reset_after:
            self.pause(now, reset_after)

    def pause(self, now: datetime, wait: timedelta | None) -> None:
        """Allow no requests for as long as the server asked; for a minute if it didn't say."""
        until = now + min(DEFAULT_PAUSE if wait is None else wait, MAX_PAUSE)
        if self.paused_until is None or until > self.paused_until:
            self.paused_until = until
        self._tokens, self._filled_at = min(self._tokens, 0.0), self.paused_until

    def min_interval(self, every: timedelta, targets: int) -> timedelta:
        """Return the shortest interval in which so many targets can be polled, if it is longer than wanted."""
        return max(every, _MINUTE * targets / (self.limit * _USABLE_SHARE))

    def _refill(self, now: datetime) -> None:
        began_at, self._filled_at = self._filled_at, now
        full = 1 + self.per_second * _BURST_SECONDS
        if began_at is None:
            self._tokens += full
        elif began_at < now:  # otherwise the clock was set back: continue from here
            self._tokens += (now - began_at).total_seconds() * self.per_second
        self._tokens = min(self._tokens, full)
