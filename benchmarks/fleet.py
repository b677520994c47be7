"""The whole pipeline of the daemon over a fleet: fetch, decode, decide, record; a database on disk."""

import json
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from monitor.app import assemble
from monitor.clock import utc_now
from monitor.config import parse_config
from monitor.logs import configure_logs
from monitor.pipeline import Poller


def main(url: str, targets: int, concurrency: int, database_url: str = "") -> None:
    """Poll a fleet once to get to know it, then once more, and print what that cost, as JSON."""
    configure_logs(format="json", level="error", secrets=[], stream=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                "database": {"url": database_url or f"sqlite:///{Path(folder)}/history.db"},
                "polling": {"concurrency": concurrency, "requests_per_minute": 1_000_000},
                "accounts": [{"name": "fleet", "base_url": url, "api_key_env": "KEY"}],
            },
            {"KEY": "sk_bench_0.0"},
        )
        app = assemble(config, environ={})
        app.database.upgrade()
        with app.database.begin() as store:
            everyone = store.register([("fleet", f"{i:024x}") for i in range(targets)], utc_now())
        recorded: list[int] = []
        poller = Poller(
            on_recorded=lambda batch: recorded.append(len(batch)),
            database=app.database,
            providers=app.providers,
            policy=app.policy,
            clock=app.clock,
            concurrency=concurrency,
        )
        result: dict[str, float] = {}
        for _ in range(2):
            written = bytes_written()
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            for start in range(0, targets, 1000):
                poller.hand_over(everyone[start : start + 1000])
                while len(poller.in_flight) > 500:
                    time.sleep(0.005)
            poller.wait()
            if sum(recorded) != targets:
                sys.exit(f"{sum(recorded)} of {targets} polls were recorded: nothing was measured")
            recorded.clear()
            seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            result = {
                "polls": targets,
                "seconds": seconds,
                "cpu_seconds": cpu,
                "bytes_written": bytes_written() - written,
                "resident_mib": after.ru_maxrss / 1024,
            }
        poller.close(timedelta(seconds=5))
        app.close()
        print(json.dumps(result))


def bytes_written() -> int:
    """Tell how many bytes this process has written to disks."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
