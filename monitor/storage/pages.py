"""Read a view in pages, in an order that doesn't change between two pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, TableClause, column, select

from monitor.storage.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """
    Some rows of a view.

    Args:
        rows: rows with the columns of the view.
        next_after: the start of the next page; None after the last.
    """

    rows: list[Mapping[str, Any]]
    next_after: int | None


def first_page(
    store: Transaction,
    view: TableClause,
    *conditions: ColumnElement[bool],
    by: Sequence[str],
    limit: int,
) -> Sequence[Mapping[Any, Any]]:
    """Return the first rows of a view, sorted by some of its columns. Null comes first."""
    order = [view.c[name].asc().nulls_first() for name in by]
    query = select(*view.columns).where(*conditions).order_by(*order).limit(limit)
    return store.connection.execute(query).mappings().all()


def read_page(
    store: Transaction,
    view: TableClause,
    *conditions: ColumnElement[bool],
    after: int,
    limit: int,
) -> Page:
    """
    Return one page of a view, the oldest rows first.

    Args:
        after: the start of the page, from the page before; 0 for the first.
    """
    key: ColumnElement[int] = column("id")
    names = [each.name for each in view.columns]
    query = (
        select(*view.columns, *([] if "id" in names else [key]))
        .where(key > after, *conditions)
        .order_by(key)
        .limit(limit + 1)
    )
    found = store.connection.execute(query).mappings().all()
    shown = found[:limit]
    return Page(
        rows=[{name: row[name] for name in names} for row in shown],
        next_after=shown[-1]["id"] if len(found) > limit else None,
    )
