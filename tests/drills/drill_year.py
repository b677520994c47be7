"""A year of a thousand targets is migrated, pruned, checked and copied, in seconds; prints how many."""

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, create_engine, insert, text

from monitor.clock import utc_now
from monitor.config.model import Retention
from monitor.core.model import DeliveryState, Resolution
from monitor.jobs.context import JobContext
from monitor.jobs.prune import prune
from monitor.storage import maintenance
from monitor.storage.database import Database
from monitor.storage.integrity import check_integrity
from monitor.storage.tables import (
    connections,
    incidents,
    notifications,
    poll_runs,
    snapshots,
    target_schedule,
    targets,
)
from tests.storage.test_upgrades import want_second_version

TARGETS, EACH, DAYS = 1000, 3, 365
SECONDS = 60.0  # on a machine that others use, too; it takes a few


def fill(url: str) -> None:
    """Write a year: three connections a target, a change a week, an incident a month, an outage now and then."""
    now, dice, engine = utc_now(), random.Random(1), create_engine(url)
    begins = now - timedelta(days=DAYS)

    def day() -> timedelta:
        return timedelta(days=dice.uniform(0, DAYS - 1))

    with engine.begin() as connection:

        def put(table: Table, rows: list[dict[str, Any]]) -> None:
            connection.execute(insert(table), rows)

        put(
            targets,
            [
                {"id": t, "account": "agency", "managed_user_id": f"{t:024x}", "first_seen_at": begins}
                for t in range(1, TARGETS + 1)
            ],
        )
        put(
            connections,
            [
                {
                    "id": c,
                    "target_id": (c - 1) // EACH + 1,
                    "platform": "linkedin",
                    "platform_id": f"linkedin-{c}",
                    "username": f"user{c}",
                    "token_status": "valid",
                    "first_seen_at": begins,
                }
                for c in range(1, TARGETS * EACH + 1)
            ],
        )
        put(
            snapshots,
            [
                {
                    "connection_id": c,
                    "taken_at": begins + timedelta(weeks=week),
                    "from_status": "valid",
                    "token_status": "valid",
                    "last_error": "Media upload failed: Invalid image format",
                }
                for week in range(52)
                for c in range(1, TARGETS * EACH + 1)
            ],
        )
        put(
            incidents,
            [
                {
                    "id": i,
                    "rule": "publish_error",
                    "subject": f"s{i}",
                    "account": "agency",
                    "target_id": (c - 1) // EACH + 1,
                    "connection_id": c,
                    "severity": "warning",
                    "max_severity": "warning",
                    "summary": "publishing failed",
                    "remedy": "",
                    "notified_levels": "{}",
                    "opened_at": begins + at,
                    "resolved_at": begins + at + timedelta(hours=5),
                    "resolution": Resolution.RECOVERED,
                }
                for i, (c, at) in enumerate(
                    ((dice.randint(1, TARGETS * EACH), day()) for _ in range(12 * TARGETS)), 1
                )
            ],
        )
        put(
            notifications,
            [
                {
                    "incident_id": i,
                    "channel": "ops",
                    "reason": reason,
                    "group_key": "agency",
                    "state": DeliveryState.DELIVERED,
                    "created_at": now - timedelta(days=200),
                    "due_at": now,
                    "delivered_at": now,
                    "notified_status": "warning",
                    "message_key": f"m{i}",
                }
                for i in range(1, 12 * TARGETS + 1)
                for reason in ("opened", "resolved")
            ],
        )
        put(
            poll_runs,
            [
                {
                    "target_id": t,
                    "outcome": outcome,
                    "started_at": begins + timedelta(days=d),
                    "ended_at": begins + timedelta(days=d + 1),
                    "poll_count": 96,
                }
                for d in range(0, DAYS, 7)
                for t in range(1, TARGETS + 1)
                for outcome in ("ok",)
            ],
        )
        put(
            target_schedule,
            [
                {"target_id": t, "next_poll_at": now, "last_polled_at": now, "run_length": 1}
                for t in range(1, TARGETS + 1)
            ],
        )
        connection.execute(text("UPDATE poll_runs SET ended_at = NULL, poll_count = NULL WHERE id <= 1000"))
    engine.dispose()


def timed(what: str, deed: Callable[[], object]) -> None:
    began = time.monotonic()
    deed()
    seconds = time.monotonic() - began
    print(f"{what}: {seconds:.2f} s")
    assert seconds < SECONDS


def test_a_year_of_a_thousand_targets_takes_seconds(
    tmp_path: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = empty_database_url
    database = Database(url)
    database.upgrade()
    fill(url)
    want_second_version(tmp_path, monkeypatch)
    timed("migrating", lambda: database.upgrade(lambda revision, deed: print(f"{revision}: {deed}")))
    with database.read() as store:
        timed("db check", lambda: print(list(check_integrity(store, is_routed=lambda *_: True))[:3]))
    if database.is_sqlite:
        file = Path(url.removeprefix("sqlite:///"))
        print(f"{file.stat().st_size >> 20} MiB")
        timed("db backup", lambda: maintenance.backup(database, tmp_path / "copy.db"))
    keep = Retention.model_validate({"history": "180d"})
    timed("pruning half", lambda: print(prune(JobContext(database=database, retention=keep))))
    if database.is_sqlite:
        print(f"{file.stat().st_size >> 20} MiB")
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
