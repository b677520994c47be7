"""The sandbox's own endpoints, which change its data. They ask for no credentials."""

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypedDict

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.core.model import to_milliseconds
from monitor.sandbox.api import RequestSeen, json_response
from monitor.sandbox.auth import KEY_HEADERS, USER_HEADERS, one_of
from monitor.sandbox.fake_service import FakeService, Shape
from monitor.sandbox.faults import Fault, Faults
from monitor.sandbox.profiles import SocialProfile, listed, wire_time

_SHOWN_REQUESTS = 100
_MISHAP = "Media upload failed: Invalid image format"
_PLAN = {
    "hasOwner": "has_owner",
    "apiAccess": "api_access",
    "mcpAccess": "mcp_access",
    "workspaceAccess": "workspace_access",
}

RequestBody = Mapping[str, Any]  # the JSON object a request brought, {} where it brought none
Command = Callable[[Request, RequestBody], object]


class Control:
    """The endpoints under ``/sandbox``. The key and the managed user are given in the API's own headers."""

    def __init__(self, fake_service: FakeService, faults: Faults, requests: deque[RequestSeen]) -> None:
        self._fake_service = fake_service
        self._faults = faults
        self._requests = requests

    def routes(self) -> list[Route]:
        """Return the routes."""
        table: tuple[tuple[str, str, Command], ...] = (
            ("GET", "/sandbox", self._show),
            ("GET", "/sandbox/requests", self._show_requests),
            ("GET", "/sandbox/fault", self._show_faults),
            ("PUT", "/sandbox/fault", self._set_fault),
            ("DELETE", "/sandbox/fault", self._clear_faults),
            ("PUT", "/sandbox/plan", self._change_plan),
            ("PUT", "/sandbox/limits", self._limit),
            ("POST", "/sandbox/key/revoke", self._revoke_key),
            ("POST", "/sandbox/users", self._add_user),
            ("POST", "/sandbox/users/{id}/rename", self._rename_user),
            ("POST", "/sandbox/users/{id}/remove", self._remove_user),
            ("POST", "/sandbox/connections/{id:path}/{deed}", self._change_connection),
        )
        return [Route(path, _doing(command), methods=[method]) for method, path, command in table]

    def _show(self, request: Request, _wish: RequestBody) -> object:
        key = _place(request)["key"]
        with self._fake_service.lock:
            account, now = self._fake_service.account(key), self._fake_service.now()
            return {
                "now": wire_time(now),
                "people": [
                    {
                        "id": person.id,
                        "username": person.username,
                        "connections": [
                            listed(profile, now, self._fake_service.contract)
                            for profile in person.profiles.values()
                        ],
                    }
                    for person in (account.owner, *account.users.values())
                ],
            }

    def _show_requests(self, _request: Request, _wish: RequestBody) -> object:
        newest_first = islice(reversed(self._requests.copy()), _SHOWN_REQUESTS)
        return [{"at": wire_time(seen.at), "method": seen.method, "path": seen.path} for seen in newest_first]

    def _show_faults(self, _request: Request, _wish: RequestBody) -> object:
        return [_shown(fault) for fault in self._faults.current()]

    def _set_fault(self, request: Request, options: RequestBody) -> object:
        self._faults.set(Fault.read(options))
        return self._show_faults(request, options)

    def _clear_faults(self, _request: Request, _wish: RequestBody) -> None:
        self._faults.clear()

    def _change_plan(self, request: Request, options: RequestBody) -> None:
        _known(options, _PLAN)
        changes = {_PLAN[name]: bool(value) for name, value in options.items()}
        self._fake_service.change_plan(key=_place(request)["key"], **changes)

    def _limit(self, _request: Request, options: RequestBody) -> None:
        _known(options, ("requestsPerMinute", "userListShape"))
        if "requestsPerMinute" in options:
            limit = options["requestsPerMinute"]
            self._fake_service.requests_per_minute = None if limit is None else int(limit)
        if "userListShape" in options:
            self._fake_service.shape = Shape(options["userListShape"])

    def _revoke_key(self, request: Request, _wish: RequestBody) -> None:
        self._fake_service.revoke_key(_place(request)["key"])

    def _add_user(self, request: Request, options: RequestBody) -> object:
        _known(options, ("username", "displayName"))
        name, shown = _text(options, "username"), options.get("displayName")
        return {"_id": self._fake_service.add_user(name, display_name=shown, key=_place(request)["key"])}

    def _rename_user(self, request: Request, options: RequestBody) -> None:
        user, name = request.path_params["id"], _text(options, "username")
        self._fake_service.rename_user(user, name, key=_place(request)["key"])

    def _remove_user(self, request: Request, _wish: RequestBody) -> None:
        self._fake_service.remove_user(request.path_params["id"], key=_place(request)["key"])

    def _change_connection(self, request: Request, options: RequestBody) -> object:
        command, platform_id, place = request.path_params["deed"], request.path_params["id"], _place(request)
        fake_service = self._fake_service
        commands: dict[str, Callable[[], None]] = {
            "add": lambda: fake_service.add_connection(_profile(platform_id, options), **place),
            "remove": lambda: fake_service.remove_connection(platform_id, **place),
            "rename": lambda: fake_service.rename_connection(
                platform_id,
                username=_text(options, "username"),
                display_name=options.get("displayName"),
                **place,
            ),
            "expire": lambda: fake_service.expire(platform_id, **place),
            "expiry": lambda: fake_service.set_expiry(
                platform_id, _time(options.get("accessTokenExpiresAt")), **place
            ),
            "reconnect": lambda: fake_service.reconnect(platform_id, lifetime=_lifetime(options), **place),
            "revoke": lambda: fake_service.revoke_grant(platform_id, **place),
            "post": lambda: fake_service.post(platform_id, **place),
            "fail": lambda: fake_service.fail(platform_id, _text(options, "message", _MISHAP), **place),
            "clear-error": lambda: fake_service.clear_error(platform_id, **place),
            "fields": lambda: fake_service.override(
                platform_id, options.get("fields"), left_out=options.get("leftOut", ()), **place
            ),
        }
        if command not in commands:
            raise LookupError(
                f"a connection can't be told to {command}; it can be told to {', '.join(commands)}"
            )
        commands[command]()
        if command == "remove":
            return None
        return listed(fake_service.profile(platform_id, **place), fake_service.now(), fake_service.contract)


