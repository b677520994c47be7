"""What every channel can do, whatever kind of place it is."""

from datetime import tzinfo
from typing import Protocol

from monitor.core.messages.message import Message


class Channel(Protocol):
    """
    A destination for messages.

    Attributes:
        allow_reconnect_links: whether reconnect links may be sent here.
        time_zone: of the times in its messages.
        service: the name of the service, as ``slack`` or ``mailto``; never more of the URL.
        body_limit: the longest body worth writing, in characters; None without a limit.
        title_limit: the longest title in characters; 0 if it becomes the first line of the body.
        takes_attachments: whether a file can travel with a message.
    """

    @property
    def name(self) -> str: ...
    @property
    def allow_reconnect_links(self) -> bool: ...
    @property
    def time_zone(self) -> tzinfo: ...
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
        Send one message.

        Raises:
            DeliveryError: it was refused, or the result is unknown.
        """
        ...
