"""A post that the platform refused: when it is a problem, how bad, and when it is the same as before."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.model import Connection, PublishError, Reason, Resolution, Severity
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.publish_error import PublishErrorRule
from monitor.core.rules.registry import Rules
from tests.core.lives import Life
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, known

MS = timedelta(milliseconds=1)
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
OPENED, ESCALATED, UPDATED, RESOLVED = Reason.OPENED, Reason.ESCALATED, Reason.UPDATED, Reason.RESOLVED
RULES = Rules(connection=(PublishErrorRule(),))


def failed(message: str = "Invalid image format", at: datetime | None = NOW, **given: object) -> Connection:
    return connection(last_error=PublishError(message=message, occurred_at=at), **given)


@pytest.mark.parametrize(
    ("posted", "failed_at", "is_problem"),
    [
        (None, NOW - HOUR, True),
        (NOW - 2 * HOUR, NOW - HOUR, True),
        (NOW - HOUR - MS, NOW - HOUR, True),
        (NOW - HOUR, NOW - HOUR, False),
        (NOW - HOUR + MS, NOW - HOUR, False),
        (NOW, NOW - HOUR, False),
        (NOW - HOUR, NOW + HOUR, True),  # the server's clock is ahead of ours
    ],
)
def test_an_error_counts_when_it_is_later_than_the_last_good_post(
    posted: datetime | None, failed_at: datetime, is_problem: bool
) -> None:
    seen = failed(at=failed_at, last_successful_post_at=posted)
    assert is_problem is isinstance(PublishErrorRule().check(known(seen), NOW), Problem)


def test_no_error_is_no_problem() -> None:
    assert PublishErrorRule().check(known(), NOW) is NoProblem.OK


def test_bare_text_counts_from_when_it_was_first_seen() -> None:
    life = Life(rules=RULES)
    posted_at = NOW - DAY
    assert [(OPENED, WARNING)] == life.poll(failed(at=None, last_successful_post_at=posted_at))
    assert [] == life.poll(failed(at=None, last_successful_post_at=posted_at))
    assert [(RESOLVED, WARNING)] == life.poll(failed(at=None, last_successful_post_at=life.now))
    assert [] == life.poll(failed(at=None, last_successful_post_at=posted_at + DAY + HOUR))
    assert [(OPENED, WARNING)] == life.poll(failed("Too long", at=None, last_successful_post_at=NOW))


def test_a_later_good_post_ends_it() -> None:
    life = Life(rules=RULES)
    life.poll(failed(at=NOW))
    assert [(RESOLVED, WARNING)] == life.poll(failed(at=NOW, last_successful_post_at=NOW + MINUTE))
    assert life.history[-1][1].incident.resolution is Resolution.RECOVERED


def test_an_error_that_is_withdrawn_ends_it_and_is_no_news_when_shown_again() -> None:
    life = Life(rules=RULES)
    assert [(OPENED, WARNING)] == life.poll(failed(at=NOW))
    assert [(RESOLVED, WARNING)] == life.poll(connection())
    assert [] == life.poll(failed(at=NOW))
    assert [] == life.poll(connection())
    assert [] == life.poll(failed("an older one", at=NOW - HOUR))
    assert [(OPENED, WARNING)] == life.poll(failed(at=NOW + 2 * HOUR))


def test_an_old_error_is_history_when_its_connection_is_first_seen() -> None:
    for age, notified in ((8 * DAY, []), (7 * DAY + MS, []), (7 * DAY, [(OPENED, WARNING)])):
        life = Life(rules=RULES)
        assert notified == life.poll(failed(at=NOW - age), after=timedelta())
        assert [] == life.poll(failed(at=NOW - age))


def test_an_error_from_while_the_monitor_was_down_is_told_however_old() -> None:
    life = Life(rules=RULES)
    life.poll(connection())
    assert [(OPENED, WARNING)] == life.poll(failed(at=NOW + HOUR), after=14 * DAY)


def test_max_age_is_configurable() -> None:
    life = Life(rules=Rules(connection=(PublishErrorRule(max_age=HOUR),)))
    assert [] == life.poll(failed(at=NOW - 2 * HOUR))


def test_another_message_is_told_while_it_is_open_and_the_same_one_is_not() -> None:
    life = Life(rules=RULES)
    assert [(OPENED, WARNING)] == life.poll(failed("Invalid image format, request 1234567", NOW))
    assert [] == life.poll(failed("Invalid image format, request 7654321", NOW + HOUR))
    assert [(UPDATED, WARNING)] == life.poll(failed("The caption is too long", NOW + HOUR))
    assert [] == life.poll(failed("Invalid image format, request 1111111", NOW + 2 * HOUR))
    assert [] == life.poll(failed("The caption is too long", NOW + 3 * HOUR))
    (incident,) = life.incidents
    assert incident.summary.startswith("publishing failed at 2026-02-22 23:00 UTC")
    assert incident.summary.endswith(": The caption is too long")


def test_a_lost_login_is_worse_than_a_refused_post() -> None:
    life = Life(rules=RULES)
    assert [(OPENED, WARNING)] == life.poll(failed("Invalid image format"))
    assert [(ESCALATED, CRITICAL)] == life.poll(failed("Invalid or expired token.", NOW + HOUR))
    assert [] == life.poll(failed("Invalid image format", NOW + 2 * HOUR))


def test_what_to_do_depends_on_what_failed() -> None:
    refused = PublishErrorRule().check(known(failed("Invalid image format")), NOW)
    lost = PublishErrorRule().check(known(failed("invalid_grant")), NOW)
    assert isinstance(refused, Problem)
    assert isinstance(lost, Problem)
    assert ("correct the post and publish it again", "") == (refused.remedy, lost.remedy)


def test_no_words_at_all_are_still_a_failure() -> None:
    for message in ("", " \n", "\x1b\x00", "\u202e"):
        result = PublishErrorRule().check(known(failed(message)), NOW)
        assert isinstance(result, Problem)
        assert result.summary == "publishing failed at 2026-02-22 20:00 UTC: no reason given"


def test_outside_words_are_harmless_in_the_summary() -> None:
    result = PublishErrorRule().check(
        known(failed("@everyone <!channel>\r\nBcc: x@y [a](https://evil)")), NOW
    )
    assert isinstance(result, Problem)
    assert not {"\r", "\n"} & set(result.summary)
    for active in ("@everyone", "<!channel", "](", "://", "x@y"):
        assert active not in result.summary


moments = st.none() | st.integers(-20 * 24, 20 * 24).map(lambda hours: NOW + hours * HOUR)
errors = st.none() | st.builds(
    error, message=st.sampled_from(["bad image", "bad token", ""]), occurred_at=moments
)


@given(seen=st.lists(st.builds(connection, last_error=errors, last_successful_post_at=moments), max_size=8))
def test_the_same_answer_again_is_never_news(seen: list[Connection]) -> None:
    life = Life(rules=RULES, shortcut=False)
    for each in seen:
        life.poll(each)
        before = life.incidents
        assert [] == life.poll(each)
        assert before == life.incidents
