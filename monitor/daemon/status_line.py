"""The line that systemd shows of the monitor."""

from datetime import timedelta

import structlog

from monitor.daemon.systemd import Systemd
from monitor.logs import scrub

log = structlog.get_logger()


class StatusLine:
    """
    Sets the status line: the state of the monitor, after what an operator must not overlook.

    Attributes:
        rejection: why the newest configuration was rejected; empty if it wasn't.
    """

    def __init__(self, systemd: Systemd) -> None:
        self.systemd = systemd
        self.rejection = ""

    def set(self, text: str) -> None:
        """Set the current state."""
        self.systemd.set_status(self._full_text(text))

    def ready(self, text: str) -> None:
        """Report that a start or a reload is done, and set the current state."""
        self.systemd.notify_ready(self._full_text(text))

    def on_migration(self, revision: str, deed: str) -> None:
        """Report a migration, and ask systemd for more time."""
        log.info("database.migrating", revision=revision, deed=deed)
        self.systemd.extend_timeout(f"migrating the database: {revision}: {deed}", timedelta(minutes=30))

    def _full_text(self, text: str) -> str:
        return scrub(f"{self.rejection}; {text}" if self.rejection else text)
