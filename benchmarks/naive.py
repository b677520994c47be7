"""The script that people put into cron: a new connection a request, a row a connection a poll."""

import sqlite3
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import requests

from benchmarks.cost import measured, report


def main(url: str, polls: int) -> None:
    """Ask and store so many times and print what it cost."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder) / "history.db")
        database.execute(
            "CREATE TABLE history (at TEXT, target INTEGER, platform_id TEXT, status TEXT, expires TEXT)"
        )
        with measured(polls) as run:
            for target in range(polls):
                answer = requests.get(
                    f"{url}/api/v1/platform-connections", headers={"x-api-key": "sk_bench_0.0"}, timeout=20
                ).json()
                at = datetime.now(UTC).isoformat()
                rows = [
                    (at, target, each["platformId"], each["tokenStatus"], each["accessTokenExpiresAt"])
                    for each in answer["connections"]
                ]
                with database:
                    database.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?)", rows)
        database.close()
    report(run)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
