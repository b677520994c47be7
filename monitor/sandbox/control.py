"""The sandbox's own endpoints: whoever reaches them may change the world."""

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
from monitor.sandbox.faults import Fault, Faults
from monitor.sandbox.gate import KEY_HEADERS, USER_HEADERS, one_of
from monitor.sandbox.profiles import Profile, listed, wire_time
from monitor.sandbox.world import Shape, World

_SHOWN_REQUESTS = 100
_MISHAP = "Media upload failed: Invalid image format"
_PLAN = {
    "hasOwner": "has_owner",
    "apiAccess": "api_access",
    "mcpAccess": "mcp_access",
    "workspaceAccess": "workspace_access",
}

Wish = Mapping[str, Any]  # the JSON object a request brought, {} where it brought none
Deed = Callable[[Request, Wish], object]


class Control:
    """The endpoints under ``/sandbox``. The key and the managed user are given in the API's own headers."""

    def __init__(self, world: World, faults: Faults, requests: deque[RequestSeen]) -> None:
        self._world = world
        self._faults = faults
        self._requests = requests

    def routes(self) -> list[Route]:
        """Say what is done where."""
        table: tuple[tuple[str, str, Deed], ...] = (
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
        return [Route(path, _doing(deed), methods=[method]) for method, path, deed in table]

    def _show(self, request: Request, _wish: Wish) -> object:
        key = _place(request)["key"]
        with self._world.lock:
            account, now = self._world.account(key), self._world.now()
            return {
                "now": wire_time(now),
                "people": [
                    {
                        "id": person.id,
                        "username": person.username,
                        "connections": [
                            listed(profile, now, self._world.contract) for profile in person.profiles.values()
                        ],
                    }
                    for person in (account.owner, *account.users.values())
                ],
            }

    def _show_requests(self, _request: Request, _wish: Wish) -> object:
        newest_first = islice(reversed(self._requests.copy()), _SHOWN_REQUESTS)
        return [{"at": wire_time(seen.at), "method": seen.method, "path": seen.path} for seen in newest_first]

    def _show_faults(self, _request: Request, _wish: Wish) -> object:
        return [_shown(fault) for fault in self._faults.current()]

    def _set_fault(self, request: Request, wish: Wish) -> object:
        self._faults.put(Fault.read(wish))
        return self._show_faults(request, wish)

    def _clear_faults(self, _request: Request, _wish: Wish) -> None:
        self._faults.clear()

    def _change_plan(self, request: Request, wish: Wish) -> None:
        _known(wish, _PLAN)
        changes = {_PLAN[name]: bool(value) for name, value in wish.items()}
        self._world.change_plan(key=_place(request)["key"], **changes)

    def _limit(self, _request: Request, wish: Wish) -> None:
        _known(wish, ("requestsPerMinute", "userListShape"))
        if "requestsPerMinute" in wish:
            limit = wish["requestsPerMinute"]
            self._world.requests_per_minute = None if limit is None else int(limit)
        if "userListShape" in wish:
            self._world.shape = Shape(wish["userListShape"])

    def _revoke_key(self, request: Request, _wish: Wish) -> None:
        self._world.revoke_key(_place(request)["key"])

    def _add_user(self, request: Request, wish: Wish) -> object:
        _known(wish, ("username", "displayName"))
        name, shown = _text(wish, "username"), wish.get("displayName")
        return {"_id": self._world.add_user(name, display_name=shown, key=_place(request)["key"])}

    def _rename_user(self, request: Request, wish: Wish) -> None:
        user, name = request.path_params["id"], _text(wish, "username")
        self._world.rename_user(user, name, key=_place(request)["key"])

    def _remove_user(self, request: Request, _wish: Wish) -> None:
        self._world.remove_user(request.path_params["id"], key=_place(request)["key"])

    def _change_connection(self, request: Request, wish: Wish) -> object:
        deed, platform_id, place = request.path_params["deed"], request.path_params["id"], _place(request)
        world = self._world
        deeds: dict[str, Callable[[], None]] = {
            "add": lambda: world.add_connection(_profile(platform_id, wish), **place),
            "remove": lambda: world.remove_connection(platform_id, **place),
            "rename": lambda: world.rename_connection(
                platform_id, username=_text(wish, "username"), display_name=wish.get("displayName"), **place
            ),
            "expire": lambda: world.expire(platform_id, **place),
            "expiry": lambda: world.set_expiry(platform_id, _time(wish.get("accessTokenExpiresAt")), **place),
            "reconnect": lambda: world.reconnect(platform_id, lifetime=_lifetime(wish), **place),
            "revoke": lambda: world.revoke_grant(platform_id, **place),
            "post": lambda: world.post(platform_id, **place),
            "fail": lambda: world.fail(platform_id, _text(wish, "message", _MISHAP), **place),
            "clear-error": lambda: world.clear_error(platform_id, **place),
            "fields": lambda: world.override(
                platform_id, wish.get("fields"), left_out=wish.get("leftOut", ()), **place
            ),
        }
        if deed not in deeds:
            raise LookupError(f"a connection can't be told to {deed}; it can be told to {', '.join(deeds)}")
        deeds[deed]()
        if deed == "remove":
            return None
        return listed(world.profile(platform_id, **place), world.now(), world.contract)


def _doing(deed: Deed) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            wish = json.loads(await request.body() or b"{}")
            if not isinstance(wish, dict):
                raise ValueError("send a JSON object")
            done = deed(request, wish)
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


def _known(wish: Wish, names: Mapping[str, str] | tuple[str, ...]) -> None:
    unknown = wish.keys() - set(names)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))} isn't known here; give {', '.join(names)}")


def _text(wish: Wish, name: str, default: str = "") -> str:
    text = wish.get(name, default)
    if not isinstance(text, str) or not text:
        raise ValueError(f"give a {name}")
    return text


def _time(text: object) -> datetime | None:
    return None if text is None else to_milliseconds(datetime.fromisoformat(str(text)))


def _lifetime(wish: Wish) -> timedelta | None:
    days = wish.get("expiresInDays")
    return None if days is None else timedelta(days=float(days))


def _profile(platform_id: str, wish: Wish) -> Profile:
    _known(wish, ("username", "displayName", "accessTokenExpiresAt"))
    return Profile(
        platform_id=platform_id,
        username=_text(wish, "username"),
        display_name=wish.get("displayName"),
        expires_at=_time(wish.get("accessTokenExpiresAt")),
    )
