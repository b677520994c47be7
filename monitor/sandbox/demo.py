"""
The demo: a token's whole life in about a minute, monitored by the real code.

The sandbox serves the API on loopback. The monitor polls it and keeps its history in a temporary SQLite file.
Only the clock isn't real, and messages go to the terminal instead of a channel.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from threading import Event, Lock

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from monitor.app import App, build_app
from monitor.clock import Clock, utc_now
from monitor.config.load import load_config
from monitor.core.messages.message import Message
from monitor.core.messages.phrases import format_duration
from monitor.core.model import Severity
from monitor.daemon.service import Daemon
from monitor.logs import configure_logs
from monitor.sandbox.api import sandbox_app
from monitor.sandbox.clock import FastClock
from monitor.sandbox.fake_service import FakeService
from monitor.sandbox.profiles import SocialProfile
from monitor.sandbox.program_name import program
from monitor.sandbox.samples import SANDBOX_KEY
from monitor.sandbox.server import serve
from monitor.storage import queries, views

DAYS = 16
SECONDS = 56.0
TICK = timedelta(milliseconds=100)

INSTAGRAM = "instagram-17841400022233"
LINKEDIN = "linkedin-Nb4kErY2Qx"
TWITTER = "twitter-901234567"

_CONFIG = """
database: {{url: "sqlite:///{folder}/history.db"}}
polling: {{every: 2h, timeout: 5s}}
accounts: [{{name: north-bakery, base_url: "{url}", api_key_env: KEY}}]
channels: [{{name: terminal, url: "json://127.0.0.1"}}]
routes: [{{channels: [terminal], group_wait: 15m}}]
"""
_COLORS = {Severity.CRITICAL: "red", Severity.WARNING: "yellow", Severity.NOTICE: "blue", None: "green"}


def run_demo(*, seconds: float = SECONDS, console: Console | None = None) -> None:
    """
    Run the demo and print it.

    Args:
        seconds: the duration of the story's sixteen days.
    """
    console = console or Console(highlight=False)
    clock = FastClock(DAYS * 86400 / seconds, utc_now())
    stage = _Stage(console, clock)
    configure_logs(format="console", level="error", secrets=[], stream=sys.stderr)
    fake_service = _fake_service(clock)
    stage.say("A bakery with three accounts; its Instagram token has 9 days left.")
    stage.say(f"The monitor polls every 2 hours; one second is {24 * DAYS / seconds:.0f} of them.")
    with (
        tempfile.TemporaryDirectory(prefix="postpost-demo-") as folder,
        serve(sandbox_app(fake_service)) as url,
        _monitor(Path(folder), url, stage, clock) as app,
    ):
        _play(fake_service, stage)
        stage.sum_up(app)


class _Stage:
    """The terminal output: the story, and the monitor's messages."""

    name = "terminal"
    allow_reconnect_links = False
    time_zone = UTC
    service = "terminal"
    body_limit = None
    title_limit = 250
    takes_attachments = False

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._began_at = clock()
        self._lock = Lock()
        self.sent = 0

    def say(self, what: str) -> None:
        """Print what happens in the story."""
        with self._lock:
            self._console.print(Text(f"{self._day()}  {what}", style="dim"))

    def send(self, message: Message) -> None:
        """Print a message as it is sent."""
        color = _COLORS[message.severity]
        with self._lock:
            self.sent += 1
            self._console.print(
                Panel(
                    Text.assemble((message.title, f"bold {color}"), "\n", message.body),
                    title=Text(self._day(), style=color),
                    title_align="left",
                    border_style=color,
                )
            )

    def wait_until(self, days: float) -> None:
        """Sleep until this time of the story."""
        while self._clock() < self._began_at + timedelta(days=days):
            Event().wait(0.02)

    def sum_up(self, app: App) -> None:
        """Print the story from the history database."""
        table = Table(title="What happened, from the history database", title_justify="left")
        for column in ("at", "connection", "what", "lasted"):
            table.add_column(column)
        with app.database.read() as store:
            story = [
                (
                    row["at"],
                    row["platform_id"],
                    f"{row['from_status']} → {row['to_status']}"
                    if row["from_status"]
                    else f"first seen {row['to_status']}",
                    "",
                )
                for row in queries.rows(store, views.TRANSITIONS)
            ]
            for row in queries.rows(store, views.INCIDENTS):
                lasted = row["resolved_at"] - row["opened_at"] if row["resolved_at"] else None
                story.append(
                    (
                        row["opened_at"],
                        row["platform_id"] or row["account"],
                        f"{row['rule']} ({row['severity']})",
                        f"{lasted / timedelta(days=1):.1f} days" if lasted else "",
                    )
                )
        for at, connection, what, lasted_text in sorted(story, key=lambda line: line[0]):
            table.add_row(f"{at:%Y-%m-%d %H:%M}", connection, what, lasted_text)
        self._console.print()
        self._console.print(table)
        self._console.print(
            f"{self.sent} messages sent in {format_duration(self._clock() - self._began_at)} of the demo's time.\n\n"
            "Next: monitor your own account (Ctrl-C ends it):\n"
            f"  POSTPOST_API_KEY=sk_… POSTPOST_MONITOR_NOTIFY='slack://…' {program()} run"
        )

    def _day(self) -> str:
        passed = self._clock() - self._began_at
        return f"day {passed.days + 1:>2} {passed.seconds // 3600:02}:00"


