"""
The heartbeat: somebody else's service that speaks up when the monitor falls silent.

It is pinged after each complete, successful cycle; where the service has an endpoint for failures, that one
after a failed cycle. The address is a secret: whoever has it can keep the switch quiet.
"""

from enum import StrEnum
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import UUID

from monitor.core.text import one_line
from monitor.errors import ConfigError, DeliveryError, FetchError
from monitor.http.client import HttpClient, Request

_ANSWER_LIMIT = 64 * 1024
_TEXT_LENGTH = 200


class HeartbeatKind(StrEnum):
    """How a service wants to be pinged."""

    HEALTHCHECKS = "healthchecks"  # also …/start and …/fail, with a text
    UPTIME_KUMA = "uptime_kuma"  # ?status=up or down, with a text
    PLAIN = "plain"  # the address alone, and only for good news


def detect_kind(url: str) -> HeartbeatKind:
    """Guess the service from an address as it hands them out."""
    path = urlsplit(url).path.rstrip("/")
    if "/api/push/" in path:
        return HeartbeatKind.UPTIME_KUMA
    try:
        UUID(path.rpartition("/")[2])
    except ValueError:
        return HeartbeatKind.HEALTHCHECKS if urlsplit(url).hostname == "hc-ping.com" else HeartbeatKind.PLAIN
    return HeartbeatKind.HEALTHCHECKS


class Heartbeat:
    """
    The switch.

    Args:
        http: sends the pings: bounded in time, no redirect followed.

    Raises:
        ConfigError: the address can't be asked.
    """

    def __init__(self, *, url: str, kind: HeartbeatKind, http: HttpClient) -> None:
        self._url = urlsplit(url)
        self._kind = kind
        self._http = http
        self._request(self._url.path, self._url.query)

    def start(self) -> None:
        """
        Say that the first cycle has begun, to a service that wants to know.

        Raises:
            DeliveryError: nobody took it; the text holds nothing of the address but its host.
        """
        if self._kind is HeartbeatKind.HEALTHCHECKS:
            self._post("/start", "started")

    def success(self, text: str) -> None:
        """Say that a cycle was complete and went well; raises as ``started`` does."""
        match self._kind:
            case HeartbeatKind.HEALTHCHECKS:
                self._post("", text)
            case HeartbeatKind.UPTIME_KUMA:
                self._push("up", text)
            case HeartbeatKind.PLAIN:
                self._send(self._request(self._url.path, self._url.query))

    def failure(self, text: str) -> None:
        """Say that a cycle failed, to a service that can be told; raises as ``started`` does."""
        match self._kind:
            case HeartbeatKind.HEALTHCHECKS:
                self._post("/fail", text)
            case HeartbeatKind.UPTIME_KUMA:
                self._push("down", text)
            case HeartbeatKind.PLAIN:
                """Silence is what it understands."""

    def _post(self, suffix: str, text: str) -> None:
        request = self._request(self._url.path.rstrip("/") + suffix, self._url.query)
        self._send(request.with_({"Content-Type": "text/plain; charset=utf-8"}, body=text.encode()))

    def _push(self, status: str, text: str) -> None:
        # The address is handed out with an example of these in it.
        kept = [pair for pair in parse_qsl(self._url.query) if pair[0] not in {"status", "msg", "ping"}]
        query = urlencode([*kept, ("status", status), ("msg", one_line(text, _TEXT_LENGTH))])
        self._send(self._request(self._url.path, query))

    def _request(self, path: str, query: str) -> Request:
        try:
            return self._http.prepare(urlunsplit(self._url._replace(path=path, query=query)), {})
        except ConfigError:
            raise ConfigError("heartbeat: not a URL that can be asked; want https://host/…") from None

    def _send(self, request: Request) -> None:
        refusal = self._error(request)
        if refusal:
            raise DeliveryError(f"heartbeat: {refusal}")

    def _error(self, request: Request) -> str:
        try:
            reply = self._http.send(request, limit=_ANSWER_LIMIT)
        except FetchError as error:
            return error.failure.error
        if reply.status >= 300:
            return f"{self._url.hostname} answered HTTP {reply.status}"
        # healthchecks.io answers 200 to an address that it doesn't know (2026).
        if reply.body.startswith(b"OK (not found)"):
            return f"{self._url.hostname} doesn't know this address"
        return ""
