"""A channel to an incident service, which takes events and no text."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo

from monitor.core.messages.events import Event
from monitor.core.messages.message import Message
from monitor.errors import DeliveryError


class IncidentChannel(ABC):
    """
    A destination that takes one event for each change of an incident.

    Attributes:
        time_zone: of the times in the texts of events.
        takes_acknowledgements: whether the service supports acknowledgements.
        is_forgetful: whether the service resolves incidents that aren't sent again every minute.
    """

    time_zone: tzinfo = UTC
    takes_acknowledgements = False
    is_forgetful = False
    # There is no text whose length a writer could keep to, and no file to go with it.
    body_limit: int | None = None
    title_limit = 0
    takes_attachments = False

    def __init__(self, *, name: str, service: str, allow_reconnect_links: bool) -> None:
        self.name = name
        self.service = service
        self.allow_reconnect_links = allow_reconnect_links

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def send(self, message: Message) -> None:
        """Refuse: a message may be about many incidents, or about none."""
        raise DeliveryError("the channel accepts events, not messages", permanent=True)

    @abstractmethod
    def send_event(self, event: Event) -> None:
        """
        Send one event.

        Raises:
            DeliveryError: it was refused, or the result is unknown.
        """

    def refresh(self, load: Callable[[], Sequence[Event]]) -> int:
        """
        Send open incidents again to a service that forgets them.

        Args:
            load: gives the events; called when nothing else can be under way to the service.

        Returns:
            How many incidents were sent.

        Raises:
            DeliveryError: they were refused.
        """
        return 0
