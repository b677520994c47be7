"""db: the schema, the invariants, a copy, the retention."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.session import Session, pass_session
from monitor.cli.tables import say
from monitor.clock import utc_now
from monitor.core.text import one_line

if TYPE_CHECKING:
    from monitor.core.model import Incident, Target


@click.group()
def db() -> None:
    """Care for the history database."""


@db.command()
@click.option("--sql", is_flag=True, help="Print the statements for an empty database; run none.")
@pass_session
def upgrade(session: Session, sql: bool) -> None:
    """Make the database, or bring its schema up to date. `run` and `poll` do this themselves."""
    from monitor.storage import Database, migrate

    config = session.config()
    database = Database(config.database.url.get_secret_value())
    try:
        if sql:
            migrate.upgrade_sql(database.url)
            return
        found = database.upgrade()
        was = "" if found == migrate.HEAD else f" (was {found or 'empty'})"
        say(f"{database.name}: schema {migrate.HEAD}{was}")
    finally:
        database.close()


@db.command()
@pass_session
def current(session: Session) -> None:
    """Tell which schema the database has, and touch nothing."""
    from monitor.storage import Database, migrate

    database = Database(session.config().database.url.get_secret_value())
    try:
        found = database.current()
    finally:
        database.close()
    if found == migrate.HEAD:
        say(f"{found}, as this program wants it")
    else:
        say(f"{found or 'none'}; this program wants {migrate.HEAD}: run `postpost-monitor db upgrade`")


@db.command()
@pass_session
def check(session: Session) -> int:
    """Look for what should never be. Exit status 1 when something is."""
    from monitor.app import routing_of
    from monitor.core.incidents import IncidentChange
    from monitor.core.model import Reason
    from monitor.core.routes import tell
    from monitor.storage.upkeep import findings

    config = session.config()
    routing = routing_of(config)

    def is_told(incident: "Incident", target: "Target | None") -> bool:
        change = IncidentChange(incident=incident, reason=Reason.OPENED)
        return bool(tell(change, target, routing, utc_now()))

    with session.existing(config) as database, database.read() as store:
        found = list(findings(store.connection, is_told=is_told))
        for line in found:
            say(one_line(line, 1000))
        if not found:
            say(f"{database.name}: sound")
    return 1 if found else 0


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@pass_session
def backup(session: Session, file: Path) -> None:
    """Write a consistent copy to FILE, also while the daemon runs. SQLite only; an existing file is kept."""
    from monitor.storage.upkeep import backup as copy

    with session.existing() as database:
        copy(database, file)
    say(f"{file}: {file.stat().st_size} bytes")


@db.command()
@pass_session
def prune(session: Session) -> None:
    """Forget what is older than retention.history; what is known now and what is open stays."""
    from monitor.clock import utc_now
    from monitor.config import format_duration
    from monitor.jobs.prune import prune as forget

    config = session.config()
    keep = config.retention.history
    with session.existing(config) as database:
        forgotten = forget(database=database, keep=keep, clock=utc_now)
    counts = ", ".join(f"{count} {kind}" for kind, count in forgotten.items() if count)
    say(f"older than {format_duration(keep)}: {f'forgot {counts}' if counts else 'nothing'}")
