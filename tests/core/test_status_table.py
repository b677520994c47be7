"""The table of docs/alerting.md: status, date and who renews; each of its cells is what the rules do."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from monitor.core.model import ConnectionState, RenewalHistory, Severity
from monitor.core.rules.base import DateAhead, NoProblem, Problem, RuleResult
from monitor.core.rules.renewal import RenewalOverdue
from monitor.core.rules.token_expiry import DEFAULT_THRESHOLDS, TokenExpiry
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, known

DOCUMENT = Path(__file__).parents[2] / "docs" / "alerting.md"
AWAY = timedelta(days=20)
BEFORE = {14 * DAY: Severity.NOTICE, **DEFAULT_THRESHOLDS}
STATUSES = ["`expired`", "`expiring_soon`", "`valid`", "`unknown`", "another word", "`valid`, then no answer"]
# When a token expires, seen from the newest report; the last two are an access token's.
LEFT: dict[str, list[timedelta | None]] = {
    "none": [None],
    "passed": [timedelta(), -MINUTE, -30 * DAY],
    "within 7 days": [MINUTE, DAY, 3 * DAY, 7 * DAY],
    "further": [7 * DAY + MINUTE, 14 * DAY, 15 * DAY, 50 * DAY],
    "an access token's": [-30 * DAY, HOUR, 25 * HOUR],
}
WHO = {"a person renews": "linkedin", "the vendor renews": "facebook"}
# Who has dates of access tokens: people renew TikTok's refresh token, the vendor all of YouTube's.
WHO_BY_ACCESS_TOKENS = {"a person renews": "tiktok", "the vendor renews": "youtube"}


def rows() -> Iterator[tuple[str, set[str], dict[str, str]]]:
    """Read the table: status, dates, and what happens by who renews."""
    section = DOCUMENT.read_text().partition("### Token status, date and who renews")[2]
    lines = [line for line in section.split("\n\n- **")[0].splitlines() if line.startswith("|")]
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    for status, dates, *cells in body:
        yield status, {each.strip() for each in dates.split(",")}, dict(zip(head[2:], cells, strict=True))


CELLS = {
    (status, date, who): cell
    for status, dates, by_whom in rows()
    for date in dates
    for who, cell in by_whom.items()
}


def test_the_table_says_something_of_every_case_once() -> None:
    assert {*product(STATUSES, LEFT, WHO)} == CELLS.keys()
    assert len(CELLS) == sum(len(dates) * len(by_whom) for _, dates, by_whom in rows())


@pytest.mark.parametrize(("status", "date", "who"), sorted(CELLS))
def test_each_cell_of_the_table_is_what_the_rules_do(status: str, date: str, who: str) -> None:
    is_access = date == "an access token's"
    platform = (WHO_BY_ACCESS_TOKENS if is_access else WHO)[who]
    if (status, is_access, platform) == ("`unknown`", True, "youtube"):
        platform = "tiktok"  # the exception that stands below the table
    is_away = status.endswith("no answer")
    words = ["revoked", "null", "7", ""] if status == "another word" else [status.split("`")[1]]
    for word, left in product(words, LEFT[date]):
        reported_at = NOW - AWAY if is_away else NOW
        seen = connection(
            platform_id=f"{platform}-1",
            token_status=word,
            expires_at=None if left is None else reported_at + left,
        )
        # Long known, except that TikTok's access token was never far ahead; and no renewal is due yet.
        expiry_set_at = reported_at if is_access else reported_at - 100 * DAY
        one = known(seen, first_seen_at=expiry_set_at, renewals=RenewalHistory(expiry_set_at=expiry_set_at))
        check(CELLS[status, date, who], one, reported_at)


def check(cell: str, one: ConnectionState, reported_at: datetime) -> None:
    expires_at = one.connection.expires_at
    result = TokenExpiry(before=BEFORE).check(one, NOW, reported_at)
    overdue = RenewalOverdue().check(one, NOW, reported_at)
    passed = sum(1 for before in BEFORE if expires_at and expires_at - NOW <= before)
    by_date = 5 if expires_at and expires_at <= NOW else passed
    match cell:
        case "critical":
            assert level(result) == (Severity.CRITICAL, 5)
        case "first threshold":
            assert level(result) == (Severity.NOTICE, 1)
        case "thresholds, at least the first":
            assert level(result) == (at_step(by_date or 1), by_date or 1)
        case "thresholds" if by_date:
            assert level(result) == (at_step(by_date), by_date)
        case "thresholds":
            assert result in {NoProblem.OK, DateAhead(date=expires_at or NOW)}
        case "ok":
            is_tolerated = expires_at == reported_at + 7 * DAY
            assert result is (
                NoProblem.UNKNOWN if is_tolerated and one.connection.platform == "linkedin" else NoProblem.OK
            )
            assert not isinstance(overdue, Problem)
        case "ok, or overdue" | "ok, or overdue already":
            assert result is NoProblem.OK
            assert expires_at
            left = expires_at - reported_at  # of a life that was 100 days longer when it was first seen
            assert isinstance(overdue, Problem) is (left <= (100 * DAY + left) / 10)
        case "unchanged":
            assert result is NoProblem.UNKNOWN
        case "warning":
            assert level(result) == (Severity.WARNING, 1)
        case _:
            raise AssertionError(cell)
    if not cell.startswith("ok, or overdue"):
        assert not isinstance(overdue, Problem)


def at_step(step: int) -> Severity:
    return [*BEFORE.values(), Severity.CRITICAL][step - 1]


def level(result: RuleResult) -> tuple[Severity, int] | None:
    return (result.severity, result.level) if isinstance(result, Problem) else None
