"""Where messages go: named channels, each one Apprise URL."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Protocol

from monitor.channels.apprise_channel import AppriseChannel
from monitor.channels.client_channel import ClientChannel
from monitor.channels.services import check_url
from monitor.core.clients import client_url
from monitor.core.outgoing import Attachment, Message

SEND_WITHIN = timedelta(seconds=30)

__all__ = [
    "Attachment",
    "Channel",
    "ChannelSettings",
    "ClientChannel",
    "Message",
    "check_url",
    "describe",
    "open_channels",
]


class Channel(Protocol):
    """
    A place that takes messages.

    Attributes:
        private: whether links that let their reader act may be sent here.
        service: what kind of place it is, as ``slack`` or ``mailto``; never more of the URL.
        body_limit: the longest body worth writing, in characters; None where there is no limit.
        title_limit: the longest title in characters; 0 where it becomes the first line of the body.
        takes_attachments: whether a file can travel with a message.
    """

    @property
    def name(self) -> str: ...
    @property
    def private(self) -> bool: ...
    @property
    def service(self) -> str: ...
    @property
    def body_limit(self) -> int | None: ...
    @property
    def title_limit(self) -> int: ...
    @property
    def takes_attachments(self) -> bool: ...

    def send(self, message: Message) -> None:
        """
        Hand over one message.

        Raises:
            DeliveryError: it was not taken, or nobody knows.
        """
        ...


class ChannelSettings(Protocol):
    """What the configuration says of a channel."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def private(self) -> bool: ...


def open_channels(
    settings: Iterable[ChannelSettings], *, timeout: timedelta = SEND_WITHIN
) -> Mapping[str, Channel]:
    """
    Make the channels of the configuration ready, by name.

    This is quick: Apprise is loaded when a channel is first used. ``check_url`` tells beforehand whether a
    URL is any good; a bad one is a permanent ``DeliveryError`` when something is sent.

    Args:
        timeout: the longest that one ``send`` takes, whatever the service does.
    """
    return {one.name: _open(one, timeout) for one in settings}


def _open(one: ChannelSettings, timeout: timedelta) -> Channel:
    if for_clients := client_url(one.url):
        return ClientChannel(name=one.name, url=for_clients, private=one.private, timeout=timeout)
    return AppriseChannel(name=one.name, url=one.url, private=one.private, timeout=timeout)


def describe(channel: Channel) -> str:
    """Say what kind of place a channel is, for a table: the service alone, nothing else of its URL."""
    return channel.service
