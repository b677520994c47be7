"""The process of the daemon: it waits for its lock and its database, starts, reloads and stops."""

import faulthandler
import os
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

import structlog

from monitor.app import App
from monitor.core.text import one_line
from monitor.daemon.service import LOCK_INTERVAL, STOP_TIMEOUT, Daemon
from monitor.daemon.status_line import StatusLine
from monitor.daemon.systemd import Systemd
from monitor.daemon.write_failures import WriteFailureNotice
from monitor.errors import MonitorError, StorageError
from monitor.logs import scrub
from monitor.signals import Signals, handle_signals
from monitor.storage.registration import Removal
from monitor.web.listener import WebListener

log = structlog.get_logger()

# How often the main thread checks whether all parts move, unless the watchdog wants to know it more often.
PROGRESS_INTERVAL = timedelta(seconds=10)
# A part that stays stalled for so long ends the process. Nothing in it can end a thread that hangs.
STALL_LIMIT = timedelta(minutes=2)


def run(
    app: App,
    reload: Callable[[], App],
    systemd: Systemd | None = None,
    *,
    removal: Removal = Removal.GUARDED,
) -> None:
    """
    Run until a signal: SIGTERM or SIGINT stop it, SIGHUP reloads the configuration.

    Args:
        reload: builds the monitor from the current configuration; a ConfigError keeps the old one.
        removal: of targets that the configuration no longer names, at the start.

    Raises:
        StorageError: the database can't be used, and waiting won't help.
        MonitorError: the address of the web server can't be used.
    """
    # Shows where each thread was if the watchdog or the interpreter ends the process: names and lines, no values.
    faulthandler.enable()
    with (
        handle_signals() as signals,
        app.database.exclusive() as acquire_lock,
        closing(WebListener()) as listener,
    ):
        status = StatusLine(systemd or Systemd(os.environ))
        process = Process(
            signals=signals, acquire_lock=acquire_lock, listener=listener, status=status, reload=reload
        )
        listener.serve(app)
        app = process.stand_by(app)
        start: Removal | None = removal
        while daemon := process.start(app, start):
            stop_notices: list[threading.Thread] = []
            try:
                listener.serve(app, daemon.liveness, daemon.metrics)
                status.ready(daemon.cycles.text)
                reloaded = process.wait_for_reload(daemon)
                if reloaded is None:
                    status.systemd.notify_stopping()
                    stop_notices = daemon.cycles.send_stop_notices()
            finally:
                ends = monotonic() + STOP_TIMEOUT.total_seconds()
                daemon.stop()
                for thread in stop_notices:
                    thread.join(max(ends - monotonic(), 0))
            if reloaded is None:
                break
            listener.serve(reloaded)
            app.close()
            app, start = reloaded, None
            log.info("config.reloaded")
            if listener.needs_restart(app.config.web):
                log.warning("config.warning", warning="a changed web.listen needs a restart")
    app.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """
    What the process has besides the monitor, which a reload replaces.

    Args:
        acquire_lock: takes or checks the lock of the database, as ``Database.exclusive`` gives it.
        reload: builds the monitor from the current configuration.
    """

    signals: Signals
    status: StatusLine
    reload: Callable[[], App]
    acquire_lock: Callable[[], str | None] = lambda: None
    listener: WebListener = field(default_factory=WebListener)
    write_failure: WriteFailureNotice = field(default_factory=WriteFailureNotice)

    def stand_by(self, app: App) -> App:
        """Wait until no other daemon monitors the database, or for a stop; return the newest configuration."""
        standing_by_for = None
        while not self.signals.stop:
            try:
                holder = self.acquire_lock()
            except StorageError as error:
                if not error.transient:
                    raise
                self._wait_for_database(app, error, LOCK_INTERVAL.total_seconds())
                continue
            if holder is None:
                return app
            self.write_failure.on_success()
            if holder != standing_by_for:
                standing_by_for = holder
                log.info("daemon.standing_by", holder=holder)
                self.listener.serve(app, is_standby=True)
                self.status.ready(f"standing by for {holder}")
            self.status.systemd.notify_watchdog()
            if self.signals.reload:
                if reloaded := self._reloaded():
                    app.close()
                    app = reloaded
                    self.listener.serve(app, is_standby=True)
                self.status.ready(f"standing by for {holder}")
            self.signals.wait(LOCK_INTERVAL.total_seconds())
        return app

    def start(self, app: App, start_removal: Removal | None) -> Daemon | None:
        """
        Start when the database is available; None if a stop is requested first.

        Args:
            start_removal: what the start of the program does with targets that are no longer configured; None if
                this is a reload.
        """
        wait = 1.0
        while not self.signals.stop:
            try:
                found = app.database.upgrade(self.status.on_migration)
                if damage := app.database.find_damage():
                    raise StorageError(damage)
                log.info("database.ready", database=app.database.display_name, found_schema=found)
                if unapplied := app.database.unapplied_settings():
                    log.warning(
                        "config.warning",
                        warning=f"the database doesn't apply {', '.join(unapplied)} as asked: a connection pooler "
                        "drops them, or database.url sets them; set them with ALTER ROLE",
                    )
                return self._started(app, start_removal)
            except StorageError as error:
                if not error.transient and start_removal:  # a daemon that already runs waits for any error
                    raise
                self._wait_for_database(app, error, wait)  # a reload waits
                wait = min(wait * 2, 30)
        return None

    def wait_for_reload(self, daemon: Daemon) -> App | None:
        """
        Wait until a valid new configuration is requested; None if a stop is requested.

        A part that stays stalled ends the process with status 1, after it has written where each thread is.
        """
        interval = min(
            self.status.systemd.watchdog_interval or PROGRESS_INTERVAL, PROGRESS_INTERVAL
        ).total_seconds()
        was_stalled: list[str] = []
        moved_at = monotonic()
        while not self.signals.stop:
            if not self.signals.reload:
                self.signals.wait(interval)
            daemon.recover_from_clock_step()
            stalled = daemon.liveness.stalled()
            if not stalled:
                moved_at = monotonic()
                self.status.systemd.notify_watchdog()
            elif not was_stalled:
                moved_at = monotonic()  # after a suspended machine resumes, all parts look stalled
                log.error("component.stalled", components=stalled)
            elif stalled != was_stalled:
                log.error("component.stalled", components=stalled)
            if monotonic() - moved_at > STALL_LIMIT.total_seconds():
                log.critical("daemon.stalled", components=stalled)
                faulthandler.dump_traceback()
                os._exit(1)
            was_stalled = stalled
            if self.signals.reload and not self.signals.stop:
                if reloaded := self._reloaded():
                    return reloaded
                self.status.ready(daemon.cycles.text)
        return None

    def _started(self, app: App, start_removal: Removal | None) -> Daemon:
        daemon = Daemon(
            app,
            set_status=self.status.set,
            is_start=start_removal is not None,
            acquire_lock=self.acquire_lock,
            write_failure=self.write_failure,
        )
        try:
            daemon.start(start_removal or Removal.GUARDED)
        except BaseException:
            daemon.stop()
            raise
        return daemon

    def _wait_for_database(self, app: App, error: StorageError, seconds: float) -> None:
        log.error("database.unavailable", error=str(error), retry_in_seconds=seconds)
        self.status.systemd.extend_timeout(scrub(f"waiting for the database: {error}"), timedelta(minutes=2))
        self.write_failure.on_failure(app, str(error))
        self.signals.wait(seconds)

    def _reloaded(self) -> App | None:
        """Take the new configuration; None if it is refused, and the old one stays."""
        self.signals.reload = False
        self.status.systemd.notify_reloading()
        try:
            reloaded = self.reload()
        except MonitorError as error:
            log.error("config.reload_rejected", error=str(error))
            self.status.rejection = f"new configuration refused: {one_line(str(error), 160)}"
            return None
        self.status.rejection = ""
        return reloaded
