"""The daemon itself, as a user starts it: web and metrics on, a thousand targets."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.cost import Run, report
from benchmarks.server import free_port, serving

_COMMAND = [sys.executable, "-m", "monitor"]
_PATIENCE_SECONDS = 120
_POLLS = re.compile(r'^postpost_monitor_polls_total\{.*outcome="ok".*\} (\S+)$', re.MULTILINE)


def main(targets: int, database_url: str = "") -> None:
    """
    Let it see every target once; then start it anew, as it is started for years, and let it see all twice.

    Args:
        database_url: a history that is there already; by default an empty one.
    """
    with serving(users=targets, own=True) as served, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder) / "config.yaml"
        account = {"name": "agency", "base_url": served.url, "api_key_env": "KEY", "managed_users": "all"}
        config.write_text(
            json.dumps(
                {
                    "database": {"url": database_url or f"sqlite:///{folder}/history.db"},
                    "polling": {"requests_per_minute": 1_000_000, "every": "20s"},
                    "accounts": [account],
                    "web": {"listen": f"127.0.0.1:{port}"},
                    "log": {"level": "error"},
                }
            )
        )
        environ = {**served.environ, "KEY": "sk_bench_0.0", "POSTPOST_MONITOR_CONFIG": str(config)}
        with _running(environ):
            _wait(lambda: _polls(port) >= targets)
        assert served.process.stdout
        served.process.send_signal(signal.SIGUSR1)  # it says anew when it is asked
        served.process.stdout.readline()
        began = time.monotonic()
        run: Run = {"polls": 2 * targets}
        with _running(environ) as daemon:
            served.process.stdout.readline()
            run["start_seconds"] = time.monotonic() - began
            _wait(lambda: _polls(port) >= 2 * targets)
            run["seconds"] = time.monotonic() - began
            status = Path(f"/proc/{daemon.pid}/status").read_text()
            run["resident_mib"] = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
            run["cpu_seconds"] = _cpu_seconds(daemon.pid)
    run["help_seconds"] = min(_help_seconds() for _ in range(5))
    report(run)


def _help_seconds() -> float:
    began = time.monotonic()
    subprocess.run([*_COMMAND, "--help"], check=True, capture_output=True)
    return time.monotonic() - began


@contextmanager
def _running(environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    daemon = subprocess.Popen([*_COMMAND, "run"], env=environ, stderr=subprocess.DEVNULL)
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(20)


def _polls(port: int) -> int:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
        return int(
            sum(
                float(n)
                for n in re.findall(r'^postpost_monitor_polls_total\{.*outcome="ok".*\} (\S+)$', text, re.M)
            )
        )
    return 0


def _wait(is_done: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE_SECONDS
    while not is_done():
        if time.monotonic() > ends:
            raise TimeoutError("the daemon did not get through its targets")
        time.sleep(0.5)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
