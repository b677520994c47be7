"""Serves a service with faults in its answers, and remembers who asked what."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monitor.sandbox.api import sandbox_app
from monitor.sandbox.auth import KEY_HEADERS, USER_HEADERS, one_of
from monitor.sandbox.server import serve as serve_app
from tests.sandbox.faults import Faults
from tests.sandbox.service import FakeService
from tests.sandbox.wire import FaultyResponse, OnePacketProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSeen:
    """
    A request that reached the API, whatever came of it.

    Args:
        path: as it was sent, still percent-encoded, the query included.
        headers: names in lower case.
        at: by the service's clock.
        monotonic: by the machine's, in seconds, for measuring pauses.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    at: datetime
    monotonic: float


@dataclass(frozen=True, slots=True)
class Server:
    """
    A service that is being served.

    Args:
        requests: the newest, oldest first.
        faults: what goes wrong with the answers, set and cleared at any time.
    """

    fake_service: FakeService
    url: str
    requests: deque[RequestSeen]
    faults: Faults

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


@contextmanager
def serve(fake_service: FakeService, *, port: int = 0) -> Iterator[Server]:
    """Serve a service from a thread for as long as the context lasts."""
    app = _FaultyApp(sandbox_app(fake_service), fake_service)
    with serve_app(app, port=port, protocol=OnePacketProtocol) as url:
        yield Server(fake_service, url, app.requests, app.faults)


class _FaultyApp:
    def __init__(self, app: ASGIApp, fake_service: FakeService) -> None:
        self._app = app
        self._fake_service = fake_service
        self.faults = Faults()
        self.requests: deque[RequestSeen] = deque(maxlen=10_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        query = request.url.query
        self.requests.append(
            RequestSeen(
                method=request.method,
                path=scope["raw_path"].decode("ascii") + (f"?{query}" if query else ""),
                headers=dict(request.headers),
                body=body,
                at=self._fake_service.now(),
                monotonic=time.monotonic(),
            )
        )
        key, user = one_of(KEY_HEADERS, request.headers)[1], one_of(USER_HEADERS, request.headers)[1]
        fault = self.faults.next_for(request.url.path, key, user)
        answer = await self._true_answer(scope, body)
        await (answer if fault is None else FaultyResponse(answer, fault))(scope, receive, send)

    async def _true_answer(self, scope: Scope, body: bytes) -> Response:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        answer = Response(b"".join(each.get("body", b"") for each in sent), sent[0]["status"])
        answer.raw_headers = list(sent[0]["headers"])
        return answer
