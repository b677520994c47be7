"""One pass of the real monitor, in a process of its own, that is killed where it is told to be."""

import functools
import importlib
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from monitor.app import build_app
from monitor.cli.run import run_pass
from monitor.clock import utc_now
from monitor.config.load import load_config

# Where the pipeline can be cut: a function by its name, and whether that is before or after it has run.
POINTS: dict[str, tuple[str, str]] = {
    "before the first request": ("monitor.workers.poller.take_snapshot", "before"),
    "with the answer in hand": ("monitor.workers.poller.take_snapshot", "after"),
    "before recording": ("monitor.workers.poller.record_polls", "before"),
    "in the transaction, with nothing written": ("monitor.storage.recording.save_connections", "before"),
    "in the transaction, with the connections written": (
        "monitor.storage.recording.save_targets",
        "before",
    ),
    "in the transaction, with the run written": ("monitor.storage.recording.save_runs", "after"),
    "in the transaction, with the incidents opened": ("monitor.storage.recording.open_incidents", "after"),
    "in the transaction, with the outbox written": ("monitor.storage.recording.save_incidents", "after"),
    "once all is recorded": ("monitor.workers.poller.record_polls", "after"),
    "as deadlines are reviewed": ("monitor.jobs.reevaluate.reevaluate_due", "before"),
    "as channels catch up": ("monitor.storage.notification_log.write_notifications", "after"),
    "before the claim": ("monitor.storage.outbox.claim", "before"),
    "in the transaction, with the claim made": ("monitor.storage.outbox.claim", "after"),
    "once it is claimed": ("monitor.jobs.deliver.deliver", "before"),
    "with the message written": ("monitor.jobs.deliver.try_to_send", "before"),
    "on the thread that sends": (
        "monitor.channels.apprise_channel.AppriseChannel._attempt",
        "before",
    ),
    "on the thread that has sent": (
        "monitor.channels.apprise_channel.AppriseChannel._attempt",
        "after",
    ),
    "between sending and settling": ("monitor.jobs.deliver.try_to_send", "after"),
    "in the transaction that settles, before": ("monitor.storage.outbox.mark_delivered", "before"),
    "in the transaction that settles, after": ("monitor.storage.outbox.mark_delivered", "after"),
    "once it is settled": ("monitor.jobs.deliver.save_delivery", "after"),
}


def watch_once(config: Path, environ: dict[str, str], ahead: timedelta, point: str | None) -> None:
    """Watch once, by a clock that runs ahead; killed at the point, if there is one."""
    if point:
        _cut(*POINTS[point])
    app = build_app(load_config(config, environ), clock=lambda: utc_now() + ahead, environ={})
    try:
        app.database.upgrade()
        run_pass(app)
    finally:
        app.close()


def _cut(name: str, when: str) -> None:
    place, attribute = _find(name)
    original: Callable[..., Any] = getattr(place, attribute)

    @functools.wraps(original)
    def cut(*given: Any, **named: Any) -> Any:
        if when == "after":
            original(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, attribute, cut)


def _find(name: str) -> tuple[Any, str]:
    path, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(path), attribute
    except ModuleNotFoundError:
        place, within = _find(path)
        return getattr(place, within), attribute
