"""The whole house on a walked clock: a fake API and fake channels outside, everything inside real."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import text

from monitor.channels.templates import MessageTemplate
from monitor.core.evaluation.workspace import PollScope
from monitor.core.messages.message import Message
from monitor.core.model import Connection, Snapshot
from monitor.core.routing.routes import Route, Routing
from monitor.core.rules.registry import Rules
from monitor.jobs.backfill_notifications import backfill_notifications
from monitor.jobs.check_channels import check_channels
from monitor.jobs.context import JobContext
from monitor.jobs.deliver import UnsavedDeliveries, deliver_channel
from monitor.jobs.digest import write_digests
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.jobs.reevaluate import reevaluate_due
from monitor.jobs.remind import remind
from monitor.jobs.sync_targets import sync_targets
from monitor.rate_limits import RateLimits
from monitor.storage import outbox
from monitor.storage.database import Database
from tests.fakes import FakeChannel, FakeProvider, FrozenClock

EVERY = timedelta(minutes=15)


@dataclass
class Simulator:
    """
    A monitor that does what the daemon does, one pass at a time.

    Args:
        users: managed users polled beside the account itself.
        is_resumed: whether it goes on with what another one left, without a start.
    """

    database: Database
    clock: FrozenClock = field(default_factory=FrozenClock)
    api: FakeProvider = field(default_factory=FakeProvider)
    channels: dict[str, FakeChannel] = field(default_factory=lambda: {"ops": FakeChannel()})
    routes: Sequence[Route] = (Route(channels=("ops",), group_wait=timedelta()),)
    rules: Rules = field(default_factory=Rules)
    every: timedelta = EVERY
    account: str = "agency"
    users: Sequence[str] = ()
    templates: Mapping[str, MessageTemplate] = field(default_factory=dict)
    names: Iterator[int] = field(default_factory=lambda: count(1))
    is_resumed: bool = False
    unsaved: UnsavedDeliveries = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.is_resumed:
            self.restart()

    @property
    def ops(self) -> FakeChannel:
        return self.channels["ops"]

    @property
    def sent(self) -> list[Message]:
        return self.ops.sent

    @property
    def routing(self) -> Routing:
        return Routing(routes=self.routes)

    @property
    def context(self) -> JobContext:
        return JobContext(
            database=self.database,
            clock=self.clock,
            providers={self.account: self.api},
            channels=self.channels,
            rules=self.rules,
            routing=self.routing,
            poll_scopes={self.account: PollScope(account=self.account, users=frozenset(self.users))},
            rate_limits=RateLimits({self.account: self.every}, {}),
            templates=self.templates,
            random=lambda: 0.0,
            new_message_key=lambda: f"m{next(self.names)}",
        )

    def restart(self) -> None:
        """Start as the daemon starts."""
        sync_targets(self.context)
        with self.database.begin() as store:
            store.invalidate_evaluations(self.clock())
        backfill_notifications(self.context)

    def poll(self) -> None:
        """Poll what is due, and record it in one batch."""
        with self.database.read() as store:
            due = store.due_targets(self.clock(), limit=100_000)
        self.record([take_snapshot(target, self.context) for target in due])

    def record(self, snapshots: Sequence[Snapshot]) -> None:
        for start in range(0, len(snapshots), 200):
            record_polls(snapshots[start : start + 200], self.context)

    def review(self) -> None:
        reevaluate_due(self.context)

    def deliver(self) -> None:
        with self.database.read() as store:
            due = outbox.due_channels(store, self.clock())
        for channel in due:
            deliver_channel(channel, self.context, self.unsaved)

    def tick(self) -> None:
        """Do what the daemon does within a moment."""
        self.review()
        self.poll()
        remind(self.context)
        write_digests(self.context)
        self.deliver()
        check_channels(self.context)
        self.deliver()

    def advance(self, duration: timedelta, step: timedelta = EVERY) -> None:
        """Let time pass, tick by tick."""
        ends = self.clock.now + duration
        while self.clock.now < ends:
            self.clock.advance(min(step, ends - self.clock.now))
            self.tick()

    def follow(
        self, lists: Callable[[datetime], Connection], duration: timedelta, step: timedelta = EVERY
    ) -> None:
        """Let time pass while the API lists one connection, as it is at each moment."""
        ends = self.clock.now + duration
        while self.clock.now < ends:
            self.clock.advance(min(step, ends - self.clock.now))
            self.api.listed[None] = (lists(self.clock.now),)
            self.tick()

    def list_connections(self, *connections: Connection) -> None:
        """Have the API list these from now on, and look at once."""
        self.api.lists(*connections)
        self.poll_all()

    def poll_all(self) -> None:
        """Poll at once, whatever is due."""
        with self.database.begin() as store:
            store.cap_next_poll(self.account, latest=self.clock())
        self.tick()

    def poll_quietly(self) -> None:
        """Poll at once and tell nobody yet."""
        with self.database.begin() as store:
            store.cap_next_poll(self.account, latest=self.clock())
        self.poll()

    def rows(self, view: str, where: str = "") -> list[dict[str, Any]]:
        with self.database.read() as store:
            query = text(f"SELECT * FROM {view} {where} ORDER BY id")
            return [dict(row) for row in store.connection.execute(query).mappings()]

    def titles(self, channel: str = "ops") -> list[str]:
        return [message.title.replace("\u200b", "") for message in self.channels[channel].sent]

    def with_routes(self, *routes: Route) -> "Simulator":
        return replace(self, routes=routes)


def moment(value: Any) -> datetime:
    """Read a time of a view, on either database."""
    from datetime import UTC

    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    assert isinstance(value, datetime)
    return value.astimezone(UTC)
