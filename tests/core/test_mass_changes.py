"""Many dates that get worse at once are doubted until the next poll, as many words are."""

from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.core.evaluation.evaluate import evaluate
from monitor.core.model import Connection, Failure, Outcome, Reason, RuleName, Severity
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


@pytest.mark.parametrize(
    ("ill", "of", "limits", "is_doubted"),
    [
        pytest.param(4, 4, MassChange(share=0.5, count=4), True, id="as-many-as-the-limit"),
        pytest.param(3, 3, MassChange(share=0.5, count=4), False, id="fewer-than-the-limit"),
        pytest.param(3, 5, MassChange(share=0.5, count=4), False, id="fewer-in-a-longer-list"),
        pytest.param(4, 8, MassChange(share=0.5, count=4), False, id="exactly-the-share"),
        pytest.param(5, 8, MassChange(share=0.5, count=4), True, id="more-than-the-share"),
        pytest.param(10, 10, MassChange(), True, id="ten-by-default"),
        pytest.param(9, 9, MassChange(), False, id="nine-by-default"),
    ],
)
def test_a_mass_change_is_as_many_as_the_limit_and_more_than_the_share(
    ill: int, of: int, limits: MassChange, is_doubted: bool
) -> None:
    life = Life(rules=Rules(mass_change=limits))
    well = soon(6 * DAY, of)
    life.poll(*well)
    life.poll(*soon(-DAY, of)[:ill], *well[ill:])
    assert life.state.suspect_changes == (ill if is_doubted else 0)


def test_a_doubted_answer_says_how_many_of_which_platforms() -> None:
    seen = [known(each, id=n) for n, each in enumerate(soon(6 * DAY, 4))]
    seen[0] = known(replace(seen[0].connection, platform_id="threads-1"), id=9)
    gone = known(connection(platform_id="linkedin-gone"), id=10, removed_at=NOW - DAY)
    worse = [replace(each.connection, expires_at=NOW - DAY) for each in seen]
    evaluation = evaluate(state(*seen, gone), snapshot(*worse), rules=FEW)
    assert evaluation.failure == Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error="4 of 4 tokens got worse at once (linkedin 3, threads 1), unconfirmed so far",
        remedy="",
    )
    assert (evaluation.changes, evaluation.incidents, evaluation.is_partial) == ((), (), False)


def test_an_answer_that_is_seen_twice_is_doubted_twice() -> None:
    before = state(*(known(each, id=n) for n, each in enumerate(soon(6 * DAY, 4))), suspect_changes=4)
    again = snapshot(*soon(-DAY, 4))
    assert evaluate(replace(before, taken_at=again.taken_at), again, rules=FEW).suspect_changes == 4
    assert evaluate(before, again, rules=FEW).suspect_changes == 0
