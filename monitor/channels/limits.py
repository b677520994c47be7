"""How much a service takes in one message."""

import json
import re
from typing import TYPE_CHECKING

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
    """Tell how long a title may be, in characters; 0 where it becomes the first line of the body."""
    return max(service.title_maxlen, 0)


def body_limit(service: "NotifyBase") -> int | None:
    """Tell how long a body is worth writing, in characters, with room left for a title and for escapes."""
    from apprise import NotifyFormat

    most = _NTFY_BYTES // 2 if service.schema in _NTFY else service.body_maxlen
    if most <= 0:
        return None
    limit = most - (TITLE_LENGTH if _title_counts(service) else 0)
    if service.resolve_format(NotifyFormat.TEXT) is not NotifyFormat.TEXT:
        limit = limit * 3 // 4
    return max(limit, most // 2)


def fitted(body: str, title: str, service: "NotifyBase") -> str:
    """
    Cut a body to what the service takes, at the end of a line.

    The writer of a message keeps to ``body_limit``; this is for what escapes add beyond it. Apprise would
    cut in the middle of a word or of an escape, or send several messages.
    """
    from apprise import NotifyFormat
    from apprise.conversion import convert_between

    target = service.resolve_format(NotifyFormat.TEXT)
    is_ntfy = service.schema in _NTFY
    most = _NTFY_BYTES if is_ntfy else service.body_maxlen

    def size(text: str) -> int:
        converted = convert_between(NotifyFormat.TEXT, target, text)  # type: ignore[no-untyped-call]  # Apprise's
        sent = service.dialect_convert(converted, target)
        return max(len(sent.encode()), len(json.dumps(sent)) * 9 // 16) if is_ntfy else len(sent)

    room = most - (size(title) + 20 if _title_counts(service) else 0)
    if most <= 0 or (len(body) <= room and size(body) <= room):
        return body
    # The last lines have the message's key, by which a receiver knows a duplicate.
    story, gap, foot = body.rpartition("\n\n")
    foot = gap + foot if story and len(foot) <= _FOOT_LENGTH else ""
    room = max(room - len(_CUT.encode()) - _COUNT_LENGTH - size(foot), 0)
    kept = body[:room]
    while kept and (now := size(kept)) > room:
        kept = kept[: min(len(kept) * room // now, len(kept) - 1)]
    line_end = kept.rfind("\n")
    kept = kept[:line_end] if line_end > len(kept) // 2 else kept
    return kept + _cut(body[len(kept) :]) + foot


def _cut(lost: str) -> str:
    """Say that something was cut; where the writer counted what didn't fit, count what is lost here too."""
    counted = _COUNTED.search(lost)
    if counted is None:
        return _CUT
    return f"\nand {int(counted[1]) + lost[: counted.start()].count(chr(10))} more{counted[2]}"


def _title_counts(service: "NotifyBase") -> bool:
    return bool(service.title_maxlen <= 0 or service.overflow_amalgamate_title)
