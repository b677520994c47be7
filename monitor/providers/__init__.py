"""
Providers: the HTTP APIs that list connections.

One service runs under two names. A ``Brand`` holds what differs between them. To add a provider, add its line to
``PROVIDERS``, the only place that knows its URLs, headers, key variable and limits, and a module beside
``postpost`` if its answers differ.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from monitor.providers.base import Brand, Provider

if TYPE_CHECKING:
    from monitor.api_clocks import ApiClock
    from monitor.clock import Clock
    from monitor.http.client import HttpClient

PROVIDERS: Mapping[str, Brand] = MappingProxyType(
    {
        brand.name: brand
        for brand in (
            Brand(
                name="postpost",
                implementation="monitor.providers.postpost:PostPost",
                base_url="https://api.postpost.dev",
                api_path="/api/v1",
                dashboard_url="https://app.postpost.dev",
                key_header="x-api-key",
                user_header="x-postpost-user-id",
                key_variable="POSTPOST_API_KEY",
                requests_per_minute=300,
            ),
            Brand(
                name="publora",
                implementation="monitor.providers.postpost:PostPost",
                base_url="https://api.publora.com",
                api_path="/api/v1",
                dashboard_url="https://app.publora.com",
                key_header="x-publora-key",
                user_header="x-publora-user-id",
                key_variable="PUBLORA_API_KEY",
                requests_per_minute=300,
            ),
        )
    }
)


def connect(
    provider: str,
    *,
    base_url: str | None = None,
    api_key: str,
    http: HttpClient,
    clock: Clock,
    api_clock: ApiClock | None = None,
) -> Provider:
    """
    Return the provider of one account. Sends nothing yet.

    Args:
        provider: a name in `PROVIDERS`.
        base_url: the brand's own by default; plain http only to loopback.
        api_clock: learns the offset of the API's clock from every answer; None if it isn't needed.

    Raises:
        ConfigError: the key or the base URL can't be used; the key is not in the text.
    """
    brand = PROVIDERS[provider]
    # requests takes 0.2 s to import, and --help needs none of it.
    implementation: Callable[..., Provider] = pkgutil.resolve_name(brand.implementation)
    return implementation(
        brand,
        base_url=base_url or brand.base_url,
        api_key=api_key,
        http=http,
        clock=clock,
        api_clock=api_clock,
    )
