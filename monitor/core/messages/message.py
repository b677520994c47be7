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

    Whatever title and body hold, nothing but ``links`` acts in what leaves: channels see to that last of all.

    Args:
        title: one line.
        body: lines of plain text.
        severity: the worst that is still open; None if the news is good.
        key: the same for this message however often it is sent.
        links: addresses of our own in title and body, which readers may follow.
        url: where the title leads, in services whose titles can be links; empty if nowhere.
        threads: names what the message is about, for mail readers that put mails about the same together.
    """

    title: str
    body: str = field(repr=False)  # it may hold a link that only its reader should have
    severity: Severity | None
    key: str
    links: tuple[str, ...] = field(default=(), repr=False)
    url: str = field(default="", repr=False)
    threads: tuple[str, ...] = ()
    attachment: Attachment | None = None
