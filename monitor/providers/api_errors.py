"""
Error answers of the API as a `Failure` for the operator, by status and text.

Source: PostPost API reference, the tables of errors.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import responses
from urllib.parse import urlsplit

import msgspec

from monitor.core.model import Failure, FailureScope, Outcome, RuleName
from monitor.core.text import one_line
from monitor.http.client import Response
from monitor.http.errors import bad_answer, normalize_text
from monitor.providers.base import Brand

MAX_WAIT = timedelta(hours=1)
_WORDS_LENGTH = 120
_COUNT = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _ApiError:
    """One row of the table. Braces are replaced by the brand's names."""

    rule: RuleName
    error: str
    remedy: str
    scope: FailureScope = FailureScope.UNCLEAR


class _Busy(msgspec.Struct):
    """The body of a 429, if it says how long to wait."""

    retryAfter: float  # noqa: N815 - the API's name


def _rejected(error: str, remedy: str) -> _ApiError:
    return _ApiError(rule=RuleName.API_KEY_REJECTED, error=error, remedy=remedy, scope=FailureScope.KEY)


def _denied(error: str, remedy: str, scope: FailureScope = FailureScope.UNCLEAR) -> _ApiError:
    return _ApiError(rule=RuleName.ACCESS_DENIED, error=error, remedy=remedy, scope=scope)


def _not_managed(error: str, remedy: str) -> _ApiError:
    return _ApiError(rule=RuleName.USER_NOT_MANAGED, error=error, remedy=remedy, scope=FailureScope.USER)


def _failing(error: str) -> _ApiError:
    return _ApiError(
        rule=RuleName.API_UNREACHABLE,
        error=error,
        remedy="",
    )


_BAD_USER_ID = _not_managed(
    "the managed-user id is not an id",
    "correct it in managed_users: an id has 24 hexadecimal characters",
)
_NOT_MANAGED = _not_managed(
    "the user is not managed by this API key",
    "add the user again at {dashboard}, or remove its id if managed_users lists it",
)
_API_ERRORS: Mapping[tuple[int, str], _ApiError] = {
    (400, "invalid x-postpost-user-id"): _BAD_USER_ID,
    (400, "invalid x-publora-user-id"): _BAD_USER_ID,
    (401, "api key is required"): _rejected(
        "the API saw no API key",
        "check that provider names the key's provider and that no proxy drops {key_header}",
    ),
    (401, "invalid api key"): _rejected(
        "the API key is invalid or was revoked", "replace the key with a valid one from {dashboard}"
    ),
    (401, "invalid api key owner"): _rejected(
        "the owner of the API key no longer exists", "create a key of an existing account at {dashboard}"
    ),
    (403, "api access is not enabled for this account"): _denied(
        "the account's plan has no API access",
        "enable API access for the account at {dashboard}",
        FailureScope.KEY,
    ),
    (403, "mcp access is not enabled for this account"): _denied(
        "the account's plan has no MCP access, and the API took the monitor for an MCP client",
        "check that no proxy adds a client header",
        FailureScope.KEY,
    ),
    (403, "workspace access is not enabled for this key"): _denied(
        "the API key has no access to managed users",
        "enable workspace access for the key at {dashboard}, or set managed_users: none",
        FailureScope.USERS,
    ),
    (403, "user is not managed by key"): _NOT_MANAGED,
    (404, "connection not found"): _denied("the API does not know this connection", ""),
    (404, "user not found or not managed by this key"): _NOT_MANAGED,
}

_OUTCOMES: Mapping[int, Outcome] = {
    401: Outcome.UNAUTHORIZED,
    403: Outcome.FORBIDDEN,
    407: Outcome.NETWORK_ERROR,
    408: Outcome.TIMEOUT,
    429: Outcome.RATE_LIMITED,
    504: Outcome.TIMEOUT,
}


