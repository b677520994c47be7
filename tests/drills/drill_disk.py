"""The disk is full, or can't be written; needs root."""

import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_process import wait_until
from tests.drills.scene import scene
from tests.receivers import Answer

AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_costs_nothing_but_time(tmp_path: Path, small_disk: Path) -> None:
    url = f"sqlite:///{small_disk}/history.db"
    with scene(tmp_path, url, connections=60) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        place.end_next()
        place.wait_until_told()
        for _ in range(3):
            filler = small_disk / "filler"
            with filler.open("wb", buffering=0) as file:
                for size in (65536, 512):
                    try:
                        while True:
                            file.write(b"x" * size)
                    except OSError:
                        continue
            unavailable = len(process.lines("database.unavailable"))
            for _ in range(15):
                place.end_next()
            # What is in the log already may be written over; sooner or later it needs more.
            wait_until(
                lambda seen=unavailable: len(process.lines("database.unavailable")) > seen,  # type: ignore[misc]  # mypy can't infer it
                what="a complaint",
                seconds=60,
            )
            assert "make room on the disk" in process.lines("database.unavailable")[-1]["error"]
            time.sleep(3)
            filler.unlink()
            place.wait_until_told()
        place.stop(process)
        assert place.wrong() == []


def test_a_disk_that_fills_up_between_sending_and_writing_it_down_tells_nothing_twice(tmp_path: Path) -> None:
    with scene(tmp_path) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        wait_until(lambda: bool(place.rows("SELECT id FROM connections")), what="a first look")
        place.hooks.answer = Answer(delay=2)
        place.end_next()
        place.hooks.wait_for(1, 60)
        # From now on nothing can be written, for longer than the sender is patient and its lease lasts.
        _, hard = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
        time.sleep(200)
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        place.stop(process)
        assert len(place.hooks.requests) == 1
        assert place.wrong() == []


def test_a_file_that_may_not_be_written_is_waited_for(tmp_path: Path) -> None:
    # Root may write anything: the daemon runs as somebody else.
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        state = folder / "state"
        state.mkdir()
        shutil.chown(state, "nobody", "nogroup")
        folder.chmod(0o755)
        with scene(folder, f"sqlite:///{state}/history.db") as place:
            with place.daemon(AS_NOBODY, {"HOME": str(state)}) as process:
                process.wait_for("daemon.started")
                place.end_next()
                place.wait_until_told()
                for file in state.glob("history.db*"):
                    file.chmod(0o444)
                state.chmod(0o555)
                place.config.chmod(0o644)
                process.process.send_signal(signal.SIGHUP)  # opens everything anew
                process.wait_for("database.unavailable")
                assert "where the monitor may write" in process.lines("database.unavailable")[-1]["error"]
                place.end_next()
                time.sleep(5)
                assert process.process.poll() is None
                state.chmod(0o755)
                for file in state.glob("history.db*"):
                    file.chmod(0o644)
                place.stop(process)
            assert place.wrong() == []
    finally:
        shutil.rmtree(folder)
