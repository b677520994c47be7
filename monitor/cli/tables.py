"""Output: tables for people, JSON for programs. Text from outside is harmless in both."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeAlias

from monitor.core.text import one_line, wire_time
from monitor.errors import MonitorError

# Text, or text and its style on a terminal.
Cell: TypeAlias = str | tuple[str, str]

STYLES = {
    "critical": "bold red",
    "expired": "bold red",
    "failed": "bold red",
    "warning": "yellow",
    "expiring_soon": "yellow",
    "notice": "blue",
    "valid": "green",
    "delivered": "green",
    "unknown": "dim",
}
_GAP = "  "
_NARROW = 10  # characters for each column


class BrokenOutputError(Exception):
    """The reader of standard output is gone."""


class OutputError(MonitorError):
    """The output can't be written, for example because its disk is full."""


def print_line(text: str = "") -> None:
    """Write a line to standard output."""
    with _translate_write_errors():
        sys.stdout.write(f"{text}\n")


def flush() -> None:
    """Write all pending output."""
    with _translate_write_errors():
        sys.stdout.flush()


@contextmanager
def _translate_write_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise BrokenOutputError from None
    except OSError as error:
        raise OutputError(f"standard output can't be written: {error.strerror or error}") from error


def styled(word: str) -> Cell:
    """Color a value of a closed set."""
    return word, STYLES.get(word, "")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """
    Print a table: drawn and in color on a terminal, aligned text elsewhere.

    Leaves out empty columns.
    """
    clean = [[cleaned(cell) for cell in row] for row in rows]
    used = [index for index in range(len(headers)) if any(row[index][0] for row in clean)]
    headers = [headers[index] for index in used]
    clean = [[row[index] for index in used] for row in clean]
    if sys.stdout.isatty():
        _print_drawn(headers, clean)
    else:
        _print_plain([header.upper() for header in headers], clean)


def print_json(rows: Iterable[Mapping[Any, Any]]) -> None:
    """Print a JSON array, one object a line."""
    for line in as_json_array(rows):
        print_line(line)


def as_json_array(rows: Iterable[Mapping[Any, Any]]) -> Iterator[str]:
    """Yield rows as the lines of one JSON array, one object a line."""
    last = None
    for row in rows:
        yield "[" if last is None else f"  {last},"
        last = as_json(row)
    yield "[]" if last is None else f"  {last}\n]"


def as_json(row: Mapping[Any, Any]) -> str:
    """Return a row as a JSON object on one line, in ASCII so that it can't control a terminal."""
    return json.dumps(
        {str(key): wire_time(each) if isinstance(each, datetime) else each for key, each in row.items()}
    )


def _print_drawn(headers: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if console.width < _NARROW * len(
        headers
    ):  # columns would be one letter wide: print a block for each row instead
        for row in rows:
            for header, (text, style) in zip(headers, row, strict=True):
                if text:
                    console.print(Text.assemble((f"{header}: ", "bold"), (text, style)))
            console.print()
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=style) for text, style in row))
    console.print(table)


def _print_plain(headers: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> None:
    from rich.cells import cell_len

    lines = [list(headers), *([text for text, _ in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (text + " " * (width - cell_len(text)) for text, width in zip(line, widths, strict=True))
        print_line(_GAP.join(padded).rstrip())


def cleaned(cell: Cell) -> tuple[str, str]:
    """Return a cell's text, made harmless, and its style."""
    text, style = (cell, "") if isinstance(cell, str) else cell
    return one_line(text), style
