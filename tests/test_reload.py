"""A reload in the middle of everything: no poll is lost, nothing is told twice, nobody's lease is taken away."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine, make_url, text

from monitor.clock import utc_now
from monitor.sandbox.profiles import SocialProfile
from monitor.sandbox.samples import SANDBOX_KEY
from tests.daemon_process import daemon, wait_until
from tests.factories import DAY
from tests.receivers import Answer, http_receiver
from tests.sandbox.faults import Fault
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import seed_world

USERS = 40
RELOADS = 2
ENVIRON = {"KEY": SANDBOX_KEY}


@pytest.fixture
def api() -> Iterator[Server]:
    """Serve a workspace of many users with one good connection each."""
    fake_service = seed_world(utc_now)
    for n in range(USERS):
        user = fake_service.add_user(f"user-{n}", display_name=f"User {n}")
        profile = SocialProfile(platform_id=f"tiktok-{n}", username=f"u{n}", expires_at=utc_now() + 90 * DAY)
        fake_service.add_connection(profile, user=user)
    with serve(fake_service) as server:
        yield server


def rows(database_url: str, query: str) -> list[dict[str, Any]]:
    engine = create_engine(database_url)
    try:
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query)).mappings()]
    finally:
        engine.dispose()


def test_reloads_under_load_lose_no_poll_no_incident_and_no_lease(
    tmp_path: Path, api: Server, empty_database_url: str
) -> None:
    url = empty_database_url
    plain = make_url(url).set(drivername=make_url(url).get_backend_name())
    users = list(api.fake_service.account().users)
    with http_receiver() as slow, http_receiver() as quick:
        tree: dict[str, Any] = {
            "database": {"url": plain.render_as_string(hide_password=False)},
            "polling": {"every": "2s", "timeout": "5s", "requests_per_minute": 6000, "concurrency": 8},
            "accounts": [
                {"name": "agency", "base_url": api.url, "api_key_env": "KEY", "managed_users": "all"}
            ],
            "channels": [
                {"name": "slow", "url": f"json://{slow.address}/"},
                {"name": "quick", "url": f"json://{quick.address}/"},
            ],
            "routes": [
                {"channels": ["slow", "quick"], "group_by": ["account", "managed_user"], "group_wait": "0s"}
            ],
            "log": {"format": "json"},
        }
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(tree))
        with daemon(config, ENVIRON) as process:
            wait_until(
                lambda: (
                    bool(process.lines("daemon.started"))
                    and len(rows(url, "SELECT 1 FROM current_connections")) == USERS + 3
                ),
                what="a look at everybody",
            )
            quick.wait_for(1, 30)
            # Longer than a reload waits for: the message that is being sent outlives its daemon.
            slow.answer = Answer(delay=10)
            api.faults.set(Fault(delay_seconds=0.2))
            for n in range(RELOADS):
                for each in range(n * USERS // RELOADS, (n + 1) * USERS // RELOADS):
                    api.fake_service.expire(f"tiktok-{each}", user=users[each])
                    time.sleep(0.05)
                tree["accounts"][0]["labels"] = {"reload": str(n)}
                config.write_text(yaml.safe_dump(tree))
                process.process.send_signal(signal.SIGHUP)
                process.wait_for("config.reloaded", times=n + 1)
            slow.answer = Answer()
            delivered = "SELECT channel FROM delivery_log WHERE state = 'delivered'"
            wait_until(lambda: len(rows(url, delivered)) >= 2 * (USERS + 2), what="all messages", seconds=90)
            before = len(api.requests)
            wait_until(lambda: len(api.requests) >= before + 2 * USERS, what="polls after the reloads")
            process.process.terminate()
            assert process.end() == 0
        # What the history says happened is what receivers got, each once, and nothing else.
        incidents = rows(url, "SELECT id, rule, managed_user FROM incident_log")
        assert Counter(row["rule"] for row in incidents) == {"token_expiry": USERS + 1, "publish_error": 1}
        states = Counter(
            (row["channel"], row["state"]) for row in rows(url, "SELECT channel, state FROM delivery_log")
        )
        assert states == {(name, "delivered"): USERS + 2 for name in ("slow", "quick")}
        for receiver in (slow, quick):
            notified = [
                f"User {n}"
                for request in receiver.requests
                for n in range(USERS)
                if f"User {n} " in f"{request.json()['message']} ".replace("\n", " ").replace(",", " ")
            ]
            keys = Counter(request.headers["x-idempotency-key"] for request in receiver.requests)
            assert set(keys.values()) == {1}
            assert Counter(notified) == {f"User {n}": 1 for n in range(USERS)}
    # A poll that was cut off is no failure: it came again.
    assert {row["outcome"] for row in rows(url, "SELECT outcome FROM poll_log")} == {"ok"}
    assert not process.lines("poll.failed")
    assert not [line for line in process.log if line["level"] == "error"]
