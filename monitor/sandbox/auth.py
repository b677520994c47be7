"""Authentication: the vendor's error answers, word for word, and the rate limit."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.sandbox.fake_service import Account, FakeService, Person

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}")
_WINDOW = timedelta(minutes=1)

# The service runs under two names and accepts the headers of both.
KEY_HEADERS = ("x-api-key", "x-publora-key")
USER_HEADERS = ("x-postpost-user-id", "x-publora-user-id")
CLIENT_HEADERS = ("x-postpost-client", "x-publora-client")


class ApiError(Exception):
    """The error answer to a request."""

    def __init__(
        self, status: int, error: str, headers: Mapping[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **more}
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """
    An authorized caller.

    Args:
        person: the owner of the requested profiles: the key's owner, or a managed user.
        headers: headers of every answer to this caller.
    """

    account: Account
    person: Person
    headers: Mapping[str, str] = field(default_factory=dict)


class AuthChecker:
    """Authorizes requests or raises ApiError. Call it while holding the service's lock."""

    def __init__(self, fake_service: FakeService) -> None:
        self._fake_service = fake_service
        self._windows: dict[str, tuple[datetime, int]] = {}

    def authorize(self, headers: Mapping[str, str], *, to_workspace: bool = False) -> Caller:
        """
        Authorize one request, with checks in the order of the vendor's middleware.

        Args:
            headers: of the request; names in lower case, or a mapping that ignores case.
            to_workspace: whether the endpoint is about the workspace itself.
        """
        account = self._account(one_of(KEY_HEADERS, headers)[1])
        limits = self._count(account.key)
        if one_of(CLIENT_HEADERS, headers)[1] == "mcp" and not account.mcp_access:
            raise ApiError(403, "MCP access is not enabled for this account")
        name, user = one_of(USER_HEADERS, headers)
        if user and not _OBJECT_ID.fullmatch(user):
            raise ApiError(400, f"Invalid {name}")
        acts_for_another = bool(user) and user != account.owner.id
        if (acts_for_another or to_workspace) and not account.workspace_access:
            raise ApiError(403, "Workspace access is not enabled for this key")
        if acts_for_another and user not in account.users:
            raise ApiError(403, "User is not managed by key")
        person = account.users[user] if acts_for_another else account.owner
        return Caller(account=account, person=person, headers=limits)

    def _account(self, key: str) -> Account:
        if not key:
            raise ApiError(401, "API key is required")
        try:
            account = self._fake_service.account(key)
        except LookupError:
            raise ApiError(401, "Invalid API key") from None
        if not account.has_owner:
            raise ApiError(401, "Invalid API key owner")
        if not account.api_access:
            raise ApiError(403, "API access is not enabled for this account")
        return account

    def _count(self, key: str) -> dict[str, str]:
        """Count a request against its key's minute, which begins with the first request."""
        limit = self._fake_service.requests_per_minute
        if limit is None:
            return {}
        now = self._fake_service.now()
        began_at, used = self._windows.get(key, (now, 0))
        if not began_at <= now < began_at + _WINDOW:
            began_at, used = now, 0
        used += 1
        self._windows[key] = (began_at, used)
        ends_at = began_at + _WINDOW
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - used)),
            "X-RateLimit-Reset": str(math.ceil(ends_at.timestamp())),
        }
        if used > limit:
            # The text is made up, because the vendor documents only the numbers.
            wait = math.ceil((ends_at - now).total_seconds())
            raise ApiError(429, "Too many requests", {**headers, "Retry-After": str(wait)}, retryAfter=wait)
        return headers


def one_of(names: tuple[str, ...], headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the first of these headers that is present: its name and value, or the first name and ``""``."""
    return next(((name, headers[name]) for name in names if headers.get(name)), (names[0], ""))
