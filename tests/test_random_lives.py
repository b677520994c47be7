"""Random lives of many connections, with all that can go wrong on the way to the people who must know."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from monitor.channels.templates import compile_template
from monitor.core.model import DeliveryState, Outcome
from monitor.core.routing.routes import Route
from monitor.jobs.poll import take_snapshot
from monitor.storage import acknowledgements, silences
from monitor.storage.database import Database
from monitor.storage.tables import incidents, metadata, notifications
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.fakes import FrozenClock
from tests.lives import MODES, OPEN, PLAIN, RANK, UNSURE, Killed, Receiver, by_incident, empty, repetitions
from tests.simulator import Simulator

ROUTES: list[dict[str, Any]] = [
    {"group_wait": timedelta()},
    {"group_wait": 10 * MINUTE, "group_by": ("platform",)},
    {"group_wait": MINUTE, "group_by": ("severity", "rule"), "remind_every": 6 * HOUR},
]

seen = st.builds(
    connection,
    platform_id=st.sampled_from(
        [f"{name}-{n}" for n, name in enumerate(["linkedin", "threads", "tiktok"] * 2)]
    ),
    # Half of them are what both contracts say; the others are unheard of, or in another case.
    token_status=st.sampled_from(
        ["valid", "valid", "expiring_soon", "expired", "unknown", "revoked", "EXPIRED", "null", "7"]
    ),
    expires_at=st.sampled_from([NOW + days * DAY for days in (-1, 0.5, 2, 2.5, 5, 9, 60)]),
    last_error=st.sampled_from(
        [None, None, error(), error("Error validating access token"), error("Rate limit exceeded")]
    ),
)
lists = st.lists(seen, min_size=1, max_size=6, unique_by=lambda each: each.platform_id).map(tuple)
pauses = st.sampled_from([MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 20 * HOUR])

Step = tuple[str, Any]


@st.composite
def lives(draw: st.DrawFn) -> list[Step]:
    answers = draw(st.lists(lists, min_size=2, max_size=4))
    step = st.one_of(
        st.tuples(st.just("shows"), st.sampled_from(answers)),
        st.tuples(st.just("shows"), st.sampled_from(answers)),
        st.tuples(st.just("waits"), pauses),
        st.tuples(st.just("channel"), st.sampled_from(("up", *MODES))),
        st.tuples(st.just("outage"), st.sampled_from(["is gone", "loses it"])),
        st.tuples(st.just("fails"), st.sampled_from([Outcome.SERVER_ERROR, Outcome.UNAUTHORIZED])),
        st.tuples(st.just("silence"), st.sampled_from(["linkedin", "t*"])),
        st.tuples(st.just("acknowledge"), st.integers(1, 5)),
        st.tuples(st.just("restart"), st.sampled_from(ROUTES)),
        st.tuples(st.just("clock"), st.sampled_from([-HOUR, HOUR])),
    )
    return draw(st.lists(step, min_size=4, max_size=16))


@dataclass(slots=True)
class World:
    """A house, and a life that it goes through."""

    simulator: Simulator

    @property
    def ops(self) -> Receiver:
        channel = self.simulator.channels["ops"]
        assert isinstance(channel, Receiver)
        return channel

    def live(self, steps: list[Step]) -> None:
        for step in steps:
            self.take(*step)

    def take(self, what: str, which: Any) -> None:
        simulator = self.simulator
        if what == "shows":
            simulator.api.lists(*which)
            self.alive(simulator.poll_all)
        elif what in {"waits", "clock"}:
            simulator.clock.advance(which)
            self.alive(simulator.tick)
        elif what == "channel":
            self.ops.mode = which
        elif what == "outage":
            # Long enough for dead letters.
            self.ops.mode = which
            for _ in range(16):
                simulator.clock.advance(10 * MINUTE if which == "is gone" else 2 * HOUR)
                self.alive(simulator.tick)
            self.ops.mode = "up"
        elif what == "fails":
            simulator.api.fails(failure(which))
            self.alive(simulator.poll_all)
        elif what == "restart":
            simulator.routes = (Route(channels=("ops",), **which),)
            self.alive(simulator.restart)
        elif what == "acknowledge":
            with simulator.database.begin() as store:
                acknowledgements.acknowledge(
                    store, which, simulator.clock(), author="mia", comment="on it", until=None
                )
        else:
            with simulator.database.begin() as store:
                silences.add_silence(
                    store,
                    {"platform": [which]},
                    simulator.clock(),
                    until=simulator.clock() + 12 * HOUR,
                    author="mia",
                    comment="maintenance",
                    routing=simulator.routing,
                )

    def alive(self, happens: Callable[[], None]) -> None:
        try:
            happens()
        except Killed:
            self.simulator.restart()

    def settle(self) -> None:
        """Let all be well with the channel and the API, and time pass until there is nothing left to say."""
        self.ops.mode = "up"
        self.simulator.api.failing.clear()
        for pause in (MINUTE, 30 * MINUTE, 70 * MINUTE, 13 * HOUR, 70 * MINUTE, 10 * MINUTE, MINUTE):
            self.simulator.clock.advance(pause)
            self.simulator.restart()
            self.simulator.tick()


@pytest.fixture
def world(database: Database) -> Iterator[Callable[[], World]]:
    """Give new worlds, one after another on one database."""
    words = compile_template("ops", title=None, body=PLAIN, now=NOW)

    def new() -> World:
        empty(database)
        routes, clock = (Route(channels=("ops",), group_wait=timedelta()),), FrozenClock()
        return World(
            Simulator(
                database,
                channels={"ops": Receiver(now=clock)},
                clock=clock,
                routes=routes,
                templates={"ops": words},
            )
        )

    yield new


def held_back(world: World) -> set[int]:
    """Pick what a silence held: it leaves a message that may have been out, and is told under another key."""
    with world.simulator.database.read() as store:
        query = select(notifications.c.incident_id).where(notifications.c.silence_id.is_not(None))
        return set(store.connection.execute(query).scalars())


lived = settings(
    max_examples=settings().max_examples // 10,  # each takes as long as many examples of another test
    # To make a life shorter takes minutes on a real database: that is left to who explores.
    phases=[Phase.explicit, Phase.generate] if settings().derandomize else list(Phase),
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)


@given(steps=lives())
@lived
def test_whatever_happens_everybody_learns_what_is_true_in_order_and_once(
    world: Callable[[], World], steps: list[Step]
) -> None:
    life = world()
    life.live(steps)
    life.settle()
    assert_all_was_told(life, steps)


def soon(platform_id: str, left: timedelta, **given: Any) -> Any:
    return connection(platform_id=platform_id, expires_at=NOW + left, token_status="expiring_soon", **given)


# What exploration has found, as short as it gets. Each was a promise that didn't hold.
FOUND: dict[str, list[Step]] = {
    "a date moves earlier, a silence, short lists, the date moves back": [
        ("shows", (soon("threads-1", 5 * DAY), *(soon(f"linkedin-{n}", 5 * DAY) for n in range(4)))),
        ("restart", {"group_wait": 10 * MINUTE, "group_by": ("platform",)}),
        ("shows", (soon("threads-1", 12 * HOUR),)),
        ("silence", "t*"),
        ("waits", 15 * MINUTE),
        ("shows", tuple(soon(f"linkedin-{n}", 5 * DAY) for n in range(4))),
        ("shows", (soon("threads-1", 5 * DAY), *(soon(f"linkedin-{n}", 5 * DAY) for n in range(4)))),
    ],
    "a date moves earlier and back before that is sent, and earlier again": [
        ("shows", (soon("threads-1", 5 * DAY),)),
        ("restart", {"group_wait": 10 * MINUTE}),
        ("shows", (soon("threads-1", 12 * HOUR),)),
        ("shows", (soon("threads-1", 5 * DAY),)),
        ("waits", 15 * MINUTE),
        ("shows", (soon("threads-1", 12 * HOUR),)),
    ],
    "an error is news, and gone before that is sent": [
        ("shows", (connection(platform_id="threads-1", last_error=error("Error validating access token")),)),
        ("restart", {"group_wait": 10 * MINUTE}),
        ("shows", (connection(platform_id="threads-1", last_error=error("Rate limit exceeded")),)),
        ("shows", (connection(platform_id="threads-1", last_error=error("Error validating access token")),)),
        ("waits", 15 * MINUTE),
    ],
}


@pytest.mark.parametrize("steps", FOUND.values(), ids=FOUND)
def test_a_life_that_exploration_found_keeps_what_is_promised(
    world: Callable[[], World], steps: list[Step]
) -> None:
    life = world()
    life.live(steps)
    life.settle()
    assert_all_was_told(life, steps)


def assert_all_was_told(life: World, steps: list[Step]) -> None:
    """Compare what the channel was told with what the history says, once all has settled."""
    stories = by_incident(life.ops.said)
    split = held_back(life) if {which for what, which in steps if what == "channel"} & UNSURE else set()
    for id_, story in stories.items():
        kinds = [each.news for each in story]
        if id_ in split:
            kinds = [kind for n, kind in enumerate(kinds) if kind != kinds[n - 1] or n == 0]
        ends = [n for n, kind in enumerate(kinds) if kind not in OPEN]
        # What is over stays over, and no end without a beginning but one that says that it was not told.
        assert ends in ([], [len(kinds) - 1]), (id_, kinds)
        if ends and len(kinds) == 1:
            assert kinds == ["missed"]
        if kinds[0] in OPEN:
            assert kinds[0] == "opened", (id_, kinds)
        if id_ not in split:
            assert repetitions(story) == []
    with life.simulator.database.read() as store:
        rows = store.connection.execute(select(incidents)).mappings().all()
        undelivered = store.connection.execute(
            select(notifications.c.state, notifications.c.incident_id).where(
                notifications.c.state != DeliveryState.DELIVERED
            )
        ).all()
    over = {row["id"] for row in rows if row["resolved_at"] is not None}
    for state, id_ in undelivered:
        # Only what came and went while the channel took nothing may stay among the dead letters.
        assert (state, id_ in over, id_ in stories) == (DeliveryState.FAILED, True, False)
    open_problems = {(row["rule"], row["subject"]) for row in rows if row["resolved_at"] is None}
    for row in rows:
        story = stories.get(row["id"], [])
        if row["resolved_at"] is None:
            assert story, f"nobody heard of {row['id']}"
            assert story[-1].news in OPEN
            assert RANK[story[-1].severity] >= RANK[row["severity"]]
        elif (
            story and (row["rule"], row["subject"]) not in open_problems and row["resolution"] != "superseded"
        ):
            # Where the problem was back before its end could be told, the end of that is told instead.
            same = {
                each["id"]
                for each in rows
                if (each["rule"], each["subject"]) == (row["rule"], row["subject"])
            }
            last = [each for each in life.ops.said if each.incident_id in same][-1]
            assert last.news not in OPEN, f"nobody heard that {row['id']} is over"


@given(steps=lives(), answer=lists)
@lived
def test_recording_the_same_poll_again_changes_nothing(
    world: Callable[[], World], steps: list[Step], answer: tuple[Any, ...]
) -> None:
    life = world()
    life.live(steps)
    simulator = life.simulator
    simulator.api.lists(*answer)
    simulator.clock.advance(MINUTE)
    with simulator.database.read() as store:
        [target] = store.active_targets()
    snapshot = take_snapshot(target, simulator.context).decoded()
    simulator.record([snapshot])
    before = contents(simulator)
    # A connection that is not listed is counted as missing at every look, and a list that is too strange to be
    # believed is looked at again with what it showed.
    assume(all(row["missed_polls"] == 0 for row in before["connections"]))
    assume(not [row for row in simulator.rows("targets") if row["consecutive_failures"]])
    simulator.record([snapshot])
    simulator.record([replace(snapshot, taken_at=snapshot.taken_at - MINUTE)])
    assert contents(simulator) == before


def contents(simulator: Simulator) -> dict[str, list[dict[str, Any]]]:
    names = ("connections", "incidents", "notifications", "snapshots", "acknowledgements", "silences")
    with simulator.database.read() as store:
        return {
            name: [
                dict(row)
                for row in store.connection.execute(
                    metadata.tables[name].select().order_by(metadata.tables[name].c.id)
                ).mappings()
            ]
            for name in names
        }
