"""
Runs the program with one part that hangs from the moment a file is there, and with little patience for it.

``python -m tests.hanging PART FILE ARGUMENTS…``; PART is one of those below.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from monitor.cli import main
from monitor.daemon import process
from monitor.jobs import deliver
from monitor.storage import outbox
from monitor.storage.store import Store
from monitor.workers import liveness, poller, sender

SOON = timedelta(seconds=1.5)
# Where each part is made to hang: a call that it makes again and again.
PLACES: Mapping[str, tuple[Any, str]] = {
    "dispatcher": (Store, "due_targets"),
    "recorder": (poller, "record_polls"),
    "sender": (outbox, "due_channels"),
    "sender's pass": (deliver, "try_to_send"),
}


def hanging(does: Callable[..., Any], file: Path) -> Callable[..., Any]:
    """Wrap a call so that it never comes back once the file is there."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if file.exists():
            threading.Event().wait()
        return does(*args, **kwargs)

    return call


if __name__ == "__main__":
    part, file, *arguments = sys.argv[1:]
    place, name = PLACES[part]
    setattr(place, name, hanging(getattr(place, name), Path(file)))
    sender.STALL_TIMEOUT = SOON
    process.STALL_LIMIT = SOON
    liveness.STALL_TIMEOUTS = dict.fromkeys(liveness.STALL_TIMEOUTS, SOON)
    poller.IDLE_SECONDS = 1  # an idle recorder shows sooner that it is alive
    sys.exit(main(arguments))
