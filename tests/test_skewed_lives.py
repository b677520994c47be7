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
from monitor.clock import ClockStepDetector
from monitor.core.model import Outcome, RuleName
from monitor.jobs.check_clocks import check_clocks
from monitor.jobs.clock_step import ClockStepRecovery
from monitor.jobs.context import JobContext
from monitor.providers.base import ConnectionList
from monitor.storage.database import Database
from monitor.storage.tables import metadata
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure
from tests.fakes import FakeProvider, FrozenClock
from tests.needs import on_sqlite
from tests.simulator import EVERY, Simulator

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

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        assert self.clocks
        clock = self.clocks.clock_of("agency")
        sent = clock.start()
        # As the base class decides; a failure here is a network that is down, which carries no time.
        answer = FakeProvider.connections(self, managed_user_id)
        date = (
            format_datetime(self.local.now.astimezone(UTC), usegmt=True) if self.date is None else self.date
        )
        clock.on_answer(sent, {"Date": date} if date else {})
        return replace(answer, clock_offset=clock.expiry_offset())


@dataclass
class SkewedSimulator(Simulator):
    """A monitor that goes by what the API says of the time."""

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
        self.rewind = ClockStepRecovery(self.context, ClockStepDetector(self.clock, self.local.monotonic))
        super().restart()
        check_clocks(self.context)

    @property
    def context(self) -> JobContext:
        return replace(super().context, clocks=self.clocks)

    def tick(self) -> None:
        if self.rewind.check():
            self.rewind.recover()
        check_clocks(self.context)
        super().tick()
        check_clocks(self.context)
        self.deliver()

    def live(self, duration: timedelta, step: timedelta = EVERY) -> None:
        ends = self.local.now + duration
        while self.local.now < ends:
            self.local.advance(min(step, ends - self.local.now))
            self.tick()


@pytest.fixture
def new_simulator(database: Database) -> Iterator[Callable[[], SkewedSimulator]]:
    """Give new simulators, one after another on one database."""

    def new() -> SkewedSimulator:
        with database.begin() as store:
            for table in reversed(metadata.sorted_tables):
                store.connection.execute(table.delete())
        simulator = SkewedSimulator(database, clock=LocalClock(), api=DatedProvider())
        # Away from every multiple of a step, or a second of a header decides what comes first.
        simulator.api.lists(
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
        return simulator

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


def lived(simulator: SkewedSimulator, steps: list[Step], *, with_sets: bool) -> SkewedSimulator:
    """Let a life happen, with or without the settings of the local clock."""
    simulator.live(HOUR)
    for what, which in steps:
        if what == "lives":
            simulator.live(which, step=min(which, HOUR))
        elif what == "is set" and with_sets:
            simulator.local.ahead = which
            simulator.tick()
        elif what == "is down for":
            simulator.api.fails(failure(Outcome.NETWORK_ERROR))
            simulator.live(which, step=min(which, HOUR))
            simulator.api.failing.clear()
            simulator.live(30 * MINUTE)
        elif what == "restarts":
            simulator.restart()
            simulator.live(15 * MINUTE)
        elif what == "says":
            shown = [
                replace(each, token_status="expired") if each.platform_id == which else each
                for each in simulator.api.listed[None]
            ]
            simulator.api.lists(*shown)
            simulator.live(15 * MINUTE)
    simulator.live(HOUR)
    return simulator


def notified(simulator: SkewedSimulator) -> list[tuple[str, Any, Any, Any]]:
    """Return what happened to tokens, without local times."""
    rows = simulator.rows("incidents", "WHERE rule IN ('token_expiry', 'renewal_overdue')")
    return [
        (row["rule"], row["subject"].rpartition(":")[2], row["max_severity"], row["resolution"])
        for row in rows
    ]


skewed = settings(
    max_examples=12,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@on_sqlite
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
    new_simulator: Callable[[], SkewedSimulator], steps: list[Step]
) -> None:
    right = notified(lived(new_simulator(), steps, with_sets=False))
    simulator = lived(new_simulator(), steps, with_sets=True)
    note(repr(steps))
    assert Counter(notified(simulator)) == Counter(right)
    clocks = simulator.rows("incidents", f"WHERE rule = '{RuleName.CLOCK_SKEW}'")
    assert Counter(row["subject"] for row in clocks if row["resolved_at"] is None) == (
        Counter([f"api:{URL}"]) if simulator.local.ahead else Counter()
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


@on_sqlite
@given(odd=st.lists(odd_headers, min_size=1, max_size=8))
@skewed
def test_headers_of_which_at_most_two_of_five_are_odd_change_nothing(
    new_simulator: Callable[[], SkewedSimulator], odd: list[str]
) -> None:
    simulator = new_simulator()
    simulator.live(5 * EVERY)
    before = notified(simulator), len(simulator.sent)
    for date in odd:
        simulator.dated.date = date
        simulator.live(2 * EVERY)
        simulator.dated.date = None
        simulator.live(3 * EVERY)
    assert (notified(simulator), len(simulator.sent)) == before
    assert simulator.rows("incidents", f"WHERE rule = '{RuleName.CLOCK_SKEW}'") == []
