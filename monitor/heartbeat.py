"""
The heartbeat: pings to a service elsewhere that alerts when they stop.

The monitor pings it after each complete, successful cycle. After a failed cycle it pings the endpoint for
failures, if the service has one. The address is a secret: anyone who has it can suppress the alert.
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
    PLAIN = "plain"  # only the address, and only for success


def detect_kind(url: str) -> HeartbeatKind:
    """Detect the service from its address."""
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
    A heartbeat service.

    Args:
        http: sends the pings: bounded in time, no redirect followed.

    Raises:
        ConfigError: the address can't be used.
    """

    def __init__(self, *, url: str, kind: HeartbeatKind, http: HttpClient) -> None:
        self._url = urlsplit(url)
        self._kind = kind
        self._http = http
        self._request(self._url.path, self._url.query)

    def start(self) -> None:
        """
        Report that the first cycle has begun, if the service takes that.

        Raises:
            DeliveryError: the service didn't accept it. The text names only the host of the address.
        """
        if self._kind is HeartbeatKind.HEALTHCHECKS:
            self._post("/start", "started")

    def success(self, text: str) -> None:
        """Report a complete, successful cycle. Raises as ``start`` does."""
        match self._kind:
            case HeartbeatKind.HEALTHCHECKS:
                self._post("", text)
            case HeartbeatKind.UPTIME_KUMA:
                self._push("up", text)
            case HeartbeatKind.PLAIN:
                self._send(self._request(self._url.path, self._url.query))

    def failure(self, text: str) -> None:
        """Report a failed cycle, if the service takes that. Raises as ``start`` does."""
        match self._kind:
            case HeartbeatKind.HEALTHCHECKS:
                self._post("/fail", text)
            case HeartbeatKind.UPTIME_KUMA:
                self._push("down", text)
            case HeartbeatKind.PLAIN:
                """It has no endpoint for failures."""

    def _post(self, suffix: str, text: str) -> None:
        request = self._request(self._url.path.rstrip("/") + suffix, self._url.query)
        self._send(request.with_({"Content-Type": "text/plain; charset=utf-8"}, body=text.encode()))

    def _push(self, status: str, text: str) -> None:
        # Uptime Kuma hands out addresses that contain an example of these.
        kept = [pair for pair in parse_qsl(self._url.query) if pair[0] not in {"status", "msg", "ping"}]
        query = urlencode([*kept, ("status", status), ("msg", one_line(text, _TEXT_LENGTH))])
        self._send(self._request(self._url.path, query))

    def _request(self, path: str, query: str) -> Request:
        try:
            return self._http.prepare(urlunsplit(self._url._replace(path=path, query=query)), {})
        except ConfigError:
            raise ConfigError("heartbeat: not a usable URL; want https://host/…") from None

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
