"""A monitor with its web door open, and somebody who comes to see."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from typing import Any

from monitor.app import App, assemble
from monitor.config import parse_config
from monitor.metrics import Metrics
from monitor.progress import Progress
from monitor.storage.migrate import HEAD
from monitor.web import Door
from tests.fakes import FrozenClock
from tests.jobs.house import House


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: ``headers`` with their names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Hands:
    """A clock of seconds that moves when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Visit:
    """A door, and what is behind it."""

    app: App
    door: Door
    clock: FrozenClock
    hands: Hands
    progress: Progress
    metrics: Metrics
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        assert self.door.port
        connection = HTTPConnection("127.0.0.1", self.door.port, timeout=10)
        try:
            connection.request(method, path, headers={**self.headers, **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=names, body=response.read())
        finally:
            connection.close()

    def house(self, **given: Any) -> House:
        """Give what fills the database that is shown."""
        return House(self.app.database, clock=self.clock, **given)


def configured(database_url: str, **web: object) -> Any:
    """Give a whole configuration with a web door on any port that is free."""
    return {
        "database": {"url": database_url},
        "accounts": [{"name": "agency", "api_key_env": "KEY"}],
        "channels": [{"name": "ops", "url": "json://127.0.0.1:9/"}],
        "web": {"listen": "127.0.0.1:0", **web},
    }


ENVIRON = {"KEY": "sk_abc_0.0", "TOKEN": "a-token-of-some-length"}


@contextmanager
def visiting(database_url: str, **web: object) -> Iterator[Visit]:
    """Open the door of a monitor on a database; nothing polls and nothing is sent."""
    clock, hands = FrozenClock(), Hands()
    app = assemble(parse_config(configured(database_url, **web), ENVIRON), clock=clock, environ={})
    metrics = Metrics(version="1.2.3", schema=HEAD, accounts=app.providers, channels=app.post.channels)
    progress = Progress(monotonic=hands)
    door = Door()
    try:
        door.show(app, progress, metrics)
        yield Visit(app, door, clock, hands, progress, metrics)
    finally:
        door.close()
        app.close()


def renewed(app: App, **changes: Any) -> App:
    """Give a monitor like another with some of its configuration changed."""
    return replace(app, config=app.config.model_copy(update=changes))
