"""PostPost and Publora: one API under two names."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote, urlsplit

from monitor.api_clocks import ApiClock
from monitor.clock import Clock
from monitor.core.model import Connection, Failure, FailureScope, Outcome, RuleName
from monitor.core.rules.clock_skew import is_plausible
from monitor.errors import ConfigError, FetchError
from monitor.http.client import HttpClient, Request, Response
from monitor.http.errors import bad_answer
from monitor.providers import api_errors, wire
from monitor.providers.base import (
    Brand,
    ConnectionList,
    ConnectionTest,
    ReconnectLink,
    UndecodedList,
    Workspace,
)
from monitor.providers.fields import UnreadableError

# How many times longer than another answer the list of managed users may be.
USER_LIST_FACTOR = 16

_T = TypeVar("_T")
_LIMIT_HEADER, _REMAINING_HEADER = "X-RateLimit-Limit", "X-RateLimit-Remaining"
# A proxy changed the answer or sent a part of it. What is missing in it proves nothing.
_NOT_WHOLE = {203: "203 Non-Authoritative Information", 206: "206 Partial Content"}
_SENDABLE = re.compile(r"[!-~]{1,255}")


class PostPost:
    """
    One account of the API. Made by `connect`, safe for threads.

    Raises:
        ConfigError: the key or the base URL can't be used; the key is not in the text.
    """

    def __init__(
        self,
        brand: Brand,
        *,
        base_url: str,
        api_key: str,
        http: HttpClient,
        clock: Clock,
        api_clock: ApiClock | None = None,
    ) -> None:
        if not _SENDABLE.fullmatch(api_key):
            raise ConfigError(
                "the API key contains an invalid character (a space, a line break, an accent)"
                " or is longer than 255 characters; copy it again"
            )
        _refuse_open_http(base_url)
        self._brand = brand
        self._key_bytes = api_key.encode()
        self._http = http
        self._clock = clock
        self._api_clock = api_clock
        self._api = http.prepare(f"{base_url.rstrip('/')}{brand.api_path}", {brand.key_header: api_key})
        self._listing = self._api.with_({}, path="/platform-connections")

    @property
    def dashboard_url(self) -> str:
        """Where people reconnect by hand."""
        return self._brand.dashboard_url

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        """
        List the connections of the account, or of one managed user of it.

        Raises:
            FetchError: there was no usable answer; nothing else is raised.
        """
        return self.fetch_connections(managed_user_id).decode()

    def fetch_connections(self, managed_user_id: str | None = None) -> UndecodedList:
        """
        List the connections as ``connections`` does, and leave the list undecoded.

        Raises:
            FetchError: there was no answer, or it refuses.
        """
        request = self._for_user(self._listing, managed_user_id)
        reply = self._call(request, self._http.max_answer, for_user=managed_user_id is not None)
        has_limits = _LIMIT_HEADER in reply.headers or _REMAINING_HEADER in reply.headers
        answer = UndecodedList(
            decode=lambda: self._read(reply, lambda reply: self._read_list(reply, answer)),
            response_digest=wire.response_digest(reply.body),
            clock_offset=self._api_clock.expiry_offset() if self._api_clock else timedelta(),
        )
        if has_limits:
            answer = replace(
                answer,
                limit=api_errors.read_count(reply.headers.get(_LIMIT_HEADER)),
                remaining=api_errors.read_count(reply.headers.get(_REMAINING_HEADER)),
                reset_after=api_errors.read_wait(reply.headers.get("X-RateLimit-Reset"), self._clock()),
            )
        return answer

    def workspace_users(self) -> Workspace:
        """
        List the managed users of this key.

        Raises:
            FetchError: there was no usable answer.
        """
        request = self._api.with_({}, path="/workspace/users")
        return self._read(
            self._call(request, USER_LIST_FACTOR * self._http.max_answer),
            lambda reply: wire.read_workspace(reply.body),
        )

    def connection_url(self, managed_user_id: str, *, rotate: bool = False) -> ReconnectLink:
        """
        Create a link with which a managed user reconnects.

        Args:
            rotate: end the link that the user already has.

        Raises:
            FetchError: there was no usable answer.
        """
        path = f"/workspace/users/{quote(managed_user_id, safe='')}/connection-url"
        request = self._posting(self._api, path, b'{"rotate":true}' if rotate else b"{}")
        reply = self._call(request, self._http.max_answer, for_user=True)
        return self._read(reply, lambda reply: wire.read_link(reply.body))

    def run_connection_test(self, platform_id: str, managed_user_id: str | None = None) -> ConnectionTest:
        """
        Test one connection on its platform through the API, which spends the platform's quota.

        Raises:
            FetchError: there was no usable answer.
        """
        path = f"/test-connection/{quote(platform_id, safe='')}"
        # A server that validates requests refuses a body here, and a Content-Type without one.
        request = self._for_user(self._api.with_({}, path=path, method="POST"), managed_user_id)
        reply = self._call(request, self._http.max_answer, for_user=managed_user_id is not None)
        return self._read(reply, lambda reply: wire.read_connection_test(reply.body))

    def _posting(self, request: Request, path: str, body: bytes) -> Request:
        return request.with_({"Content-Type": "application/json"}, path=path, body=body)

    def _for_user(self, request: Request, managed_user_id: str | None) -> Request:
        if managed_user_id is None:
            return request
        if not _SENDABLE.fullmatch(managed_user_id):
            raise FetchError(
                Failure(
                    outcome=Outcome.BAD_REQUEST,
                    rule=RuleName.USER_NOT_MANAGED,
                    error="the managed-user id contains a character that can't be sent",
                    remedy="correct it in managed_users: an id has 24 hexadecimal characters",
                    scope=FailureScope.USER,
                )
            )
        return request.with_({self._brand.user_header: managed_user_id})

    def _call(self, request: Request, limit: int, *, for_user: bool = False) -> Response:
        reply = self._exchange(request, limit)
        if self._key_bytes in reply.body:
            # If the API repeats the key, it must not get into a log or a database.
            reply = replace(reply, body=reply.body.replace(self._key_bytes, b"[the API key]"))
        if reply.status in _NOT_WHOLE:
            raise FetchError(
                bad_answer(f"the answer isn't whole: {_NOT_WHOLE[reply.status]}", status=reply.status)
            )
        if 200 <= reply.status < 300:
            return reply
        raise FetchError(
            api_errors.from_response(reply, brand=self._brand, for_user=for_user, now=self._clock())
        )

    def _exchange(self, request: Request, limit: int) -> Response:
        """Send a request, and update the API's clock from the answer, whatever its status."""
        if self._api_clock is None:
            return self._http.send(request, limit=limit)
        sent = self._api_clock.start()
        try:
            reply = self._http.send(request, limit=limit)
        except FetchError as error:
            if error.failure.is_clock_suspect:
                self._api_clock.on_suspicion()
            raise
        self._api_clock.on_answer(sent, reply.headers)
        return reply

    def _read(self, reply: Response, reader: Callable[[Response], _T]) -> _T:
        try:
            return reader(reply)
        except UnreadableError as error:
            wrong = str(error)
        except Exception as error:  # noqa: BLE001 - an answer that trips the reader is a bad answer
            wrong = f"the answer could not be read ({type(error).__name__})"
        raise FetchError(bad_answer(wrong, status=reply.status))

    def _read_list(self, reply: Response, answer: UndecodedList) -> ConnectionList:
        listed = wire.read_connections(reply.body)
        now = self._clock() + answer.clock_offset
        return replace(
            listed,
            connections=tuple(_plausible(each, now) for each in listed.connections),
            response_digest=answer.response_digest,
            limit=answer.limit,
            remaining=answer.remaining,
            reset_after=answer.reset_after,
            clock_offset=answer.clock_offset,
        )


def _plausible(seen: Connection, now: datetime) -> Connection:
    """Return None for a date of 1970 or a hundred years ahead: it is a zero or a sentinel."""
    if seen.expires_at and not is_plausible(seen.expires_at, now):
        return replace(seen, expires_at=None)
    return seen


def _refuse_open_http(base_url: str) -> None:
    """Refuse plain http beyond loopback, because the key could be read on the way."""
    try:
        parts = urlsplit(base_url)
    except ValueError:
        raise ConfigError("base_url: not a URL; write https://host") from None
    host = parts.hostname or ""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # the host is a name, or it is no URL at all
        is_loopback = False
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("base_url: it must have no user, password, query or fragment; write https://host")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback):
        raise ConfigError("base_url: it must begin with https://; plain http is for loopback only")
