"""How long to wait before trying again: bounds, and who may ask for more."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import Failure, Outcome
from monitor.core.scheduling.backoff import next_attempt_at, next_poll_at, should_give_up
from tests.factories import DAY, HOUR, MINUTE, NOW, failure

SECOND = timedelta(seconds=1)
PASSING = [
    Outcome.RATE_LIMITED,
    Outcome.SERVER_ERROR,
    Outcome.NETWORK_ERROR,
    Outcome.TIMEOUT,
    Outcome.BAD_ANSWER,
]
chances = st.floats(0, 1)
durations = st.timedeltas(SECOND, 7 * DAY)


def poll_wait(
    how: Failure | None, failures: int, *, every: timedelta = HOUR, jitter: float = 0, chance: float = 0.5
) -> timedelta:
    due = next_poll_at(NOW, every=every, jitter=jitter, chance=chance, failure=how, failures=failures)
    return due - NOW


def attempt_wait(attempts: int, *, chance: float = 0, retry_after: timedelta | None = None) -> timedelta:
    return next_attempt_at(NOW, attempts=attempts, chance=chance, retry_after=retry_after) - NOW


@pytest.mark.parametrize("outcome", PASSING)
def test_what_may_pass_is_asked_again_after_one_two_four_minutes_and_never_later_than_usual(
    outcome: Outcome,
) -> None:
    waits = [poll_wait(failure(outcome), n) for n in (1, 2, 3, 6, 7, 1000)]
    assert waits == [MINUTE, 2 * MINUTE, 4 * MINUTE, 32 * MINUTE, HOUR, HOUR]


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - set(PASSING) - {Outcome.OK}))
def test_what_only_a_person_can_mend_is_asked_at_the_usual_pace(outcome: Outcome) -> None:
    assert {HOUR} == {poll_wait(failure(outcome), n) for n in (1, 2, 50)}


def test_a_good_answer_is_asked_for_again_at_the_usual_pace() -> None:
    assert poll_wait(None, 0) == HOUR


def test_a_pace_faster_than_the_backoff_stays_as_it_is() -> None:
    assert {10 * SECOND} == {poll_wait(failure(), n, every=10 * SECOND) for n in range(1, 9)}


@given(every=durations, jitter=chances, chance=chances)
def test_jitter_keeps_within_its_share(every: timedelta, jitter: float, chance: float) -> None:
    wait = poll_wait(None, 0, every=every, jitter=jitter, chance=chance)
    assert every * (1 - jitter) - SECOND <= wait <= every * (1 + jitter) + SECOND


@given(every=durations, jitter=chances, chance=chances, failures=st.integers(1, 100))
def test_backoff_never_shrinks_and_never_outlasts_the_pace(
    every: timedelta, jitter: float, chance: float, failures: int
) -> None:
    waits = [
        poll_wait(failure(), n, every=every, jitter=jitter, chance=chance) for n in (failures, failures + 1)
    ]
    assert waits == sorted(waits)
    assert waits[1] <= poll_wait(None, 0, every=every, jitter=jitter, chance=chance)


@pytest.mark.parametrize(
    ("asked", "waited"), [(10 * SECOND, MINUTE), (10 * MINUTE, 10 * MINUTE), (HOUR, HOUR), (DAY, HOUR)]
)
def test_the_server_may_ask_for_up_to_an_hour(asked: timedelta, waited: timedelta) -> None:
    for every in (15 * MINUTE, DAY):
        how = failure(Outcome.RATE_LIMITED, retry_after=asked)
        assert poll_wait(how, 1, every=every) == waited
        assert attempt_wait(1, retry_after=asked) == (asked if asked <= HOUR else HOUR)


def test_a_message_is_tried_again_after_five_seconds_and_then_up_to_an_hour() -> None:
    waits = [attempt_wait(n) for n in (1, 2, 3, 10, 11, 1000)]
    assert waits == [5 * SECOND, 10 * SECOND, 20 * SECOND, 2560 * SECOND, HOUR, HOUR]


@given(attempts=st.integers(1, 1000), chance=chances, retry_after=st.none() | durations)
def test_a_message_waits_longer_each_time_within_bounds(
    attempts: int, chance: float, retry_after: timedelta | None
) -> None:
    waits = [attempt_wait(n, chance=chance, retry_after=retry_after) for n in (attempts, attempts + 1)]
    assert waits == sorted(waits)
    assert 5 * SECOND * 0.75 <= waits[0] <= HOUR
    assert waits[0] >= min(retry_after or timedelta(), HOUR)


def test_chance_takes_off_a_quarter_at_most() -> None:
    assert (4 * SECOND * 5, 3 * SECOND * 5) == (attempt_wait(3), attempt_wait(3, chance=1))


@pytest.mark.parametrize("tries", [0, -1])
def test_nothing_tried_yet_waits_as_after_the_first_time(tries: int) -> None:
    assert (MINUTE, 5 * SECOND) == (poll_wait(failure(), tries), attempt_wait(tries))


@pytest.mark.parametrize(
    ("tried_for", "attempts", "permanent", "given_up"),
    [
        (DAY - SECOND, 8, False, False),
        (DAY, 8, False, True),
        (HOUR - SECOND, 8, True, False),
        (HOUR, 8, True, True),
        (62 * MINUTE, 2, True, False),  # the monitor was stopped in between
        (30 * DAY, 7, True, False),
        (30 * DAY, 7, False, False),
        (-HOUR, 8, False, False),  # the clock was set back
        (-HOUR, 8, True, False),
    ],
)
def test_a_message_is_given_up_after_eight_attempts_and_a_day_or_an_hour_if_it_looks_permanent(
    tried_for: timedelta, attempts: int, permanent: bool, given_up: bool
) -> None:
    first_attempt_at = NOW - tried_for
    assert given_up is should_give_up(
        NOW, first_attempt_at=first_attempt_at, attempts=attempts, permanent=permanent
    )
