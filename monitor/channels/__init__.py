"""Where messages go: named channels, each one Apprise URL."""

from collections.abc import Iterable, Mapping
from datetime import timedelta, tzinfo
from typing import Protocol

from monitor.channels import alertmanager, json_events, services
from monitor.channels.alertmanager import AlertmanagerChannel
from monitor.channels.apprise_channel import AppriseChannel
from monitor.channels.channel import Channel
from monitor.channels.client_channel import ClientChannel
from monitor.channels.http_call import HttpClient
from monitor.channels.incident_channel import IncidentChannel
from monitor.channels.incident_plugins import PagerDutyChannel, PluginChannel
from monitor.channels.json_events import JsonChannel
from monitor.channels.opsgenie import OpsgenieChannel
from monitor.core.routing.client_channels import client_url
from monitor.core.routing.incident_services import incident_service
from monitor.errors import ConfigError

SEND_TIMEOUT = timedelta(seconds=30)


class ChannelSettings(Protocol):
    """What the configuration says of a channel."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def allow_reconnect_links(self) -> bool: ...
    @property
    def time_zone(self) -> tzinfo: ...


def check_url(name: str, url: str) -> None:
    """
    Check that a channel's URL leads to a service.

    Raises:
        ConfigError: it doesn't. The text names the channel and not the URL, which is a secret.
    """
    readers = {"alertmanager": alertmanager.parse_url, "json": json_events.parse_url}
    read = readers.get(incident_service(url) or "")
    if read is None:
        services.check_url(name, url)
        return
    try:
        read(url)
    except ConfigError as error:
        raise ConfigError(f"channel {name}: {error}") from None


def open_channels(
    settings: Iterable[ChannelSettings],
    *,
    http: HttpClient | None = None,
    sender: str = "",
    timeout: timedelta = SEND_TIMEOUT,
) -> Mapping[str, Channel]:
    """
    Open the channels of the configuration, by name.

    This is quick, because Apprise is loaded when a channel is first used. ``check_url`` checks a URL beforehand.
    A bad one is a permanent ``DeliveryError`` when something is sent.

    Args:
        http: sends what doesn't go through Apprise; without it, such channels can only be described.
        sender: names the sender of messages to clients; empty if the configuration doesn't say.
        timeout: the longest that one ``send`` takes, whatever the service does.
    """
    return {one.name: _open(one, http, sender, timeout) for one in settings}


def _open(one: ChannelSettings, http: HttpClient | None, sender: str, timeout: timedelta) -> Channel:
    if service := incident_service(one.url):
        channel = _open_incident_channel(one, service, http, timeout)
        channel.time_zone = one.time_zone
        return channel
    if for_clients := client_url(one.url):
        return ClientChannel(
            name=one.name,
            url=for_clients,
            allow_reconnect_links=one.allow_reconnect_links,
            time_zone=one.time_zone,
            timeout=timeout,
            sender=sender,
        )
    return AppriseChannel(
        name=one.name,
        url=one.url,
        allow_reconnect_links=one.allow_reconnect_links,
        time_zone=one.time_zone,
        timeout=timeout,
    )


def _open_incident_channel(
    one: ChannelSettings, service: str, http: HttpClient | None, timeout: timedelta
) -> IncidentChannel:
    name, url, allow_reconnect_links = one.name, one.url, one.allow_reconnect_links
    match service:
        case "alertmanager":
            return AlertmanagerChannel(
                name=name, service=service, url=url, allow_reconnect_links=allow_reconnect_links, http=http
            )
        case "json":
            return JsonChannel(
                name=name, service=service, url=url, allow_reconnect_links=allow_reconnect_links, http=http
            )
        case "opsgenie":
            return OpsgenieChannel(
                name=name, service=service, url=url, allow_reconnect_links=allow_reconnect_links, http=http
            )
        case "pagerduty":
            return PagerDutyChannel(
                name=name,
                service=service,
                url=url,
                allow_reconnect_links=allow_reconnect_links,
                timeout=timeout,
                http=http,
            )
        case _:
            return PluginChannel(
                name=name,
                service=service,
                url=url,
                allow_reconnect_links=allow_reconnect_links,
                timeout=timeout,
            )


def describe(channel: Channel) -> str:
    """Return the service of a channel for a table, and nothing else of its URL."""
    return channel.service
