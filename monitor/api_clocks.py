"""
The clocks of the APIs, as the ``Date`` headers of their answers show them to this process.

Nothing is stored: after a start, only an answer confirms the local clock. From then on a monotonic clock
continues the time of an API, so setting the local clock moves no deadline, even while the API is down.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock

from monitor.clock import Clock
from monitor.core.rules.clock_skew import (
    APPLIED_BEYOND,
    KEPT,
    date_offset,
    expiry_offset,
    is_plausible_date_header,
    median_offset,
)

# An HTTP date has at most 33 characters.
_MAX_DATE_LENGTH = 64
_MAX_AGE_DIGITS = 9


@dataclass(slots=True, kw_only=True)
class HandledClock:
    """
    What this process has already done about one clock.

    Args:
        correction: the offset by which targets were last evaluated.
        logged_offset: the offset that was last logged.
        ignored_dates: why a ``Date`` header was ignored, each reason once.
        is_poll_requested: whether a poll was brought forward to confirm the local clock.
    """

    correction: timedelta = timedelta()
    logged_offset: timedelta = timedelta()
    ignored_dates: set[str] = field(default_factory=set)
    is_poll_requested: bool = False


class ApiClock:
    """
    The clock of one API. Safe for threads.

    Args:
        base_url: accounts with the same base URL share the clock.
        clock: local time, which may be set at any moment.
        monotonic: seconds that only grow.

    Attributes:
        handled: what the job that compares clocks has done about it.
    """

    def __init__(self, base_url: str, *, clock: Clock, monotonic: Callable[[], float]) -> None:
        self.base_url = base_url
        self.handled = HandledClock()
        self._clock = clock
        self._monotonic = monotonic
        self._lock = Lock()
        # The offsets of the newest headers since the local clock was last set.
        self._offsets: deque[timedelta] = deque(maxlen=KEPT)
        # The offset that followed from earlier headers, used until there is a newer one.
        self._estimate: timedelta | None = None
        self._has_dates = False
        self._started = monotonic()
        self._is_confirmed = False
        self._is_suspect = False
        # Local time minus monotonic seconds. It changes only when the local clock is set.
        self._difference = self._local_difference()
        self._ignored = ""

    def start(self) -> float:
        """Return the moment at which a request is sent, for ``on_answer``."""
        return self._monotonic()

    def on_answer(self, sent: float, headers: Mapping[str, str]) -> None:
        """
        Learn from the headers of an answer, whatever its status.

        Args:
            sent: what ``start`` has returned.
        """
        now, monotonic = self._clock(), self._monotonic()
        # Counted back from the answer: the local clock may have been set in between.
        sent_at = now - timedelta(seconds=monotonic - sent)
        offset = self._read_offset(sent_at, now, headers)
        with self._lock:
            self._notice_step()
            self._difference = self._local_difference()
            self._is_confirmed, self._is_suspect = True, False
            if offset is not None:
                self._offsets.append(offset)
                self._has_dates = True
            if offset is not None or not self._has_dates:
                self._estimate = None

    def on_suspicion(self) -> None:
        """Note that a request failed as it would if the local clock were wrong."""
        self._is_suspect = True

    def offset(self) -> timedelta | None:
        """Return the median of the newest offsets; None if there is none since the local clock was last set."""
        with self._lock:
            self._notice_step()
            return median_offset(self._offsets)

    def expiry_offset(self) -> timedelta:
        """Return the correction of local time for judging the expiry of a token."""
        with self._lock:
            self._notice_step()
            offset = self._estimate if self._estimate is not None else median_offset(self._offsets)
        return expiry_offset(offset, self._clock())

    def unconfirmed_for(self) -> timedelta | None:
        """Return how long no answer has confirmed the local clock since the start; None if one has."""
        if self._is_confirmed:
            return None
        return timedelta(seconds=max(self._monotonic() - self._started, 0.0))

    @property
    def is_suspect(self) -> bool:
        """Whether the newest request failed in a way that a wrong local clock explains."""
        return self._is_suspect

    @property
    def ignored(self) -> str:
        """Why the newest ignored ``Date`` header was ignored; empty if none was."""
        return self._ignored

    def _read_offset(self, sent_at: datetime, now: datetime, headers: Mapping[str, str]) -> timedelta | None:
        given = headers.get("Date")
        if given is None:
            self._ignored = "missing"
            return None
        date = read_date(given, headers.get("Age"))
        if date is None:
            self._ignored = "unreadable"
            return None
        if not is_plausible_date_header(date, now):
            self._ignored = f"implausible: {date:%Y-%m-%d}"
            return None
        return date_offset(date, sent_at=sent_at, answered_at=now)

    def _notice_step(self) -> None:
        """Keep the API's time where it is if the local clock was set."""
        difference = self._local_difference()
        step = timedelta(seconds=difference - self._difference)
        if abs(step) <= APPLIED_BEYOND:
            return
        self._difference = difference
        known = self._estimate if self._estimate is not None else median_offset(self._offsets)
        if known is not None or self._is_confirmed:
            self._estimate = (known or timedelta()) - step
        self._offsets.clear()

    def _local_difference(self) -> float:
        return self._clock().timestamp() - self._monotonic()


