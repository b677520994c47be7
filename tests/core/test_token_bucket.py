"""How many requests a key has: never more than granted, evenly, and what a server says of it."""

from collections import deque
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.scheduling.token_bucket import TokenBucket
from tests.factories import DAY, HOUR, MINUTE, NOW

SECOND = timedelta(seconds=1)


@given(
    limit=st.integers(1, 2000),
    pauses=st.lists(st.floats(0, 90), min_size=1, max_size=300),
)
def test_no_minute_ever_sees_more_requests_than_are_granted(limit: int, pauses: list[float]) -> None:
    bucket = TokenBucket(per_minute=limit)
    now = NOW
    sent: deque[datetime] = deque()
    for pause in pauses:
        now += timedelta(seconds=pause)
        while bucket.try_acquire(now):
            sent.append(now)
        while sent and now - sent[0] >= MINUTE:
            sent.popleft()
        assert len(sent) <= limit


@pytest.mark.parametrize("limit", [6, 30, 60, 120, 300])
def test_asking_every_second_uses_nearly_all_that_is_granted(limit: int) -> None:
    bucket = TokenBucket(per_minute=limit)
    sent = 0
    for second in range(600):
        while bucket.try_acquire(NOW + second * SECOND):
            sent += 1
    assert 0.94 * limit * 10 <= sent <= limit * 10


def test_a_server_lowers_a_budget_and_never_raises_it() -> None:
    bucket = TokenBucket(per_minute=60)
    for granted, limit in ((30, 30), (45, 45), (120, 60)):
        bucket.update_from_headers(NOW, limit=granted, remaining=None, reset_after=None)
        assert bucket.limit == limit


def test_nothing_goes_once_the_window_is_used_up_until_it_starts_anew() -> None:
    bucket = TokenBucket(per_minute=60)
    bucket.update_from_headers(NOW, limit=60, remaining=0, reset_after=20 * SECOND)
    assert not bucket.try_acquire(NOW + 19 * SECOND)
    assert not bucket.try_acquire(NOW + 20 * SECOND)  # and then no burst
    assert bucket.try_acquire(NOW + 22 * SECOND)


@pytest.mark.parametrize(
    ("asked", "waited"), [(None, MINUTE), (30 * SECOND, 30 * SECOND), (DAY, HOUR), (timedelta(), timedelta())]
)
def test_a_key_waits_as_long_as_it_is_told_and_an_hour_at_most(
    asked: timedelta | None, waited: timedelta
) -> None:
    bucket = TokenBucket(per_minute=600)
    bucket.pause(NOW, asked)
    assert bucket.available(NOW + waited - SECOND / 10) == 0
    assert bucket.available(NOW + waited + SECOND) > 0


def test_a_shorter_wait_does_not_cut_a_longer_one_short() -> None:
    bucket = TokenBucket(per_minute=600)
    bucket.pause(NOW, MINUTE)
    bucket.pause(NOW, SECOND)
    assert bucket.available(NOW + 30 * SECOND) == 0


def test_a_clock_that_is_set_back_stops_nobody() -> None:
    bucket = TokenBucket(per_minute=60)
    bucket.pause(NOW, MINUTE)
    assert bucket.try_acquire(NOW + 2 * MINUTE)
    earlier = NOW - 2 * DAY
    assert [bucket.try_acquire(earlier + second * SECOND) for second in range(5)].count(True) >= 3
    bucket.pause(NOW, MINUTE)
    assert not bucket.try_acquire(earlier + 10 * SECOND)
    assert bucket.try_acquire(earlier + 12 * SECOND)


def test_a_request_that_cannot_wait_is_made_up_for_later() -> None:
    bucket = TokenBucket(per_minute=60)
    while bucket.try_acquire(NOW):
        pass
    for _ in range(3):
        bucket.acquire(NOW)
    assert not bucket.try_acquire(NOW + 2 * SECOND)
    assert bucket.try_acquire(NOW + 5 * SECOND)


def test_a_request_ahead_of_its_time_is_made_up_for_and_a_pause_has_none() -> None:
    bucket = TokenBucket(per_minute=60)
    while bucket.try_acquire(NOW):
        pass
    assert [bucket.try_acquire(NOW, ahead=2) for _ in range(3)] == [True, True, False]
    assert not bucket.try_acquire(NOW + timedelta(seconds=2))
    assert bucket.try_acquire(NOW + timedelta(seconds=4))
    bucket.pause(NOW + MINUTE, MINUTE)
    assert not bucket.try_acquire(NOW + MINUTE, ahead=100)


@pytest.mark.parametrize(
    ("targets", "every", "kept"),
    [(1, 5 * MINUTE, 5 * MINUTE), (280, 5 * MINUTE, 5 * MINUTE), (1000, 5 * MINUTE, 17 * MINUTE)],
)
def test_the_cadence_is_what_the_budget_can_keep(targets: int, every: timedelta, kept: timedelta) -> None:
    assert abs(TokenBucket(per_minute=60).min_interval(every, targets) - kept) < MINUTE / 2
