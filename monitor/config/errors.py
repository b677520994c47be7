"""
One line for every error of a configuration: key path, value found, value wanted.

A value is shown as written in the file, before ``${NAME}`` is replaced, and never if it may be a secret.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

Path: TypeAlias = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z_][\w.-]*")
_SECRET_KEY = re.compile(r"url|key|token|secret|password", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://|sk_|@")
_NOTHING = object()
_KINDS = {type(None): "nothing", dict: "a mapping", list: "a list", tuple: "a list", str: "text"}

# For these, only the kind of the found value is shown: text in place of a container may be a secret.
_CONTAINERS = {
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys",
    "mapping_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}
_SCALARS = {
    "string_type": "text (put it in quotes)",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}

# The names of these keys in development versions. May be removed after the first release.
RENAMED_KEYS: Mapping[str, str] = {
    "announce": "notify_on",
    "dead_man": "heartbeat",
    "private": "allow_reconnect_links",
    "probe": "test_connections",
    "resolved": "send_resolved",
}


def expected(what: str, *path: str | int) -> PydanticCustomError:
    """
    Return an error about a value. The value found is added if it may be shown.

    Args:
        path: the rest of the key path, below the value that is being validated.
    """
    return PydanticCustomError("wanted", "{want}", {"want": what, "at": path})


def config_error(text: str, *path: str | int) -> PydanticCustomError:
    """
    Return an error whose text already names what was found; ``at`` as in ``expected``.
    """
    return PydanticCustomError("complaint", "{text}", {"text": text, "at": path})


def explain(error: ValidationError, raw: object) -> str:
    """
    Return a failed validation as one line: the first error, and how many more there are.

    Args:
        raw: the tree as written, from which values are shown.
    """
    # A default that depends on a wrong value is not a second error.
    mistakes = [detail for detail in error.errors() if detail["type"] != "default_factory_not_called"]
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    detail = mistakes[0]
    kind, context = detail["type"], detail.get("ctx", {})
    path: list[str | int] = []
    value = raw
    for part in detail["loc"]:
        inner = _child(value, part)
        if inner is not _NOTHING:  # pydantic adds parts that aren't keys of the file
            path.append(part)
            value = inner
    for part in context.get("at", ()):
        path.append(part)
        value = _child(value, part)
    is_secret = any(_SECRET_KEY.search(part) for part in path if isinstance(part, str))
    if kind == "complaint":
        text = context["text"]
    elif kind == "missing":
        path.append(detail["loc"][-1])
        text = "missing"
    elif kind in _CONTAINERS:
        text = f"found {_KINDS.get(type(value), 'a single value')}, want {_CONTAINERS[kind]}"
    else:
        want = context.get("want") or context.get("expected") or _SCALARS.get(kind) or detail["msg"]
        text = f"want {want}" if is_secret or value is _NOTHING else f"found {_shown(value)}, want {want}"
    return f"{key_path(path)}: {text}".removeprefix(": ") + more


def key_path(path: Sequence[str | int]) -> str:
    """Return a path in readable form: ``accounts[0].every``."""
    written = ""
    for part in path:
        written += f"[{part}]" if isinstance(part, int) else f".{shown_key(part)}"
    return written.removeprefix(".")


def shown_key(key: str, limit: int = 40) -> str:
    """Return a key or a file name for a message: as it is if plain, otherwise quoted, cut or hidden."""
    if limit == 40 and _SECRET_VALUE.search(key):
        return "(a key that looks like a secret)"
    if len(key) > limit:
        key = key[: limit - 1] + "…"
    return key if _PLAIN_KEY.fullmatch(key) or (key.isprintable() and " " not in key) else repr(key)


def _shown(value: object) -> str:
    if isinstance(value, str) and not _SECRET_VALUE.search(value):
        return repr(value if len(value) <= 60 else value[:59] + "…")
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return _KINDS.get(type(value), "a single value")


def _child(raw: object, part: str | int) -> object:
    if isinstance(raw, Mapping):
        return raw.get(part, _NOTHING)
    if isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw):
        return raw[part]
    return _NOTHING
