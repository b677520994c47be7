"""One key with thousands of managed users: the list asked for, then everybody polled by the dispatcher."""

import json
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from benchmarks.fleet import bytes_written
from monitor.app import assemble, office_of
from monitor.clock import utc_now
from monitor.config import parse_config
from monitor.jobs.discover import discover
from monitor.jobs.survey import survey
from monitor.logs import configure_logs
from monitor.pipeline import Poller


def main(url: str, users: int, concurrency: int, database_url: str = "") -> None:
    """Find the users, poll them once to get to know them, then once more, and print that cost, as JSON."""
    configure_logs(format="json", level="error", secrets=[], stream=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                "database": {"url": database_url or f"sqlite:///{Path(folder)}/history.db"},
                "polling": {"concurrency": concurrency, "requests_per_minute": 1_000_000},
                "accounts": [
                    {
                        "name": "agency",
                        "base_url": url,
                        "api_key_env": "KEY",
                        "managed_users": "all",
                        "include_owner": False,
                    }
                ],
            },
            {"KEY": "sk_bench_0.0"},
        )
        app = assemble(config, environ={})
        app.database.upgrade()
        discover(
            app.providers,
            every=app.policy.every,
            database=app.database,
            clock=app.clock,
            plans=app.plans,
            budgets=app.budgets,
        )
        began = time.monotonic()
        survey(office_of(app))
        discovery_seconds = time.monotonic() - began
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
            with app.database.begin() as store:
                store.pull_in("agency", latest=utc_now())
            before_bytes = bytes_written()
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            while sum(recorded) < users:
                poller.dispatch()
                time.sleep(0.25)
            seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
            recorded.clear()
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            result = {
                "polls": users,
                "seconds": seconds,
                "cpu_seconds": cpu,
                "bytes_written": bytes_written() - before_bytes,
                "resident_mib": after.ru_maxrss / 1024,
                "discovery_seconds": discovery_seconds,
            }
        poller.close(timedelta(seconds=5))
        app.close()
        print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
