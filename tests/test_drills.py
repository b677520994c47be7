"""The quickest drills; the others are run by ``make drill``."""

import resource
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.daemon_process import DaemonProcess, wait_until
from tests.drills.scene import Scene, scene


def limit(process: DaemonProcess, what: int, soft: int) -> None:
    _, hard = resource.prlimit(process.process.pid, what)
    resource.prlimit(process.process.pid, what, (soft, hard))


def seen(place: Scene) -> int:
    return len(place.server.requests)


def test_a_file_that_may_grow_no_more_costs_nothing_but_time(tmp_path: Path) -> None:
    with scene(tmp_path) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        wait_until(lambda: bool(place.rows("SELECT id FROM connections")), what="a first look")
        limit(process, resource.RLIMIT_FSIZE, 4096)
        place.end(*place.names[:5])
        process.wait_for("database.unavailable")
        assert "the disk" in process.lines("database.unavailable")[0]["error"]
        assert place.hooks.requests == []
        place.end(place.names[5])
        limit(process, resource.RLIMIT_FSIZE, resource.RLIM_INFINITY)
        place.stop(process)
        assert place.wrong() == []


def test_a_log_of_the_database_that_is_deleted_loses_nothing(tmp_path: Path) -> None:
    with scene(tmp_path) as place:
        with place.daemon() as process:
            process.wait_for("daemon.started")
            place.end(place.names[0])
            place.wait_until_told()
            for ending in ("-wal", "-shm"):
                Path(f"{tmp_path}/history.db{ending}").unlink()
            place.end(*place.names[1:4])
            place.wait_until_told()
            asked = seen(place)
            wait_until(lambda: seen(place) > asked + 2, what="more looks")
            process.process.send_signal(signal.SIGKILL)
            process.end()
        place.end(place.names[4])
        with place.daemon() as process:
            place.stop(process)
        assert place.wrong() == []
        with closing(sqlite3.connect(tmp_path / "history.db")) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_too_few_file_descriptors_are_survived_and_told_of_later(tmp_path: Path) -> None:
    with scene(tmp_path) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        wait_until(lambda: bool(place.rows("SELECT id FROM connections")), what="a first look")
        limit(
            process, resource.RLIMIT_NOFILE, len(list(Path(f"/proc/{process.process.pid}/fd").iterdir())) - 2
        )
        place.end(*place.names[:3])
        time.sleep(4)
        assert process.process.poll() is None
        limit(process, resource.RLIMIT_NOFILE, 1024)
        place.stop(process)
        assert place.wrong() == []


def test_one_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    with scene(tmp_path) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        place.end_next()
        place.wait_until_told()
        process.process.send_signal(signal.SIGSTOP)
        place.end(*place.names[1:6])
        time.sleep(3)
        assert not place.notified(place.names[1])
        process.process.send_signal(signal.SIGCONT)
        place.stop(process)
        assert place.wrong() == []
