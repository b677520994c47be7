"""How long a message may be for each service."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from monitor.channels.styles import Style, style_of

if TYPE_CHECKING:
    from apprise import NotifyBase

TITLE_LENGTH = 200

_CUT = "\n…"
# The line by which a writer says how many lines it left out.
_COUNTED = re.compile(r"\nand (\d+) more(: .*)$", re.MULTILINE)
_FOOT_LENGTH = 200
_COUNT_LENGTH = 60

# ntfy keeps 4,096 bytes of a message and turns a longer one into a file, or refuses it. Apprise allows 7,800
# characters, and makes a file itself of what is over 8,000 bytes as ASCII JSON.
_NTFY = frozenset({"ntfy", "ntfys"})
_NTFY_BYTES = 4096


def title_limit(service: "NotifyBase") -> int:
    """Return how long a title may be, in characters; 0 if it becomes the first line of the body."""
    return max(service.title_maxlen, 0)


def body_limit(service: "NotifyBase") -> int | None:
    """Return the useful length of a body, in characters, with room for a title and escapes."""
    from apprise import NotifyFormat

    if worth_writing := style_of(service).worth_writing:
        return worth_writing
    most = _NTFY_BYTES // 2 if service.schema in _NTFY else service.body_maxlen
    if most <= 0:
        return None
    limit = most - (TITLE_LENGTH if service.title_maxlen <= 0 or service.overflow_amalgamate_title else 0)
    if service.resolve_format(NotifyFormat.TEXT) is not NotifyFormat.TEXT:
        limit = limit * 3 // 4
    return max(limit, most // 2)


def fit_body(body: str, size: Callable[[str], int], most: int) -> str:
    """
    Cut a body to the limit of the service, at the end of a line.

    Messages are written within ``body_limit``. Escapes may exceed it. Apprise would cut in the middle of a word
    or an escape, or send several messages.

    Args:
        size: returns the size of the whole message with a body.
        most: the limit; 0 for none.
    """
    if most <= 0 or size(body) <= most:
        return body
    # The last lines have the message's key, by which a receiver knows a duplicate.
    story, gap, foot = body.rpartition("\n\n")
    foot = gap + foot if story and len(foot) <= _FOOT_LENGTH else ""
    space = max(most - len(_CUT.encode()) - _COUNT_LENGTH, 0)
    kept = body
    while kept and (now := size(kept + foot)) > space:
        kept = kept[: min(len(kept) * space // now, len(kept) - 1)]
    line_end = kept.rfind("\n")
    kept = kept[:line_end] if line_end > len(kept) // 2 else kept
    lost = body[len(kept) :]
    end = _CUT
    if counted := _COUNTED.search(
        lost
    ):  # the writer counted what didn't fit, so what is lost here counts too
        end = f"\nand {int(counted[1]) + lost[: counted.start()].count(chr(10))} more{counted[2]}"
    return kept + end + foot


def size_limit(service: "NotifyBase", style: Style) -> int:
    """Return how large a message may be, in what ``size_of`` counts; 0 if there is no limit."""
    return style.most or (_NTFY_BYTES if service.schema in _NTFY else max(service.body_maxlen, 0))


def size_of(title: str, body: str, service: "NotifyBase", style: Style) -> int:
    """Return how large a written message is: in characters, or in bytes if the service counts those."""
    if style.size:
        return style.size(title, body)
    if style.most:
        return len(body)
    body = service.dialect_convert(body, service.resolve_format(style.prefers))
    size = max(len(body.encode()), len(json.dumps(body)) * 9 // 16) if service.schema in _NTFY else len(body)
    return size + (len(title) + 20 if title and service.overflow_amalgamate_title else 0)
