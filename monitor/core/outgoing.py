"""What leaves the monitor for a channel: one message, ready to send."""

from dataclasses import dataclass, field

from monitor.core.model import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """
    A file that travels with a message, for channels that take one.

    Args:
        name: a bare file name, no directory in it.
        mime: the media type, as ``text/csv``.
    """

    name: str
    content: bytes
    mime: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    One message for one channel, plain text.

    Args:
        title: one line without text from outside.
        body: lines of plain text; what came from outside is harmless already.
        severity: the worst that is still open; None where the news is good.
        key: the same for this message however often it is sent.
    """

    title: str
    body: str = field(repr=False)  # it may hold a link that only its reader should have
    severity: Severity | None
    key: str
    attachment: Attachment | None = None
