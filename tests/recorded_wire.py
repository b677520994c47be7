"""What the channels would have sent over HTTP: recorded where requests leaves for the network, and answered."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from monitor.channels import check_url

# What satisfies every service in use, Slack's upload of files and Matrix's rooms included.
ANSWER = {
    "ok": True,
    "result": {"message_id": 1},
    "upload_url": "https://files.slack.com/upload/v1/x",
    "file_id": "F1",
    "files": [{"id": "F1"}],
    "channel": "C1",
    "ts": "1",
    "access_token": "t",
    "user_id": "@monitor:acme.example",
    "home_server": "acme.example",
    "room_id": "!room:acme.example",
    "content_uri": "mxc://acme.example/file",
    "event_id": "$1",
    "status": "success",
    "requestId": "r",
}


@dataclass(slots=True)
class RecordedWire:
    """
    The requests that would have gone out, in their order.

    Args:
        on_request: called with each request before it is answered; what it raises, requests raises.
    """

    sent: list[requests.PreparedRequest] = field(default_factory=list)
    on_request: Callable[[requests.PreparedRequest], object] = lambda request: None

    def answer(self, request: requests.PreparedRequest) -> requests.Response:
        self.sent.append(request)
        self.on_request(request)
        response = requests.Response()
        response.status_code = 202 if "opsgenie" in (request.url or "") else 200
        response.request = request
        response.url = request.url or ""
        is_webhook = "hooks.slack.com" in response.url
        response._content = b"ok" if is_webhook else json.dumps(ANSWER).encode()
        response.headers["Content-Type"] = "application/json"
        return response

    @property
    def bodies(self) -> list[bytes]:
        return [raw_body(request) for request in self.sent]

    @property
    def texts(self) -> list[str]:
        """Every text that went out: the encodings that carried it are taken off, query and headers included."""
        return [text for request in self.sent for text in texts_of(request)]


@contextmanager
def recorded_wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedWire]:
    check_url("any", "json://acme.example")  # loads Apprise as the channels do
    wire = RecordedWire()
    with monkeypatch.context() as patch:
        patch.setattr(HTTPAdapter, "send", lambda adapter, request, **rest: wire.answer(request))
        patch.setattr("apprise.plugins.base.NotifyBase.throttle", lambda *args, **rest: None)
        yield wire


def raw_body(request: requests.PreparedRequest) -> bytes:
    body = request.body or b""
    return body.encode() if isinstance(body, str) else bytes(body)


def texts_of(request: requests.PreparedRequest) -> Iterator[str]:
    yield from (value for _, value in parse_qsl(urlsplit(request.url or "").query))
    # What the HTTP library writes itself holds nothing of a message.
    yield from (str(value) for name, value in request.headers.items() if name not in _OWN_HEADERS)
    body, kind = raw_body(request), str(request.headers.get("Content-Type"))
    if "multipart" in kind:
        parts = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body, policy=policy.HTTP)
        for part in parts.walk():
            if isinstance(content := part.get_payload(decode=True), bytes):
                yield from _decoded(content)
    elif "form-urlencoded" in kind:
        for _, value in parse_qsl(body.decode()):
            yield from _decoded(value.encode())
    elif body:
        yield from _decoded(body)


_OWN_HEADERS = frozenset(
    {"User-Agent", "Content-Type", "Content-Length", "Accept", "Accept-Encoding", "Connection"}
)


def _decoded(body: bytes) -> Iterator[str]:
    text = body.decode("utf-8", "replace")
    try:
        yield from strings_in(json.loads(text))
    except ValueError:
        yield text


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from strings_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings_in(one)
