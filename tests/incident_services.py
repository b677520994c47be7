"""Stand-ins for services with incidents of their own, on loopback: they check what they get, and keep what is open."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from monitor.channels import open_channels
from monitor.channels.channel import Channel
from monitor.channels.incident_channel import IncidentChannel
from monitor.errors import FetchError
from monitor.http.client import HttpClient, Response
from tests.factories import NOW
from tests.receivers import Answer, HttpReceiver, Request, http_receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One event as the service understood it."""

    key: str
    what: str
    severity: str | None = None


def answer(status: int, document: object = None, **headers: str) -> Answer:
    body = b"" if document is None else json.dumps(document).encode()
    return Answer(
        status=status, body=body, headers={name.replace("_", "-"): each for name, each in headers.items()}
    )


@dataclass(slots=True)
class Service:
    """
    What all stand-ins have.

    Attributes:
        seen: events that were taken, in their order.
        open: the severity of each incident that is open, by its key.
        refused: why requests were refused.
        instead: an answer to be given without looking at the request.
    """

    seen: list[Seen] = field(default_factory=list)
    open: dict[str, str | None] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    instead: Answer | None = None

    def __call__(self, request: Request) -> Answer:
        if self.instead:
            return self.instead
        try:
            return self.take(request)
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            self.refused.append(repr(error))
            return self.no(str(error))

    def take(self, request: Request) -> Answer:
        raise NotImplementedError

    def no(self, why: str) -> Answer:
        return answer(400, {"message": why})

    def note(self, key: str, what: str, severity: str | None = None, *, is_over: bool = False) -> None:
        self.seen.append(Seen(key=key, what=what, severity=severity))
        if is_over:
            self.open.pop(key, None)
        elif what not in {"acknowledge", "acknowledged"}:
            self.open[key] = severity

    @property
    def keys(self) -> set[str]:
        return {each.key for each in self.seen}

    @property
    def story(self) -> list[tuple[str, str | None]]:
        return [(each.what, each.severity) for each in self.seen]


