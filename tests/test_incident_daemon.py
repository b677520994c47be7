"""Services with incidents of their own, served by the daemon: its scheduler, real receivers, the real clock."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.app import build_app
from monitor.clock import utc_now
from monitor.config.load import load_config
from monitor.daemon.service import Daemon
from monitor.sandbox.samples import SANDBOX_KEY
from monitor.storage import acknowledgements
from tests.daemon_process import wait_until
from tests.incident_services import Alertmanager, Program
from tests.receivers import http_receiver
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import seed_world

TICK = timedelta(milliseconds=20)


class AlertmanagerNow(Alertmanager):
    """One whose clock runs a little ahead of ours, as some do."""

    @property
    def now(self) -> datetime:
        return utc_now() + timedelta(seconds=10)

    @now.setter
    def now(self, value: datetime) -> None:
        """Stay as it is."""


@pytest.fixture
def api() -> Iterator[Server]:
    with serve(seed_world(utc_now)) as server:
        yield server


def test_the_daemon_sends_events_passes_acknowledgements_on_and_sends_again(
    tmp_path: Path, api: Server
) -> None:
    alerts, program = AlertmanagerNow(), Program()
    with http_receiver(alerts) as one, http_receiver(program) as other:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"database: {{url: 'sqlite:///{tmp_path}/history.db'}}\n"
            f"accounts: [{{name: agency, base_url: '{api.url}', api_key_env: KEY}}]\n"
            "channels:\n"
            f"  - {{name: alerts, url: 'alertmanager://{one.address}/prefix'}}\n"
            f"  - {{name: tickets, url: 'json://{other.address}/?events=incident'}}\n"
        )
        app = build_app(load_config(path, {"KEY": SANDBOX_KEY}))
        app.database.upgrade()
        daemon = Daemon(app, tick=TICK)
        daemon.start()
        try:
            wait_until(lambda: len(program.open) == 2, what="an event for each incident")
            wait_until(lambda: len(one.requests) >= 3, what="what is open again")
            with app.database.begin() as store:
                acknowledgements.acknowledge(store, 1, utc_now(), author="mia", comment="on it", until=None)
            wait_until(lambda: "acknowledged" in {each.what for each in program.seen}, what="word of it")
        finally:
            daemon.stop()
            app.close()
    assert [] == alerts.refused + program.refused
    assert alerts.keys == program.keys
    assert {"firing"} == {each.what for each in alerts.seen}
    assert ["opened", "opened", "acknowledged"] == [each.what for each in program.seen]
