"""Which managed users of a key are polled."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator

from monitor.config.errors import config_error, expected

_ID = re.compile(r"[0-9a-fA-F]{24}")


def checked_managed_users(value: object) -> object:
    """Accept ``all``, ``none`` or ids, each once and in lower case."""
    if value in ("all", "none"):
        return value
    if not isinstance(value, list):
        raise expected("all, none, or a list of ids")
    if not value:
        raise config_error("found an empty list, want none or at least one id")
    ids: list[str] = []
    for index, given in enumerate(value):
        # YAML reads an id of digits as a number.
        text = str(given) if isinstance(given, int) and not isinstance(given, bool) else given
        if not isinstance(text, str) or not _ID.fullmatch(text):
            raise expected("the id of a managed user: 24 hexadecimal characters", index)
        if text.lower() in ids:
            raise config_error("this id is listed before; want each once", index)
        ids.append(text.lower())
    return tuple(ids)


def overlap(
    one: Literal["all", "none"] | tuple[str, ...], other: Literal["all", "none"] | tuple[str, ...]
) -> bool:
    """Return whether both may poll the same user."""
    if "none" in (one, other):
        return False
    return "all" in (one, other) or not set(one).isdisjoint(other)


ManagedUsers: TypeAlias = Annotated[
    Literal["all", "none"] | tuple[str, ...], BeforeValidator(checked_managed_users)
]