class PagerDuty(Service):
    """Events API v2: 202, or 400 that says what is wrong."""

    def take(self, request: Request) -> Answer:
        event = request.json()
        assert (request.method, request.path) == ("POST", "/v2/enqueue")
        assert event["routing_key"] == "R" * 32
        assert event["event_action"] in {"trigger", "acknowledge", "resolve"}
        key = event["dedup_key"]
        assert 0 < len(key) <= 255
        severity = None
        if event["event_action"] == "trigger":
            payload = event["payload"]
            severity = payload["severity"]
            assert severity in {"critical", "error", "warning", "info"}
            assert 0 < len(payload["summary"]) <= 1024
            assert "\n" not in payload["summary"]
            assert payload["source"]
        self.note(key, event["event_action"], severity, is_over=event["event_action"] == "resolve")
        return answer(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def no(self, why: str) -> Answer:
        return answer(400, {"status": "invalid event", "message": "Event object is invalid", "errors": [why]})


class Opsgenie(Service):
    """Alert API v2: everything is accepted before it is done, and known by its alias."""

    def take(self, request: Request) -> Answer:
        if request.headers.get("authorization") != "GenieKey opsgeniekey":
            return answer(401, {"message": "Could not authenticate", "took": 0.0, "requestId": "r"})
        parts = urlsplit(request.path)
        document = request.json()
        if parts.path == "/v2/alerts":
            self._create(request, document)
        else:
            found = re.fullmatch(
                r"/v2/alerts/([^/]+)/(close|acknowledge|priority|message|description)", parts.path
            )
            assert found, parts.path
            assert parse_qs(parts.query) == {"identifierType": ["alias"]}
            self._act(request.method, found[1], found[2], document)
        return answer(202, {"result": "Request will be processed", "took": 0.3, "requestId": "43a29c5c"})

    def _create(self, request: Request, alert: Mapping[str, Any]) -> None:
        assert request.method == "POST"
        known = {"message", "alias", "description", "responders", "tags", "details", "entity", "source"}
        assert set(alert) <= known | {"priority", "user", "note"}
        assert 0 < len(alert["message"]) <= 130
        assert len(alert["alias"]) <= 512
        assert len(alert["description"]) <= 15000
        assert all(isinstance(value, str) for value in alert["details"].values())
        # An open alert is counted up; of what the new one says, a higher priority alone is taken.
        before = self.open.get(alert["alias"])
        priority = min(before, alert["priority"]) if before else alert["priority"]
        self.note(alert["alias"], "create", priority)

    def _act(self, method: str, alias: str, action: str, document: Mapping[str, Any]) -> None:
        if action in {"close", "acknowledge"}:
            assert method == "POST"
            self.note(alias, action, is_over=action == "close")
            return
        assert (method, set(document)) == ("PUT", {action})
        if action == "priority":
            assert document["priority"] in {"P1", "P2", "P3", "P4", "P5"}
            if alias in self.open:
                self.open[alias] = document["priority"]

    def no(self, why: str) -> Answer:
        return answer(422, {"message": "Request body is not processable", "errors": {"": why}, "took": 0.0})


class Alertmanager(Service):
    """API v2: a list of alerts, each of which is its labels and lives until ``endsAt``."""

    FIELDS = frozenset({"labels", "annotations", "startsAt", "endsAt", "generatorURL"})

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[tuple[tuple[str, str], ...], datetime] = {}
        self.now = NOW

    def take(self, request: Request) -> Answer:
        assert (request.method, urlsplit(request.path).path) == ("POST", "/prefix/api/v2/alerts")
        alerts = request.json()
        assert alerts
        now = self.now
        for alert in alerts:
            assert set(alert) <= self.FIELDS
            for name, value in {**alert["labels"], **alert["annotations"]}.items():
                assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name), name
                assert isinstance(value, str)
            assert alert["labels"]["alertname"]
            starts_at, ends_at = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
            assert starts_at.tzinfo and ends_at.tzinfo
            assert starts_at <= ends_at
            assert ends_at - now <= timedelta(minutes=5)
            self.alerts[tuple(sorted(alert["labels"].items()))] = ends_at
            over = ends_at <= now
            self.seen.append(
                Seen(
                    key=alert["labels"]["incident"],
                    what="resolved" if over else "firing",
                    severity=alert["labels"]["severity"],
                )
            )
        return answer(200)

    def no(self, why: str) -> Answer:
        return answer(400, why)

    def firing(self, now: datetime) -> dict[str, list[str]]:
        """Give the severities that fire now, by the key of the incident."""
        found: dict[str, list[str]] = {}
        for labels, ends_at in self.alerts.items():
            if ends_at > now:
                found.setdefault(dict(labels)["incident"], []).append(dict(labels)["severity"])
        return found


class Program(Service):
    """A program of somebody's own that takes the published document."""

    def take(self, request: Request) -> Answer:
        document = request.json()
        severity = document["incident"]["severity"]
        self.note(document["key"], document["event"], severity, is_over=document["event"] == "resolved")
        return answer(204)


