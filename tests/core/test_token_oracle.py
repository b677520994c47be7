"""
Every life of a few reports against the rules of the API written down once more, in another way.

What is open must be what they say at any moment: after a poll, after the same report again, and by the clock alone
while the API is away, for as long as nobody looks at anything but the moments that were asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.evaluation.evaluate import reevaluate
from monitor.core.model import Connection, Incident, RuleName, Severity
from monitor.core.rules.registry import Rules
from monitor.core.rules.renewal import RenewalOverdue, RenewalProfile, RenewedBy
from monitor.core.rules.token_expiry import TokenExpiry
from tests.core.lives import Life
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure

NOTICE, WARNING, CRITICAL = Severity
MS = timedelta(milliseconds=1)
WHO = {"linkedin": "person", "facebook": "vendor", "youtube": "vendor", "tiktok": "person"}
PROFILES = {name: RenewalProfile(renewed_by=RenewedBy(who)) for name, who in WHO.items()}
LADDERS = {
    "default": {7 * DAY: NOTICE, 3 * DAY: WARNING, DAY: CRITICAL},
    "early": {14 * DAY: NOTICE, 5 * DAY: CRITICAL},
}
STATUSES = ("expired", "expiring_soon", "valid", "unknown", "revoked")
OFFSETS = (None, -DAY, 20 * HOUR, 2 * DAY + HOUR, 8 * DAY, 16 * DAY)
Report = tuple[str, timedelta | None]


@dataclass
class Oracle:
    """What is open about one token, by the eight rules of "the server's word decides"."""

    platform: str
    ladder: dict[timedelta, Severity]
    open: Severity | None = None
    by: datetime | None = None  # the date for which it is open
    status: str = ""
    date: datetime | None = None
    ahead: timedelta = timedelta()  # how far the date was ever seen ahead
    at: datetime = NOW

    def report(self, status: str, date: datetime | None, now: datetime) -> None:
        ahead = date - now if date else timedelta()
        self.ahead = max(self.ahead, ahead) if date == self.date else ahead
        self.status, self.date, self.at = status, date, now
        self.look(now)

    def look(self, now: datetime) -> None:
        date = self.date
        access = self.platform == "tiktok" and self.ahead <= 25 * HOUR  # rule 7
        maybe_access = access or self.platform == "youtube"
        first = self.ladder[max(self.ladder)]
        if self.status == "expired":  # rule 1
            self.set(CRITICAL, None if maybe_access or not date or date > now else date)
        elif self.status == "unknown":  # rule 6
            if date and date <= now and not access and (self.open is None or self.open.rank < WARNING.rank):
                self.set(WARNING, None)
        elif self.status == "expiring_soon":  # rules 2 and 5
            climbed = None if maybe_access else self.climbed(now)
            self.set(climbed or first, None if maybe_access else date)
        elif self.status == "valid":  # rules 3, 4 and 5
            left = date - self.at if date else timedelta()
            if WHO[self.platform] == "vendor" or access or left <= 7 * DAY - 5 * MINUTE:
                self.set(None)
            elif left > 7 * DAY:
                self.set(self.climbed(now), date)
        elif date and not maybe_access:  # rule 8
            if climbed := self.climbed(now):
                self.set(climbed, date)
            elif self.by and date - self.by > HOUR:
                self.set(None)

    def climbed(self, now: datetime) -> Severity | None:
        if self.date is None:
            return None
        if self.date <= now:
            return CRITICAL
        return next((self.ladder[each] for each in sorted(self.ladder) if self.date - now <= each), None)

    def set(self, severity: Severity | None, by: datetime | None = None) -> None:
        self.open, self.by = severity, by if severity else None


@dataclass
class Twins:
    """A life and the oracle beside it."""

    platform: str
    ladder: dict[timedelta, Severity]
    shortcut: bool = True
    life: Life = field(init=False)
    oracle: Oracle = field(init=False)

    def __post_init__(self) -> None:
        rules = (TokenExpiry(before=self.ladder, profiles=PROFILES), RenewalOverdue(profiles=PROFILES))
        self.life = Life(rules=Rules(connection=rules), shortcut=self.shortcut)
        self.oracle = Oracle(platform=self.platform, ladder=self.ladder)

    def poll(self, status: str, date: datetime | None, *, after: timedelta) -> None:
        self.life.poll(self.seen(status, date), after=after)
        self.oracle.report(status, date, self.life.now)
        self.check()

    def seen(self, status: str, date: datetime | None) -> Connection:
        return connection(platform_id=f"{self.platform}-1", token_status=status, expires_at=date)

    def fail(self) -> None:
        self.life.poll(failure=failure(), after=timedelta())
        self.check()

    def wait(self, until: datetime) -> None:
        """Let only the clock go on, at the moments that were asked for, and look closely at all others."""
        date = self.oracle.date
        edges = [date - each for each in (*self.ladder, timedelta(), 7 * DAY)] if date else []
        edges += [edge + 5 * MINUTE for edge in edges]
        moments = {moment for edge in edges for moment in (edge - MS, edge, edge + MS)}
        for moment in sorted({each for each in moments if self.life.now < each < until} | {until}):
            while (asked := self.life.state.next_evaluation_at) and asked <= moment:
                assert asked > self.life.now
                self.life.review()
                self.oracle.look(self.life.now)
                self.check()
            self.life.now = moment
            self.oracle.look(moment)
            self.check()
            again = reevaluate(self.life.state, moment, rules=self.life.rules)
            assert again.incidents == (), "the clock missed a moment"

    def check(self) -> None:
        open_ones = [each for each in self.life.incidents if each.rule is RuleName.TOKEN_EXPIRY]
        assert self.oracle.open == (open_ones[0].severity if open_ones else None), self.story()
        assert len(self.life.incidents) <= 1
        if (
            overdue := self.overdue()
        ):  # a valid token of the vendor's that has more than a week, and nothing else
            assert self.oracle.date
            assert self.platform == "facebook"
            assert overdue.severity is WARNING

    def overdue(self) -> Incident | None:
        return next((each for each in self.life.incidents if each.rule is RuleName.RENEWAL_OVERDUE), None)

    def story(self) -> str:
        one = self.oracle
        return f"{self.platform} {one.status} {one.date} reported {one.at}, now {self.life.now}"


def lives(reports: Sequence[Report], platform: str, ladder: str) -> Iterable[Twins]:
    """Live through reports three days apart: by polls alone, by the clock alone in between, by both."""
    for how in ("polls", "clock", "both", "no shortcut"):
        twins = Twins(platform, LADDERS[ladder], shortcut=how != "no shortcut")
        for status, offset in reports:
            date = None if offset is None else NOW + offset
            twins.poll(status, date, after=timedelta() if twins.life.state.taken_at is None else 3 * DAY)
            ends = twins.life.now
            if how == "clock":
                twins.fail()
            for _ in range(4) if how != "clock" else ():
                ends += 7 * HOUR
                if how == "both":
                    twins.wait(ends)
                    twins.poll(status, date, after=timedelta())
                else:
                    twins.poll(status, date, after=7 * HOUR)
            if how in {"clock", "both"}:
                twins.wait(ends + 2 * DAY)
        if how in {"clock", "both"}:
            twins.wait(NOW + 40 * DAY)
        yield twins


@pytest.mark.parametrize("ladder", LADDERS)
@pytest.mark.parametrize("platform", WHO)
@pytest.mark.parametrize("first", STATUSES)
def test_what_is_open_is_what_the_rules_say_after_any_two_reports(
    platform: str, ladder: str, first: str
) -> None:
    for before, status, after in product(OFFSETS, STATUSES, OFFSETS):
        for twins in lives([(first, before), (status, after)], platform, ladder):
            twins.check()


# At the second of two reports, when either clock may be the one that is wrong.
BARELY = 7 * DAY + 100 * HOUR - 2 * MINUTE
reports = st.lists(
    st.tuples(
        st.sampled_from(STATUSES),
        st.sampled_from(
            [
                *OFFSETS,
                BARELY,
                25 * HOUR,
                25 * HOUR + MS,
                7 * DAY,
                7 * DAY + MS,
                7 * DAY - 2 * MINUTE,
                40 * DAY,
            ]
        ),
    ),
    min_size=1,
    max_size=6,
)


@example(reports=[("expiring_soon", BARELY), ("valid", BARELY)], platform="linkedin", ladder="default")
@example(reports=[("expiring_soon", BARELY), ("valid", BARELY)], platform="facebook", ladder="default")
@given(reports=reports, platform=st.sampled_from(sorted(WHO)), ladder=st.sampled_from(sorted(LADDERS)))
def test_what_is_open_is_what_the_rules_say_after_any_reports(
    reports: list[Report], platform: str, ladder: str
) -> None:
    for twins in lives(reports, platform, ladder):
        twins.check()