def from_response(reply: Response, *, brand: Brand, for_user: bool, now: datetime) -> Failure:
    """
    Return the failure that an error answer means.

    Args:
        reply: of any status but 2xx.
        for_user: the request was about a managed user.
        now: aware UTC, for a ``Retry-After`` that is a date.
    """
    if reply.status < 400:
        return bad_answer(
            f"the API redirects to {_redirect_host(reply)}; the monitor doesn't follow, because the key would leak",
            status=reply.status,
            remedy="set base_url to the address of the API",
        )
    said = _error_words(reply.body)
    refusal = next(
        (
            _API_ERRORS[reply.status, words.lower()]
            for words in said
            if (reply.status, words.lower()) in _API_ERRORS
        ),
        None,
    )
    if refusal is None:
        refusal = _by_status(reply.status)
    rule, scope = refusal.rule, refusal.scope
    if rule is RuleName.USER_NOT_MANAGED and not for_user:
        rule, scope = RuleName.ACCESS_DENIED, FailureScope.UNCLEAR
    words = said[0] if said else responses.get(reply.status, "")
    names = {
        "words": f"{reply.status} {normalize_text(words, _WORDS_LENGTH - 4)}".rstrip(),
        "dashboard": brand.dashboard_url,
        "key_header": brand.key_header,
    }
    may_wait = reply.status == 429 or reply.status >= 500
    return Failure(
        outcome=_OUTCOMES.get(
            reply.status, Outcome.SERVER_ERROR if reply.status >= 500 else Outcome.BAD_REQUEST
        ),
        rule=rule,
        error=refusal.error.format_map(names),
        remedy=refusal.remedy.format_map(names),
        http_status=reply.status,
        retry_after=_retry_after(reply, now) if may_wait else None,
        scope=scope,
        limit=read_count(reply.headers.get("X-RateLimit-Limit")),
    )


def read_count(text: str | None) -> int | None:
    """Read a number of requests; None if it isn't one."""
    return int(text) if text and _COUNT.fullmatch(text.strip()) else None


def read_wait(text: str | None, now: datetime) -> timedelta | None:
    """
    Read how long to wait: seconds, a time in seconds or milliseconds since 1970, or an HTTP date.

    Returns:
        An hour at most; None for a past or unreadable time.
    """
    if not text:
        return None
    try:
        seconds = float(text)
        if seconds > 1e11:  # nor the year 5138
            seconds /= 1000
        if seconds > 1e9:  # no server means 30 years
            seconds -= now.timestamp()
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
        except (ValueError, OverflowError):
            return None
    if math.isnan(seconds) or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, MAX_WAIT.total_seconds()))


def _by_status(status: int) -> _ApiError:
    """Return the failure of a status whose text is unknown."""
    if status == 401:
        return _rejected(
            "the API key was rejected: {words}", "replace the key with a valid one from {dashboard}"
        )
    if status == 403:
        return _denied("the API denied access: {words}", "check the permissions of the key at {dashboard}")
    if status == 407:
        return _ApiError(
            rule=RuleName.API_UNREACHABLE,
            error="the proxy requires a user name and a password",
            remedy="put them in the proxy's URL: http://user:password@host:port",
        )
    if status == 429:
        return _ApiError(
            rule=RuleName.API_UNREACHABLE,
            error="the API's rate limit was exceeded",
            remedy="lower polling.requests_per_minute, if it lasts",
            scope=FailureScope.KEY,
        )
    if status == 408 or status >= 500:
        return _failing("the API is returning errors: HTTP {words}")
    return _denied("the API refused the request: {words}", "check base_url")


def _error_words(body: bytes) -> list[str]:
    """Read the text of an error, the stable ``code`` first."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict):
        return []
    found = [document.get(name) for name in ("code", "error", "message")]
    flat = [words.get("message") if isinstance(words, dict) else words for words in found]
    return [words.strip() for words in flat if isinstance(words, str) and words.strip()]


def _redirect_host(reply: Response) -> str:
    try:
        host = urlsplit(reply.headers.get("Location", "")).hostname
    except ValueError:
        host = None
    return f"host {one_line(host, 80)}" if host else "another address"


def _retry_after(reply: Response, now: datetime) -> timedelta | None:
    given = read_wait(reply.headers.get("Retry-After"), now)
    if given is not None:
        return given
    try:
        given = read_wait(f"{msgspec.json.decode(reply.body, type=_Busy).retryAfter}", now)
    except (ValueError, RecursionError):
        given = None
    if given is None and reply.status == 429:
        given = read_wait(reply.headers.get("X-RateLimit-Reset"), now)
    return given
