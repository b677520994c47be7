"""The history as compact charts on a terminal: a connection's timeline, the fleet's coming expiries."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.cli.status import Row, who
from monitor.cli.tables import STYLES
from monitor.core.messages.phrases import platform_name
from monitor.core.text import one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

AHEAD = timedelta(days=60)
DAY = timedelta(days=1)
NARROWEST = 20

# From the mildest status to the worst. The marks must differ without colors too, in blocks and in ASCII.
_RANKED = ("", "valid", "unknown", "expiring_soon", "expired")
_MARKS = {
    "": (" ", " "),
    "valid": ("▁", "_"),
    "unknown": ("·", "."),
    "expiring_soon": ("▄", "="),
    "expired": ("█", "#"),
}
_BARS = "▁▂▃▄▅▆▇█"


def timelines(periods: Iterable[Row], *, since: datetime | None, now: datetime) -> Iterator["RenderableType"]:
    """
    Draw the status of each connection's token over time, from its first period or a given time until now.

    Args:
        periods: rows of ``connection_timeline``, of a few connections.
    """
    from rich.console import Group

    by_connection: dict[str, list[Row]] = {}
    for period in periods:
        by_connection.setdefault(one_line(who(period)), []).append(period)
    begins_at = [
        max(since, rows[0]["began_at"]) if since else rows[0]["began_at"] for rows in by_connection.values()
    ]
    if not by_connection:
        return
    start = min(*begins_at, now - timedelta(hours=1))
    for name, rows in by_connection.items():
        yield Group(_line(name, style="bold"), _Timeline(rows, start, now))
    yield _Axis(start, now)
    yield _Legend()


def expiries(tokens: Iterable[Row], *, now: datetime) -> Iterator["RenderableType"]:
    """
    Draw how many tokens expire on each of the next 60 days, one line for each platform.

    Args:
        tokens: rows of ``expiring_tokens``.
    """
    days: dict[str, Counter[int]] = {}
    for token in tokens:
        if token["expires_at"] and now <= token["expires_at"] < now + AHEAD:
            day = (token["expires_at"] - now) // DAY
            days.setdefault(platform_name(token["platform"]), Counter())[day] += 1
    count = sum(counts.total() for counts in days.values())
    if not count:
        yield _line("No token expires within 60 days.")
        return
    yield _line(f"{count} token{' ends' if count == 1 else 's end'} within 60 days", style="bold")
    label = max(len(name) for name in days) + 2
    for name, counts in sorted(days.items(), key=lambda each: (-each[1].total(), each[0])):
        yield _Expiries(name, counts, label)
    yield _Axis(now, now + AHEAD, label)


def _line(text: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="crop")


def _width(console: "Console", label: int = 0) -> int:
    return max(console.width - label, NARROWEST)


class _Timeline:
    """One connection: a mark for each span of time, with the worst status in it."""

    def __init__(self, periods: Sequence[Row], start: datetime, end: datetime) -> None:
        self._periods = periods
        self._start = start
        self._end = end

    def __rich_console__(self, console: "Console", _: object) -> Iterator["Text"]:
        from rich.text import Text

        worst = [""] * _width(console)
        step = (self._end - self._start) / len(worst)
        for period in self._periods:
            ended_at = period["ended_at"] or self._end
            if ended_at < self._start:
                continue
            first = min(max(int((period["began_at"] - self._start) / step), 0), len(worst) - 1)
            last = min(int((ended_at - self._start) / step), len(worst) - 1)
            if ended_at < self._end and last > first and (ended_at - self._start) % step == timedelta():
                last -= 1
            status = period["token_status"] if period["token_status"] in _MARKS else "unknown"
            for cell in range(first, last + 1):
                worst[cell] = max(worst[cell], status, key=_RANKED.index)
        drawn = Text(no_wrap=True, overflow="crop")
        for status in worst:
            drawn.append(_MARKS[status][console.options.ascii_only], style=STYLES.get(status, ""))
        yield drawn


class _Expiries:
    """One platform: a bar for each day or, on a narrow terminal, for each few days."""

    def __init__(self, name: str, counts: Counter[int], label: int) -> None:
        self._name = name
        self._counts = counts
        self._label = label

    def __rich_console__(self, console: "Console", _: object) -> Iterator["Text"]:
        from rich.text import Text

        width = _width(console, self._label)
        cells = [0] * min(width, AHEAD // DAY)
        days_of = [AHEAD // DAY * (cell + 1) / len(cells) for cell in range(len(cells))]
        for day, count in self._counts.items():
            cells[next(cell for cell, end in enumerate(days_of) if day < end)] += count
        stretch = max(width // len(cells), 1) if width >= len(cells) else 1
        drawn = Text(self._name.ljust(self._label), no_wrap=True, overflow="crop")
        for cell, count in enumerate(cells):
            near = days_of[cell] <= 7
            style = STYLES["expired"] if near else STYLES["expiring_soon"] if days_of[cell] <= 14 else ""
            drawn.append(_bar(count, max(cells), console.options.ascii_only) * stretch, style=style)
        yield drawn


def _bar(count: int, most: int, ascii_only: bool) -> str:
    if not count:
        return "." if ascii_only else " "
    if ascii_only:
        return str(count) if count < 10 else "+"
    return _BARS[max(-(-count * len(_BARS) // most) - 1, 0)]


class _Axis:
    """The dates under a chart: at its ends and, if there is room, in its middle."""

    def __init__(self, start: datetime, end: datetime, label: int = 0) -> None:
        self._start = start
        self._end = end
        self._label = label

    def __rich_console__(self, console: "Console", _: object) -> Iterator["Text"]:
        from rich.text import Text

        width = _width(console, self._label)
        if self._label:
            cells = min(width, AHEAD // DAY)
            width = cells * max(width // cells, 1)
        first, middle, last = (
            f"{moment:%Y-%m-%d}"
            for moment in (self._start, self._start + (self._end - self._start) / 2, self._end)
        )
        if width < 3 * len(first) + 2:
            middle = ""
        half = (width - len(middle)) // 2
        line = first.ljust(half) + middle
        line += last.rjust(max(width - len(line), len(last) + 1))
        yield Text(" " * self._label + line, style="dim", no_wrap=True, overflow="crop")


class _Legend:
    """The meaning of each mark."""

    def __rich_console__(self, console: "Console", _: object) -> Iterator["Text"]:
        from rich.text import Text

        drawn = Text()
        for status in reversed(_RANKED[1:]):
            mark = _MARKS[status][console.options.ascii_only]
            drawn.append(mark, style=STYLES.get(status, "")).append(
                f" {status.replace('_', ' ')}  ", style="dim"
            )
        yield drawn
