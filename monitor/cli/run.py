"""run, poll: monitor continuously, or poll once."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import click

from monitor.cli.pass_result import PassResult, print_failures
from monitor.cli.session import Session, pass_session
from monitor.cli.status import known_connections, open_incidents, print_connections, print_sources
from monitor.cli.tables import print_line
from monitor.core.text import counted
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.app import App
    from monitor.core.model import Target
    from monitor.jobs.context import JobContext
    from monitor.storage.recording import PollRecord

# From this number of targets on, show the progress.
MAX_FAILURES_SHOWN = 5
EXIT_TIMEOUT = timedelta(seconds=5)


accept_removal_option = click.option(
    "--accept-removal",
    is_flag=True,
    help="Immediately remove targets that are no longer configured, even if that is most of them.",
)


@click.command()
@accept_removal_option
@pass_session
def run(session: Session, accept_removal: bool) -> None:
    """
    Run the daemon in the foreground.

    SIGTERM and SIGINT stop it. SIGHUP reloads the configuration.
    """
    from monitor.daemon import process
    from monitor.storage.registration import Removal

    _limit_malloc_arenas()
    app = _build_app(session)
    url = app.config.database.url

    def rebuilt() -> "App":
        renewed = _build_app(session)
        if renewed.config.database.url != url:
            renewed.close()
            raise ConfigError("database.url can't change while the daemon runs: restart it")
        return renewed

    process.run(app, rebuilt, removal=Removal.ALL if accept_removal else Removal.GUARDED)
    _exit_with_stuck_threads()


@click.command()
@click.option("--account", metavar="NAME", help="Only this account.")
@click.option("--dry-run", is_flag=True, help="Preview changes and alerts without saving or sending.")
@accept_removal_option
@pass_session
def poll(session: Session, account: str | None, dry_run: bool, accept_removal: bool) -> int:
    """
    Poll every target once and send what is due.

    Exit status 1 if a target could not be polled or a message could not be sent.
    """
    config = session.config(account=account)
    session.validate(config)
    session.validate_routes(config)
    session.warn(config)
    from monitor.app import build_app

    app = build_app(config)
    try:
        if dry_run:
            from monitor.cli import dry_run as rehearsal

            return rehearsal.dry_run(
                app, lambda app: run_pass(app, account=account, accept_removal=accept_removal)
            )
        app.database.upgrade()
        done = run_pass(app, account=account, accept_removal=accept_removal)
        with app.database.read() as store:
            incidents = open_incidents(store)
            now = app.context.clock()
            print_connections(known_connections(store, incidents, account=account), incidents, now)
            print_sources(incidents, now, account=account)
    finally:
        app.close()
    print_failures(done)
    later = f", {done.undelivered} not: it is tried again later; see `postpost-monitor deliveries`"
    print_line(f"{counted(done.delivered, 'message')} sent{later if done.undelivered else ''}.")
    return 1 if done.failures or done.undelivered else 0


def run_pass(app: "App", *, account: str | None = None, accept_removal: bool = False) -> PassResult:
    """Sync the targets, poll each, reevaluate what the clock changed, deliver what is due."""
    from monitor.jobs.acknowledgements import pass_on_acknowledgements
    from monitor.jobs.backfill_notifications import backfill_notifications
    from monitor.jobs.check_clocks import check_clocks
    from monitor.jobs.reevaluate import reevaluate_due
    from monitor.jobs.refresh import refresh
    from monitor.jobs.sync_targets import sync_targets
    from monitor.jobs.sync_workspace import sync_workspaces
    from monitor.storage.registration import Removal

    done, context = PassResult(), app.context
    # The configuration of a daemon beside this says what is no longer polled.
    guarded = Removal.NONE if context.database.daemon() else Removal.GUARDED
    sync_targets(context, removal=Removal.ALL if accept_removal else guarded)
    sync_workspaces(context, force=True, accounts=None if account is None else [account])
    with context.database.begin() as store:
        targets = store.active_targets()
        store.invalidate_evaluations(context.clock())
    _poll([target for target in targets if account in {None, target.account}], app, done)
    check_clocks(context, may_poll=False)
    reevaluate_due(context, patience=timedelta())  # what could confirm the local clock was asked just now
    backfill_notifications(context)
    pass_on_acknowledgements(context)
    _deliver(context, done)
    refresh(context)
    return done


def _build_app(session: Session) -> "App":
    import structlog

    from monitor.app import build_app

    config = session.config(as_daemon=True)
    session.validate(config)
    session.validate_routes(config)
    for warning in config.warnings:
        structlog.get_logger().warning("config.warning", warning=warning)
    for note in config.notes:
        structlog.get_logger().info("config.note", note=note)
    return build_app(config)


def _poll(targets: "Sequence[Target]", app: "App", done: PassResult) -> None:
    from monitor.workers.poller import Poller

    began_at = app.context.clock()
    with _progress(len(targets)) as advance:

        def recorded(batch: "Sequence[PollRecord]") -> None:
            done.recorded.extend(batch)
            advance(len(batch))

        poller = Poller(app.context, concurrency=app.config.polling.concurrency, on_recorded=recorded)
        try:
            poller.poll_now(targets)
        finally:
            poller.close(EXIT_TIMEOUT)
    for poll_record in done.recorded:
        if poll_record.evaluation and poll_record.evaluation.failure:
            failure = poll_record.evaluation.failure
            what = "; ".join(filter(None, (failure.error, failure.remedy)))
            done.failures.append(f"{_name(poll_record.target)}: {what}")
    known = {poll_record.target.id for poll_record in done.recorded}
    if missing := [target for target in targets if target.id not in known]:
        with app.database.read() as store:
            states, paused = store.target_states(missing), store.paused_targets()
        refused = Counter(target.account for target in missing if target.id in paused)
        for account, count in sorted(refused.items()):
            done.failures.append(
                f"{account}: {counted(count, 'more target')} not polled, because the key is rejected"
            )
        for target in missing:
            if target.id in paused:
                continue
            # If a daemon polled meanwhile, its answer counts.
            taken_at = states[target.id].taken_at
            if taken_at is None or taken_at < began_at:
                done.failures.append(f"{_name(target)}: the answer could not be recorded; see the log")


def _deliver(context: "JobContext", done: PassResult) -> None:
    from monitor.workers.sender import Sender

    sender = Sender(context)
    try:
        while True:
            outcomes = Counter[str]()
            for future in sender.dispatch(wait=False):
                delivered, failed = future.result()
                outcomes.update(delivered=delivered, failed=failed)
            done.delivered += outcomes["delivered"]
            done.undelivered += outcomes["failed"]
            if not outcomes["delivered"]:  # nothing is due, or no channel accepts anything
                return
    finally:
        sender.close(EXIT_TIMEOUT)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    if total <= MAX_FAILURES_SHOWN or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("polling", total=total)
        yield lambda count: progress.advance(task, count)


def _name(target: "Target") -> str:
    user = target.managed_user or target.managed_user_id
    return f"{target.account}, user {user}" if user else target.account


def _limit_malloc_arenas() -> None:
    """
    Limit the memory arenas of glibc. It gives each thread its own arena and never returns freed memory.

    Otherwise the daemon's memory grows: by 20 % from 5,000 to 100,000 polls, now by less than 4 % (`make soak`).
    This sets M_ARENA_MAX of mallopt(3). Other C libraries don't need it.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 2)


def _exit_with_stuck_threads(patience_seconds: float = 0.5) -> None:
    """
    Exit although threads hang in a request or on the database. The interpreter would wait for them.

    It also waits for daemon threads that belong to a pool, because a pool joins its threads at the end. Threads
    that a job of the scheduler starts are daemon threads too.
    """
    import structlog

    ends = monotonic() + patience_seconds
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        thread.join(max(ends - monotonic(), 0))
    if hanging := sum(thread.is_alive() for thread in others):
        log = structlog.get_logger()
        log.warning("daemon.shutdown_forced", threads=hanging)
        os._exit(0)
