"""run, poll: watching, for good or once."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import click

from monitor.cli.session import Session, pass_session
from monitor.cli.status import known_connections, open_incidents, print_connections, print_sources
from monitor.cli.tables import say
from monitor.core.text import one_line
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.app import App
    from monitor.core.model import Target
    from monitor.storage.recording import Polled

# From so many targets on, people want to see how far it is.
MANY = 5
GIVE_UP_WITHIN = timedelta(seconds=5)


@click.command()
@pass_session
def run(session: Session) -> None:
    """
    Watch until told to stop: the daemon, in the foreground.

    SIGTERM and SIGINT end it, SIGHUP has it read its configuration again.
    """
    from monitor import daemon

    _use_few_arenas()
    app = _built(session)
    url = app.config.database.url

    def rebuilt() -> "App":
        renewed = _built(session)
        if renewed.config.database.url != url:
            renewed.close()
            raise ConfigError("database.url can't change while the daemon runs: restart it")
        return renewed

    daemon.run(app, rebuilt)
    _leave_nobody_behind()


@click.command()
@click.option("--account", metavar="NAME", help="Only this account.")
@click.option("--dry-run", is_flag=True, help="Show what would be recorded and told; write and send nothing.")
@pass_session
def poll(session: Session, account: str | None, dry_run: bool) -> int:
    """
    Look at every target once, now, and tell what is due.

    Exit status 1 when a target couldn't be polled or a message not be sent.
    """
    config = session.config()
    names = [each.name for each in config.accounts]
    if account is not None and account not in names:
        raise ConfigError(f"--account: no account {account!r}; want one of {', '.join(names)}")
    session.prove_channels(config)
    session.prove_words(config)
    session.prove_routes(config)
    session.warn(config)
    from monitor.app import assemble

    app = assemble(config)
    try:
        if dry_run:
            from monitor.cli import dry_run as rehearsal

            return rehearsal.rehearse(app, lambda app: one_pass(app, account=account))
        app.database.upgrade()
        done = one_pass(app, account=account)
        with app.database.read() as store:
            incidents = open_incidents(store)
            now = app.clock()
            print_connections(known_connections(store, incidents, account=account), incidents, now)
            print_sources(incidents, now, account=account)
    finally:
        app.close()
    print_failures(done)
    say(_sent(done))
    return 1 if done.failures or done.undelivered else 0


@dataclass(slots=True, kw_only=True)
class Pass:
    """
    What one pass came to.

    Args:
        recorded: the polls that were recorded.
        failures: why a target couldn't be polled, a line each.
        delivered, undelivered: messages.
    """

    recorded: "list[Polled]" = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    delivered: int = 0
    undelivered: int = 0


def one_pass(app: "App", *, account: str | None = None) -> Pass:
    """Discover, poll every target, review what the clock has changed, deliver what is due."""
    from monitor.app import check_clocks_of, office_of
    from monitor.jobs.acknowledged import pass_on_acknowledgements
    from monitor.jobs.catch_up import catch_up
    from monitor.jobs.discover import discover
    from monitor.jobs.refresh import refresh
    from monitor.jobs.review import review_due
    from monitor.jobs.survey import survey

    done = Pass()
    policy = app.policy
    discover(
        app.providers,
        every=policy.every,
        database=app.database,
        clock=app.clock,
        plans=app.plans,
        budgets=app.budgets,
        incident_channels=policy.routing.incident_channels,
    )
    survey(office_of(app), force=True, accounts=None if account is None else [account])
    with app.database.begin() as store:
        targets = store.watched()
        store.reconsider(app.clock())
    _poll([target for target in targets if account in {None, target.account}], app, done)
    check_clocks_of(app)(may_poll=False)
    review_due(
        database=app.database,
        rules=policy.rules,
        routing=policy.routing,
        clock=app.clock,
        clocks=app.clocks,
        patience=timedelta(),  # whoever could confirm the local clock was asked just now
    )
    catch_up(app.post.channels, database=app.database, routing=policy.routing, clock=app.clock)
    pass_on_acknowledgements(app.post.channels, database=app.database, clock=app.clock)
    _deliver(app, done)
    refresh(app.post.channels, database=app.database, dashboards=app.post.dashboards, clock=app.clock)
    return done


def print_failures(done: Pass) -> None:
    """Print why targets couldn't be polled."""
    for failure in done.failures:
        say(f"not polled: {one_line(failure, 500)}")


