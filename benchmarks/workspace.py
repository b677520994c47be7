"""One key with thousands of managed users: the list asked for, then everybody polled by the dispatcher."""

import sys
import time

from benchmarks.cost import Run, measured, report
from benchmarks.fleet import watching
from monitor.clock import utc_now
from monitor.config.document import Tree
from monitor.daemon.service import TICK
from monitor.jobs.sync_targets import sync_targets
from monitor.jobs.sync_workspace import sync_workspaces


def main(url: str, users: int, concurrency: int, database_url: str = "") -> None:
    """Find the users, poll them once to get to know them, then once more, and print that cost."""
    account: dict[str, Tree] = {
        "name": "agency",
        "base_url": url,
        "managed_users": "all",
        "include_owner": False,
    }
    run: Run = {}
    with watching(account, concurrency, database_url) as (app, poller, recorded):
        sync_targets(app.context)
        began = time.monotonic()
        sync_workspaces(app.context)
        discovery_seconds = time.monotonic() - began
        for _ in range(2):
            recorded.clear()
            with app.database.begin() as store:
                store.cap_next_poll("agency", latest=utc_now())
            with measured(users) as run:
                while sum(recorded) < users:
                    poller.dispatch()
                    time.sleep(TICK.total_seconds())
        run["discovery_seconds"] = discovery_seconds
    report(run)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
