"""What the tests of the providers share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.core.model import Failure
from monitor.errors import FetchError
from monitor.http.client import HttpClient
from monitor.providers import PROVIDERS
from monitor.providers.base import Brand
from monitor.providers.postpost import PostPost
from tests.providers.http_server import Authority, StandIn

KEY = "sk_mfx3kq9z_4f1d9c0be2.7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f"
NOW = datetime(2026, 2, 22, 20, 0, tzinfo=UTC)

MakeHttp = Callable[..., HttpClient]
Ask = Callable[..., PostPost]


@pytest.fixture
def make_http() -> Iterator[MakeHttp]:
    """Build the shared edge; closed at the end of the test."""
    with ExitStack() as opened:

        def make(
            *, timeout: float = 5, concurrency: int = 4, environ: dict[str, str] | None = None
        ) -> HttpClient:
            http = HttpClient(
                timeout=timedelta(seconds=timeout),
                concurrency=concurrency,
                environ=environ or {},
                user_agent="postpost-monitor/1.2.3",
            )
            opened.callback(http.close)
            return http

        yield make


@pytest.fixture
def http(make_http: MakeHttp) -> HttpClient:
    return make_http()


@pytest.fixture
def server() -> Iterator[StandIn]:
    standing = StandIn()
    yield standing
    standing.stop()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[StandIn]:
    standing = StandIn(authority.server_context("localhost"))
    yield standing
    standing.stop()


@pytest.fixture(params=sorted(PROVIDERS))
def brand(request: pytest.FixtureRequest) -> Brand:
    return PROVIDERS[request.param]


def account(
    url: str,
    http: HttpClient,
    *,
    brand: Brand = PROVIDERS["postpost"],
    api_key: str = KEY,
    clock: Callable[[], datetime] = lambda: NOW,
) -> PostPost:
    """Connect to one account, with the key that no text may ever hold."""
    return PostPost(brand, base_url=url, api_key=api_key, http=http, clock=clock)


def failure_of(provider: PostPost, managed_user_id: str | None = None) -> Failure:
    """Ask for connections and get none."""
    with pytest.raises(FetchError) as caught:
        provider.connections(managed_user_id)
    return caught.value.failure


def payload(name: str) -> bytes:
    return (Path(__file__).parent / "payloads" / name).read_bytes()
