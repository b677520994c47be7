"""Text from outside is data: made storable at the door, harmless before anybody reads it."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

STORED_LENGTH = 1000
SHOWN_LENGTH = 300

# What a decoder puts in the place of bytes that it can't read.
REPLACEMENT = "\ufffd"
_ZERO_WIDTH_SPACE = "\u200b"
# What makes chat services and mail readers act: mentions, tags, markup links, addresses, code fences, entities.
_ACTIVE = re.compile(
    r"@(?=\S)|<(?=[!@#/?:a-zA-Z])|\](?=\()|:(?=//)|`(?=``)|&(?=#|lt|gt|amp|quot|[0-9a-z]{1,32};)",
    re.IGNORECASE,
)
# Many readers make a link of a bare host, too.
_HOST = re.compile(r"(?:://|\bwww\.)[^\s/?#]+", re.IGNORECASE)
# Joiners make emoji and several scripts; most other format characters hide text or turn it around.
_JOINERS = frozenset(f"\u200c\u200d{_ZERO_WIDTH_SPACE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A part of a message: harmless text, or a link of our own."""

    text: str
    is_link: bool = False


def storable(text: str, limit: int = STORED_LENGTH) -> str:
    """
    Make outside text storable: no NUL, no lone surrogate, at most ``limit`` characters.

    PostgreSQL refuses both, and an identity built on the text must survive the round trip.
    """
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = text.replace("\x00", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def one_line(text: str, limit: int = SHOWN_LENGTH) -> str:
    """
    Make outside text safe to print on one line: no control, format or bidi character, no line break.

    A terminal escape, a forged log line and reversed text all need such a character.
    """
    text = text[: limit * 4]
    # Nearly all text is plain as it is; looking at each of its characters takes twenty times as long.
    kept = (
        text
        if text.isprintable()
        else "".join(" " if c.isspace() else c for c in text if c.isspace() or _is_plain(c))
    )
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def sanitize(text: str, limit: int = SHOWN_LENGTH) -> str:
    """
    Make outside text safe inside a message: one line that mentions nobody, links nowhere and forms no markup.

    A zero-width space breaks what a service would act on; the words stay readable.
    """
    return _neutralize(one_line(text, limit))


def readable_lines(text: str) -> str:
    """
    Drop what hides, turns around or steers text, as ``one_line`` does, and keep its lines and its spaces.

    The zero-width spaces of ``harmless`` stay.
    """
    if text.replace("\n", "").isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(map(_readable, text))


def passages(text: str, links: Collection[str] = ()) -> Iterator[Passage]:
    """
    Take a text apart into links of our own and all the rest, which is made harmless.

    This is the last step before the text is written in the way of a service: whatever templates, cuts and joins
    did to it, nothing but these links acts. It changes nothing in what is harmless already.

    Args:
        text: what is to be shown; its lines are kept.
        links: whole addresses that readers may follow.
    """
    done = 0
    for found in _whole(links).finditer(text) if links else ():
        if found.start() > done:
            yield Passage(text=_neutralized_again(text[done : found.start()]))
        yield Passage(text=found[0], is_link=True)
        done = found.end()
    if done < len(text):
        yield Passage(text=_neutralized_again(text[done:]))


def _whole(links: Collection[str]) -> re.Pattern[str]:
    """Find any of several addresses, and not where another address merely begins with it."""
    either = "|".join(re.escape(link) for link in sorted(links, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{either})(?=[.,;:!?)\]>\"']*(?:\s|$))")


def _neutralized_again(text: str) -> str:
    return _neutralize(text.replace(_ZERO_WIDTH_SPACE, ""))


def _neutralize(text: str) -> str:
    text = _HOST.sub(lambda match: match[0].replace(".", f"{_ZERO_WIDTH_SPACE}."), text)
    return _ACTIVE.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)


def _readable(character: str) -> str:
    if character == "\n" or character in _JOINERS:
        return character
    if character.isspace():
        return character if unicodedata.category(character) == "Zs" else " "
    return character if _is_plain(character) else ""


def _is_plain(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}


def format_time(moment: datetime) -> str:
    """Write a point in time for people: UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
