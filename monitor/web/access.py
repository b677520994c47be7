"""Which requests are allowed, and the headers of every answer."""

import base64
import binascii
import hmac
from asyncio import sleep
from collections.abc import Callable
from ipaddress import ip_address

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger()

PUBLIC_PATH = "/healthz"
# The delay of the answer to a wrong token, in seconds.
WRONG_TOKEN_DELAY = 1.0
# The limit of a request head: its target and its headers.
MAX_HEAD_BYTES = 16 * 1024

HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # A connection serves one request, so idle ones don't block others, and none outlives a reload.
    "connection": "close",
}


class AccessMiddleware:
    """
    Middleware that allows only reading, and only with access.

    Args:
        token: returns the token that every request except ``/healthz`` must send; None if none is needed.
        policy: the content security policy of every answer.
    """

    def __init__(self, app: ASGIApp, *, token: Callable[[], str | None], policy: str) -> None:
        self._app = app
        self._token = token
        self._headers = {**HEADERS, "content-security-policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on an allowed request, or refuse it."""
        has_begun = False

        async def guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        if refusal := self._denial(scope):
            if refusal.status_code == 401 and "authorization" in Headers(scope=scope):
                # With the limit of connections an address has, this bounds how many tokens it can try.
                await sleep(WRONG_TOKEN_DELAY)
            return await refusal(scope, receive, guarded)
        try:
            await self._app(scope, receive, guarded)
        except Exception:
            log.exception("web.request_failed", path=scope["path"])
            if not has_begun:
                broken = PlainTextResponse("an error in the monitor; see its log\n", 500)
                await broken(scope, receive, guarded)
        return None

    def _denial(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        said = sum(len(name) + len(value) + 4 for name, value in headers.raw)
        if said + len(scope["raw_path"]) + len(scope["query_string"]) > MAX_HEAD_BYTES:
            return PlainTextResponse("the request head is too large\n", 431)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("read-only: only GET and HEAD\n", 405, {"allow": "GET, HEAD"})
        token = self._token()
        if token is None:
            # A page from elsewhere can make its own name lead to this machine, but it can't send a token.
            if not _is_local(headers.get("host")):
                return PlainTextResponse("want localhost or a loopback address as the host\n", 421)
        elif scope["path"] != PUBLIC_PATH and not _has_token(headers.getlist("authorization"), token):
            asked = {"www-authenticate": 'Bearer, Basic realm="postpost-monitor", charset="UTF-8"'}
            return PlainTextResponse("want the token: Authorization: Bearer …\n", 401, asked)
        return None


def _is_local(host: str | None) -> bool:
    """Return whether a Host header names this machine. Every browser sends one."""
    if host is None:
        return True
    name, _, port = host.removeprefix("[").partition("]") if host.startswith("[") else host.partition(":")
    if not port.removeprefix(":").isdecimal() and port not in {"", ":"}:
        return False
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _has_token(authorization: list[str], token: str) -> bool:
    """Return whether a request has the token: as a bearer, or as a browser's password with any name."""
    if len(authorization) != 1:
        return False
    scheme, _, shown = authorization[0].partition(" ")
    given = shown.strip().encode("utf-8", "replace")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given, token.encode())
