"""Random lives on a machine whose clock is set at will: they must be the lives that they are on a right one."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, note, settings
from hypothesis import strategies as st

from monitor.api_clocks import ApiClocks
from monitor.clock import Steps
from monitor.core.model import Outcome, RuleName
from monitor.jobs.check_clocks import CheckClocks
from monitor.jobs.review import review_due
from monitor.jobs.rewind import Rewind
from monitor.providers import Answer
from monitor.storage import Database
from monitor.storage.tables import metadata
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure
from tests.fakes import FakeProvider, FrozenClock
from tests.house import EVERY, House

URL = "https://api.postpost.dev"


@dataclass(slots=True)
class LocalClock(FrozenClock):
    """The clock of the monitor's machine; ``now`` is the true time, which is the API's."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return self.now + self.ahead

    def monotonic(self) -> float:
        return self.now.timestamp()


@dataclass(slots=True)
class DatedProvider(FakeProvider):
    """An API whose answers carry its time, or what is put in its place."""

    local: LocalClock = field(default_factory=LocalClock)
    clocks: ApiClocks | None = None
    date: str | None = None

    def connections(self, managed_user_id: str | None = None, known: bytes = b"") -> Answer:
        assert self.clocks
        clock = self.clocks.clock_of("agency")
        sent = clock.start()
        # As the base class decides; a failure here is a network that is down, which carries no time.
        answer = FakeProvider.connections(self, managed_user_id, known)
        date = (
            format_datetime(self.local.now.astimezone(UTC), usegmt=True) if self.date is None else self.date
        )
        clock.on_answer(sent, {"Date": date} if date else {})
        return replace(answer, clock_offset=clock.expiry_offset())


@dataclass
class SkewedHouse(House):
    """A house that goes by what the API says of the time."""

    def __post_init__(self) -> None:
        local, api = self.clock, self.api
        assert isinstance(local, LocalClock)
        assert isinstance(api, DatedProvider)
        self.local, self.dated = local, api
        api.local = local
        super().__post_init__()

    def restart(self) -> None:
        self.clocks = self.dated.clocks = ApiClocks(
            {self.account: URL}, clock=self.clock, monotonic=self.local.monotonic
        )
        self.rewind = Rewind(
            self.clock,
            every={self.account: EVERY},
            database=self.database,
            steps=Steps(self.clock, self.local.monotonic),
        )
        super().restart()
        self.check_clocks = CheckClocks(
            self.clocks,
            channels=tuple(self.channels),
            database=self.database,
            routing=self.routing,
            flapping=self.rules.flapping,
            clock=self.clock,
        )
        self.check_clocks()

    def review(self) -> None:
        review_due(
            database=self.database,
            rules=self.rules,
            routing=self.routing,
            clock=self.clock,
            clocks=self.clocks,
        )

    def tick(self) -> None:
        if self.rewind.is_due():
            self.rewind()
        self.check_clocks()
        super().tick()
        self.check_clocks()
        self.deliver()

    def live(self, duration: timedelta, step: timedelta = EVERY) -> None:
        ends = self.local.now + duration
        while self.local.now < ends:
            self.local.advance(min(step, ends - self.local.now))
            self.tick()


@pytest.fixture
def new_house(database: Database) -> Iterator[Callable[[], SkewedHouse]]:
    """Give new houses, one after another on one database."""

    def new() -> SkewedHouse:
        with database.begin() as store:
            for table in reversed(metadata.sorted_tables):
                store.connection.execute(table.delete())
        house = SkewedHouse(database, clock=LocalClock(), api=DatedProvider())
        # Away from every multiple of a step, or a second of a header decides what comes first.
        house.api.lists(
            *(
                connection(platform_id=f"linkedin-{n}", expires_at=NOW + n * DAY + 7 * MINUTE)
                for n in (5, 9, 12, 40)
            ),
            connection(
                platform_id="threads-6", token_status="expiring_soon", expires_at=NOW + 6 * DAY + MINUTE
            ),
            connection(platform_id="youtube-1", expires_at=NOW + HOUR),
            connection(platform_id="mastodon-1", token_status="unknown", expires_at=None),
        )
        return house

    yield new


