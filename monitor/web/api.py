"""The JSON API: connections and incidents, in pages."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement

from monitor.core.text import wire_time
from monitor.storage import queries, views
from monitor.storage.pages import read_page
from monitor.storage.store import Store

LIMIT = 100
MAX_LIMIT = 1000
_MAX_INTEGER = 2**31 - 1


class BadQuery(ValueError):  # noqa: N818 - reads as what happened
    """A request with a wrong parameter. The text says what is valid."""


def connections(store: Store, asked: Sequence[tuple[str, str]]) -> bytes:
    """
    List connections, including removed ones, as ``status --json`` does.

    Raises:
        BadQuery: a parameter is unknown, or its value is wrong.
    """
    given = _given(asked, "account", "platform")
    wanted = queries.equals(views.CONNECTIONS, account=given.get("account"), platform=given.get("platform"))
    return _page(store, views.CONNECTIONS, wanted, given)


def incidents(store: Store, asked: Sequence[tuple[str, str]]) -> bytes:
    """
    List open incidents, or all with ``all=true``, as ``incidents --json`` does.

    Raises:
        BadQuery: a parameter is unknown, or its value is wrong.
    """
    given = _given(asked, "account", "all")
    wanted = queries.equals(views.INCIDENTS, account=given.get("account"))
    everything = given.get("all", "false")
    if everything not in {"true", "false"}:
        raise BadQuery("all: want true or false")
    if everything == "false":
        wanted.append(queries.is_open())
    return _page(store, views.INCIDENTS, wanted, given)


def _page(store: Store, view: Any, wanted: list[ColumnElement[bool]], given: Mapping[str, str]) -> bytes:
    limit = _number(given, "limit", LIMIT, 1, MAX_LIMIT)
    after = _number(given, "cursor", 0, 0, _MAX_INTEGER)
    found = read_page(store, view, *wanted, after=after, limit=limit)
    following = None if found.next_after is None else str(found.next_after)
    items = [
        {name: wire_time(value) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in found.rows
    ]
    return json.dumps({"items": items, "next": following}).encode()


def _given(asked: Iterable[tuple[str, str]], *names: str) -> Mapping[str, str]:
    known = (*names, "limit", "cursor")
    given: dict[str, str] = {}
    for name, value in asked:
        if name not in known:
            raise BadQuery(f"unknown parameter; want {', '.join(known)}")
        if name in given:
            raise BadQuery(f"{name}: given twice; want it once")
        if "\0" in value:
            raise BadQuery(f"{name}: want plain text")
        given[name] = value
    return given


def _number(given: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and low <= int(text) <= high):
        what = "what next was" if name == "cursor" else f"a whole number from {low} to {high}"
        raise BadQuery(f"{name}: want {what}")
    return int(text)
