"""The routes: a page for people, the rest for programs."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from monitor.app import App
from monitor.core.text import one_line
from monitor.errors import StorageError
from monitor.metrics import Metrics
from monitor.storage.store import Store
from monitor.web import api, gauges, readiness, status_page
from monitor.web.access import AccessMiddleware
from monitor.web.api import BadQuery
from monitor.workers.liveness import Liveness

# The web may use at most this many connections to the database, so that the jobs have enough.
READERS = 2
RESPONSE_TIMEOUT = timedelta(seconds=8)
DATABASE_UNAVAILABLE = "the history database doesn't answer"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteState:
    """
    The state that the site shows.

    Args:
        liveness, metrics: of the running daemon; None while it stands by or waits for its database.
        is_standby: whether another daemon monitors the database.
    """

    app: App
    liveness: Liveness | None = None
    metrics: Metrics | None = None
    is_standby: bool = False

    @property
    def every(self) -> Mapping[str, timedelta]:
        """How often the targets of each account are polled, as far as its key's budget allows."""
        return self.app.context.rate_limits.intervals()

    @property
    def token(self) -> str | None:
        """The token that requests must send; None if none is needed."""
        web = self.app.config.web
        return web.token.get_secret_value() if web and web.token else None


class WebApp:
    """
    The web application.

    Args:
        state: returns the state; called for every request, because a reload changes it.
    """

    def __init__(self, state: Callable[[], SiteState]) -> None:
        self._state = state
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="web-read")
        routes = [
            Route("/", self._page),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics),
            Route("/api/connections", self._connections),
            Route("/api/incidents", self._incidents),
        ]
        # Only a router: a Starlette application would answer errors itself before they are logged.
        inner = Router(routes, redirect_slashes=False)
        self.asgi = AccessMiddleware(inner, token=lambda: state().token, policy=status_page.POLICY)

    def close(self) -> None:
        """Stop answering."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _page(self, request: Request) -> Response:
        shown = self._state()
        try:
            text = await self._read(
                lambda store: status_page.render_page(store, shown.app.context.clock(), every=shown.every)
            )
        except (StorageError, TimeoutError):
            return PlainTextResponse(f"{DATABASE_UNAVAILABLE}\n", 503)
        return Response(text, media_type="text/html")

    async def _healthz(self, request: Request) -> Response:
        progress = self._state().liveness
        if stalled := progress.stalled() if progress else []:
            return PlainTextResponse(f"stalled: {', '.join(stalled)}\n", 503)
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        shown = self._state()
        if shown.liveness is None and not shown.is_standby:
            return PlainTextResponse("waiting for the history database\n", 503)
        app = shown.app
        try:
            lines = await self._in_time(
                lambda: readiness.readiness_problems(app.database, shown.every, app.context.clock())
            )
        except (StorageError, TimeoutError):
            lines = [DATABASE_UNAVAILABLE]
        return PlainTextResponse("\n".join([*lines, ""]) if lines else "ok\n", 503 if lines else 200)

    async def _metrics(self, request: Request) -> Response:
        shown = self._state()
        if shown.metrics is None:
            reason = "standing by" if shown.is_standby else "waiting for the history database"
            return PlainTextResponse(f"{reason}\n", 503)
        now, web = shown.app.context.clock(), shown.app.config.web
        expiries_at_most = web.connection_metrics_at_most if web and web.connection_metrics else 0
        try:
            standing = await self._read(
                lambda store: gauges.load_metrics_data(
                    store, now, every=shown.every, expiries_at_most=expiries_at_most
                )
            )
        except (StorageError, TimeoutError):
            standing = None
        idle = shown.liveness.ages() if shown.liveness else {}
        text = shown.metrics.render(
            gauges.Gauges(
                standing,
                rates=shown.app.context.rate_limits.rates(),
                skews=shown.app.context.clocks.skews(),
                idle=idle,
                now=now,
            )
        )
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def _connections(self, request: Request) -> Response:
        return await self._listed(request, api.connections)

    async def _incidents(self, request: Request) -> Response:
        return await self._listed(request, api.incidents)

    async def _listed(
        self, request: Request, listing: Callable[[Store, Sequence[tuple[str, str]]], bytes]
    ) -> Response:
        asked = request.query_params.multi_items()
        try:
            return _json(await self._read(lambda store: listing(store, asked)))
        except BadQuery as error:
            return _json(json.dumps({"error": one_line(str(error))}).encode(), 400)
        except (StorageError, TimeoutError):
            return _json(json.dumps({"error": DATABASE_UNAVAILABLE}).encode(), 503)

    async def _read(self, ask: Callable[[Store], _T]) -> _T:
        database = self._state().app.database

        def read() -> _T:
            with database.read() as store:
                return ask(store)

        return await self._in_time(read)

    async def _in_time(self, work: Callable[[], _T]) -> _T:
        """
        Query the database on a thread, so that the loop keeps answering ``/healthz``.

        Raises:
            TimeoutError: the query hangs. Its thread is blocked until it ends.
        """
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(
            loop.run_in_executor(self._readers, work), RESPONSE_TIMEOUT.total_seconds()
        )


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
