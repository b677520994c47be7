"""A channel whose URL differs for each managed user."""

from datetime import UTC, timedelta, tzinfo
from typing import TYPE_CHECKING

from monitor.channels.apprise_channel import AppriseChannel
from monitor.core.messages.message import Message
from monitor.core.model import Target
from monitor.core.routing.client_channels import SAMPLE_ID, SAMPLE_USERNAME, ClientUrl
from monitor.errors import DeliveryError

if TYPE_CHECKING:
    from monitor.channels.channel import Channel


class ClientChannel:
    """
    An Apprise URL with places for a managed user.

    Its attributes hold for every client. To send, choose one with ``for_target``.

    Args:
        sender: names the sender of the messages; empty if the configuration doesn't say.
    """

    def __init__(
        self,
        *,
        name: str,
        url: ClientUrl,
        allow_reconnect_links: bool,
        timeout: timedelta,
        time_zone: tzinfo = UTC,
        sender: str = "",
    ) -> None:
        self.name = name
        self.allow_reconnect_links = allow_reconnect_links
        self.time_zone = time_zone
        self.sender = sender
        self._url = url
        self._timeout = timeout
        self._sample = self._channel(url.render(SAMPLE_ID, SAMPLE_USERNAME) or "")

    def __repr__(self) -> str:
        return f"ClientChannel({self.name!r})"

    @property
    def service(self) -> str:
        return self._sample.service

    @property
    def body_limit(self) -> int | None:
        return self._sample.body_limit

    @property
    def title_limit(self) -> int:
        return self._sample.title_limit

    @property
    def takes_attachments(self) -> bool:
        return False

    def for_target(self, target: Target) -> "Channel | None":
        """Return the channel of one managed user; None if it has no plausible address."""
        url = self._url.render(target.managed_user_id or "", target.username)
        return self._channel(url) if url and target.managed_user_id else None

    def send(self, message: Message) -> None:
        """Refuse: without a managed user there is no recipient."""
        raise DeliveryError("the channel sends to each managed user apart", permanent=True)

    def _channel(self, url: str) -> AppriseChannel:
        return AppriseChannel(
            name=self.name,
            url=url,
            allow_reconnect_links=self.allow_reconnect_links,
            time_zone=self.time_zone,
            timeout=self._timeout,
            sender=self.sender,
        )
