"""The whole house with fake edges and a real database: what a test does to it, and what it remembers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from monitor.channels.incident_channel import IncidentChannel
from monitor.core.messages.message import Message
from monitor.core.model import Connection, Target
from monitor.core.routing.routes import Route, Routing
from monitor.core.rules.registry import Rules
from monitor.jobs.context import JobContext
from monitor.jobs.deliver import UnsavedDeliveries, deliver_channel
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.jobs.reevaluate import reevaluate_due
from monitor.jobs.sync_targets import sync_targets
from monitor.rate_limits import RateLimits
from monitor.storage import outbox
from monitor.storage.database import Database
from monitor.storage.recording import PollRecord
from monitor.storage.tables import metadata
from monitor.storage.views import view_queries
from tests.factories import MINUTE
from tests.fakes import FakeChannel, FakeProvider, FrozenClock

EVERY = 15 * MINUTE

VIEWS = tuple(view_queries("sqlite"))
# By which a view is ordered that isn't by its ids.
ORDERS = {"token_transitions": "at, id", "reconnect_times": "incident_id"}
# Until now, by the clock of the database, which goes on between two queries.
DAYS = {"days", "days_left"}


@dataclass(slots=True)
class JobSimulator:
    """
    Accounts, channels and one database.

    Args:
        managed: managed users that are polled beside the accounts themselves; by account.
        services: channels to services with incidents of their own; what they are sent isn't among ``sent``.
    """

    database: Database
    clock: FrozenClock = field(default_factory=FrozenClock)
    providers: dict[str, FakeProvider] = field(default_factory=lambda: {"agency": FakeProvider()})
    channels: dict[str, FakeChannel] = field(default_factory=lambda: {"ops": FakeChannel()})
    rules: Rules = field(default_factory=Rules)
    routes: Sequence[Route] = (Route(channels=("ops",)),)
    managed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    services: dict[str, IncidentChannel] = field(default_factory=dict)
    names: Iterator[str] = field(default_factory=lambda: (f"message-{n}" for n in count(1)))
    unsaved: UnsavedDeliveries = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return Path(self.database.url.database or "")

    @property
    def provider(self) -> FakeProvider:
        return self.providers["agency"]

    @property
    def channel(self) -> FakeChannel:
        return self.channels["ops"]

    @property
    def sent(self) -> list[Message]:
        return self.channel.sent

    @property
    def routing(self) -> Routing:
        return Routing(routes=self.routes, incident_channels=frozenset(self.services))

    @property
    def context(self) -> JobContext:
        return JobContext(
            database=self.database,
            clock=self.clock,
            providers=self.providers,
            channels={**self.channels, **self.services},
            rules=self.rules,
            routing=self.routing,
            rate_limits=RateLimits(dict.fromkeys(self.providers, EVERY), {}),
            random=lambda: 0.0,
            new_message_key=self.names.__next__,
        )

    def discover(self) -> list[Target]:
        found = sync_targets(self.context)
        if not self.managed:
            return found
        wanted = [(name, user) for name in self.providers for user in (None, *self.managed.get(name, ()))]
        with self.database.begin() as store:
            return store.register(wanted, self.clock())

    def poll(self) -> list[PollRecord]:
        """Look at every target now, due or not, and record it as one batch."""
        snapshots = [take_snapshot(target, self.context) for target in self.discover()]
        return record_polls(snapshots, self.context)

    def poll_connections(self, *connections: Connection) -> list[PollRecord]:
        """Poll the one account, whose API lists these."""
        self.provider.lists(*connections)
        return self.poll()

    def review(self) -> int:
        return reevaluate_due(self.context)

    def deliver(self, *, wait: bool = False) -> list[Message]:
        """Send what there is to send, and give what was sent."""
        before = {name: len(channel.sent) for name, channel in self.channels.items()}
        with self.database.read() as store:
            due = outbox.due_channels(store, self.clock(), wait=wait)
        for name in due:
            deliver_channel(name, self.context, self.unsaved, wait=wait)
        return [message for name, each in self.channels.items() for message in each.sent[before[name] :]]

    def advance(self, by: timedelta = EVERY) -> datetime:
        return self.clock.advance(by)

    def query(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Ask the database as somebody with another program would."""
        with self.database.read() as store:
            found = store.connection.execute(text(statement), values).mappings()
            return [dict(row) for row in found]

    def view(self, name: str) -> list[dict[str, Any]]:
        """Read a view in the order of its rows, times as times on both databases."""
        rows = self.query(f"SELECT * FROM {name} ORDER BY {ORDERS.get(name, 'id')}")
        return [{key: _as_time(key, value) for key, value in row.items()} for row in rows]

    def read_views(self) -> dict[str, list[dict[str, Any]]]:
        """Read everything that people can query."""
        return {name: without_days(self.view(name)) for name in VIEWS}

    def sizes(self) -> dict[str, int]:
        """Count the rows of every table."""
        with self.database.read() as store:
            return {
                table.name: store.connection.scalar(select(func.count()).select_from(table)) or 0
                for table in metadata.sorted_tables
            }


def without_days(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in DAYS} for row in rows]


def _as_time(name: str, value: Any) -> Any:
    if isinstance(value, str) and (name == "at" or name.endswith("_at")):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC) if isinstance(value, datetime) else value
