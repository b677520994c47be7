"""db, erase: the schema, the invariants, a backup, the retention, and erasing a client."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.session import Session, pass_session
from monitor.cli.tables import print_line
from monitor.clock import utc_now
from monitor.core.text import one_line
from monitor.errors import StorageError

if TYPE_CHECKING:
    from monitor.core.model import Incident, Target


@click.group()
def db() -> None:
    """Manage the history database."""


@db.command()
@click.option("--sql", is_flag=True, help="Print the SQL statements without running them.")
@pass_session
def upgrade(session: Session, sql: bool) -> None:
    """Create the database, or upgrade its schema. `run` and `poll` do this themselves."""
    from monitor.storage import migrate
    from monitor.storage.database import Database

    database = Database(session.config().database.url.get_secret_value())
    try:
        if not sql:
            found = database.upgrade(lambda revision, deed: click.echo(f"{revision}: {deed} ...", err=True))
            was = "" if found == migrate.HEAD else f" (was {found or 'empty'})"
            print_line(f"{database.display_name}: schema {migrate.HEAD}{was}")
            return
        try:
            found = database.current_revision()
        except StorageError as error:
            if not error.transient:
                raise
            found = None
            click.echo(
                f"postpost-monitor: warning: for an empty database, since {one_line(str(error))}", err=True
            )
        if found == migrate.HEAD:
            print_line(f"-- {database.display_name}: schema {found}, nothing to do")
        else:
            migrate.upgrade_sql(database.url, found)
    finally:
        database.close()


@db.command()
@pass_session
def current(session: Session) -> None:
    """Show the schema version of the database."""
    from monitor.storage import migrate
    from monitor.storage.database import Database

    database = Database(session.config().database.url.get_secret_value())
    try:
        found = database.current_revision()
    finally:
        database.close()
    if found == migrate.HEAD:
        print_line(f"{found}, as this program needs it")
    else:
        print_line(f"{found or 'none'}; this program needs {migrate.HEAD}: run `postpost-monitor db upgrade`")


@db.command()
@pass_session
def check(session: Session) -> int:
    """Check the file and the invariants of the database. Exit status 1 if something is wrong."""
    from monitor.app import build_routing
    from monitor.core.evaluation.incidents import IncidentChange
    from monitor.core.model import Reason
    from monitor.core.routing.routes import plan_notifications
    from monitor.storage.integrity import check_integrity

    config = session.config()
    routing = build_routing(config)

    def is_routed(incident: "Incident", target: "Target | None") -> bool:
        change = IncidentChange(incident=incident, reason=Reason.OPENED)
        return bool(plan_notifications(change, target, routing, utc_now()))

    with session.open_database(config) as database, database.read() as store:
        found = list(check_integrity(store, is_routed=is_routed))
        for line in found:
            print_line(one_line(line, 1000))
        if not found:
            print_line(f"{database.display_name}: sound")
    return 1 if found else 0


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@pass_session
def backup(session: Session, file: Path) -> None:
    """Write a consistent copy to FILE, even while the daemon runs. SQLite only; an existing file is kept."""
    from monitor.storage.maintenance import backup as copy

    with session.open_database() as database:
        copy(database, file)
    print_line(f"{file}: {file.stat().st_size} bytes")


@db.command()
@pass_session
def prune(session: Session) -> None:
    """Delete rows older than the retention period. Current state and open incidents are kept."""
    from monitor.config.values import format_duration
    from monitor.jobs.context import JobContext
    from monitor.jobs.prune import prune as forget

    config = session.config()
    with session.open_database(config) as database:
        forgotten = forget(JobContext(database=database, retention=config.retention))
    by_age: dict[timedelta, list[str]] = {config.retention.history: []}
    for kind, count in forgotten.items():
        by_age.setdefault(config.retention.for_kind(kind), []).extend([f"{count} {kind}"] if count else [])
    for age, counts in by_age.items():
        print_line(
            f"older than {format_duration(age)}: {'deleted ' + ', '.join(counts) if counts else 'nothing'}"
        )


@click.command()
@click.option("--account", metavar="NAME", required=True, help="The account of the client.")
@click.option(
    "--managed-user", "managed_user_id", metavar="ID", help="Only this managed user of the account."
)
@click.option("--yes", is_flag=True, help="Don't ask for confirmation.")
@pass_session
def erase(session: Session, account: str, managed_user_id: str | None, yes: bool) -> None:
    """
    Erase a client: names, links and history. Only counts remain.

    Without --managed-user, erases the account and all its managed users. This can't be undone.
    """
    from monitor.jobs.context import JobContext
    from monitor.jobs.erase import erase_client
    from monitor.storage.erasure import count_known

    whom = f"managed user {managed_user_id} of account {account}" if managed_user_id else f"account {account}"
    with session.open_database() as database:
        with database.read() as store:
            targets, is_watched = count_known(store, account, managed_user_id)
        if not targets:
            raise StorageError(f"there is no data about {whom}; `postpost-monitor status` lists the clients")
        if not yes and sys.stdin.isatty():
            click.confirm(f"Erase all data about {whom}? This can't be undone.", abort=True, err=True)
        gone = erase_client(JobContext(database=database), account, managed_user_id)
    counts = ", ".join(f"{count} {kind}" for kind, count in gone.items() if kind != "targets")
    print_line(f"{one_line(whom)}: erased. Only these counts remain: {counts}")
    print_line("Backups (`db backup`) and the journal may still name the client. Delete them yourself.")
    if is_watched:
        click.echo(
            f"postpost-monitor: warning: {one_line(whom)} is still polled, and the next poll records it again; "
            "remove it from the configuration or the workspace, reload, and erase it again",
            err=True,
        )
