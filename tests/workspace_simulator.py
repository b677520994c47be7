"""A whole workspace on a walked clock: the sandbox as a real server outside, everything the monitor has inside."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from monitor.app import App, build_app
from monitor.channels.client_channel import ClientChannel
from monitor.config.load import parse_config
from monitor.jobs.check_channels import check_channels
from monitor.jobs.check_clocks import check_clocks
from monitor.jobs.context import JobContext
from monitor.jobs.deliver import UnsavedDeliveries, deliver_channel
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.jobs.reevaluate import reevaluate_due
from monitor.jobs.sync_targets import sync_targets
from monitor.jobs.sync_workspace import sync_workspaces
from monitor.providers import PROVIDERS
from monitor.sandbox.fake_service import Shape
from monitor.sandbox.profiles import SocialProfile
from monitor.storage import outbox
from monitor.storage.database import Database
from tests.factories import DAY, MINUTE
from tests.fakes import FakeChannel, FrozenClock
from tests.sandbox.server import RequestSeen, Server, serve
from tests.sandbox.service import FakeService

KEY = "sk_agency1_00ff.11ee"
SECOND = timedelta(seconds=1)


class FakeClientChannel(ClientChannel):
    """A channel for clients that keeps what each was sent, by the URL that would have been used."""

    def __init__(self, real: ClientChannel) -> None:
        self.inboxes: dict[str, FakeChannel] = {}
        super().__init__(
            name=real.name,
            url=real._url,
            allow_reconnect_links=real.allow_reconnect_links,
            time_zone=real.time_zone,
            timeout=SECOND,
            sender=real.sender,
        )

    def _channel(self, url: str) -> Any:
        return self.inboxes.setdefault(
            url,
            FakeChannel(
                name=self.name,
                allow_reconnect_links=self.allow_reconnect_links,
                time_zone=self.time_zone,
            ),
        )


@dataclass
class WorkspaceSimulator:
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
    unsaved: UnsavedDeliveries = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def fake_service(self) -> FakeService:
        return self.server.fake_service

    @property
    def ops(self) -> FakeChannel:
        channel = self.app.context.channels["ops"]
        assert isinstance(channel, FakeChannel)
        return channel

    @property
    def inboxes(self) -> dict[str, FakeChannel]:
        channel = self.app.context.channels["clients"]
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
        app = build_app(config, clock=self.clock, monotonic=self.monotonic, environ={})
        channels = {
            name: FakeClientChannel(channel)
            if isinstance(channel, ClientChannel)
            else FakeChannel(name=name, allow_reconnect_links=channel.allow_reconnect_links)
            for name, channel in app.context.channels.items()
        }
        context = replace(
            app.context, database=self.database, channels=channels, jitter=0, random=lambda: 0.0
        )
        self.app = replace(app, context=context)
        self.unsaved = {}
        sync_targets(context)
        with self.database.begin() as store:
            store.invalidate_evaluations(self.clock())
        check_clocks(context)

    @property
    def context(self) -> JobContext:
        return self.app.context

    def close(self) -> None:
        self.app.http.close()

    # What the daemon does

    def tick(self) -> None:
        sync_workspaces(self.context)
        check_clocks(self.context)
        self.review()
        self.dispatch()
        self.deliver()

    def review(self) -> None:
        reevaluate_due(self.context)

    def dispatch(self) -> int:
        """Poll what is due, as far as the budgets allow."""
        rate_limits, now = self.context.rate_limits, self.clock()
        with self.database.read() as store:
            due = store.due_targets(now, limit=2000, of_each=rate_limits.capacity(now, 2000))
        snapshots = [
            take_snapshot(target, self.context)
            for target in rate_limits.filter_ready(due, now)
            if rate_limits.try_acquire(target.account, now)
        ]
        for start in range(0, len(snapshots), 200):
            record_polls(snapshots[start : start + 200], self.context)
        return len(snapshots)

    def deliver(self) -> None:
        with self.database.read() as store:
            due = outbox.due_channels(store, self.clock())
        for channel in due:
            deliver_channel(channel, self.context, self.unsaved)

    def check_channels(self) -> None:
        check_channels(self.context)
        self.deliver()

    def advance(self, duration: timedelta, step: timedelta = 10 * SECOND) -> None:
        """Let time pass, tick by tick."""
        ends = self.clock.now + duration
        while self.clock.now < ends:
            self.clock.advance(min(step, ends - self.clock.now))
            self.tick()

    def poll_all(self) -> None:
        """Poll everybody at once, whatever is due and whatever the budget says."""
        with self.database.begin() as store:
            store.cap_next_poll("agency", latest=self.clock())
        with self.database.read() as store:
            due = store.due_targets(self.clock(), limit=10_000)
        snapshots = [take_snapshot(each, self.context) for each in due]
        for start in range(0, len(snapshots), 200):
            record_polls(snapshots[start : start + 200], self.context)
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
def workspace_simulator(
    database: Database,
    *,
    users: int = 0,
    requests_per_minute: int | None = None,
    shape: Shape = Shape.DOCUMENTED,
    **given: Any,
) -> Iterator[WorkspaceSimulator]:
    """Serve a workspace with so many managed users, each with one connection, and watch it."""
    clock = FrozenClock()
    fake_service = FakeService(clock, shape=shape, requests_per_minute=requests_per_minute)
    fake_service.add_account(KEY)
    for n in range(users):
        add_user(fake_service, n)
    with serve(fake_service) as server:
        simulator = WorkspaceSimulator(database, server, clock, **given)
        try:
            yield simulator
        finally:
            simulator.close()


def add_user(fake_service: FakeService, n: int, username: str | None = None) -> str:
    """Bring in a managed user with one LinkedIn connection that is good for two months."""
    user = fake_service.add_user(username or f"client{n}@example.com", display_name=f"Client {n}")
    fake_service.add_connection(profile(fake_service, f"linkedin-{n:05}"), user=user)
    return user


def profile(
    fake_service: FakeService, platform_id: str, left: timedelta | None = 60 * DAY, **given: Any
) -> SocialProfile:
    expires_at = None if left is None else fake_service.now() + left
    name = platform_id.partition("-")[2]
    return SocialProfile(
        **{"platform_id": platform_id, "username": name, "display_name": f"Page {name}"}
        | {"expires_at": expires_at, "last_successful_post_at": fake_service.now() - MINUTE}
        | given
    )
