"""Which reconnect link opens, and when one must not be relied on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from monitor.core.model import RuleName, Severity
from monitor.core.rules.base import NoProblem, Problem
from monitor.core.rules.reconnect_link import LinkUse, check_link, usable_link
from tests.factories import DAY, NOW

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Link:
    expires_at: datetime | None


FOR_EVER, ENDED, OPEN = Link(None), Link(NOW), Link(NOW + SECOND)


@pytest.mark.parametrize(
    ("links", "usable"),
    [
        pytest.param((), None, id="none"),
        pytest.param((ENDED,), None, id="ended"),
        pytest.param((ENDED, OPEN, FOR_EVER), OPEN, id="the-first-that-opens"),
        pytest.param((FOR_EVER, OPEN), FOR_EVER, id="without-an-end"),
    ],
)
def test_the_first_link_that_still_opens_is_used(links: tuple[Link, ...], usable: Link | None) -> None:
    assert usable_link(links, NOW) is usable


@pytest.mark.parametrize(
    ("link", "needed_by", "use", "result"),
    [
        pytest.param(None, 1, LinkUse.USE, NoProblem.UNKNOWN, id="no-link"),
        pytest.param(None, 0, LinkUse.USE, NoProblem.OK, id="no-link-needed"),
        pytest.param(None, 1, LinkUse.OFF, NoProblem.OK, id="no-link-wanted"),
        pytest.param(OPEN, 0, LinkUse.USE, NoProblem.OK, id="nobody-waits"),
        pytest.param(OPEN, 1, LinkUse.OFF, NoProblem.OK, id="off"),
        pytest.param(FOR_EVER, 1, LinkUse.USE, NoProblem.OK, id="without-an-end"),
        pytest.param(Link(NOW + 3 * DAY + SECOND), 1, LinkUse.USE, NoProblem.OK, id="more-than-three-days"),
    ],
)
def test_a_link_that_lasts_or_that_nobody_needs_is_no_problem(
    link: Link | None, needed_by: int, use: LinkUse, result: NoProblem
) -> None:
    assert check_link(link, NOW, needed_by=needed_by, use=use) is result


@pytest.mark.parametrize(
    ("needed_by", "use", "waiting", "then"),
    [
        pytest.param(
            1, LinkUse.USE, "1 connection still needs", "create another link in the dashboard", id="one"
        ),
        pytest.param(
            2,
            LinkUse.CREATE,
            "2 connections still need",
            "ask the managed user to reconnect before that",
            id="several",
        ),
    ],
)
def test_a_link_that_ends_within_three_days_is_a_problem(
    needed_by: int, use: LinkUse, waiting: str, then: str
) -> None:
    assert check_link(Link(NOW + 3 * DAY), NOW, needed_by=needed_by, use=use) == Problem(
        rule=RuleName.RECONNECT_LINK_EXPIRING,
        severity=Severity.WARNING,
        summary=f"the reconnect link expires at 2026-02-25 20:00 UTC, and {waiting} it",
        remedy=then,
        deadline_at=NOW + 3 * DAY,
        dedup_key="2026-02-25 20:00 UTC",
    )
