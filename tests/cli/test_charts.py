"""What is drawn on a terminal: timelines, coming expiries, and the table that is drawn anew as things change."""

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from monitor.cli import charts
from monitor.cli.live_table import LiveTable
from tests.cli.conftest import CliEnvironment
from tests.factories import DAY, HOUR, NOW

INSTAGRAM = "instagram-17841412345678"


def drawn(
    draw: Callable[[Console], Iterable[Any]], *, width: int, height: int = 24, encoding: str = "utf-8"
) -> list[str]:
    """Draw for a terminal without colors, and give its lines."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, height=height, no_color=True, force_terminal=True)
    console.print(Group(*draw(console)))
    file.flush()
    shown = file.buffer.getvalue().decode(encoding)
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]


def period(status: str, began_at: datetime, ended_at: datetime | None, **given: Any) -> dict[str, Any]:
    return {
        **{"account": "agency", "managed_user_id": None, "managed_user": None, "platform": "instagram"},
        **{
            "platform_id": INSTAGRAM,
            "name": given.get("username", "@you"),
            "username": "@you",
            "token_status": status,
        },
        **{"began_at": began_at, "ended_at": ended_at},
    } | given


def timeline(*periods: dict[str, Any], width: int = 40, now: datetime, **given: Any) -> list[str]:
    since = given.pop("since", None)
    return drawn(
        lambda console: charts.timelines(periods, since=since, now=now, console=console), width=width, **given
    )


def test_a_timeline_is_as_long_as_the_terminal_is_wide_and_marks_each_period() -> None:
    lines = timeline(
        period("valid", NOW - 40 * DAY, NOW - 20 * DAY),
        period("expiring_soon", NOW - 20 * DAY, NOW - 10 * DAY),
        period("expired", NOW - 10 * DAY, NOW - 5 * DAY),
        period("valid", NOW - 5 * DAY, None),
        now=NOW,
    )
    assert lines[0] == "Instagram @you (agency)"
    assert lines[1] == "▁" * 20 + "▄" * 10 + "█" * 5 + "▁" * 5
    assert lines[2] == "2026-01-13     2026-02-02     2026-02-22"
    assert " ".join(lines[3:]).split() == [
        "█",
        "expired",
        "▄",
        "expiring",
        "soon",
        "·",
        "unknown",
        "▁",
        "valid",
    ]


def test_a_short_bad_time_is_not_lost_in_a_long_good_one() -> None:
    lines = timeline(
        period("valid", NOW - 400 * DAY, NOW - 201 * DAY),
        period("expired", NOW - 201 * DAY, NOW - 201 * DAY + HOUR),
        period("valid", NOW - 201 * DAY + HOUR, None),
        now=NOW,
    )
    assert lines[1] == "▁" * 19 + "█" + "▁" * 20


def test_while_it_was_gone_there_is_nothing_and_a_new_word_is_unknown() -> None:
    lines = timeline(
        period("paused", NOW - 40 * DAY, NOW - 30 * DAY), period("valid", NOW - 10 * DAY, None), now=NOW
    )
    assert lines[1] == "·" * 10 + " " * 20 + "▁" * 10


def test_a_timeline_since_a_time_begins_there() -> None:
    periods = period("expired", NOW - 90 * DAY, NOW - 60 * DAY), period("valid", NOW - 60 * DAY, None)
    assert timeline(*periods, now=NOW, since=NOW - 40 * DAY)[1] == "▁" * 40


def test_a_connection_just_seen_has_a_timeline() -> None:
    assert timeline(period("valid", NOW, None), now=NOW)[1] == " " * 39 + "▁"
    assert timeline(now=NOW) == []


def test_connections_of_one_name_stand_on_one_axis() -> None:
    lines = timeline(
        period("valid", NOW - 40 * DAY, None),
        period("expired", NOW - 20 * DAY, None, managed_user="Acme"),
        now=NOW,
    )
    assert [lines[1], lines[3]] == ["▁" * 40, " " * 20 + "█" * 20]
    assert lines[2] == "Instagram @you (agency, user Acme)"


@pytest.mark.parametrize("width", [20, 33, 80, 250])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_chart_is_wider_than_the_terminal(width: int, encoding: str) -> None:
    hostile = "\x1b[31mred\x1b]0;title\x07\u202e" + "日本" * 40
    tokens = [
        {
            "platform": f"p{n}",
            "platform_id": f"p{n}-1",
            "expires_at": NOW + n * DAY,
            "name": hostile,
            "username": hostile,
        }
        for n in range(60)
    ]
    lines = timeline(period("valid", NOW - DAY, None, username=hostile), now=NOW, width=width)
    lines += drawn(
        lambda console: charts.expiries(tokens, now=NOW, console=console), width=width, encoding=encoding
    )
    assert max(map(cell_len, lines)) <= width
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", "".join(lines))


def test_in_ascii_the_marks_are_ascii() -> None:
    lines = timeline(
        period("valid", NOW - 4 * DAY, NOW - 2 * DAY), period("expired", NOW - 2 * DAY, None),
        now=NOW, encoding="ascii", width=20,
    )  # fmt: skip
    assert lines[1] == "_" * 10 + "#" * 10


def token(days: float, platform: str = "instagram") -> dict[str, Any]:
    return {"platform": platform, "platform_id": f"{platform}-1", "expires_at": NOW + timedelta(days=days)}


def test_coming_expiries_stand_on_their_days() -> None:
    tokens = [token(0.5), *[token(3.5)] * 8, *[token(3.5, "linkedin")] * 2, token(59.9, "linkedin")]
    tokens += [token(-1), token(60), {**token(1), "expires_at": None}]
    heading, instagram, linkedin, axis = drawn(
        lambda console: charts.expiries(tokens, now=NOW, console=console), width=72
    )
    assert heading == "12 tokens end within 60 days"
    assert instagram.rstrip() == "Instagram  ▁  █"
    assert linkedin == "LinkedIn      █" + " " * 55 + "▄"
    assert axis == " " * 11 + "2026-02-22               2026-03-24               2026-04-23"


def test_on_a_narrow_terminal_days_share_a_bar_and_none_is_lost() -> None:
    tokens = [token(day + 0.5) for day in range(60)]
    _, line, _ = drawn(
        lambda console: charts.expiries(tokens, now=NOW, console=console), width=31, encoding="ascii"
    )
    assert line == "Instagram  " + "3" * 20


def test_no_expiry_within_sixty_days_is_said() -> None:
    assert drawn(lambda console: charts.expiries([token(61)], now=NOW, console=console), width=80) == [
        "No token expires within 60 days."
    ]


def board(**given: Any) -> LiveTable:
    headers: Any = (
        *("account", "managed user", "platform", "name", "token", "expires", "last post", "last error"),
        "incident",
    )
    row = (
        "agency",
        "Acme",
        "Instagram",
        "you",
        ("expired", ""),
        "in 3 days (2026-02-25)",
        "",
        "",
        "critical",
    )
    ordinary: dict[str, Any] = {"headers": headers, "rows": [row] * 50, "total": 80, "problems": 50}
    ordinary |= {"accounts": ["CRITICAL: a key"], "read_at": NOW}
    return LiveTable(**ordinary | given)


@pytest.mark.parametrize(("width", "height"), [(20, 8), (36, 12), (80, 24), (200, 50)])
def test_the_board_fits_the_terminal_and_says_what_it_leaves_out(width: int, height: int) -> None:
    lines = drawn(lambda _: [board()], width=width, height=height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    shown = sum("expired" in line for line in lines)
    assert shown >= 1
    assert lines[-1][:10] == f"and {80 - shown} more"[:10]


class Terminal:
    """A process on a terminal of its own, and what it has written there."""

    def __init__(self, cli_env: CliEnvironment, *args: str, columns: int, rows: int) -> None:
        cli_env.write()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environ = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "monitor", "--config", str(cli_env.config), *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environ, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - so that ctrl-C reaches it
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Read on until a text is shown."""
        until = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < until, self.shown[-2000:]
            self._read(0.2)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def end(self) -> int:
        until = time.monotonic() + 30
        while self.process.poll() is None:  # what is written must be read, or its writer waits
            assert time.monotonic() < until, self.shown[-2000:]
            self._read(0.1)
        status = self.process.returncode
        while self._read(0.1):
            pass
        os.close(self._ours)
        return status

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
        except OSError:
            return False
        return True


