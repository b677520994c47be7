"""Two daemons on one PostgreSQL: one monitors, the other stands by."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from monitor.cli import main
from monitor.clock import utc_now
from monitor.sandbox.samples import SANDBOX_KEY
from monitor.storage.database import Database
from tests.daemon_process import daemon, notify_socket, wait_until
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import seed_world
from tests.test_web_process import get, port_of


@pytest.fixture
def api() -> Iterator[Server]:
    with serve(seed_world(utc_now)) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, api: Server, postgres_url: str) -> Path:
    path = tmp_path / "config.yaml"
    url = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    tree = {
        "database": {"url": url},
        "polling": {"every": "1s", "jitter": "0%"},
        "accounts": [{"name": "agency", "base_url": api.url, "api_key_env": "KEY"}],
        "web": {"listen": "127.0.0.1:0"},
        "log": {"format": "json"},
    }
    path.write_text(json.dumps(tree))
    return path


ENVIRON = {"KEY": SANDBOX_KEY}


def test_a_second_daemon_stands_by_and_takes_over(tmp_path: Path, config: Path, api: Server) -> None:
    with notify_socket(tmp_path) as line, daemon(config, ENVIRON) as first:
        first.wait_for("daemon.started")
        wait_until(lambda: get(port_of(first), "/readyz")[0] == 200, what="the first daemon to be ready")
        with daemon(config, {**ENVIRON, "NOTIFY_SOCKET": str(line.path)}) as second:
            [standing_by] = second.wait_for("daemon.standing_by")
            line.wait_for("READY")
            assert line.said("STATUS")[-1] == f"standing by for {standing_by['holder']}"
            port = port_of(second)
            assert get(port, "/healthz") == (200, "ok\n")
            assert get(port, "/readyz") == (200, "ok\n")
            assert get(port, "/metrics") == (503, "standing by\n")
            assert get(port, "/api/connections")[0] == 200
            second.process.send_signal(signal.SIGHUP)
            line.wait_for("RELOADING")
            line.wait_for("READY", after=len(line.notes) - 1)
            assert second.lines("daemon.started") == []
            first.process.kill()
            second.wait_for("daemon.started")
            polled = len(api.requests)
            wait_until(lambda: len(api.requests) > polled, what="polls by the second daemon")
            second.process.terminate()
            assert second.end() == 0


def test_a_daemon_without_its_lock_does_nothing_until_it_has_it_again(
    config: Path, api: Server, postgres_url: str
) -> None:
    with daemon(config, ENVIRON) as process, closing(Database(postgres_url)) as database:
        process.wait_for("daemon.started")
        assert database.daemon()
        engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
        other = engine.connect()
        # Another takes the lock in the moment that the session of the daemon is gone.
        other.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'postpost-monitor on%'"
            )
        )
        other.execute(text("SELECT pg_advisory_lock(7085320772)"))
        process.wait_for("daemon.lock_lost")
        polled = len(api.requests)
        other.close()
        engine.dispose()
        process.wait_for("daemon.lock_acquired")
        assert len(api.requests) - polled <= 1
        wait_until(lambda: len(api.requests) > polled + 1, what="polls after the lock is held again")
        process.process.terminate()
        assert process.end() == 0


def test_a_poll_beside_a_daemon_removes_nothing(
    config: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", SANDBOX_KEY)
    with closing(Database(postgres_url)) as database:
        database.upgrade()
        with database.begin() as store:
            store.register([("elsewhere", None)], utc_now())
        with database.exclusive() as acquire:
            assert acquire() is None
            main(["--config", str(config), "poll"])
            with database.read() as store:
                assert {target.account for target in store.active_targets()} == {"agency", "elsewhere"}
        main(["--config", str(config), "poll"])
        with database.read() as store:
            assert {target.account for target in store.active_targets()} == {"agency"}
