"""A place to run the program in: a sandbox for an API, a receiver for a channel, a folder for the rest."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.cli import main
from monitor.clock import utc_now
from tests.receivers import HttpReceiver, http_receiver
from tests.sandbox.server import Server, serve
from tests.sandbox.service import FakeService
from tests.sandbox.worlds import seed_world

# Of the old shape, which only the configuration's own list of secrets can hide.
KEY = "legacy-KEYCANARY-0123456789abcdef"
PATH = "PATHCANARY7731"
PASSWORD = "PASSWORDCANARY"
CANARIES = (KEY, PATH, PASSWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line of standard error, doubts about the configuration apart."""
        (line,) = (line for line in self.err.splitlines() if "postpost-monitor: warning: " not in line)
        return line

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True, kw_only=True)
class CliEnvironment:
    """
    A folder with a configuration, and what it leads to.

    Args:
        tree: the configuration; change it and the next command reads it so.
    """

    folder: Path
    server: Server
    receiver: HttpReceiver
    capture: pytest.CaptureFixture[str]
    tree: dict[str, Any] = field(default_factory=dict)

    @property
    def fake_service(self) -> FakeService:
        return self.server.fake_service

    @property
    def database(self) -> Path:
        return self.folder / "history.db"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def files(self) -> dict[str, bytes]:
        """Everything that is in the folder."""
        self.write()
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def write(self) -> None:
        self.config.write_text(yaml.safe_dump(self.tree))

    def run(self, *args: str, bare: bool = False) -> Ran:
        """Run a command in this process; ``bare`` is without the configuration of the place."""
        self.write()
        self.capture.readouterr()
        status = main([*([] if bare else ["--config", str(self.config)]), *args])
        out, err = self.capture.readouterr()
        return Ran(status=status, out=out, err=err)

    def start(self, *args: str) -> "subprocess.Popen[str]":
        """Start a command as a process of its own."""
        self.write()
        return subprocess.Popen(
            [sys.executable, "-m", "monitor", "--config", str(self.config), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )


@pytest.fixture
def cli_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[CliEnvironment]:
    """Give a place where the vendor's own example is served, and nothing was polled yet."""
    for name in [name for name in os.environ if name.startswith(("POSTPOST", "PUBLORA", "STATE_DIR"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AGENCY_KEY", KEY)
    with serve(seed_world(utc_now, key=KEY)) as server, http_receiver() as receiver:
        monkeypatch.setenv("OPS_URL", f"json://ops:{PASSWORD}@{receiver.address}/{PATH}")
        cli_env = CliEnvironment(folder=folder, server=server, receiver=receiver, capture=capfd)
        cli_env.tree = {
            "database": {"url": f"sqlite:///{cli_env.database}"},
            "accounts": [{"name": "agency", "base_url": server.url, "api_key_env": "AGENCY_KEY"}],
            "channels": [{"name": "ops", "url_env": "OPS_URL"}],
        }
        yield cli_env
