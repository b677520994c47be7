"""Text from outside is data: made storable at the door, harmless before anybody reads it."""

import re
import unicodedata

STORED_LENGTH = 1000
SHOWN_LENGTH = 300

# What a decoder puts in the place of bytes that it can't read.
REPLACEMENT = "\ufffd"
_ZERO_WIDTH_SPACE = "\u200b"
# What makes chat services and mail readers act: mentions, markup links, bare addresses.
_ACTIVE = re.compile(r"@(?=\S)|<(?=[!@#/a-zA-Z])|\](?=\()|:(?=//)|`(?=``)|&(?=[#a-zA-Z])|\bwww(?=\.)")


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


def harmless(text: str, limit: int = SHOWN_LENGTH) -> str:
    """
    Make outside text safe inside a message: one line that mentions nobody, links nowhere and forms no markup.

    A zero-width space breaks what a service would act on; the words stay readable.
    """
    return _ACTIVE.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, one_line(text, limit))


def _is_plain(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
