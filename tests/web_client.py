"""A monitor with its web door open, and somebody who comes to see."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from typing import Any

from monitor.app import App, build_app
from monitor.config.load import parse_config
from monitor.metrics import Metrics
from monitor.storage.migrate import HEAD
from monitor.web.listener import WebListener
from monitor.workers.liveness import Liveness
from tests.fakes import FrozenClock
from tests.jobs.simulator import JobSimulator


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
class FakeMonotonic:
    """A clock of seconds that moves when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Visit:
    """A door, and what is behind it."""

    app: App
    listener: WebListener
    clock: FrozenClock
    monotonic_clock: FakeMonotonic
    liveness: Liveness
    metrics: Metrics
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        assert self.listener.port
        connection = HTTPConnection("127.0.0.1", self.listener.port, timeout=10)
        try:
            connection.request(method, path, headers={**self.headers, **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=names, body=response.read())
        finally:
            connection.close()

    def simulator(self, **given: Any) -> JobSimulator:
        """Give what fills the database that is shown."""
        return JobSimulator(self.app.database, clock=self.clock, **given)


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
    clock, monotonic_clock = FrozenClock(), FakeMonotonic()
    app = build_app(parse_config(configured(database_url, **web), ENVIRON), clock=clock, environ={})
    metrics = Metrics(
        version="1.2.3", schema=HEAD, accounts=app.context.providers, channels=app.context.channels
    )
    liveness = Liveness(monotonic=monotonic_clock)
    listener = WebListener()
    try:
        listener.serve(app, liveness, metrics)
        yield Visit(app, listener, clock, monotonic_clock, liveness, metrics)
    finally:
        listener.close()
        app.close()


def renewed(app: App, **changes: Any) -> App:
    """Give a monitor like another with some of its configuration changed."""
    return replace(app, config=app.config.model_copy(update=changes))
