"""A whole workspace on a walked clock: the sandbox as a real server outside, everything the monitor has inside."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from monitor.app import App, assemble, check_clocks_of, office_of
from monitor.channels import ClientChannel
from monitor.config import parse_config
from monitor.jobs.deliver import deliver_to
from monitor.jobs.discover import discover
from monitor.jobs.oversee import oversee
from monitor.jobs.poll import record, take_snapshot
from monitor.jobs.review import review_due
from monitor.jobs.survey import survey
from monitor.providers import PROVIDERS
from monitor.sandbox.api import RequestSeen
from monitor.sandbox.profiles import Profile
from monitor.sandbox.server import Server, serve
from monitor.sandbox.world import Shape, World
from monitor.storage import Database, outbox
from tests.factories import DAY, MINUTE
from tests.fakes import FakeChannel, FrozenClock

KEY = "sk_agency1_00ff.11ee"
SECOND = timedelta(seconds=1)


class FakeClientChannel(ClientChannel):
    """A channel for clients that keeps what each was sent, by the URL that would have been used."""

    def __init__(self, real: ClientChannel) -> None:
        self.inboxes: dict[str, FakeChannel] = {}
        super().__init__(name=real.name, url=real._url, private=real.private, timeout=SECOND)

    def _channel(self, url: str) -> Any:
        return self.inboxes.setdefault(url, FakeChannel(name=self.name, private=self.private))


@dataclass
class Agency:
    """
    A monitor that does what the daemon does, one pass at a time.

    Args:
        monotonic: seconds that nobody sets; by default the clock, which then nobody sets either.
        given: keys of the account beside those it needs.
        more: sections of the configuration beside the account.
    """

    database: Database
    server: Server
    clock: FrozenClock
    brand: str = "postpost"
    given: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    monotonic: Callable[[], float] | None = None
    app: App = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def world(self) -> World:
        return self.server.world

    @property
    def ops(self) -> FakeChannel:
        channel = self.app.post.channels["ops"]
        assert isinstance(channel, FakeChannel)
        return channel

    @property
    def inboxes(self) -> dict[str, FakeChannel]:
        channel = self.app.post.channels["clients"]
        assert isinstance(channel, FakeClientChannel)
        return {url: inbox for url, inbox in channel.inboxes.items() if inbox.sent}

    def start(self) -> None:
        """Start as the daemon starts, with what the configuration says now."""
        account = {
            "name": "agency",
            "provider": self.brand,
            "base_url": self.server.url,
            "api_key_env": "KEY",
            "managed_users": "all",
        }
        config = parse_config(
            {
                "database": {"url": "sqlite:////nowhere/at-all.db"},
                "accounts": [account | self.given],
                # More than anybody needs, so that time may pass in large steps.
                "polling": {"requests_per_minute": 3000},
                "channels": [{"name": "ops", "url": "json://localhost/"}],
                "routes": [{"channels": ["ops"], "group_wait": "0s"}],
            }
            | self.more,
            {"KEY": KEY},
        )
        app = assemble(config, clock=self.clock, monotonic=self.monotonic, environ={})
        channels = {
            name: FakeClientChannel(channel)
            if isinstance(channel, ClientChannel)
            else FakeChannel(name=name, private=channel.private)
            for name, channel in app.post.channels.items()
        }
        self.app = replace(
            app,
            database=self.database,
            policy=replace(app.policy, dice=lambda: 0.5),
            post=replace(app.post, database=self.database, channels=channels, dice=lambda: 0.0),
        )
        self.office = office_of(self.app)
        discover(
            self.app.providers,
            every=self.app.policy.every,
            database=self.database,
            clock=self.clock,
            plans=self.app.plans,
            budgets=self.app.budgets,
        )
        with self.database.begin() as store:
            store.reconsider(self.clock())
        self.check_clocks = check_clocks_of(self.app)
        self.check_clocks()

    def close(self) -> None:
        self.app.http.close()

    # What the daemon does

    def tick(self) -> None:
        survey(self.office)
        self.check_clocks()
        self.review()
        self.dispatch()
        self.deliver()

    def review(self) -> None:
        policy = self.app.policy
        review_due(
            database=self.database,
            rules=policy.rules,
            routing=policy.routing,
            clock=self.clock,
            clocks=self.app.clocks,
        )

    def dispatch(self) -> int:
        """Poll what is due, as far as the budgets allow."""
        budgets, now = self.app.budgets, self.clock()
        with self.database.read() as store:
            due = store.due(now, limit=2000, of_each=budgets.most(now, 2000))
        snapshots = [
            take_snapshot(target, self.app.providers[target.account], self.clock, budgets)
            for target in budgets.admit(due, now)
            if budgets.take(target.account, now)
        ]
        for start in range(0, len(snapshots), 200):
            batch = snapshots[start : start + 200]
            record(batch, database=self.database, policy=self.app.policy, clock=self.clock)
        return len(snapshots)

    def deliver(self) -> None:
        with self.database.read() as store:
            due = outbox.due_channels(store.connection, self.clock())
        for channel in due:
            deliver_to(channel, self.app.post)

    def oversee(self) -> None:
        post = self.app.post
        oversee(post.channels, database=self.database, routing=post.routing, clock=self.clock)
        self.deliver()

    def live(self, duration: timedelta, step: timedelta = 10 * SECOND) -> None:
        """Let time pass, tick by tick."""
        ends = self.clock.now + duration
        while self.clock.now < ends:
            self.clock.advance(min(step, ends - self.clock.now))
            self.tick()

    def look(self) -> None:
        """Poll everybody at once, whatever is due and whatever the budget says."""
        with self.database.begin() as store:
            store.pull_in("agency", latest=self.clock())
        with self.database.read() as store:
            due = store.due(self.clock(), limit=10_000)
        snapshots = [take_snapshot(each, self.app.providers["agency"], self.clock) for each in due]
        for start in range(0, len(snapshots), 200):
            batch = snapshots[start : start + 200]
            record(batch, database=self.database, policy=self.app.policy, clock=self.clock)
        self.deliver()

    # What tests ask

    @property
    def polls(self) -> list[RequestSeen]:
        """Requests for connections, the oldest first."""
        return [each for each in self.server.requests if each.path.endswith("/platform-connections")]

    def asked(self) -> Counter[str]:
        """Count the polls of each managed user; the account itself is ``""``."""
        header = PROVIDERS[self.brand].user_header
        return Counter(each.headers.get(header, "") for each in self.polls)

    def forget_requests(self) -> None:
        self.server.requests.clear()

    def rows(self, view: str, where: str = "", order: str = "id") -> list[dict[str, Any]]:
        with self.database.read() as store:
            query = text(f"SELECT * FROM {view} {where} ORDER BY {order}")
            return [dict(row) for row in store.connection.execute(query).mappings()]

    def dump(self) -> str:
        """Give every cell of every table, for what must not be in any."""
        from monitor.storage.tables import metadata

        with self.database.read() as store:
            return "\n".join(
                repr(tuple(row))
                for table in metadata.sorted_tables
                for row in store.connection.execute(table.select())
            )


@contextmanager
def agency(
    database: Database,
    *,
    users: int = 0,
    requests_per_minute: int | None = None,
    shape: Shape = Shape.DOCUMENTED,
    **given: Any,
) -> Iterator[Agency]:
    """Serve a workspace with so many managed users, each with one connection, and watch it."""
    clock = FrozenClock()
    world = World(clock, shape=shape, requests_per_minute=requests_per_minute)
    world.add_account(KEY)
    for n in range(users):
        add_user(world, n)
    with serve(world) as server:
        house = Agency(database, server, clock, **given)
        try:
            yield house
        finally:
            house.close()


def add_user(world: World, n: int, username: str | None = None) -> str:
    """Bring in a managed user with one LinkedIn connection that is good for two months."""
    user = world.add_user(username or f"client{n}@example.com", display_name=f"Client {n}")
    world.add_connection(profile(world, f"linkedin-{n:05}"), user=user)
    return user


def profile(world: World, platform_id: str, left: timedelta | None = 60 * DAY, **given: Any) -> Profile:
    expires_at = None if left is None else world.now() + left
    name = platform_id.partition("-")[2]
    return Profile(
        **{"platform_id": platform_id, "username": name, "display_name": f"Page {name}"}
        | {"expires_at": expires_at, "last_successful_post_at": world.now() - MINUTE}
        | given
    )
