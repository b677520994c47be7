"""The whole pipeline of the daemon over a fleet: fetch, decode, decide, record; a database on disk."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from benchmarks.cost import Run, measured, report
from monitor.app import App, build_app
from monitor.clock import utc_now
from monitor.config.document import Tree
from monitor.config.load import parse_config
from monitor.logs import configure_logs
from monitor.storage import stats
from monitor.workers.poller import Poller


@contextmanager
def watching(
    account: dict[str, Tree], concurrency: int, database_url: str
) -> Iterator[tuple[App, Poller, list[int]]]:
    """Give a monitor of one account on an empty database, its poller, and the sizes of the batches it records."""
    configure_logs(format="json", level="error", secrets=[], stream=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        config = parse_config(
            {
                "database": {"url": database_url or f"sqlite:///{Path(folder)}/history.db"},
                "polling": {"concurrency": concurrency, "requests_per_minute": 1_000_000},
                "accounts": [{"api_key_env": "KEY", **account}],
            },
            {"KEY": "sk_bench_0.0"},
        )
        app = build_app(config)
        app.database.upgrade()
        recorded: list[int] = []
        poller = Poller(
            app.context,
            concurrency=concurrency,
            on_recorded=lambda batch: recorded.append(len(batch)),
        )
        yield app, poller, recorded
        poller.close(timedelta(seconds=5))
        app.close()


def main(url: str, targets: int, concurrency: int, database_url: str = "") -> None:
    """Poll a fleet once to get to know it and once to settle, then once more, and print what that cost."""
    run: Run = {}
    with watching({"name": "fleet", "base_url": url}, concurrency, database_url) as (app, poller, recorded):
        with app.database.begin() as store:
            everyone = store.register([("fleet", f"{i:024x}") for i in range(targets)], utc_now())
        for _ in range(3):
            recorded.clear()
            with measured(targets) as run:
                with app.database.read() as store:
                    turns = stats.due_times(store, [target.id for target in everyone])
                for start in range(0, targets, 1000):
                    poller.submit(everyone[start : start + 1000], turns)
                    while len(poller.in_flight) > 500:
                        time.sleep(0.02)
                poller.wait()
            if sum(recorded) != targets:
                sys.exit(f"{sum(recorded)} of {targets} polls were recorded: nothing was measured")
            run["commits"] = len(recorded)
    report(run)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
