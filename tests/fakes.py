"""The only fakes: a provider, channels and a clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from monitor.channels.incident_channel import IncidentChannel
from monitor.core.messages.events import Event
from monitor.core.messages.message import Message
from monitor.core.model import Connection, Failure
from monitor.errors import DeliveryError, FetchError
from monitor.providers.base import ConnectionList, ConnectionTest, ReconnectLink, UndecodedList, Workspace
from tests.factories import NOW


@dataclass(slots=True)
class FrozenClock:
    """A clock that moves when it is told to."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> datetime:
        self.now += by
        return self.now


@dataclass(slots=True)
class FakeProvider:
    """An API that lists what it is told to, or fails as it is told to; by managed user."""

    dashboard_url: str = "https://app.postpost.dev"
    listed: dict[str | None, Sequence[Connection]] = field(default_factory=dict)
    failing: dict[str | None, Failure] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    asked: list[str | None] = field(default_factory=list)
    trials: dict[str, ConnectionTest] = field(default_factory=dict)
    tested: list[str] = field(default_factory=list)

    workspace: Workspace = field(default_factory=lambda: Workspace(users=()))

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        self.asked.append(managed_user_id)
        if failure := self.failing.get(managed_user_id):
            raise FetchError(failure)
        listed = tuple(self.listed.get(managed_user_id, ()))
        name = repr((listed, self.unreadable)).encode()
        return ConnectionList(
            connections=listed,
            warnings=tuple(f"{id_}: odd" for id_ in sorted(self.unreadable)),
            unreadable_ids=self.unreadable,
            response_digest=name,
        )

    def fetch_connections(self, managed_user_id: str | None = None) -> UndecodedList:
        listed = self.connections(managed_user_id)
        return UndecodedList(
            decode=lambda: listed,
            response_digest=listed.response_digest,
            limit=listed.limit,
            remaining=listed.remaining,
            reset_after=listed.reset_after,
            clock_offset=listed.clock_offset,
        )

    def run_connection_test(self, platform_id: str, managed_user_id: str | None = None) -> ConnectionTest:
        self.tested.append(platform_id)
        if failure := self.failing.get(managed_user_id):
            raise FetchError(failure)
        return self.trials.get(platform_id, ConnectionTest(passed=True, message="Connected"))

    def workspace_users(self) -> Workspace:
        return self.workspace

    def connection_url(self, managed_user_id: str, *, rotate: bool = False) -> ReconnectLink:
        return ReconnectLink(url=f"https://app.postpost.dev/connections/{managed_user_id}")

    def lists(self, *connections: Connection, user: str | None = None) -> None:
        self.failing.pop(user, None)
        self.listed[user] = connections

    def fails(self, failure: Failure, user: str | None = None) -> None:
        self.failing[user] = failure


@dataclass(slots=True)
class FakeChannel:
    """A channel that keeps what it is sent, or refuses as it is told to."""

    name: str = "ops"
    allow_reconnect_links: bool = False
    time_zone: tzinfo = UTC
    service: str = "fake"
    body_limit: int | None = None
    title_limit: int = 250
    takes_attachments: bool = False
    refusal: DeliveryError | None = None
    sent: list[Message] = field(default_factory=list)
    tried: int = 0

    def send(self, message: Message) -> None:
        self.tried += 1
        if self.refusal:
            raise self.refusal
        self.sent.append(message)


class FakeIncidentChannel(IncidentChannel):
    """A service with incidents of its own that keeps what it is sent, or refuses as it is told to."""

    def __init__(
        self, name: str = "pager", *, allow_reconnect_links: bool = False, takes_acknowledgements: bool = True
    ) -> None:
        super().__init__(name=name, service="fake", allow_reconnect_links=allow_reconnect_links)
        self.takes_acknowledgements = takes_acknowledgements
        self.refusal: DeliveryError | None = None
        self.events: list[Event] = []
        self.tried: list[Event] = []

    @property
    def story(self) -> list[tuple[str, str]]:
        """What was taken: why, and how bad it was."""
        return [(event.reason.value, event.incident.severity.value) for event in self.events]

    def send_event(self, event: Event) -> None:
        self.tried.append(event)
        if self.refusal:
            raise self.refusal
        self.events.append(event)
