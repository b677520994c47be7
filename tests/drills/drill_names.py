"""Names can't be resolved for a while: neither the API's nor the channel's; needs root."""

import time
from pathlib import Path

from tests.daemon_process import wait_until
from tests.drills.scene import scene
from tests.sandbox.faults import Drop, Fault


def test_names_that_nobody_knows_for_a_while_cost_nothing_but_time(tmp_path: Path) -> None:
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("127.0.0.1 localhost\n")
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    # In a mount namespace of its own the daemon has its own list of names, and a resolver that isn't there.
    prefix = (
        "unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
        'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"',
        "sh", str(hosts), str(resolver),
    )  # fmt: skip
    with scene(tmp_path) as place:
        place.host = "localhost"
        with place.daemon(prefix) as process:
            process.wait_for("daemon.started")
            place.end_next()
            place.wait_until_told()
            hosts.write_text("")
            place.server.faults.set(Fault(drop=Drop.CLOSE))  # connections that are open need no name
            process.wait_for("poll.failed")
            place.server.faults.clear()
            place.end_next()
            wait_until(
                lambda: "resolve" in process.lines("poll.failed")[-1]["error"],
                what="word of names",
                seconds=60,
            )
            time.sleep(8)
            hosts.write_text("127.0.0.1 localhost\n")
            place.stop(process)
        # The API was out of reach for a while, which is an incident of its own.
        assert place.wrong() == []
