"""Apprise as the monitor wants it: one service a channel, silent, and no liberties taken by a URL."""

from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from monitor.channels.apprise_log import suppress_log
from monitor.channels.cards import use_card, use_click, use_own_text
from monitor.channels.mail import use_own_mail
from monitor.channels.plugins import parse_url
from monitor.channels.styles import is_written_anew
from monitor.core.routing.client_channels import SAMPLE_ID, SAMPLE_USERNAME, client_url
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from apprise import Apprise, AppriseAsset, NotifyBase

# Apprise's own timeout is 4 seconds. Later answers often mean a delivery, which would then be sent again.
READ_TIMEOUT = timedelta(seconds=15)


def check_url(name: str, url: str) -> None:
    """
    Check that a channel's URL leads to a service.

    Raises:
        ConfigError: it doesn't. The text names the channel and not the URL, which is a secret.
    """
    for_clients = client_url(url)
    services = _services((for_clients and for_clients.render(SAMPLE_ID, SAMPLE_USERNAME)) or url)
    if not services:
        raise ConfigError(
            f"channel {name}: Apprise can't use its URL; wanted one like "
            "slack://TOKEN_A/TOKEN_B/TOKEN_C or mailto://USER:PASSWORD@HOST"
        )
    if len(services) > 1:
        raise ConfigError(f"channel {name}: {len(services)} URLs in one; give each a channel of its own")


def open_service(url: str, sender: str = "") -> "Apprise | None":
    """
    Load the one service that a URL leads to.

    Args:
        sender: names the sender in services that show one, unless the URL does; empty for the monitor.

    Returns:
        An Apprise object that holds exactly one service; None if the URL leads to none or to several.
    """
    services = _services(url, sender)
    return services if len(services) == 1 else None


def _services(url: str, sender: str = "") -> "Apprise":
    from apprise import Apprise, AppriseAsset  # a good part of a second, so not before a channel is used
    from apprise.utils.parse import parse_urls

    suppress_log()
    asset = AppriseAsset(
        app_id=sender or "postpost-monitor",
        app_desc="PostPost token monitor",
        app_url="https://app.postpost.dev",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        interpret_emojis=False,
        interpret_escapes=False,
        secure_logging=True,
        async_mode=False,
        default_service_retry=0,
        service_timeout=0,
        language="en",
        timezone=UTC,
    )
    services = Apprise(asset=asset)
    for each in parse_urls(url.strip()):  # type: ignore[no-untyped-call]  # Apprise types it in part
        try:
            services.add(_opened(each, asset))
        except Exception:  # noqa: BLE001 - plugins parse their URLs themselves, and the error may quote the URL
            return Apprise(asset=asset)
    return services


def _opened(url: str, asset: "AppriseAsset") -> "NotifyBase":
    """
    Create a service from its URL, with the settings that the monitor decides itself.

    Raises:
        ValueError: no service understands the URL. Any other error is the service's own.
    """
    from apprise import OverflowMode

    understood = parse_url(url)
    if understood is None:
        raise ValueError("no service understands this URL")
    kind, parsed = understood
    if is_written_anew(kind):
        parsed.pop("format", None)
    service = kind(**parsed, asset=asset)
    # A URL may ask for these; the outbox depends on every one of them being as it is here.
    service.optional = False
    service.retry = 0
    service.redirects = False
    service.overflow_mode = OverflowMode.UPSTREAM
    vars(service).setdefault("socket_read_timeout", READ_TIMEOUT.total_seconds())
    for prepare in (use_card, use_own_text, use_click, use_own_mail):
        prepare(service)
    return service