class Other(Service):
    """
    Any of the services that Apprise alone speaks with: where its payload has the key, and what says that it is over.

    Args:
        key: the field of the key.
        what: the field of the action; None if its absence is the action.
        over: what stands there at the end.
    """

    def __init__(self, key: str, what: str | None, over: str, good: object = None) -> None:
        super().__init__()
        self.key, self.what, self.over, self.good = key, what, over, good

    def take(self, request: Request) -> Answer:
        payload = request.json()
        what = str(payload.get(self.what, "") if self.what else "")
        self.note(payload[self.key], what, is_over=what == self.over)
        return answer(200, self.good if self.good is not None else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    A kind of service.

    Args:
        url: of a channel; ``{address}`` is where the stand-in listens.
        make: makes the stand-in.
        is_fixed: whether the address is the service's own, so that requests must be led to the stand-in.
    """

    url: str
    make: Callable[[], Service]
    is_fixed: bool = True


KINDS: dict[str, Kind] = {
    "pagerduty": Kind(url=f"pagerduty://{'R' * 32}@apitoken", make=PagerDuty),
    "opsgenie": Kind(url="opsgenie://opsgeniekey/%23team?region=eu", make=Opsgenie),
    "alertmanager": Kind(
        url="alertmanager://monitor:s3cretpassword@{address}/prefix/", make=Alertmanager, is_fixed=False
    ),
    "json": Kind(url="json://{address}/hook?events=incident", make=Program, is_fixed=False),
    "firehydrant": Kind(
        url="firehydrant://webhooktoken", make=lambda: Other("idempotency_key", "status", "CLOSED")
    ),
    "goalert": Kind(
        url="goalert://{address}/0f8fad5b-d9cb-469f-a165-70867728950e",
        make=lambda: Other("dedup", "action", "close"),
        is_fixed=False,
    ),
    "ilert": Kind(url="ilert://il1keyil1key", make=lambda: Other("alertKey", "eventType", "RESOLVE")),
    "incidentio": Kind(
        url="incidentio://01SOURCE/token", make=lambda: Other("deduplication_key", "status", "resolved")
    ),
    "pagertree": Kind(url="pagertree://int_abcdefgh", make=lambda: Other("id", "event_type", "resolve")),
    "signl4": Kind(
        url="signl4://teamsecret", make=lambda: Other("X-S4-ExternalID", "X-S4-Status", "resolved")
    ),
    "splunk": Kind(
        url="splunk://route@apikey",
        make=lambda: Other("entity_id", "message_type", "RECOVERY", {"result": "success"}),
    ),
    "squadcast": Kind(url="squadcast://webhookkey", make=lambda: Other("event_id", "status", "resolve")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str = "pager"
    url: str
    allow_reconnect_links: bool = False
    time_zone: tzinfo = UTC


@dataclass(slots=True)
class RealHttp:
    """The monitor's own client, whose requests to a service go to its stand-in."""

    address: str
    http: HttpClient = field(
        default_factory=lambda: HttpClient(
            timeout=timedelta(seconds=5), concurrency=2, environ={}, user_agent="test"
        )
    )

    def close(self) -> None:
        self.http.close()

    def call(self, method: str, url: str, headers: Mapping[str, str], *, body: bytes, limit: int) -> Response:
        parts = urlsplit(url)
        led = parts._replace(scheme="http", netloc=self.address).geturl()
        try:
            return self.http.call(method, led, headers, body=body, limit=limit)
        except FetchError as error:
            notified = error.failure.error.replace(self.address, parts.netloc)
            raise FetchError(replace(error.failure, error=notified)) from None


@dataclass(slots=True)
class Standing:
    """A stand-in, where it listens, and a channel to it."""

    service: Any
    receiver: HttpReceiver
    channel: IncidentChannel


@contextmanager
def standing(
    kind: str, monkeypatch: pytest.MonkeyPatch, *, allow_reconnect_links: bool = False
) -> Iterator[Standing]:
    """Run the stand-in for a kind of service, with a channel to it that thinks it speaks with the service."""
    about = KINDS[kind]
    service = about.make()
    with http_receiver(service) as receiver:
        if about.is_fixed:
            lead_to(receiver.address, monkeypatch)
        http = RealHttp(receiver.address)
        settings = Settings(
            url=about.url.format(address=receiver.address), allow_reconnect_links=allow_reconnect_links
        )
        channel: Channel = open_channels([settings], http=http)["pager"]
        assert isinstance(channel, IncidentChannel)
        without_pauses(channel)
        try:
            yield Standing(service=service, receiver=receiver, channel=channel)
        finally:
            http.close()


def lead_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead the requests of Apprise's plugins to loopback, whatever host they are for."""
    from requests.adapters import HTTPAdapter

    real = HTTPAdapter.send

    def send(self: HTTPAdapter, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.url = urlsplit(request.url)._replace(scheme="http", netloc=address).geturl()
        return real(self, request, *args, **kwargs)

    # The monitor's own client makes its requests in another way, and leads them itself.
    monkeypatch.setattr(HTTPAdapter, "send", send)


def without_pauses(channel: IncidentChannel) -> None:
    """Have Apprise leave no seconds between two requests to one service."""
    if inner := vars(channel).get("_channel"):
        opened = inner._open()
        assert opened
        vars(opened[1])["request_rate_per_sec"] = 0
