"""The notice that nothing can be saved: it can't wait in the history, so it is sent at once."""

import socket
from datetime import timedelta
from time import monotonic

import structlog

from monitor.app import App
from monitor.core.messages.lifecycle import write_failure_message
from monitor.core.text import one_line
from monitor.jobs.lifecycle_notices import send_lifecycle_notice

log = structlog.get_logger()

NOTICE_AFTER = timedelta(minutes=5)


class WriteFailureNotice:
    """Notify the channels with ``notify_on: failure`` once when nothing could be saved for five minutes."""

    def __init__(self) -> None:
        self._failing_since: float | None = None
        self._is_sent = False

    def on_failure(self, app: App, error: str) -> None:
        """Note that the database can't be written to; send the notice if that has lasted long enough."""
        if self._failing_since is None:
            self._failing_since = monotonic()
        lasted = timedelta(seconds=monotonic() - self._failing_since)
        if self._is_sent or lasted < NOTICE_AFTER:
            return
        self._is_sent = True
        now = app.context.clock()
        message = write_failure_message(
            host=socket.gethostname(),
            since=now - lasted,
            error=one_line(error, 300),
            key=app.context.new_message_key(),
            now=now,
            time_zone=app.config.time_zone,
        )
        channels = app.channels_notified_on("failure")
        log.error("database.failing", seconds=round(lasted.total_seconds()), notified=len(channels))
        send_lifecycle_notice(channels, message)

    def on_success(self) -> None:
        """Note that the database can be written to."""
        self._failing_since = None
        self._is_sent = False
