"""The clock is stepped, or time passes while the process is stopped; needs libfaketime."""

import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import wait_until
from tests.drills.scene import Scene, scene

LIBRARIES = [
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib64").glob("faketime/libfaketimeMT.so.1"),
]


class FakeTime:
    """The wall clock of one process, set by a file; its monotonic clock goes on as it does."""

    def __init__(self, folder: Path) -> None:
        assert LIBRARIES, "Debian: apt install faketime"
        self._file = folder / "faketime"
        self.step(0)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def step(self, seconds: int) -> None:
        """Set the clock this far off."""
        self._file.write_text(f"{seconds:+d}")


def seen(place: Scene) -> int:
    return len(place.server.requests)


def _more_than(asked: int, place: Scene) -> bool:
    return seen(place) > asked


TWO_MONTHS = 61 * 86_400


@pytest.mark.parametrize("steps", [(3600, 0), (-3600, 0), (86_400, -86_400, 0), (TWO_MONTHS, -TWO_MONTHS, 0)])
def test_a_clock_that_is_stepped_blinds_nobody_and_tells_nothing_twice(
    tmp_path: Path, steps: tuple[int, ...]
) -> None:
    fake = FakeTime(tmp_path)
    with scene(tmp_path) as place, place.daemon(environ=fake.environ) as process:
        process.wait_for("daemon.started")
        place.end_next()
        place.wait_until_told()
        for seconds in steps:
            fake.step(seconds)
            asked = seen(place)
            wait_until(partial(_more_than, asked + 2, place), what="looks", seconds=150)
            place.end_next()
            place.wait_until_told()
            time.sleep(4)
        place.stop(process)
        assert place.wrong() == []
        skews = place.rows("SELECT resolution FROM incident_log WHERE rule = 'clock_skew' ORDER BY id")
        assert {row["resolution"] for row in skews} == {"recovered"}


def apart(place: Scene) -> list[dict[str, Any]]:
    return place.rows("SELECT id FROM incident_log WHERE rule = 'clock_skew' AND resolved_at IS NULL")


def test_a_start_with_a_clock_that_is_wrong_tells_that_and_nothing_false(tmp_path: Path) -> None:
    fake = FakeTime(tmp_path)
    with scene(tmp_path) as place:
        for seconds in (0, TWO_MONTHS, -TWO_MONTHS, 0):
            fake.step(seconds)
            with place.daemon(environ=fake.environ) as process:
                process.wait_for("daemon.started")
                place.end_next()
                is_apart = bool(seconds)
                wait_until(lambda: bool(apart(place)) is is_apart, what=f"{seconds} s apart", seconds=90)  # noqa: B023 - within its round
                place.stop(process)
        assert place.wrong() == []
        skews = place.rows("SELECT resolution FROM incident_log WHERE rule = 'clock_skew'")
        assert [row["resolution"] for row in skews] == ["recovered"]


def test_ten_minutes_stopped_are_caught_up_with(tmp_path: Path) -> None:
    fake = FakeTime(tmp_path)
    with scene(tmp_path) as place, place.daemon(environ=fake.environ) as process:
        process.wait_for("daemon.started")
        place.end_next()
        place.wait_until_told()
        process.process.send_signal(signal.SIGSTOP)
        fake.step(600)
        place.end(*place.names[1:4])
        time.sleep(3)
        process.process.send_signal(signal.SIGCONT)
        place.stop(process)
        assert place.wrong() == []
