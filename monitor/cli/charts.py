"""The history as compact charts on a terminal: a connection's timeline, the fleet's coming expiries."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from monitor.cli.status import Row, who
from monitor.cli.tables import STYLES
from monitor.core.messages.phrases import platform_name
from monitor.core.text import counted, one_line

if TYPE_CHECKING:
    from rich.console import Console
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


def timelines(
    periods: Iterable[Row], *, since: datetime | None, now: datetime, console: "Console"
) -> Iterator["Text"]:
    """
    Draw the status of each connection's token over time, from its first period or a given time until now.

    Args:
        periods: rows of ``connection_timeline``, of a few connections.
        console: where it is drawn; its width and encoding count.
    """
    from rich.text import Text

    by_connection: dict[str, list[Row]] = {}
    for period in periods:
        by_connection.setdefault(one_line(who(period)), []).append(period)
    if not by_connection:
        return
    begins_at = [rows[0]["began_at"] for rows in by_connection.values()]
    start = min(*(max(since, each) if since else each for each in begins_at), now - timedelta(hours=1))
    width, is_ascii = max(console.width, NARROWEST), console.options.ascii_only
    step = (now - start) / width
    for name, rows in by_connection.items():
        yield _line(name, style="bold")
        worst = [""] * width
        for period in rows:
            ended_at = period["ended_at"] or now
            if ended_at < start:
                continue
            first = min(max(int((period["began_at"] - start) / step), 0), width - 1)
            last = min(int((ended_at - start) / step), width - 1)
            if ended_at < now and last > first and (ended_at - start) % step == timedelta():
                last -= 1
            status = period["token_status"] if period["token_status"] in _MARKS else "unknown"
            for cell in range(first, last + 1):
                worst[cell] = max(worst[cell], status, key=_RANKED.index)
        marks = ((_MARKS[status][is_ascii], STYLES.get(status, "")) for status in worst)
        yield Text.assemble(*marks, no_wrap=True, overflow="crop")
    yield _axis(start, now, width)
    yield Text.assemble(
        *(
            part
            for status in reversed(_RANKED[1:])
            for part in (
                (_MARKS[status][is_ascii], STYLES.get(status, "")),
                (f" {status.replace('_', ' ')}  ", "dim"),
            )
        )
    )


def expiries(tokens: Iterable[Row], *, now: datetime, console: "Console") -> Iterator["Text"]:
    """
    Draw how many tokens expire on each of the next 60 days, one line for each platform.

    On a narrow terminal a bar stands for several days.

    Args:
        tokens: rows of ``expiring_tokens``.
        console: where it is drawn; its width and encoding count.
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
    yield _line(f"{counted(count, 'token')} {'ends' if count == 1 else 'end'} within 60 days", style="bold")
    label = max(len(name) for name in days) + 2
    width = max(console.width - label, NARROWEST)
    cells = min(width, AHEAD // DAY)
    last_day = [AHEAD // DAY * (cell + 1) / cells for cell in range(cells)]
    for name, counts in sorted(days.items(), key=lambda each: (-each[1].total(), each[0])):
        bars = [0] * cells
        for day, number in counts.items():
            bars[next(cell for cell, end in enumerate(last_day) if day < end)] += number
        line = _line(name.ljust(label))
        for end, number in zip(last_day, bars, strict=True):
            style = STYLES["expired"] if end <= 7 else STYLES["expiring_soon"] if end <= 14 else ""
            line.append(_bar(number, max(bars), console.options.ascii_only) * (width // cells), style=style)
        yield line
    yield _axis(now, now + AHEAD, cells * (width // cells), label)


def _bar(count: int, most: int, ascii_only: bool) -> str:
    if not count:
        return "." if ascii_only else " "
    if ascii_only:
        return str(count) if count < 10 else "+"
    return _BARS[max(-(-count * len(_BARS) // most) - 1, 0)]


def _axis(start: datetime, end: datetime, width: int, label: int = 0) -> "Text":
    """Draw the dates under a chart, at its ends and, if there is room, in its middle."""
    first, middle, last = (f"{moment:%Y-%m-%d}" for moment in (start, start + (end - start) / 2, end))
    if width < 3 * len(first) + 2:
        middle = ""
    line = first.ljust((width - len(middle)) // 2) + middle
    line += last.rjust(max(width - len(line), len(last) + 1))
    return _line(" " * label + line, style="dim")


def _line(text: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(text, style=style, no_wrap=True, overflow="crop")