def _built(session: Session) -> "App":
    import structlog

    from monitor.app import assemble

    config = session.config(as_daemon=True)
    session.prove_channels(config)
    session.prove_words(config)
    session.prove_routes(config)
    for warning in config.warnings:
        structlog.get_logger().warning("configuration.doubtful", warning=warning)
    for note in config.notes:
        structlog.get_logger().info("config.note", note=note)
    return assemble(config)


def _poll(targets: "Sequence[Target]", app: "App", done: Pass) -> None:
    from monitor.pipeline import Poller

    began_at = app.clock()
    with _progress(len(targets)) as advance:

        def recorded(batch: "Sequence[Polled]") -> None:
            done.recorded.extend(batch)
            advance(len(batch))

        poller = Poller(
            database=app.database,
            providers=app.providers,
            policy=app.policy,
            clock=app.clock,
            concurrency=app.config.polling.concurrency,
            on_recorded=recorded,
        )
        try:
            poller.look_at(targets)
        finally:
            poller.close(GIVE_UP_WITHIN)
    for polled in done.recorded:
        if polled.decision and polled.decision.failure:
            failure = polled.decision.failure
            done.failures.append(f"{_name(polled.target)}: {failure.error}; {failure.remedy}")
    known = {polled.target.id for polled in done.recorded}
    if missing := [target for target in targets if target.id not in known]:
        with app.database.read() as store:
            states, resting = store.states_of(missing), store.resting()
        done.failures.extend(_resting([target for target in missing if target.id in resting]))
        for target in missing:
            if target.id in resting:
                continue
            # A daemon may have been faster, and then its answer counts.
            taken_at = states[target.id].taken_at
            if taken_at is None or taken_at < began_at:
                done.failures.append(f"{_name(target)}: the answer could not be recorded; see the log")


def _resting(targets: "Sequence[Target]") -> list[str]:
    """Say of whole accounts what would be the same of each of their targets."""
    counted = Counter(target.account for target in targets)
    return [
        f"{account}: {count} more target{'' if count == 1 else 's'} not asked about, since the key is refused"
        for account, count in sorted(counted.items())
    ]


def _deliver(app: "App", done: Pass) -> None:
    from monitor.sending import Sender

    sender = Sender(app.post)
    try:
        while True:
            outcomes = Counter[str]()
            for future in sender.dispatch(wait=False):
                delivered, failed = future.result()
                outcomes.update(delivered=delivered, failed=failed)
            done.delivered += outcomes["delivered"]
            done.undelivered += outcomes["failed"]
            if not outcomes["delivered"]:  # nothing is due, or nobody takes anything
                return
    finally:
        sender.close(GIVE_UP_WITHIN)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    if total <= MANY or not sys.stderr.isatty():
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


def _sent(done: Pass) -> str:
    line = f"{done.delivered} message{'' if done.delivered == 1 else 's'} sent"
    if done.undelivered:
        line += f", {done.undelivered} not: it is tried again later; see `postpost-monitor deliveries`"
    return line + "."


def _use_few_arenas() -> None:
    """
    Have all threads share memory: glibc gives each its own, and what they free in turn is never given back.

    The daemon's memory grew for as long as it ran. M_ARENA_MAX of mallopt(3); other libraries don't need it.
    """
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-8, 2)


def _leave_nobody_behind(patience_seconds: float = 0.5) -> None:
    """
    End threads that hang in a request or on the database: the interpreter would wait for them as long as they do.

    That goes for daemonic ones, too, where they belong to a pool: a pool's threads are joined at the end whatever
    they are, and those that a job of the scheduler starts are daemonic as it is.
    """
    import structlog

    ends = monotonic() + patience_seconds
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        thread.join(max(ends - monotonic(), 0))
    if hanging := sum(thread.is_alive() for thread in others):
        log = structlog.get_logger()
        log.warning("daemon.cut_short", threads=hanging)
        os._exit(0)
