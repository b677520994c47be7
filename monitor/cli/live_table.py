"""status --watch: the connections on a terminal, the worst first, redrawn as the history changes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from monitor.cli.tables import Cell, cleaned
from monitor.core.text import counted
from monitor.signals import handle_signals

if TYPE_CHECKING:
    from rich.console import Console, OverflowMethod, RenderableType

REFRESH_SECONDS = 2.0
KEY_POLL_SECONDS = 0.1
# Rows to keep. No terminal shows more.
MAX_ROWS = 300
SHORT = 90
# The columns for each width of the terminal. The last entry is for the narrowest.
_LAYOUTS: Sequence[tuple[int, frozenset[str]]] = (
    (140, frozenset()),
    (90, frozenset({"account", "last post", "last error"})),
    (60, frozenset({"account", "managed user", "last post", "last error"})),
    (0, frozenset({"account", "managed user", "platform", "last post", "last error", "incident"})),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTable:
    """
    The content at one moment.

    Args:
        rows: the worst first, at most ``MOST``.
        total: number of connections.
        accounts: problems of accounts, one line each.
        error: why nothing newer could be read; empty if it could.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    total: int
    problems: int
    accounts: Sequence[str]
    read_at: datetime
    error: str = ""

    def __rich_console__(self, console: "Console", _: object) -> Iterator["RenderableType"]:
        """Draw what the terminal has room for."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        overflow: OverflowMethod = "crop" if console.options.ascii_only else "ellipsis"

        def line(text: str, style: str = "") -> Text:
            return Text(text, style=style, no_wrap=True, overflow=overflow)

        count = f"{counted(self.total, 'connection')}, {self.problems} with a problem"
        yield line(f"{count}  {self.read_at:%H:%M:%S} UTC  ctrl-C ends", "bold")
        if self.error:
            yield line(self.error, "bold red")
        for source in self.accounts[:3]:
            yield line(source, "bold red")
        used = 1 + bool(self.error) + min(len(self.accounts), 3)
        space = max(console.size.height - used - 5, 1)  # the header between its rules, and the line below
        hidden = next(without for width, without in _LAYOUTS if console.width >= width)
        shown = [index for index, header in enumerate(self.headers) if header not in hidden]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=False)
        for index in shown:
            # The status column must stay readable.
            least = len("expiring_soon") if self.headers[index] == "token" else None
            table.add_column(self.headers[index], overflow=overflow, no_wrap=True, min_width=least)
        for row in self.rows[:space]:
            cells = [cleaned(row[index]) for index in shown]
            if console.width < SHORT:  # "in 3 days" without the date behind it
                cells = [(text.partition(" (")[0], style) for text, style in cells]
            table.add_row(*(Text(text, style=style) for text, style in cells))
        yield table
        if (more := self.total - min(space, len(self.rows))) > 0:
            yield line(f"and {more} more; `status` shows them all", "dim")


def run_live_table(look: Callable[[], LiveTable]) -> None:
    """
    Draw the current table repeatedly until Ctrl-C or a signal ends it.

    Signals are only recorded. One that interrupted the drawing would leave the terminal in disorder.
    """
    from rich.console import Console
    from rich.live import Live

    with (
        handle_signals() as asked,
        Live(look(), console=Console(highlight=False), screen=True, auto_refresh=False) as live,
    ):
        live.refresh()
        drawn_at = time.monotonic()
        while not (asked.stop or asked.reload):
            time.sleep(KEY_POLL_SECONDS)
            if time.monotonic() - drawn_at >= REFRESH_SECONDS:
                live.update(look(), refresh=True)
                drawn_at = time.monotonic()
