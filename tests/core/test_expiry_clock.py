"""Decisions about dates go by the API's clock, whatever the local clock shows."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.evaluation.evaluate import evaluate, reevaluate
from monitor.core.model import ConnectionState, Incident
from monitor.core.rules.registry import Rules
from tests.core.lives import Life
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, known, snapshot, state

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
        at_poll = evaluate(rest, snapshot(*seen, taken_at=local, clock_offset=offset), rules=Rules())
        before = replace(rest, taken_at=local, last_ok_at=local, clock_offset=offset)
        at_review = reevaluate(before, local + age, rules=Rules(), clock_offset=offset)
        return [
            (
                [
                    (each.incident.rule, each.incident.subject, each.incident.severity, each.incident.summary)
                    for each in evaluation.incidents
                ],
                evaluation.next_evaluation_at and evaluation.next_evaluation_at + offset,
            )
            for evaluation in (at_poll, at_review)
        ]

    assert found(offset) == found(timedelta())


def test_a_report_of_before_the_clock_was_set_keeps_its_age() -> None:
    """A valid token with three days left is one whose date is nobody's to act by, however the clock was set since."""
    seen = connection(token_status="valid", expires_at=NOW + 3 * DAY)
    for was in (61 * DAY, -61 * DAY):
        rest = state(known(seen), taken_at=NOW - was, last_ok_at=NOW - was, clock_offset=was)
        right = state(known(seen), taken_at=NOW, last_ok_at=NOW)
        assert (
            reevaluate(right, NOW + HOUR, rules=Rules()).incidents
            == reevaluate(rest, NOW + HOUR, rules=Rules()).incidents
        )


def test_the_life_of_a_token_is_counted_by_the_clock_that_its_date_is_of() -> None:
    token = connection(platform_id="facebook-1")

    def learned(offset: timedelta) -> tuple[ConnectionState, tuple[Incident, ...]]:
        life = Life(now=NOW - offset)
        for renewals in range(4):
            seen = replace(token, expires_at=NOW + (59 + 20 * renewals) * DAY)
            for _ in range(10):
                life.poll(seen, after=2 * DAY, clock_offset=offset)
        [after] = life.known.values()
        assert len(after.renewals.recent) == 3
        return replace(after, first_seen_at=NOW), life.incidents

    habit, _ = learned(timedelta())
    for offset in (61 * DAY, -61 * DAY):
        other, incidents = learned(offset)
        assert (incidents, replace(other, renewals=habit.renewals)) == ((), habit)
        assert other.renewals.recent == habit.renewals.recent
