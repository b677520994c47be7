"""Decisions about dates go by the API's clock; many dates that get worse at once are doubted as many words are."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.decide import decide, review
from monitor.core.model import Connection, Incident, KnownConnection, Reason, Severity
from monitor.core.rules import BlastRadius, Rules, TokenExpiry
from tests.core.lives import Life
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, known, snapshot, state

FEW = Rules(blast_radius=BlastRadius(share=0.5, count=4))
EARLY = replace(FEW, connection=(TokenExpiry(before={timedelta(days=30): Severity.NOTICE}),))
OPENED = (Reason.OPENED, Severity.CRITICAL)


def many(count: int, **given: object) -> list[Connection]:
    return [connection(platform_id=f"linkedin-{n}", **given) for n in range(count)]


def soon(left: timedelta, count: int = 6) -> list[Connection]:
    """Give tokens of which the API says that they expire soon."""
    return many(count, token_status="expiring_soon", expires_at=NOW + left)


# The blast radius


@pytest.mark.parametrize("moved_to", [-DAY, -400 * DAY, 12 * HOUR], ids=["the past", "long ago", "today"])
def test_many_dates_that_get_worse_at_once_are_held_for_a_second_look(moved_to: timedelta) -> None:
    well, ill = soon(6 * DAY), soon(moved_to)
    stumble, real = Life(rules=FEW), Life(rules=FEW)
    for life in (stumble, real):
        life.poll(*well)
        assert [] == life.poll(*ill)
        assert 6 == life.state.doubted
        assert well == [each.connection for each in life.known.values()]
    assert [] == stumble.poll(*well)
    assert [(Reason.ESCALATED, Severity.CRITICAL)] * 6 == real.poll(*ill)
    assert [] == real.poll(*ill)


def test_few_dates_that_get_worse_are_told_at_once() -> None:
    life = Life(rules=FEW)
    life.poll(*soon(6 * DAY))
    ill = soon(-DAY)
    assert [(Reason.ESCALATED, Severity.CRITICAL)] * 3 == life.poll(*ill[:3], *soon(6 * DAY)[3:])


def test_words_and_dates_that_get_worse_are_counted_together() -> None:
    life = Life(rules=FEW)
    life.poll(*soon(6 * DAY))
    ill = [*soon(-DAY)[:2], *(replace(each, token_status="expired") for each in soon(6 * DAY)[2:4])]
    assert [] == life.poll(*ill, *soon(6 * DAY)[4:])
    assert 4 == life.state.doubted


def test_a_threshold_that_many_dates_reach_by_moving_is_doubted_too() -> None:
    life = Life(rules=EARLY)
    life.poll(*many(6, expires_at=NOW + 60 * DAY))
    assert [] == life.poll(*many(6, expires_at=NOW + 20 * DAY))
    assert 6 == life.state.doubted


def test_dates_that_many_tokens_reach_in_time_are_no_strange_answer() -> None:
    life = Life(rules=EARLY)
    life.poll(*many(6, expires_at=NOW + 60 * DAY))
    assert [(Reason.OPENED, Severity.NOTICE)] * 6 == life.poll(
        *many(6, expires_at=NOW + 60 * DAY), after=40 * DAY
    )
    assert 0 == life.state.doubted


@pytest.mark.parametrize("moved_to", [90 * DAY, 61 * DAY, None], ids=["later", "a little later", "no date"])
def test_dates_that_get_better_are_no_strange_answer(moved_to: timedelta | None) -> None:
    life = Life(rules=EARLY)
    life.poll(*many(6, expires_at=NOW + 60 * DAY))
    life.poll(*many(6, expires_at=NOW + moved_to if moved_to else None))
    assert 0 == life.state.doubted


def test_the_dates_that_are_counted_are_judged_by_the_clock_of_the_api() -> None:
    well, moved = many(6, expires_at=NOW + 60 * DAY), many(6, expires_at=NOW + 50 * DAY)
    before = state(*(known(each, id=n) for n, each in enumerate(well)))
    right = decide(before, snapshot(*moved, taken_at=NOW + 61 * DAY, clock_offset=-61 * DAY), rules=EARLY)
    assert (0, ()) == (right.doubted, right.incidents)


# The offset

offsets = st.timedeltas(-365 * DAY, 365 * DAY)


@given(offset=offsets, left=st.timedeltas(-10 * DAY, 70 * DAY), age=st.timedeltas(MINUTE, 30 * DAY))
def test_whatever_the_local_clock_shows_the_same_is_found(
    offset: timedelta, left: timedelta, age: timedelta
) -> None:
    """``offset`` is the API's time minus local time; ``left`` is true at the report, ``age`` its age at the review."""

    def found(offset: timedelta) -> object:
        local: datetime = NOW - offset
        seen = [
            connection(platform_id=f"{platform}-1", token_status=status, expires_at=NOW + left)
            for platform in ("linkedin", "youtube", "tiktok", "facebook")
            for status in ("valid", "expiring_soon", "expired", "unknown")
        ]
        rest = state(*(known(each, id=n, first_seen_at=NOW) for n, each in enumerate(seen)))
        at_poll = decide(rest, snapshot(*seen, taken_at=local, clock_offset=offset), rules=Rules())
        before = replace(rest, taken_at=local, last_ok_at=local, clock_offset=offset)
        at_review = review(before, local + age, rules=Rules(), clock_offset=offset)
        return [
            (
                [
                    (each.incident.rule, each.incident.subject, each.incident.severity, each.incident.summary)
                    for each in decision.incidents
                ],
                decision.next_review_at and decision.next_review_at + offset,
            )
            for decision in (at_poll, at_review)
        ]

    assert found(offset) == found(timedelta())


def test_a_report_of_before_the_clock_was_set_keeps_its_age() -> None:
    """A valid token with three days left is one whose date is nobody's to act by, however the clock was set since."""
    seen = connection(token_status="valid", expires_at=NOW + 3 * DAY)
    for was in (61 * DAY, -61 * DAY):
        rest = state(known(seen), taken_at=NOW - was, last_ok_at=NOW - was, clock_offset=was)
        right = state(known(seen), taken_at=NOW, last_ok_at=NOW)
        assert (
            review(right, NOW + HOUR, rules=Rules()).incidents
            == review(rest, NOW + HOUR, rules=Rules()).incidents
        )


def test_the_life_of_a_token_is_counted_by_the_clock_that_its_date_is_of() -> None:
    token = connection(platform_id="facebook-1")

    def learned(offset: timedelta) -> tuple[KnownConnection, tuple[Incident, ...]]:
        life = Life(now=NOW - offset)
        for renewals in range(4):
            seen = replace(token, expires_at=NOW + (59 + 20 * renewals) * DAY)
            for _ in range(10):
                life.poll(seen, after=2 * DAY, clock_offset=offset)
        [after] = life.known.values()
        assert len(after.habit.newest) == 3
        return replace(after, first_seen_at=NOW), life.incidents

    habit, _ = learned(timedelta())
    for offset in (61 * DAY, -61 * DAY):
        other, incidents = learned(offset)
        assert (incidents, replace(other, habit=habit.habit)) == ((), habit)
        assert other.habit.newest == habit.habit.newest
