"""Where in the interval a target has its turn: evenly spread, always the same place."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.scheduling.backoff import next_poll_at
from monitor.core.scheduling.slots import following_slot, next_slot, phase
from tests.factories import DAY, HOUR, NOW

moments = st.datetimes(
    min_value=NOW.replace(tzinfo=None), max_value=(NOW + 4000 * DAY).replace(tzinfo=None)
).map(lambda moment: moment.replace(tzinfo=NOW.tzinfo))
intervals = st.timedeltas(timedelta(seconds=10), 7 * DAY)
ids = st.integers(1, 10**9)


@pytest.mark.parametrize("first", [1, 77, 123_456])
@pytest.mark.parametrize("count", [2, 3, 10, 300, 2000])
def test_targets_are_spread_evenly_however_many_there_are(first: int, count: int) -> None:
    places = sorted(phase(id_) for id_ in range(first, first + count))
    gaps = [b - a for a, b in pairwise([*places, places[0] + 1])]
    assert max(gaps) <= 2.7 / count


@given(moments, intervals, ids)
def test_the_next_turn_is_ahead_and_within_an_interval(after: datetime, every: timedelta, id_: int) -> None:
    turn = next_slot(after, every=every, target_id=id_)
    assert timedelta() < turn - after <= every


@given(moments, intervals, ids)
def test_turns_are_an_interval_apart_for_good(after: datetime, every: timedelta, id_: int) -> None:
    every = every // timedelta(milliseconds=1) * timedelta(milliseconds=1)
    turn = next_slot(after, every=every, target_id=id_)
    for _ in range(5):
        following = following_slot(turn, every=every, target_id=id_)
        assert following - turn == every
        turn = following


@given(moments, intervals, ids, st.floats(-0.4, 0.4))
def test_a_look_that_comes_early_or_late_does_not_shift_the_next_turn(
    after: datetime, every: timedelta, id_: int, shift: float
) -> None:
    turn = next_slot(after, every=every, target_id=id_)
    seen = following_slot(turn + every * shift, every=every, target_id=id_)
    assert seen == following_slot(turn, every=every, target_id=id_)


def test_a_target_that_shares_its_key_keeps_its_place_and_one_alone_its_interval() -> None:
    common: dict[str, Any] = {"every": HOUR, "jitter": 0, "chance": 0.5, "failure": None, "failures": 0}
    assert next_poll_at(NOW, **common) == NOW + HOUR
    shared = next_poll_at(NOW, **common, sharing=7)
    assert shared == following_slot(NOW, every=HOUR, target_id=7)
