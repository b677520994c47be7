"""The last step before a message leaves: written in its service's own way, with nothing in it that acts."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.channels.limits import TITLE_LENGTH, fit_body, size_limit, size_of, title_limit
from monitor.channels.styles import Text, style_of
from monitor.core.text import one_line, passages, readable_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from apprise import NotifyBase

    from monitor.core.messages.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """
    A message in the way of one service.

    Args:
        title: empty if it stands at the beginning of the body.
        target: Apprise's name of the format that the body is written in.
        title_text: the title before it was written, harmless; ``body_text`` likewise, cut to what the service takes.
    """

    message: "Message"
    title: str
    body: str
    target: str
    title_text: Text
    body_text: Text


# The message that the attempt of this thread is about, for those parts of a service that are written anew.
being_sent: ContextVar[Written] = ContextVar("being_sent")


def written(message: "Message", service: "NotifyBase") -> Written:
    """
    Write a message in the way of a service.

    Whatever its text is made of: nothing mentions, links or formats anything but the links that the message names.
    """
    style = style_of(service)
    target = service.resolve_format(style.prefers)
    longest = min(title_limit(service) or TITLE_LENGTH, TITLE_LENGTH)
    title_text = _cut_title(one_line(message.title, longest), message.links, style.title, longest)
    stands = style.has_titles and service.title_maxlen > 0
    title = style.title(title_text) if stands else ""
    above = style.heading(title_text) if title_text and not stands else ""

    def body_of(text: str) -> str:
        return above + style.body(list(passages(text, message.links)))

    body = fit_body(
        readable_lines(message.body),
        lambda text: size_of(title, body_of(text), service, style),
        size_limit(service, style),
    )
    return Written(
        message=message,
        title=title,
        body=body_of(body),
        target=target.value,
        title_text=title_text,
        body_text=tuple(passages(body, message.links)),
    )


def _cut_title(title: str, links: tuple[str, ...], write: "Callable[[Text], str]", longest: int) -> Text:
    """Shorten a title until what is written of it is short enough."""
    text = tuple(passages(title, links))
    while (too_long := len(write(text)) - longest) > 0:
        title = title.removesuffix("…")[:-too_long].rstrip() + "…"
        text = tuple(passages(title, links))
    return text