def _doing(command: Command) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            options = json.loads(await request.body() or b"{}")
            if not isinstance(options, dict):
                raise ValueError("send a JSON object")
            done = command(request, options)
        except LookupError as error:
            return json_response({"error": str(error)}, 404)
        except (TypeError, ValueError) as error:
            return json_response({"error": str(error)}, 400)
        return json_response({"done": True} if done is None else done)

    return answer


class _Place(TypedDict):
    key: str | None
    user: str | None


def _place(request: Request) -> _Place:
    """Whose connections are meant, as the API's headers say it."""
    key, user = one_of(KEY_HEADERS, request.headers)[1], one_of(USER_HEADERS, request.headers)[1]
    return {"key": key or None, "user": user or None}


def _shown(fault: Fault) -> dict[str, object]:
    """Show a fault; of its key only that there is one."""
    body = None if fault.body is None else fault.body.decode("utf-8", "replace")
    return {**asdict(fault), "body": body, "key": fault.key and "…"}


def _known(options: RequestBody, names: Mapping[str, str] | tuple[str, ...]) -> None:
    unknown = options.keys() - set(names)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} isn't known here; give {', '.join(names)}")


def _text(options: RequestBody, name: str, default: str = "") -> str:
    text = options.get(name, default)
    if not isinstance(text, str) or not text:
        raise ValueError(f"give a {name}")
    return text


def _time(text: object) -> datetime | None:
    return None if text is None else to_milliseconds(datetime.fromisoformat(str(text)))


def _lifetime(options: RequestBody) -> timedelta | None:
    days = options.get("expiresInDays")
    return None if days is None else timedelta(days=float(days))


def _profile(platform_id: str, options: RequestBody) -> SocialProfile:
    _known(options, ("username", "displayName", "accessTokenExpiresAt"))
    return SocialProfile(
        platform_id=platform_id,
        username=_text(options, "username"),
        display_name=options.get("displayName"),
        expires_at=_time(options.get("accessTokenExpiresAt")),
    )