Step = tuple[str, Any]
settled = st.sampled_from([timedelta(), 61 * DAY, -61 * DAY, 3 * HOUR, -40 * MINUTE, 300 * DAY])
pauses = st.sampled_from([15 * MINUTE, HOUR, 6 * HOUR, DAY])


@st.composite
def lives(draw: st.DrawFn) -> list[Step]:
    step = st.one_of(
        st.tuples(st.just("lives"), pauses),
        st.tuples(st.just("lives"), pauses),
        st.tuples(st.just("is set"), settled),
        st.tuples(st.just("is down for"), pauses),
        st.tuples(st.just("restarts"), st.none()),
        st.tuples(st.just("says"), st.sampled_from(["linkedin-5", "linkedin-9", "threads-6"])),
    )
    return draw(st.lists(step, min_size=3, max_size=14))


def lived(house: SkewedHouse, steps: list[Step], *, with_sets: bool) -> SkewedHouse:
    """Let a life happen, with or without the settings of the local clock."""
    house.live(HOUR)
    for what, which in steps:
        if what == "lives":
            house.live(which, step=min(which, HOUR))
        elif what == "is set" and with_sets:
            house.local.ahead = which
            house.tick()
        elif what == "is down for":
            house.api.fails(failure(Outcome.NETWORK_ERROR))
            house.live(which, step=min(which, HOUR))
            house.api.failing.clear()
            house.live(30 * MINUTE)
        elif what == "restarts":
            house.restart()
            house.live(15 * MINUTE)
        elif what == "says":
            shown = [
                replace(each, token_status="expired") if each.platform_id == which else each
                for each in house.api.listed[None]
            ]
            house.api.lists(*shown)
            house.live(15 * MINUTE)
    house.live(HOUR)
    return house


def told(house: SkewedHouse) -> list[tuple[str, Any, Any, Any]]:
    """Return what happened to tokens, without local times."""
    rows = house.rows("incidents", "WHERE rule IN ('token_expiry', 'renewal_overdue')")
    return [
        (row["rule"], row["subject"].partition(":")[2][-12:], row["worst"], row["resolution"]) for row in rows
    ]


skewed = settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(steps=lives())
@example(
    steps=[("is set", 61 * DAY), ("restarts", None), ("lives", DAY), ("is set", timedelta()), ("lives", DAY)]
)
@example(
    steps=[("is set", 61 * DAY), ("is down for", DAY), ("is set", timedelta()), ("is down for", 6 * HOUR)]
)
@example(
    steps=[("lives", DAY), ("is set", -61 * DAY), ("is down for", DAY), ("restarts", None), ("lives", DAY)]
)
@skewed
def test_a_clock_that_is_set_at_will_changes_nothing_that_people_hear_of_tokens(
    new_house: Callable[[], SkewedHouse], steps: list[Step]
) -> None:
    right = told(lived(new_house(), steps, with_sets=False))
    house = lived(new_house(), steps, with_sets=True)
    note(repr(steps))
    assert Counter(told(house)) == Counter(right)
    clocks = house.rows("incidents", f"WHERE rule = '{RuleName.CLOCK_SKEW}'")
    assert Counter(row["subject"] for row in clocks if row["resolved_at"] is None) == (
        Counter([f"api:{URL}"]) if house.local.ahead else Counter()
    )


odd_headers = st.sampled_from(
    [
        "",
        "soon",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 2099 00:00:00 GMT",
        format_datetime(NOW + 61 * DAY, usegmt=True),
        format_datetime(NOW - 61 * DAY, usegmt=True),
        format_datetime(NOW + 3 * HOUR, usegmt=True),
    ]
)


@given(odd=st.lists(odd_headers, min_size=1, max_size=8))
@skewed
def test_headers_of_which_at_most_two_of_five_are_odd_change_nothing(
    new_house: Callable[[], SkewedHouse], odd: list[str]
) -> None:
    house = new_house()
    house.live(5 * EVERY)
    before = told(house), len(house.sent)
    for date in odd:
        house.dated.date = date
        house.live(2 * EVERY)
        house.dated.date = None
        house.live(3 * EVERY)
    assert (told(house), len(house.sent)) == before
    assert house.rows("incidents", f"WHERE rule = '{RuleName.CLOCK_SKEW}'") == []
