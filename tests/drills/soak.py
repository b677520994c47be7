"""
Has the real daemon poll a hundred thousand times, and sees that its memory stays where it was: ``make soak``.

The fleet lives: tokens end and are renewed, posts fail, messages go out, metrics are read, the configuration
is taken anew.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

from benchmarks.server import answer, workspace
from tests.daemon_process import DaemonProcess
from tests.drills.ledger import compare
from tests.receivers import http_receiver

# A target in so many lives: the others are steady, as most are.
LIVELY = 25
# How many looks a lively one stays as it is.
HOLDS = 60
RELOADS = 4


class Fleet:
    """
    Answers for a workspace whose tokens live and die by how often they were looked at.

    Attributes:
        polls: looks at each managed user.
        url: where it listens.
    """

    def __init__(self, targets: int) -> None:
        self.polls: Counter[bytes] = Counter()
        self.total = 0
        self.url = ""
        self._users = _response(workspace(targets))
        self._well = _response(answer())
        dead = json.loads(answer())
        dead["connections"][0] |= {
            "tokenStatus": "expired",
            "tokenExpiresIn": "expired",
            "accessTokenExpiresAt": (datetime.now(UTC) - timedelta(hours=1)).isoformat()[:19] + ".000Z",
        }
        self._dead = _response(json.dumps(dead).encode())

    def answer_to(self, request: bytes) -> bytes:
        head = request.lower()
        if b"/workspace/" in head[:80]:
            return self._users
        user = head.partition(b"x-postpost-user-id: ")[2].partition(b"\r")[0]
        self.total += 1
        self.polls[user] += 1
        lives = user and int(user, 16) % LIVELY == 0
        return self._dead if lives and self.polls[user] // HOLDS % 2 else self._well

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer from a thread."""
        loop = asyncio.new_event_loop()
        fleet = self

        class Answering(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport, self.seen = transport, b""

            def data_received(self, data: bytes) -> None:
                self.seen += data
                while (end := self.seen.find(b"\r\n\r\n")) >= 0:
                    assert isinstance(self.transport, asyncio.Transport)
                    self.transport.write(fleet.answer_to(self.seen[:end]))
                    self.seen = self.seen[end + 4 :]

        server = loop.run_until_complete(loop.create_server(Answering, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()
            loop.close()


def main() -> None:
    """Soak, print the figures as JSON, and fail where memory grew or a message was lost."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--polls", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=5_000, help="polls after which memory is first read")
    parser.add_argument("--targets", type=int, default=250)
    parser.add_argument("--within", type=float, default=3600, help="seconds that it may take")
    parser.add_argument("--at-most", type=float, default=1.05, help="memory at the end against the first")
    parser.add_argument("--database", default="", help="its URL; by default a SQLite file")
    given = parser.parse_args()
    fleet, readings = Fleet(given.targets), []
    with (
        tempfile.TemporaryDirectory() as folder,
        fleet.serving(),
        http_receiver() as hooks,
    ):
        url = given.database or f"sqlite:///{folder}/history.db"
        config = Path(folder) / "config.yaml"
        config.write_text(_config(url, fleet.url, hooks.address))
        process = DaemonProcess(config, {"KEY": "sk_soak_0.0"}, ("monitor",), ())
        began = time.monotonic()
        try:
            for mark in _marks(given.first, given.polls):
                while fleet.total < mark:
                    if time.monotonic() - began > given.within or process.process.poll() is not None:
                        sys.exit(f"{fleet.total} polls, then no more: {process.text[-2000:]}")
                    time.sleep(0.2)
                reading = _reading(process.process.pid) | {
                    "polls": mark,
                    "seconds": round(time.monotonic() - began, 1),
                }
                readings.append(reading)
                print(json.dumps(reading), flush=True)
                _scrape(process)
                if len(readings) in range(2, 2 + RELOADS):
                    process.process.send_signal(signal.SIGHUP)
            process.process.terminate()
            status = process.end()
        finally:
            process.close()
        found = compare(url, hooks.requests, is_over=False)
    growth = readings[-1]["rss_kib"] / readings[0]["rss_kib"]
    summary = {
        "polls": fleet.total,
        "messages": len(hooks.requests),
        "reloads": len(process.lines("config.reloaded")),
        "growth": round(growth, 4),
        "wrong": found,
        "exit_status": status,
    }
    print(json.dumps(summary, indent=2))
    if found or status or growth > given.at_most:
        sys.exit(f"memory: {growth:.3f} of what it was, at most {given.at_most}; wrong: {found}")


def _marks(first: int, last: int) -> list[int]:
    return sorted({first, last, *range(2 * first, last, max(first * 2, 1))})


def _config(url: str, api: str, hook: str) -> str:
    return json.dumps(
        {
            "database": {"url": url},
            "polling": {"every": "1s", "jitter": "0%", "requests_per_minute": 1_000_000},
            "accounts": [
                {
                    "name": "agency",
                    "base_url": api,
                    "api_key_env": "KEY",
                    "managed_users": "all",
                    "include_owner": False,
                    "discover_every": "30s",
                }
            ],
            "channels": [{"name": "ops", "url": f"json://{hook}/"}],
            "routes": [{"channels": ["ops"], "group_wait": "2s"}],
            "web": {"listen": "127.0.0.1:0"},
            "log": {"format": "json"},
        }
    )


def _scrape(process: DaemonProcess) -> None:
    """Read what a monitoring system reads."""
    if listening := process.lines("web.listening"):
        for path in ("metrics", "readyz", "api/connections"):
            requests.get(f"http://127.0.0.1:{listening[-1]['port']}/{path}", timeout=30)


def _reading(pid: int) -> dict[str, float]:
    """Read a process's resident memory, and what else may leak."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return {
        "rss_kib": int(status["VmRSS"].split()[0]),
        "threads": int(status["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def _response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


if __name__ == "__main__":
    main()
