"""Notify channels that the monitor starts or stops: at once and once, since it is of no use later."""

from collections.abc import Iterable
from threading import Thread

import structlog

from monitor.channels.channel import Channel
from monitor.core.messages.message import Message
from monitor.errors import DeliveryError

log = structlog.get_logger()


def send_lifecycle_notice(channels: Iterable[Channel], message: Message) -> list[Thread]:
    """
    Send a message to channels, each on a thread of its own.

    Returns:
        The threads, for who wants to wait all the same.
    """
    threads = [
        Thread(target=_send, args=(channel, message), name=f"announce-{channel.name}", daemon=True)
        for channel in channels
    ]
    for thread in threads:
        thread.start()
    return threads


def _send(channel: Channel, message: Message) -> None:
    try:
        channel.send(message)
    except DeliveryError as error:
        log.warning("lifecycle_notice.failed", channel=channel.name, error=str(error))
    else:
        log.info("lifecycle_notice.delivered", channel=channel.name, title=message.title)
