"""The scene of a drill: an API whose tokens can be ended at will, a receiver, and the real daemon between them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from monitor.clock import utc_now
from monitor.sandbox.samples import SANDBOX_KEY
from tests.daemon_process import DaemonProcess, daemon, wait_until
from tests.drills.ledger import compare
from tests.receivers import HttpReceiver, http_receiver
from tests.sandbox.server import Server, serve
from tests.sandbox.service import FakeService
from tests.workspace_simulator import profile

PATIENCE = 120.0


class Scene:
    """
    One account with some connections, one channel, and a daemon that looks every second.

    Attributes:
        url: of the history database.
        more: sections of the configuration beside what is needed.
    """

    def __init__(self, folder: Path, url: str, server: Server, hooks: HttpReceiver, connections: int) -> None:
        self.folder, self.url, self.server, self.hooks = folder, url, server, hooks
        self.host = "127.0.0.1"
        self.more: dict[str, Any] = {}
        self.names = [f"linkedin-{n:05}" for n in range(connections)]
        self._ended: list[str] = []
        for name in self.names:
            self.fake_service.add_connection(profile(self.fake_service, name))

    @property
    def fake_service(self) -> FakeService:
        return self.server.fake_service

    @property
    def config(self) -> Path:
        """The configuration, written anew."""
        path = self.folder / "config.yaml"
        plain = make_url(self.url)
        if plain.get_backend_name() == "postgresql":
            plain = plain.set(drivername="postgresql")
        port = self.hooks.address.rpartition(":")[2]
        tree = {
            "database": {"url": plain.render_as_string(hide_password=False)},
            "polling": {"every": "1s", "jitter": "0%", "timeout": "5s"},
            "accounts": [
                {
                    "name": "agency",
                    "base_url": f"http://{self.host}:{self.server.port}",
                    "api_key_env": "KEY",
                }
            ],
            "channels": [{"name": "ops", "url": f"json://{self.host}:{port}/"}],
            "routes": [{"channels": ["ops"], "group_wait": "1s"}],
            "log": {"format": "json"},
        }
        path.write_text(json.dumps(tree | self.more))
        return path

    @contextmanager
    def daemon(
        self, prefix: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> Iterator[DaemonProcess]:
        """Run the daemon until the drill is done with it."""
        with daemon(self.config, {"KEY": SANDBOX_KEY, **(environ or {})}, prefix) as process:
            yield process

    def end(self, *names: str) -> None:
        """Have tokens end."""
        for name in names:
            self.fake_service.expire(name)
            self._ended.append(name)

    def end_next(self) -> None:
        """Have one more token end; each does once."""
        self.end(self.names[len(self._ended)])

    def rows(self, query: str) -> list[dict[str, Any]]:
        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(text(query)).mappings()]
        finally:
            engine.dispose()

    def notified(self, *names: str) -> bool:
        """Whether every one of them was told of."""
        said = "\n".join(request.body.decode() for request in self.hooks.requests)
        return all(name.partition("-")[2] in said for name in names)

    def wait_until_told(self, within: float = PATIENCE) -> None:
        """Wait until each token that ended was told of, and nothing waits."""
        wait_until(lambda: self.notified(*self._ended), what=f"word of {self._ended}", seconds=within)

    def stop(self, process: DaemonProcess) -> None:
        """Let nothing wait, and end the daemon well."""
        try:
            self.wait_until_told()
        except AssertionError as error:
            outbox = self.rows("SELECT * FROM delivery_log")
            raise AssertionError(f"{error}; {outbox}; {process.text[-4000:]}") from error
        wait_until(
            lambda: not self.rows("SELECT id FROM notifications WHERE state IN ('pending', 'sending')"),
            what="an empty outbox",
            seconds=PATIENCE,
        )
        process.process.terminate()
        assert process.end() == 0, process.text[-2000:]

    def wrong(self, *, repeats: int = 0) -> list[str]:
        """Say where receiver, history and world differ."""
        found = compare(self.url, self.hooks.requests, repeats=repeats)
        known = self.rows(
            "SELECT platform_id, token_status FROM current_connections WHERE removed_at IS NULL"
        )
        said = {row["platform_id"]: row["token_status"] for row in known}
        true = {name: "expired" if name in self._ended else "valid" for name in self.names}
        if said != true:
            found.append(f"the history says {said}, the API {true}")
        opened = [
            row["platform_id"]
            for row in self.rows("SELECT platform_id FROM incident_log WHERE rule = 'token_expiry'")
        ]
        if sorted(opened) != sorted(self._ended):
            found.append(f"ended: {sorted(self._ended)}, and incidents: {sorted(opened)}")
        return found


@contextmanager
def scene(folder: Path, url: str = "", *, connections: int = 10) -> Iterator[Scene]:
    """Set it up."""
    fake_service = FakeService(utc_now)
    fake_service.add_account(SANDBOX_KEY)
    with serve(fake_service) as server, http_receiver() as hooks:
        yield Scene(folder, url or f"sqlite:///{folder}/history.db", server, hooks, connections)


MINUTE = timedelta(minutes=1)