def _fake_service(clock: Clock) -> FakeService:
    fake_service = FakeService(clock)
    fake_service.add_account(SANDBOX_KEY, owner="hello@northbakery.example")
    now = clock()
    for platform_id, username, left in (
        (TWITTER, "northbakery", None),
        (LINKEDIN, "North Bakery", 60),
        (INSTAGRAM, "northbakery", 9),
    ):
        expires_at = None if left is None else now + timedelta(days=left)
        fake_service.add_connection(
            SocialProfile(
                platform_id=platform_id,
                username=username,
                display_name="North Bakery",
                expires_at=expires_at,
                last_successful_post_at=now - timedelta(hours=5),
            )
        )
    return fake_service


def _play(fake_service: FakeService, stage: _Stage) -> None:
    def reconnect() -> None:
        fake_service.reconnect(INSTAGRAM, lifetime=timedelta(days=60))
        fake_service.post(INSTAGRAM)

    story: list[tuple[float, str, Callable[[], object]]] = [
        (
            4.0,
            "LinkedIn refuses a post: the picture is too large.",
            lambda: fake_service.fail(LINKEDIN, "Media upload failed: image exceeds 8 MB"),
        ),
        (5.0, "The picture is resized, and the post succeeds.", lambda: fake_service.post(LINKEDIN)),
        (
            10.0,
            "The API fails: every call answers 500.",
            lambda: setattr(fake_service, "is_failing", True),
        ),
        (11.0, "The API is back.", lambda: setattr(fake_service, "is_failing", False)),
        (
            13.0,
            "The owner reconnects Instagram and posts.",
            reconnect,
        ),
    ]
    for day, what, happens in story:
        stage.wait_until(day)
        stage.say(what)
        happens()
    stage.wait_until(DAYS)


@contextmanager
def _monitor(folder: Path, url: str, stage: _Stage, clock: Clock) -> Iterator[App]:
    file = folder / "config.yaml"
    file.write_text(_CONFIG.format(folder=folder, url=url))
    app = build_app(load_config(file, {"KEY": SANDBOX_KEY}), clock=clock, environ={})
    app = replace(app, context=replace(app.context, channels={stage.name: stage}))
    app.database.upgrade()
    daemon = Daemon(app, tick=TICK)
    daemon.start()
    try:
        yield app
    finally:
        daemon.stop()
        app.close()
