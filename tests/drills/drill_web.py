"""Idle sockets by the hundred at the web listener of a real daemon, for a minute."""

import socket
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.drills.scene import scene


def test_hundreds_of_idle_sockets_keep_no_probe_out_and_no_alert_back(tmp_path: Path) -> None:
    with scene(tmp_path, connections=20) as place:
        place.more = {"web": {"listen": "127.0.0.1:0"}}
        with place.daemon() as process, ExitStack() as sockets:
            port = int(process.wait_for("web.listening")[0]["port"])
            process.wait_for("daemon.started")
            place.end_next()
            ends = time.monotonic() + 60
            probes = 0
            while time.monotonic() < ends:
                for n in range(40):
                    with suppress(OSError):
                        address = (f"127.0.0.{n + 2}", 0)
                        sockets.enter_context(
                            socket.create_connection(("127.0.0.1", port), timeout=5, source_address=address)
                        )
                for path in ("/healthz", "/readyz", "/api/incidents"):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                        assert answer.status == 200
                        probes += 1
                time.sleep(0.5)
            place.stop(process)
        assert place.wrong() == []
        print(f"{probes} probes answered; {len(place.hooks.requests)} messages")
