"""How many requests one API key has: a bucket that fills evenly, and what its server says of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

_MINUTE = timedelta(minutes=1)
# Of what a server grants, so that its minute and ours needn't begin together.
_USABLE_SHARE = 0.96
# How much may gather while nobody looks.
_BURST_SECONDS = 1.5
DEFAULT_PAUSE = timedelta(minutes=1)
MAX_PAUSE = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class TokenBucket:
    """
    The requests of one key.

    Args:
        per_minute: as configured, or as the provider is known for. A server may lower it, not raise it.
    """

    per_minute: int
    server_limit: int | None = None
    paused_until: datetime | None = None
    _tokens: float = field(default=0.0, init=False)
    _filled_at: datetime | None = field(default=None, init=False)

    @property
    def limit(self) -> int:
        """Requests a minute, by all that is known."""
        return self.per_minute if self.server_limit is None else min(self.per_minute, self.server_limit)

    @property
    def per_second(self) -> float:
        """How fast it fills."""
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
        # A clock that was set back must not make a pause longer than any server may ask for.
        return self.paused_until is not None and now < self.paused_until <= now + MAX_PAUSE

    def try_acquire(self, now: datetime, *, ahead: int = 0) -> bool:
        """
        Use one request, if there is one.

        Args:
            ahead: how many of those to come may be used already. Where polls use up every request as it comes,
                nothing else would ever find one.
        """
        if self.available(now) < 1 and (self.paused_until is not None or self._tokens + ahead < 1):
            return False
        self._tokens -= 1
        return True

    def acquire(self, now: datetime) -> None:
        """Use a request that can't wait; what follows waits the longer."""
        self._refill(now)
        self._tokens -= 1

    def update_from_headers(
        self, now: datetime, *, limit: int | None, remaining: int | None, reset_after: timedelta | None
    ) -> None:
        """Take the server at its word: what it grants, and what is left of that."""
        if limit:
            self.server_limit = limit
        if remaining == 0 and reset_after:
            self.pause(now, reset_after)

    def pause(self, now: datetime, wait: timedelta | None) -> None:
        """Let nothing go for as long as the server asked; a minute where it didn't say."""
        until = now + min(DEFAULT_PAUSE if wait is None else wait, MAX_PAUSE)
        if self.paused_until is None or until > self.paused_until:
            self.paused_until = until
        self._tokens, self._filled_at = min(self._tokens, 0.0), self.paused_until

    def min_interval(self, every: timedelta, targets: int) -> timedelta:
        """Return how often so many targets can be looked at, if that is less often than wanted."""
        return max(every, _MINUTE * targets / (self.limit * _USABLE_SHARE))

    def _refill(self, now: datetime) -> None:
        began_at, self._filled_at = self._filled_at, now
        full = 1 + self.per_second * _BURST_SECONDS
        if began_at is None:
            self._tokens += full
        elif began_at < now:  # else the clock was set back: go on from here
            self._tokens += (now - began_at).total_seconds() * self.per_second
        self._tokens = min(self._tokens, full)
