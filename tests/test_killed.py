"""Killed at every point of the pipeline, by a real signal: at least one message, at most one again, sound."""

import json
import multiprocessing
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from monitor.clock import utc_now
from monitor.sandbox.samples import SANDBOX_KEY
from monitor.storage.database import Database
from monitor.storage.integrity import check_integrity
from monitor.storage.outbox import LEASE
from tests.killed import POINTS, watch_once
from tests.receivers import HttpReceiver, http_receiver
from tests.sandbox.server import serve
from tests.sandbox.worlds import seed_world

# Each process is forked from one that has loaded the program and runs no thread.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.killed"])
ENVIRON = {"KEY": SANDBOX_KEY}


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


@pytest.fixture
def config(tmp_path: Path, database_url: str, receiver: HttpReceiver) -> Iterator[Path]:
    plain = make_url(database_url)
    if plain.get_backend_name() == "postgresql":
        plain = plain.set(drivername="postgresql")
    with serve(seed_world(utc_now, key=SANDBOX_KEY)) as server:
        file = tmp_path / "config.yaml"
        file.write_text(
            json.dumps(
                {
                    "database": {"url": plain.render_as_string(hide_password=False)},
                    "accounts": [{"name": "agency", "base_url": server.url, "api_key_env": "KEY"}],
                    "channels": [{"name": "hook", "url": f"json://{receiver.address}/"}],
                }
            )
        )
        yield file


def watch(config: Path, *, ahead: timedelta = timedelta(), killed: str | None = None) -> int | None:
    """Watch once in a process of its own; returns how that ended."""
    process = PROCESSES.Process(target=watch_once, args=(config, ENVIRON, ahead, killed))
    process.start()
    process.join(60)
    status = process.exitcode
    process.close()
    return status


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_nothing_is_lost_and_at_most_one_message_comes_again_with_its_key(
    config: Path, database_url: str, receiver: HttpReceiver, point: str
) -> None:
    assert watch(config, killed=point) == -signal.SIGKILL
    assert watch(config, ahead=LEASE + timedelta(seconds=1)) == 0
    sent = [request.headers["x-idempotency-key"] for request in receiver.requests]
    assert 1 <= len(sent) <= 2
    assert len(set(sent)) == 1
    assert all(
        json.loads(request.body)["message"].endswith(f"message {sent[0]}") for request in receiver.requests
    )
    assert watch(config, ahead=2 * LEASE + timedelta(minutes=1)) == 0
    assert len(receiver.requests) == len(sent)
    database = Database(database_url)
    with database.read() as store:
        assert [] == list(check_integrity(store, is_routed=lambda incident, target: True))
        untold = store.connection.exec_driver_sql(
            "SELECT i.id FROM incidents i WHERE NOT EXISTS"
            " (SELECT 1 FROM notifications n WHERE n.incident_id = i.id AND n.notified_status IS NOT NULL)"
        ).all()
        states = store.connection.exec_driver_sql("SELECT DISTINCT state FROM notifications").all()
    database.close()
    assert ([], [("delivered",)]) == (list(untold), [tuple(row) for row in states])
