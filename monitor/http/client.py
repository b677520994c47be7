"""
Send every HTTP request to an API, through one pool for the whole process.

Unlike a session, it follows no redirects (the key would travel along), keeps no cookies and reads no ``.netrc``.
An answer is limited in bytes after decompression, and the whole call is limited in time. Every failure is a
`FetchError` without the key.
"""

import http.client
import ssl
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import Timeout

from monitor.core.model import Failure
from monitor.errors import ConfigError, FetchError
from monitor.http import errors
from monitor.http.deadline import POOLS, Call, Watchdog, current
from monitor.http.proxies import Proxies, tls_context

_MAX_HOSTS = 1000
_ERROR_BODY_LIMIT = 64 * 1024
_STALE = (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Request(requests.PreparedRequest):
    """A prepared request with its proxies and its pool, which any thread can send any number of times."""

    proxies: dict[str, str]
    pool: HTTPConnectionPool | None = None
    target: str = ""
    headers: dict[str, str]  # type: ignore[assignment]  # all that the library needs, at a third of the cost

    def with_(
        self, headers: Mapping[str, str], *, path: str = "", body: bytes | None = None, method: str = ""
    ) -> "Request":
        """
        Return a copy with more headers, a longer path and a body. Nothing else varies between calls.

        Args:
            body: makes it a POST.
            method: another method, with or without a body.
        """
        made = Request()
        made.proxies, made.pool = self.proxies, self.pool
        made.url, made.target, made.body = f"{self.url}{path}", self.target + path, body
        made.method = method or (self.method if body is None else "POST")
        made.headers = {**self.headers, **headers}
        if body is not None:
            made.headers["Content-Length"] = str(len(body))
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A complete answer. Its text may repeat what was sent, so its repr hides it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class HttpClient:
    """
    The pool that every provider shares.

    Args:
        timeout: for one whole request, including name resolution and connecting.
        concurrency: maximum of requests in flight, and of open connections to a host.
        max_answer: maximum bytes of an ordinary answer, after decompression.
        environ: names proxies and the CA bundle; read once, here.

    Raises:
        ConfigError: a proxy or the CA bundle can't be used.
    """

    def __init__(
        self,
        *,
        timeout: timedelta,
        concurrency: int,
        environ: Mapping[str, str],
        user_agent: str,
        max_answer: int = 2 * 2**20,
    ) -> None:
        self.max_answer = max_answer
        self._seconds = timeout.total_seconds()
        # Half for one address, so that one that never answers leaves time for the next.
        self._timeout: Any = Timeout(connect=self._seconds / 2, read=self._seconds)
        self._user_agent = user_agent
        self._proxies = Proxies(environ)
        self._adapter = _Adapter(concurrency, tls_context(environ))
        self._watchdog = Watchdog(self._seconds)

    def prepare(self, url: str, headers: Mapping[str, str]) -> Request:
        """
        Prepare a request, once for many calls.

        Raises:
            ConfigError: the URL can't be used.
        """
        prepared = Request()
        try:
            prepared.url = str(requests.Request("GET", url).prepare().url)
            proxy = self._proxies(prepared.url)
            prepared.proxies = {urlsplit(prepared.url).scheme: proxy} if proxy else {}
            self._adapter.get_connection_with_tls_context(prepared, verify=True, proxies=prepared.proxies)
            prepared.target = self._adapter.request_url(prepared, prepared.proxies)
        except (ValueError, requests.RequestException):
            raise ConfigError("base_url: not a usable URL; write https://host") from None
        prepared.method, prepared.body = "GET", None
        prepared.headers = {
            "User-Agent": self._user_agent,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            **headers,
        }
        return prepared

    def send(self, request: Request, *, limit: int) -> Response:
        """
        Send a request and read the whole answer.

        Args:
            limit: maximum bytes of the body, after decompression.

        Raises:
            FetchError: there was no complete HTTP answer. It has no cause and no context, because the library's
                own errors contain the request and with it the key.
        """
        outcome = self._outcome(request, limit)  # a frame of its own, so that no traceback shows its values
        if isinstance(outcome, Failure):
            raise FetchError(outcome)
        return outcome

    def call(self, method: str, url: str, headers: Mapping[str, str], *, body: bytes, limit: int) -> Response:
        """
        Send one request with a body, to an address that is rarely used.

        Args:
            limit: maximum bytes of the answer's body, after decompression.

        Raises:
            ConfigError: the URL can't be used.
            FetchError: as `send` raises it.
        """
        return self.send(self.prepare(url, {}).with_(headers, body=body, method=method), limit=limit)

    def close(self) -> None:
        """Close every connection. Pending calls are interrupted and fail."""
        self._watchdog.close()
        self._adapter.close()

    def _outcome(self, request: Request, limit: int) -> Response | Failure:
        call = current.call = Call(self._seconds)
        handled = sys.exception()
        self._watchdog.calls.add(call)
        try:
            try:
                return self._attempt(request, call, limit)
            except requests.ConnectionError as error:
                # The server may have closed a kept connection just before it was used again.
                is_stale = any(isinstance(each, _STALE) for each in errors.error_chain(error, handled))
                if not (is_stale and call.is_reused and not call.is_aborted and request.method == "GET"):
                    raise
            return self._attempt(request, call, limit)
        except Exception as error:  # noqa: BLE001 - whatever the library throws, this poll saw nothing
            reasons = errors.error_chain(error, handled)
            for each in reasons:  # their frames hold sockets and reference one another
                traceback.clear_frames(each.__traceback__)
            if self._watchdog.is_closed:
                reasons = [errors.ClosedError()]
            elif call.is_aborted or call.is_overdue:
                reasons = [TimeoutError()]
            host = urlsplit(str(request.url)).netloc
            return errors.from_exceptions(reasons, host=host, seconds=self._seconds)
        finally:
            self._watchdog.calls.discard(call)

    def _attempt(self, request: Request, call: Call, limit: int) -> Response:
        sent = self._adapter.send(request, stream=True, timeout=self._timeout, proxies=request.proxies)
        raw = sent.raw
        try:
            if raw.status >= 300:
                body = b"" if raw.status < 400 else raw.read(_ERROR_BODY_LIMIT, decode_content=True)
            else:
                body = raw.read(limit + 1, decode_content=True)
                if len(body) > limit:
                    raise errors.OversizedError(limit)
        finally:
            raw.close()  # a connection is back in the pool once its answer was read to the end
        if call.is_aborted:  # a body without a length looks complete if its socket was shut down
            raise TimeoutError
        return Response(status=raw.status, headers=raw.headers, body=body)


class _Adapter(HTTPAdapter):
    """The library's adapter, whose connections have a deadline and share one TLS context."""

    def __init__(self, concurrency: int, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=_MAX_HOSTS, pool_maxsize=concurrency)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, proxy_ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:
        host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {"ssl_context": self._context}

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        """Return the pool that was found when the request was prepared."""
        if request.pool is None:
            request.pool = super().get_connection_with_tls_context(request, *args, **kwargs)
        pool: HTTPConnectionPool = request.pool
        return pool

    def request_url(self, request: Any, proxies: Any) -> str:
        return request.target or super().request_url(request, proxies)

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        """Wrap the answer without cookies and encoding, which aren't used."""
        response = requests.Response()
        response.raw = resp
        return response

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Do nothing: the pool's context verifies. Naming a bundle would load it for each connection."""