@contextmanager
def terminal(cli_env: CliEnvironment, *args: str, columns: int = 100, rows: int = 20) -> Iterator[Terminal]:
    found = Terminal(cli_env, *args, columns=columns, rows=rows)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()


HIDDEN, BACK = "\x1b[?1049h", "\x1b[?1049l\x1b[?25h"


@pytest.mark.parametrize("columns", [100, 24])
def test_what_is_watched_changes_on_the_terminal_until_ctrl_c(cli_env: CliEnvironment, columns: int) -> None:
    cli_env.run("poll")
    with terminal(cli_env, "status", "--watch", columns=columns) as shown:
        shown.wait_for("valid")
        assert HIDDEN in shown.shown
        cli_env.fake_service.expire("linkedin-Tz9W5i6ZYG")
        cli_env.run("poll")
        shown.wait_for("expired")
        shown.press(b"\x03")
        assert shown.end() == 0
    assert shown.shown.count("Traceback") == 0
    assert "?1049l" in shown.shown.rpartition("expired")[2]
    assert "?25h" in shown.shown.rpartition("expired")[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_watch_that_is_told_to_end_gives_the_terminal_back(cli_env: CliEnvironment, number: int) -> None:
    cli_env.run("poll")
    with terminal(cli_env, "status", "--watch") as shown:
        shown.wait_for("valid")
        shown.process.send_signal(number)
        assert shown.end() == 0
    assert "?1049l" in shown.shown
    assert "Traceback" not in shown.shown


def test_a_watch_outlives_a_database_that_is_away_for_a_while(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    with terminal(cli_env, "status", "--watch", columns=160) as shown:
        shown.wait_for("valid")
        away = cli_env.database.rename(cli_env.folder / "away.db")
        shown.wait_for("is gone")
        away.rename(cli_env.database)
        seen = len(shown.shown)
        shown.wait_for("3 connections", seconds=10)
        while "3 connections" not in shown.shown[seen:].rpartition("is gone")[2]:
            shown._read(0.5)
        shown.press(b"\x03")
        assert shown.end() == 0


@pytest.mark.parametrize("also", [(), ("--json",)])
def test_only_a_terminal_can_be_watched(cli_env: CliEnvironment, also: tuple[str, ...]) -> None:
    ran = cli_env.run("status", "--watch", *also)
    assert (ran.status, ran.out) == (2, "")
    assert "--watch is for a terminal" in ran.complaint


def test_without_a_history_there_is_nothing_to_watch(cli_env: CliEnvironment) -> None:
    with terminal(cli_env, "status", "--watch") as shown:
        assert shown.end() == 1
    assert "no history yet" in shown.shown
    assert HIDDEN not in shown.shown


def test_charts_are_on_terminals_alone(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    for args, chart in ((("history",), "within 60 days"), (("history", INSTAGRAM), "▁ valid")):
        with terminal(cli_env, *args) as shown:
            assert shown.end() == 0
        assert chart in re.sub(r"\x1b\[[0-9;]*m", "", shown.shown)
        assert "first seen" in shown.shown
        assert chart not in cli_env.run(*args).out
        assert chart.encode() not in cli_env.run(*args, "--json").out.encode()