class ApiClocks:
    """
    The clocks of the APIs of all accounts.

    Args:
        base_urls: by account.
    """

    def __init__(self, base_urls: Mapping[str, str], *, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._base_urls = dict(base_urls)
        self._clocks = {
            url: ApiClock(url, clock=clock, monotonic=monotonic) for url in sorted({*base_urls.values()})
        }

    def clock_of(self, account: str) -> ApiClock:
        """Return the clock of the API of an account."""
        return self._clocks[self._base_urls[account]]

    def clocks(self) -> tuple[ApiClock, ...]:
        """Return every clock once."""
        return tuple(self._clocks.values())

    def skews(self) -> dict[str, timedelta]:
        """Return how far the local clock is ahead of each API's, by base URL. Unknown ones are left out."""
        known = {each.base_url: each.offset() for each in self._clocks.values()}
        return {url: -offset for url, offset in known.items() if offset is not None}

    def accounts_of(self, base_url: str) -> tuple[str, ...]:
        """Return the accounts of an API."""
        return tuple(name for name, url in self._base_urls.items() if url == base_url)

    def expiry_offset(self, account: str) -> timedelta:
        """Return the correction of local time for judging the expiry of an account's tokens."""
        if account not in self._base_urls:
            return timedelta()
        return self.clock_of(account).expiry_offset()

    def unconfirmed(self) -> tuple[ApiClock, ...]:
        """Return the clocks that no answer has confirmed since the start."""
        return tuple(each for each in self._clocks.values() if each.unconfirmed_for() is not None)

    def accounts_on_hold(
        self, patience: timedelta, known_to_be_wrong: Collection[str | None]
    ) -> frozenset[str]:
        """
        Return the accounts whose tokens must not expire by the local clock yet, since no answer has confirmed it.

        Without an answer the local clock counts after a while all the same, or an outage would hide what expires
        during it. It doesn't count if it was wrong at the last answer, or if a wrong clock would explain the
        outage.

        Args:
            patience: how long to wait for an answer.
            known_to_be_wrong: the base URLs of the APIs whose clocks were last seen to be far from the local one.
        """
        held = [
            each.base_url
            for each in self._clocks.values()
            if (waited := each.unconfirmed_for()) is not None
            and (waited < patience or each.is_suspect or each.base_url in known_to_be_wrong)
        ]
        return frozenset(name for name, url in self._base_urls.items() if url in held)


def read_date(text: str, age: str | None = None) -> datetime | None:
    """
    Read a ``Date`` header.

    Args:
        age: the ``Age`` header: how many seconds ago a cached answer was made.

    Returns:
        Aware UTC; None if it is no date.
    """
    if len(text) > _MAX_DATE_LENGTH:
        return None
    try:
        date = parsedate_to_datetime(text)
        date = (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
        if age and age.isascii() and age.isdigit() and len(age) <= _MAX_AGE_DIGITS:
            date += timedelta(seconds=int(age))
    except (ValueError, OverflowError):
        return None
    return date
