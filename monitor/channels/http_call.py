"""HTTP requests that the monitor sends itself for a channel, with the shared client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from monitor.channels.delivery_errors import http_refusal
from monitor.channels.wire import BODY_READ, retry_after
from monitor.errors import ConfigError, DeliveryError, FetchError


class Response(Protocol):
    """A complete answer; ``headers`` by name in any letter case, ``body`` decompressed."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class HttpClient(Protocol):
    """
    Sends one request within its deadline. Follows no redirect, keeps no cookie, and limits the size of the
    answer.
    """

    def call(self, method: str, url: str, headers: Mapping[str, str], *, body: bytes, limit: int) -> Response:
        """Send a request; raises FetchError without a complete answer, ConfigError if the URL can't be used."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """
    Sends the requests of one channel.

    Args:
        service: the name of the service; never more of the URL.
        http: None if the channel is only described.
        headers: headers of each request; they contain the key.
    """

    service: str
    http: HttpClient | None
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Caller({self.service!r})"

    def call(
        self, method: str, url: str, document: Any, headers: Mapping[str, str] | None = None
    ) -> Response:
        """
        Send a document as JSON.

        Returns:
            The successful answer.

        Raises:
            DeliveryError: the answer wasn't successful, or there was none. The text has neither URL nor key.
        """
        body = json.dumps(document, separators=(",", ":")).encode()
        response = self._exchange(method, url, body, {**self.headers, **(headers or {})})
        if not 200 <= response.status < 300:
            raise http_refusal(self.service, response.status, wait=retry_after(response.headers))
        return response

    def _exchange(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Response:
        if self.http is None:
            raise DeliveryError(f"{self.service}: there is nothing to send with", permanent=True)
        try:
            sent = {"Content-Type": "application/json", **headers}
            return self.http.call(method, url, sent, body=body, limit=BODY_READ)
        except ConfigError:
            raise DeliveryError(f"{self.service}: the URL can't be used", permanent=True) from None
        except FetchError as error:
            failure = error.failure
            # The host may be part of the secret.
            reason = failure.error.removeprefix(f"{urlsplit(url).netloc}: ")
            raise DeliveryError(f"{self.service}: {reason}", uncertain=failure.may_be_received) from None


def json_object(body: bytes) -> Mapping[str, Any]:
    """Return an answer's body as a JSON object; empty if it isn't one."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
