"""export: a view for a spreadsheet or a program. A file is complete or isn't there."""

import csv
import errno
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from monitor.cli.options import account_option, since_option
from monitor.cli.session import Session, pass_session
from monitor.cli.show import require_rows
from monitor.cli.tables import BrokenOutputError, OutputError, as_json, as_json_array, print_line
from monitor.core.text import STORED_LENGTH, one_line, wire_time
from monitor.errors import ExportError

if TYPE_CHECKING:
    from sqlalchemy import TableClause

    from monitor.cli.status import Row

# Rows that a Parquet file compresses together.
ROW_GROUP = 20_000

_STANDARD_OUTPUT = ("-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FORMS = ("csv", "json", "jsonl", "parquet")


@click.command()
@click.argument("view", type=click.Choice(["connections", "transitions", "incidents", "deliveries"]))
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMS),
    help="Defaults to the file's extension, or csv. jsonl is one object per line. "
    "parquet needs postpost-monitor[parquet].",
)
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file, written atomically. Defaults to standard output, as does -.",
)
@account_option
@since_option
@pass_session
def export(
    session: Session,
    view: str,
    *,
    form: str | None,
    file: Path | None,
    account: str | None,
    since: datetime | None,
) -> None:
    """
    Export a view for a spreadsheet or a program.

    Rows come in the order in which they were recorded. In CSV, a cell that a spreadsheet would read as a formula
    starts with an apostrophe.
    """
    from monitor.storage import queries, views

    if account and view == "deliveries":
        raise click.UsageError("--account: deliveries belong to channels, not to accounts.")
    if since and view == "connections":
        raise click.UsageError("--since: connections have only a current state; use `export transitions`.")
    if file is not None and str(file) in _STANDARD_OUTPUT:
        file = None
    suffix = file.suffix.lower().removeprefix(".") if file else ""
    form = form or (suffix if suffix in _FORMS else "csv")
    if form == "parquet":
        _parquet()
        if file is None and sys.stdout.isatty():
            raise click.UsageError("parquet is not for a terminal: give --output FILE, or a pipe.")
    wanted = views.VIEWS[view]
    conditions = queries.equals(wanted, account=account)
    conditions += [queries.since(wanted, since)] if since else []
    with session.open_database() as database, database.read() as store, _whole(file) as sink:
        order = () if view == "connections" else queries.AS_WRITTEN
        rows = _Counted(queries.rows(store, wanted, *conditions, order_by=order))
        asked = {"account": account, "since": wire_time(since) if since else None}
        _WRITERS[form](wanted, require_rows(iter(rows), **asked), sink)
    if file is not None:
        print_line(f"{file}: {rows.count:,} {'row' if rows.count == 1 else 'rows'}")


class _Counted:
    """Rows, counted while they are read."""

    def __init__(self, rows: "Iterable[Row]") -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> "Iterator[Row]":
        for row in self._rows:
            self.count += 1
            yield row


@contextmanager
def _whole(file: Path | None) -> Iterator[IO[bytes]]:
    """
    Open the output: standard output, or a file that replaces the old one when it is complete.

    Raises:
        ExportError: it can't be written. No partial file is left, and an existing file is kept.
    """
    try:
        if file is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif file.exists() and not file.is_file():  # a pipe or a device can't be replaced
            with file.open("wb") as sink:
                yield sink
        else:
            if file.is_symlink():
                raise OSError(errno.ELOOP, "it is a symbolic link; name the file that it leads to")
            with _replacing(file) as sink:
                yield sink
    except BrokenPipeError:
        raise BrokenOutputError from None
    except OSError as error:
        reason = error.strerror or error
        if file is None:
            raise OutputError(f"standard output can't be written: {reason}") from error
        raise ExportError(f"{file}: {reason}; nothing was written") from error


@contextmanager
def _replacing(file: Path) -> Iterator[IO[bytes]]:
    # The file contains names of people. Others may read it only if they could read the old one.
    handle, name = tempfile.mkstemp(prefix=f".{file.name[:80]}.", suffix=".partial", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as sink:
            if file.exists():
                os.fchmod(handle, stat.S_IMODE(file.stat().st_mode))
            yield sink
            sink.flush()
            os.fsync(handle)
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _write_csv(view: "TableClause", rows: "Iterator[Row]", sink: IO[bytes]) -> None:
    text = io.TextIOWrapper(sink, "utf-8", newline="")
    try:
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(each.name for each in view.columns)
        lines.writerows([_safe_cell(row[each.name]) for each in view.columns] for row in rows)
    finally:
        text.detach()  # flushed, and the sink stays open


def _safe_cell(value: object) -> str:
    """Return a value that no spreadsheet reads as a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return wire_time(value)
    if isinstance(value, int):
        return str(value)
    text = one_line(str(value), STORED_LENGTH)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _write_lines(lines: Iterable[str], sink: IO[bytes]) -> None:
    for line in lines:
        sink.write(f"{line}\n".encode())


def _write_parquet(view: "TableClause", rows: "Iterator[Row]", sink: IO[bytes]) -> None:
    from sqlalchemy import Integer

    from monitor.storage.types import UtcDateTime

    arrow, parquet = _parquet()
    types = (
        (UtcDateTime, arrow.timestamp("ms", tz="UTC")),
        (Integer, arrow.int64()),
        (object, arrow.string()),
    )
    schema = arrow.schema(
        (each.name, next(type_ for kind, type_ in types if isinstance(each.type, kind)))
        for each in view.columns
    )
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        while chunk := list(islice(rows, ROW_GROUP)):
            columns: Mapping[str, list[Any]] = {name: [row[name] for row in chunk] for name in schema.names}
            writer.write_table(arrow.table(columns, schema=schema))


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise click.UsageError(
            "--format parquet needs pyarrow: install it with pip install 'postpost-monitor[parquet]'."
        ) from None
    return arrow, parquet


_WRITERS: Mapping[str, "Callable[[TableClause, Iterator[Row], IO[bytes]], None]"] = {
    "csv": _write_csv,
    "json": lambda _, rows, sink: _write_lines(as_json_array(rows), sink),
    "jsonl": lambda _, rows, sink: _write_lines(map(as_json, rows), sink),
    "parquet": _write_parquet,
}
