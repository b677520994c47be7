"""The vendor's endpoints, answered from a fake service."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from email.utils import format_datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.sandbox.auth import ApiError, AuthChecker
from monitor.sandbox.fake_service import FakeService, Shape
from monitor.sandbox.profiles import diagnosed, listed, wire_time

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def sandbox_app(fake_service: FakeService) -> Starlette:
    """Return the application that answers for a service; its last route takes what no other takes."""
    return Starlette(routes=_Api(fake_service).routes())


class _Api:
    """The endpoints under ``/api/v1``."""

    def __init__(self, fake_service: FakeService) -> None:
        self._fake_service = fake_service
        self._auth = AuthChecker(fake_service)

    def routes(self) -> list[Route]:
        base = "/api/v1"
        return [
            Route(f"{base}/platform-connections", self._answering(self._connections), methods=["GET"]),
            Route(f"{base}/test-connection/{{id:path}}", self._answering(self._test), methods=["POST"]),
            Route(f"{base}/workspace/users", self._answering(self._users), methods=["GET"]),
            Route(
                f"{base}/workspace/users/{{id}}/connection-url", self._answering(self._link), methods=["POST"]
            ),
            Route("/{path:path}", self._answering(self._nothing_here), methods=_METHODS),
        ]

    def _answering(
        self, endpoint: Callable[[Request, bytes], Response]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            body = await request.body()
            try:
                with self._fake_service.lock:
                    if self._fake_service.is_failing:
                        raise ApiError(500, "Failed to fetch platform connections")
                    response = endpoint(request, body)
            except ApiError as refusal:
                response = json_response(refusal.body, refusal.status, refusal.headers)
            response.headers["date"] = format_datetime(self._fake_service.now(), usegmt=True)
            return response

        return answer

    def _connections(self, request: Request, _body: bytes) -> Response:
        caller = self._auth.authorize(request.headers)
        now = self._fake_service.now()
        contract = self._fake_service.contract
        items = [listed(profile, now, contract) for profile in caller.person.profiles.values()]
        return json_response({"success": True, "connections": items}, headers=caller.headers)

    def _test(self, request: Request, _body: bytes) -> Response:
        caller = self._auth.authorize(request.headers)
        platform_id = request.path_params["id"]
        if "-" not in platform_id:
            raise ApiError(400, "Invalid platformId format")
        if platform_id not in caller.person.profiles:
            raise ApiError(404, "Connection not found")
        answer = diagnosed(
            caller.person.profiles[platform_id], self._fake_service.now(), self._fake_service.contract
        )
        return json_response(answer, headers=caller.headers)

    def _users(self, request: Request, _body: bytes) -> Response:
        caller = self._auth.authorize(request.headers, to_workspace=True)
        people = caller.account.users.values()
        if self._fake_service.shape is Shape.BARE:
            bare = [
                {"id": each.id, "email": each.username, "displayName": each.display_name} for each in people
            ]
            return json_response(bare, headers=caller.headers)
        users = [
            {
                "_id": each.id,
                "username": each.username,
                "displayName": each.display_name,
                "role": "managed",
                "dailyPostsLeft": 50,
                "connectionsPageUrl": each.link_url,
                "connectionsPageTokenExpiresAt": wire_time(each.link_expires_at),
            }
            for each in people
        ]
        return json_response({"users": users}, headers=caller.headers)

    def _link(self, request: Request, body: bytes) -> Response:
        caller = self._auth.authorize(request.headers, to_workspace=True)
        person = caller.account.users.get(request.path_params["id"])
        if person is None:
            raise ApiError(404, "User not found or not managed by this key")
        days, rotate = _read_link_wish(body)
        url, until = self._fake_service.make_link(
            person.id, lifetime=timedelta(days=days), rotate=rotate, key=caller.account.key
        )
        bare = self._fake_service.shape is Shape.BARE
        names = ("connectionUrl", "expiresAt") if bare else ("url", "tokenExpiresAt")
        return json_response(dict(zip(names, (url, wire_time(until)), strict=True)), headers=caller.headers)

    def _nothing_here(self, request: Request, _body: bytes) -> Response:
        raise ApiError(404, f"Cannot {request.method} {request.url.path}")


def _read_link_wish(body: bytes) -> tuple[float, bool]:
    """Read ``expiresInDays`` and ``rotate``. Both are optional, and so is the body."""
    try:
        options = json.loads(body or b"{}")
    except ValueError:
        raise ApiError(400, "Invalid JSON") from None
    days, rotate = (
        (options.get("expiresInDays", 90), options.get("rotate", False))
        if isinstance(options, dict)
        else (0, 0)
    )
    if isinstance(days, bool) or not isinstance(days, int | float) or not 0 < days < 100_000:
        raise ApiError(400, "expiresInDays must be a positive number")
    if not isinstance(rotate, bool):
        raise ApiError(400, "rotate must be a boolean")
    return days, rotate


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON as the vendor's server does: compact, UTF-8, a lone surrogate as an escape."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        text = json.dumps(body, separators=(",", ":"))
    sent = {"content-type": "application/json; charset=utf-8", **(headers or {})}
    return Response(text.encode(), status, sent)
