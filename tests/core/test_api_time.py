"""The clock of an API against the local one: which difference counts, and for what."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import RuleName, Severity
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.clock_skew import (
    check_clock,
    date_offset,
    expiry_offset,
    is_plausible,
    is_plausible_date_header,
    median_offset,
)
from tests.factories import DAY, HOUR, MINUTE, NOW

URL = "https://api.postpost.dev"
SECOND = timedelta(seconds=1)
YEAR = 366 * DAY
durations = st.timedeltas(min_value=-70 * YEAR, max_value=70 * YEAR)


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        (NOW, timedelta()),
        (NOW + 20 * SECOND, timedelta()),
        (NOW - SECOND, timedelta()),
        (NOW - 5 * MINUTE, -5 * MINUTE),
        (NOW + 20 * SECOND + HOUR, HOUR),
    ],
    ids=["at the start", "at the end", "cut to the second", "before", "after"],
)
def test_a_date_from_within_a_slow_request_shows_no_offset(date: datetime, offset: timedelta) -> None:
    assert offset == date_offset(date, sent_at=NOW, answered_at=NOW + 20 * SECOND)


@given(true_offset=durations, took=st.timedeltas(timedelta(), MINUTE), share=st.floats(0, 1))
def test_the_offset_is_never_further_off_than_the_request_took(
    true_offset: timedelta, took: timedelta, share: float
) -> None:
    written_at = (NOW + took * share + true_offset).replace(microsecond=0)
    found = date_offset(written_at, sent_at=NOW, answered_at=NOW + took)
    assert abs(found - true_offset) <= took + SECOND
    assert abs(found) <= abs(true_offset) + SECOND


@pytest.mark.parametrize(
    ("offsets", "median"),
    [
        ([], None),
        ([5], 5),
        ([0, -88], 0),
        ([-88, 0], 0),
        ([0, -88, -88], -88),
        ([1, 2, 3, 4, 9999], 3),
        ([-9999, 9999, 0, 1, -1], 0),
    ],
)
def test_one_odd_header_moves_nothing(offsets: list[int], median: int | None) -> None:
    found = median_offset(timedelta(days=each) for each in offsets)
    assert found == (None if median is None else timedelta(days=median))


@pytest.mark.parametrize(
    ("offset", "applied"),
    [
        (None, timedelta()),
        (2 * MINUTE, timedelta()),
        (-2 * MINUTE, timedelta()),
        (2 * MINUTE + SECOND, 2 * MINUTE + SECOND),
        (-61 * DAY, -61 * DAY),
        (61 * DAY, 61 * DAY),
        (-2 * YEAR, -2 * YEAR),
        (2 * YEAR, timedelta()),
    ],
)
def test_an_offset_counts_beyond_two_minutes_and_beyond_a_year_the_earlier_time_does(
    offset: timedelta | None, applied: timedelta
) -> None:
    assert applied == expiry_offset(offset, NOW)


def test_a_local_clock_that_was_never_set_is_the_one_that_is_wrong() -> None:
    never_set = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
    assert is_plausible_date_header(NOW, never_set)
    assert NOW - never_set == expiry_offset(NOW - never_set, never_set)


@given(offset=st.one_of(st.none(), durations), passed=st.timedeltas(-40 * YEAR, 40 * YEAR))
def test_what_is_applied_is_the_offset_or_nothing(offset: timedelta | None, passed: timedelta) -> None:
    applied = expiry_offset(offset, NOW + passed)
    assert applied in {offset and timedelta(seconds=round(offset.total_seconds())), timedelta()}


@pytest.mark.parametrize(
    ("moment", "counts"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (datetime(2014, 12, 31, 23, 59, tzinfo=UTC), False),
        (datetime(2015, 1, 1, tzinfo=UTC), True),
        (NOW + 3650 * DAY, True),
        (NOW + 3660 * DAY, False),
        (datetime(9999, 12, 31, tzinfo=UTC), False),
    ],
)
def test_a_time_before_2015_or_more_than_ten_years_ahead_does_not_count(
    moment: datetime, counts: bool
) -> None:
    assert (counts, counts) == (is_plausible(moment, NOW), is_plausible_date_header(moment, NOW))


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (-61 * DAY, "61 days ahead"),
        (-61 * DAY - 3 * HOUR, "61 days ahead"),
        (26 * HOUR, "1 day 2 hours behind"),
        (11 * MINUTE, "10 minutes behind"),
        (-12 * MINUTE, "10 minutes ahead"),
        (-95 * MINUTE, "1 hour 35 minutes ahead"),
    ],
)
def test_more_than_ten_minutes_is_a_warning_that_says_what_is_ahead_of_what(
    offset: timedelta, words: str
) -> None:
    result = check_clock(URL, offset)
    assert isinstance(result, Problem)
    assert (RuleName.CLOCK_SKEW, Severity.WARNING) == (result.rule, result.severity)
    assert f"this machine's clock is {words} of the clock of {URL}" == result.summary
    assert "NTP" in result.remedy


@pytest.mark.parametrize(
    ("offset", "result"),
    [
        (None, NoProblem.UNKNOWN),
        (timedelta(), NoProblem.OK),
        (10 * MINUTE, NoProblem.OK),
        (-10 * MINUTE, NoProblem.OK),
    ],
)
def test_up_to_ten_minutes_is_no_problem_and_nothing_heard_ends_none(
    offset: timedelta | None, result: NoProblem
) -> None:
    assert check_clock(URL, offset) is result
