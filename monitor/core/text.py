"""Text from outside is data: make it storable when it arrives, and harmless before people read it."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

STORED_LENGTH = 1000
SHOWN_LENGTH = 300

# The character that a decoder puts in place of unreadable bytes.
REPLACEMENT = "\ufffd"
_ZERO_WIDTH_SPACE = "\u200b"
# What chat services and mail readers act on: mentions, tags, markup links, addresses, code fences, entities.
_ACTIVE = re.compile(
    r"@(?=\S)|<(?=[!@#/?:a-zA-Z])|\](?=\()|:(?=//)|`(?=``)|&(?=#|lt|gt|amp|quot|[0-9a-z]{1,32};)",
    re.IGNORECASE,
)
# Many mail programs make a link of a bare host too.
_HOST = re.compile(r"(?:://|\bwww\.)[^\s/?#]+", re.IGNORECASE)
# Emoji and several scripts need joiners. Most other format characters hide or reverse text.
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
    # Nearly all text is plain already. Checking each character takes twenty times as long.
    kept = (
        text
        if text.isprintable()
        else "".join(" " if c.isspace() else c for c in text if c.isspace() or _is_plain(c))
    )
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def sanitize(text: str, limit: int = SHOWN_LENGTH) -> str:
    """
    Make outside text safe inside a message: one line without mentions, links and markup.

    A zero-width space breaks what a service would act on. The text stays readable.
    """
    return _neutralize(one_line(text, limit))


def readable_lines(text: str) -> str:
    """
    Drop characters that hide, reverse or control text, as ``one_line`` does, and keep lines and spaces.

    The zero-width spaces of ``sanitize`` stay.
    """
    if text.replace("\n", "").isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(map(_readable, text))


def passages(text: str, links: Collection[str] = ()) -> Iterator[Passage]:
    """
    Split a text into allowed links and the rest, which is made harmless.

    This is the last step before the text is written in the format of a service. Whatever templates, cuts and
    joins did to it, only these links work. Text that is harmless already stays unchanged.

    Args:
        text: the text to show; its lines are kept.
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
    """Return a pattern for several addresses that doesn't match the beginning of a longer address."""
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


def wire_time(moment: datetime) -> str:
    """Write a point in time for programs: ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(count: int, noun: str) -> str:
    """Write a number of things: ``1 target``, ``2 targets``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def format_time(moment: datetime) -> str:
    """Return a point in time for people: UTC, to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
