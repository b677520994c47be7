"""How to write text for each kind of service, with its markup escaped."""

import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.channels import markup
from monitor.core.text import Passage

if TYPE_CHECKING:
    from apprise import NotifyBase

# Harmless text with the allowed links in it.
Text: TypeAlias = Sequence[Passage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """
    How to write text for one kind of service.

    Args:
        prefers: Apprise's name of the format to use, if the service takes several.
        body: writes a body.
        title: writes a separate title.
        heading: writes a title as the beginning of a body.
        has_titles: whether titles are separate, if the service has any.
        most: the limit of the service, in the unit of ``size``; 0 for Apprise's limit.
        size: returns the size of title and body together; None to count the characters of the body.
        worth_writing: the useful length of a body, in characters; 0 to derive it from the limit.
    """

    prefers: str = "text"
    body: Callable[[Text], str]
    title: Callable[[Text], str]
    heading: Callable[[Text], str]
    has_titles: bool = True
    most: int = 0
    size: Callable[[str, str], int] | None = None
    worth_writing: int = 0


def style_of(service: "NotifyBase") -> Style:
    """Return the style of a service."""
    from apprise import NotifyFormat

    name = type(service).__name__
    if name == "NotifySlack" and "gen_payload" not in vars(service):
        return _SLACK_BY_APPRISE
    # In its other modes it is a third-party bridge, whose handling of HTML is unknown.
    if name in _SPECIAL and (name != "NotifyMatrix" or getattr(service, "mode", "") == "off"):
        return _SPECIAL[name]
    target = service.resolve_format(NotifyFormat.TEXT)
    if target is NotifyFormat.HTML:
        return _HTML
    return _COMMONMARK if target is NotifyFormat.MARKDOWN else _PLAIN


def is_written_anew(kind: "type[NotifyBase]") -> bool:
    """Return whether the monitor sets the format for a kind of service, whatever its URL asks for."""
    return kind.__name__ in _SPECIAL


def plain(text: Text) -> str:
    """Return text as it is."""
    return "".join(each.text for each in text)


def ampersands(text: Text) -> str:
    """Return text for Slack, which treats three characters as markup and has no other escapes."""
    return html.escape(plain(text), quote=False)


def _markdown(*special: str, link: str = "{0}", **more: Any) -> Style:
    """
    Return a style for a kind of Markdown.

    Args:
        special: patterns that the service would act on; the last character of each is escaped.
        link: how to write an allowed link.
        more: of the style.
    """
    # A backslash is literal only if nothing follows that it could escape.
    pattern = re.compile("|".join([r"\\(?=[^0-9A-Za-z\s]|$)", *special]), re.MULTILINE)

    def escaped(text: Text) -> str:
        return "".join(
            link.format(each.text)
            if each.is_link
            else pattern.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", each.text)
            for each in text
        )

    usual = {"title": escaped, "heading": lambda text: f"{escaped(text)}\n"}
    return Style(body=escaped, **usual | more)


def _teams_size(title: str, body: str) -> int:
    """Return the size of a card in bytes: line breaks are doubled, and each paragraph is a block with its own frame."""
    frames = 700 + 100 * body.count("\n\n")
    return len(json.dumps([title, body.replace("\n", "\n\n")], ensure_ascii=False).encode()) + frames


def _matrix_size(title: str, body: str) -> int:
    """Return the size of an event in bytes: it has the text twice, once without tags."""
    return 2 * len(json.dumps(body, ensure_ascii=False).encode())


# Between letters an underscore is part of a name, and Markdown leaves it alone.
_UNDERSCORE = r"(?<![^\W_])_|_(?![^\W_])"
# At the beginning of a line: a quote or a heading, a list, a rule or what underlines a heading.
_BLOCKS = r"^[ \t]*(?:[#>]|(?:\d+[.)]|[-+])(?=[ \t]|$)|[-=](?=[-= \t]*$))"
_EMOJI = r":(?=[A-Za-z0-9_+-]+:)"

_PLAIN = Style(body=plain, title=plain, heading=lambda text: f"{plain(text)}\n")
_HTML = Style(
    prefers="html",
    body=markup.paragraphs,
    title=plain,
    heading=lambda text: f"<p><strong>{markup.escaped(text)}</strong></p>\n",
)
# Only its bodies are read as Markdown.
_COMMONMARK = _markdown(r"[*`~\[<]", _UNDERSCORE, _BLOCKS, title=plain)

# If Apprise builds the payload itself, it escapes the body, and not always the title.
_SLACK_BY_APPRISE = Style(body=plain, title=ampersands, heading=lambda text: f"{plain(text)}\n")

# By Apprise's class of the service. These show Markdown, a dialect of it or a kind of HTML, whatever format
# Apprise is given.
_SPECIAL = {
    # The limit of an embed's description. Its title counts separately.
    "NotifyDiscord": _markdown(
        r"[*`~|\[]", _UNDERSCORE, _BLOCKS, r"^[ \t]*-(?=#)", _EMOJI, most=4096, worth_writing=4096
    ),
    # ``mail`` builds it from plain text and HTML.
    "NotifyEmail": _PLAIN,
    "NotifySlack": Style(body=ampersands, title=ampersands, heading=lambda text: f"{ampersands(text)}\n"),
    # Microsoft takes cards of about 28,000 bytes. Bare addresses aren't links there.
    "NotifyWorkflows": _markdown(
        r"[*`~\[]",
        _UNDERSCORE,
        _BLOCKS,
        link="[{0}]({0})",
        most=26_000,
        size=_teams_size,
        worth_writing=24_000,
    ),
    # Apprise's conversion from Markdown to its dialect treats every backslash as an escape.
    "NotifyGoogleChat": _markdown(r"[\\*`~\[<]", _UNDERSCORE, _BLOCKS),
    "NotifyMattermost": _markdown(r"[*`~\[]", _UNDERSCORE, _BLOCKS, _EMOJI),
    # Its messages have no other escapes.
    "NotifyRocketChat": _markdown(r"[*`~]", _UNDERSCORE, r"^[ \t]*#"),
    # It keeps line breaks as they are.
    "NotifyTelegram": Style(
        prefers="html",
        body=markup.escaped,
        title=plain,
        heading=lambda text: f"<b>{markup.escaped(text)}</b>\n\n",
    ),
    "NotifyMatrix": Style(
        prefers="html",
        body=markup.paragraphs,
        title=plain,
        heading=lambda text: f"<p><strong>{markup.escaped(text)}</strong></p>\n",
        has_titles=False,
        # An event may have 65,536 bytes, encrypted and signed.
        most=40_000,
        size=_matrix_size,
        worth_writing=16_000,
    ),
}
