"""The last step before a message leaves: write it in the format of its service, with harmless text."""

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
    A message in the format of one service.

    Args:
        title: empty if the body begins with it.
        target: Apprise's name of the format that the body is written in.
        title_text: the harmless title before formatting; ``body_text`` likewise, cut to the limit of the service.
    """

    message: "Message"
    title: str
    body: str
    target: str
    title_text: Text
    body_text: Text


# The current message of this thread, for the parts of a service that the monitor replaces.
being_sent: ContextVar[Written] = ContextVar("being_sent")


def written(message: "Message", service: "NotifyBase") -> Written:
    """
    Return a message in the format of a service.

    Its text can't mention, link or format anything, except for the links that the message names.
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
    """Shorten a title until its formatted form is short enough."""
    text = tuple(passages(title, links))
    while (too_long := len(write(text)) - longest) > 0:
        title = title.removesuffix("…")[:-too_long].rstrip() + "…"
        text = tuple(passages(title, links))
    return text
