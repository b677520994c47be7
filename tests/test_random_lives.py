"""Random lives of many connections, with all that can go wrong on the way to the people who must know."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import select

from monitor.core.model import Outcome, Severity
from monitor.core.outgoing import Message
from monitor.core.routes import Route
from monitor.errors import DeliveryError
from monitor.jobs.poll import take_snapshot
from monitor.storage import Database, people
from monitor.storage.tables import incidents, metadata, notifications
from monitor.templates import compile_words
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, error, failure
from tests.fakes import FakeChannel
from tests.house import House

PLAIN = (
    "{% for each in items %}{{ each.incident_id }}¦{{ each.news }}¦{{ each.severity }}¦{{ each.rule }}¦"
    "{{ each.summary }}¶{% endfor %}"
)
OPEN = {"opened", "escalated", "updated", "reminder"}
RANK = {str(severity): severity.rank for severity in Severity}


class Killed(BaseException):
    """The process ends here and now."""


@dataclass(frozen=True, slots=True)
class Said:
    """One incident in one message, as its receiver read it."""

    incident_id: int
    news: str
    severity: str
    rule: str
    summary: str


@dataclass(slots=True)
class Receiver(FakeChannel):
    """A channel that takes messages, refuses them, or breaks; it drops what it has seen the key of."""

    mode: str = "up"
    keys: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    said: list[Said] = field(default_factory=list)

    def send(self, message: Message) -> None:
        if self.mode in {"refuses", "loses it", "dies before"}:
            self._fail()
        self.keys[message.key] += 1
        if self.keys[message.key] == 1:
            story = message.body.partition("\n\nmessage ")[0]
            self.said.extend(_read(line) for line in story.split("¶") if line)
        if self.mode in {"takes it and hangs", "dies after"}:
            self._fail()

    def _fail(self) -> None:
        if self.mode.startswith("dies"):
            self.mode = "up"
            raise Killed
        raise DeliveryError(
            "HTTP 500" if self.mode == "refuses" else "no answer", uncertain=self.mode != "refuses"
        )


def _read(line: str) -> Said:
    incident_id, *rest = line.split("¦")
    return Said(int(incident_id), *rest)


MODES = ["up", "up", "refuses", "loses it", "takes it and hangs", "dies before", "dies after"]
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
    token_status=st.sampled_from(["valid", "valid", "expiring_soon", "expired", "unknown"]),
    expires_at=st.sampled_from([NOW + days * DAY for days in (-1, 0.5, 2, 2.5, 5, 9, 60)]),
    last_error=st.sampled_from(
        [None, None, error(), error("Error validating access token"), error("Rate limit exceeded")]
    ),
)
lists = st.lists(seen, min_size=1, max_size=6, unique_by=lambda each: each.platform_id).map(tuple)
pauses = st.sampled_from([MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 20 * HOUR])

Step = tuple[str, Any]
# After these a message may be out that nobody knows to be.
UNSURE = {"takes it and hangs", "dies after"}


@st.composite
def lives(draw: st.DrawFn) -> list[Step]:
    answers = draw(st.lists(lists, min_size=2, max_size=4))
    step = st.one_of(
        st.tuples(st.just("shows"), st.sampled_from(answers)),
        st.tuples(st.just("shows"), st.sampled_from(answers)),
        st.tuples(st.just("waits"), pauses),
        st.tuples(st.just("channel"), st.sampled_from(MODES)),
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

    house: House

    @property
    def ops(self) -> Receiver:
        channel = self.house.channels["ops"]
        assert isinstance(channel, Receiver)
        return channel

    def live(self, steps: list[Step]) -> None:
        for step in steps:
            note(repr(step))
            self.take(*step)

    def take(self, what: str, which: Any) -> None:
        house = self.house
        if what == "shows":
            house.api.lists(*which)
            self.alive(house.look)
        elif what in {"waits", "clock"}:
            house.clock.advance(which)
            self.alive(house.tick)
        elif what == "channel":
            self.ops.mode = which
        elif what == "fails":
            house.api.fails(failure(which))
            self.alive(house.look)
        elif what == "restart":
            house.routes = (Route(channels=("ops",), **which),)
            self.alive(house.restart)
        elif what == "acknowledge":
            with house.database.begin() as store:
                people.acknowledge(store.connection, which, house.clock(), by="mia", why="on it", until=None)
        else:
            with house.database.begin() as store:
                people.silence(
                    store.connection,
                    {"platform": [which]},
                    house.clock(),
                    until=house.clock() + 12 * HOUR,
                    by="mia",
                    why="maintenance",
                    routing=house.routing,
                )

    def alive(self, happens: Callable[[], None]) -> None:
        try:
            happens()
        except Killed:
            self.house.restart()

    def settle(self) -> None:
        """Let all be well with the channel and the API, and time pass until there is nothing left to say."""
        self.ops.mode = "up"
        self.house.api.failing.clear()
        for pause in (MINUTE, 30 * MINUTE, 70 * MINUTE, 13 * HOUR, 70 * MINUTE, 10 * MINUTE, MINUTE):
            self.house.clock.advance(pause)
            self.house.restart()
            self.house.tick()


@pytest.fixture
def world(database: Database) -> Iterator[Callable[[], World]]:
    """Give new worlds, one after another on one database."""
    words = compile_words("ops", title=None, body=PLAIN, now=NOW)

    def new() -> World:
        with database.begin() as store:
            for table in reversed(metadata.sorted_tables):
                store.connection.execute(table.delete())
        routes = (Route(channels=("ops",), group_wait=timedelta()),)
        return World(House(database, channels={"ops": Receiver()}, routes=routes, words={"ops": words}))

    yield new


def held_back(world: World) -> set[int]:
    """Pick what a silence held: it leaves a message that may have been out, and is told under another key."""
    with world.house.database.read() as store:
        query = select(notifications.c.incident_id).where(notifications.c.silence_id.is_not(None))
        return set(store.connection.execute(query).scalars())


def told_of(world: World) -> dict[int, list[Said]]:
    found: dict[int, list[Said]] = {}
    for each in world.ops.said:
        found.setdefault(each.incident_id, []).append(each)
    return found


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
    stories = told_of(life)
    split = held_back(life) if {which for what, which in steps if what == "channel"} & UNSURE else set()
    for id_, story in stories.items():
        kinds = [each.news for each in story]
        if id_ in split:
            kinds = [kind for n, kind in enumerate(kinds) if kind != kinds[n - 1] or n == 0]
        ends = [n for n, kind in enumerate(kinds) if kind not in OPEN]
        # What is over stays over, and no end without a beginning but one that says that it was not told.
        assert ends in ([], [len(kinds) - 1]), (id_, kinds)
        if ends and len(kinds) == 1:
            assert kinds == ["passed"]
        if kinds[0] in OPEN:
            assert kinds[0] == "opened", (id_, kinds)
        rungs = [
            (each.summary, each.severity)
            for each in story
            if each.rule == "token_expiry" and each.news in OPEN - {"reminder"}
        ]
        if id_ not in split:
            for place, rung in enumerate(rungs):
                since = rungs[rungs.index(rung) + 1 : place] if rung in rungs[:place] else None
                # A date that comes back is told again only to who has heard of something milder since.
                assert since is None or any(RANK[each] < RANK[rung[1]] for _, each in since), (id_, rungs)
    with life.house.database.read() as store:
        rows = store.connection.execute(select(incidents)).mappings().all()
        states = set(store.connection.execute(select(notifications.c.state)).scalars())
    assert states <= {"delivered"}
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
    house = life.house
    house.api.lists(*answer)
    house.clock.advance(MINUTE)
    with house.database.read() as store:
        [target] = store.watched()
    snapshot = take_snapshot(target, house.api, house.clock)
    house.record([snapshot])
    before = contents(house)
    # A connection that is not listed is counted as missing at every look, and a list that is too strange to be
    # believed is looked at again with what it showed.
    assume(all(row["missing"] == 0 for row in before["connections"]))
    assume(not [row for row in house.rows("targets") if row["failures"]])
    house.record([snapshot])
    house.record([replace(snapshot, taken_at=snapshot.taken_at - MINUTE)])
    assert contents(house) == before


def contents(house: House) -> dict[str, list[dict[str, Any]]]:
    names = ("connections", "incidents", "notifications", "snapshots", "acknowledgements", "silences")
    with house.database.read() as store:
        return {
            name: [
                dict(row)
                for row in store.connection.execute(
                    metadata.tables[name].select().order_by(metadata.tables[name].c.id)
                ).mappings()
            ]
            for name in names
        }
