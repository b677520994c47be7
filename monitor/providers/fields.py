"""Read JSON documents, and fields that may not be what they should."""

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, TypeGuard

import msgspec

from monitor.core.model import to_milliseconds
from monitor.core.text import REPLACEMENT, one_line, storable
from monitor.http.errors import normalize_text

ID_LENGTH = 255
NAME_LENGTH = 255
_URL_LENGTH = 2000
_USER_ID = re.compile("[0-9a-fA-F]{24}")
_MAX_WARNINGS = 50


class UnreadableError(Exception):
    """A body, or an item of one, can't be read. The text is one line that says why."""


class ParseWarnings:
    """The problems with the items of one list."""

    def __init__(self, list_name: str) -> None:
        self.skipped_ids: set[str] = set()
        self._list_name = list_name
        self._warnings: list[str] = []
        self._unlisted_count = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line each, up to a limit."""
        return (*self._warnings, *([f"and {self._unlisted_count} more"] if self._unlisted_count else ()))

    def start_item(self, index: int, item: Any, *id_fields: str) -> None:
        """Start the next item."""
        self._index, self._item, self._id_fields = index, item, id_fields

    def warn(self, what: str) -> None:
        """Keep the item and note a problem with it."""
        if len(self._warnings) == _MAX_WARNINGS:
            self._unlisted_count += 1
            return
        item_id = self._id()
        whose = f" ({one_line(item_id, 60)})" if item_id else ""
        self._warnings.append(one_line(f"{self._list_name}[{self._index}]{whose}: {what}"))

    def skip_item(self, why: str) -> None:
        """Leave the item out and note why."""
        self.warn(why)
        item_id = self._id()
        if item_id:
            self.skipped_ids.add(item_id)

    def _id(self) -> str | None:
        if isinstance(self._item, dict):
            return next(
                (each for each in map(self._item.get, self._id_fields) if _is_storable_id(each)), None
            )
        return None


def read_text(value: Any, name: str, notes: ParseWarnings) -> str | None:
    """Read a name. Anything but text gives a warning and None."""
    if isinstance(value, str):
        return storable(value, NAME_LENGTH)
    notes.warn(f"{name}: expected text, got {shown(value)}")
    return None


def read_time(value: Any, name: str) -> datetime | None:
    """
    Read an ISO 8601 time of any precision; without a zone it is UTC, without a time of day midnight.

    Raises:
        UnreadableError: it is neither a time nor null.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value if value[-1:] != "z" else value.upper())
            return to_milliseconds(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        pass  # raised below, outside the handler, so that the errors aren't chained
    raise UnreadableError(f"{name}: expected a time, got {shown(value)}")


def read_optional_time(value: Any, name: str, notes: ParseWarnings) -> datetime | None:
    """Read a time that may be missing."""
    try:
        return read_time(value, name)
    except UnreadableError as error:
        notes.warn(str(error))
        return None


def is_id(value: Any) -> TypeGuard[str]:
    """Return whether a value can be a lasting id. Bytes that weren't UTF-8 leave an id that nothing has."""
    return _is_storable_id(value) and REPLACEMENT not in value


def _is_storable_id(value: Any) -> TypeGuard[str]:
    if not isinstance(value, str) or not 0 < len(value) <= ID_LENGTH:
        return False
    # Controls, lone surrogates and line breaks can't be stored or would forge a line.
    return value.isprintable() or not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in value)


def one_spelling(user_id: str) -> str:
    """Return the id of a managed user in lower case. The API ignores the case."""
    return user_id.lower() if _USER_ID.fullmatch(user_id) else user_id


def is_link(url: str) -> bool:
    """Return whether a text can be given to people as a link."""
    return (
        url.startswith(("https://", "http://"))
        and len(url) <= _URL_LENGTH
        and url.isascii()
        and url.isprintable()
    )


def json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raises as `json_document` does."""
    document = json_document(body)
    if not isinstance(document, dict):
        raise UnreadableError(f"the answer should be a JSON object, but is {shown(document)}")
    return document


def json_document(body: bytes) -> Any:
    """
    Read JSON.

    The strict decoder refuses a whole body for half an emoji, which is what cutting a text by its UTF-16
    length leaves; the lenient one of the standard library reads it.

    Raises:
        UnreadableError: the text isn't JSON.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body.decode("utf-8-sig", "replace"))
    except json.JSONDecodeError as error:
        text = error.doc.strip()
        ends_early = error.msg.startswith("Unterminated") or not error.doc[error.pos :].strip()
    except (ValueError, RecursionError):
        raise UnreadableError("the answer is JSON that can't be read") from None
    if not text:
        raise UnreadableError("the answer is empty")
    if text[0] in "{[":
        raise UnreadableError(f"the answer is not valid JSON{', it is cut off' if ends_early else ''}")
    raise UnreadableError(f'the answer is not JSON, it begins "{normalize_text(text, 60)}"')


def shown(value: Any) -> str:
    """Return an unexpected value for a message: short and on one line."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return f'"{one_line(value, 60)}"'
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a huge number"
    return "nothing" if value is None else json.dumps(value)
