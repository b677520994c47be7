"""Many dates that get worse at once are doubted until the next poll, as many words are."""

from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.core.evaluation.evaluate import evaluate
from monitor.core.model import Connection, Reason, Severity
from monitor.core.rules.damping import MassChange
from monitor.core.rules.registry import Rules
from monitor.core.rules.token_expiry import TokenExpiry
from tests.core.lives import Life
from tests.factories import DAY, HOUR, NOW, connection, known, snapshot, state

FEW = Rules(mass_change=MassChange(share=0.5, count=4))
EARLY = replace(FEW, connection=(TokenExpiry(before={timedelta(days=30): Severity.NOTICE}),))


def many(count: int, **given: object) -> list[Connection]:
    return [connection(platform_id=f"linkedin-{n}", **given) for n in range(count)]


def soon(left: timedelta, count: int = 6) -> list[Connection]:
    """Give tokens of which the API says that they expire soon."""
    return many(count, token_status="expiring_soon", expires_at=NOW + left)


@pytest.mark.parametrize("moved_to", [-DAY, -400 * DAY, 12 * HOUR], ids=["the past", "long ago", "today"])
def test_many_dates_that_get_worse_at_once_are_held_for_a_second_look(moved_to: timedelta) -> None:
    well, ill = soon(6 * DAY), soon(moved_to)
    stumble, real = Life(rules=FEW), Life(rules=FEW)
    for life in (stumble, real):
        life.poll(*well)
        assert [] == life.poll(*ill)
        assert 6 == life.state.suspect_changes
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
    assert 4 == life.state.suspect_changes


def test_a_threshold_that_many_dates_reach_by_moving_is_doubted_too() -> None:
    life = Life(rules=EARLY)
    life.poll(*many(6, expires_at=NOW + 60 * DAY))
    assert [] == life.poll(*many(6, expires_at=NOW + 20 * DAY))
    assert 6 == life.state.suspect_changes


def test_dates_that_many_tokens_reach_in_time_are_no_strange_answer() -> None:
    life = Life(rules=EARLY)
    life.poll(*many(6, expires_at=NOW + 60 * DAY))
    assert [(Reason.OPENED, Severity.NOTICE)] * 6 == life.poll(
        *many(6, expires_at=NOW + 60 * DAY), after=40 * DAY
    )
    assert 0 == life.state.suspect_changes


@pytest.mark.parametrize("moved_to", [90 * DAY, 61 * DAY, None], ids=["later", "a little later", "no date"])
def test_dates_that_get_better_are_no_strange_answer(moved_to: timedelta | None) -> None:
    life = Life(rules=EARLY)
    life.poll(*many(6, expires_at=NOW + 60 * DAY))
    life.poll(*many(6, expires_at=NOW + moved_to if moved_to else None))
    assert 0 == life.state.suspect_changes


def test_the_dates_that_are_counted_are_judged_by_the_clock_of_the_api() -> None:
    well, moved = many(6, expires_at=NOW + 60 * DAY), many(6, expires_at=NOW + 50 * DAY)
    before = state(*(known(each, id=n) for n, each in enumerate(well)))
    right = evaluate(before, snapshot(*moved, taken_at=NOW + 61 * DAY, clock_offset=-61 * DAY), rules=EARLY)
    assert (0, ()) == (right.suspect_changes, right.incidents)
