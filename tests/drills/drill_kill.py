"""Killed again and again, for a minute, while there is always something to tell."""

import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.drills.scene import scene

SECONDS = 60


def test_killed_for_a_minute_under_load_it_loses_nothing(tmp_path: Path) -> None:
    dice = random.Random(7)
    kills = 0
    with scene(tmp_path, connections=400) as place:
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            with place.daemon() as process:
                if dice.random() < 0.7:  # the others are killed while they start
                    process.wait_for("daemon.started")
                lives = time.monotonic() + dice.uniform(1, 8)
                while time.monotonic() < lives:
                    place.end_next()
                    time.sleep(dice.uniform(0.05, 0.4))
                process.process.send_signal(signal.SIGKILL)
                process.end()
                kills += 1
        with place.daemon() as process:
            place.stop(process)
        # A message may have gone out without its sender living to write it down: one for each kill at most.
        assert place.wrong(repeats=kills) == []
        with closing(sqlite3.connect(tmp_path / "history.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        ended = len(place.rows("SELECT id FROM incident_log"))
        print(f"{kills} kills, {ended} tokens ended, {len(place.hooks.requests)} messages")


def test_killed_on_a_server_it_loses_nothing(tmp_path: Path, postgres_url: str) -> None:
    dice = random.Random(8)
    kills = 0
    with scene(tmp_path, postgres_url, connections=400) as place:
        ends = time.monotonic() + SECONDS / 2
        while time.monotonic() < ends:
            with place.daemon() as process:
                if dice.random() < 0.7:  # the others are killed while they start
                    process.wait_for("daemon.started")
                lives = time.monotonic() + dice.uniform(2, 8)
                while time.monotonic() < lives:
                    place.end_next()
                    time.sleep(dice.uniform(0.05, 0.4))
                process.process.send_signal(signal.SIGKILL)
                process.end()
                kills += 1
        with place.daemon() as process:
            place.stop(process)
        assert place.wrong(repeats=kills) == []
