"""status, history, incidents, deliveries: show the history database."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import click

from monitor.cli import charts, live_table
from monitor.cli import status as known
from monitor.cli.options import account_option, as_json_option, since_option
from monitor.cli.session import Session, pass_session
from monitor.cli.status import Row
from monitor.cli.tables import STYLES, Cell, print_json, print_line, print_table, styled
from monitor.clock import utc_now
from monitor.core.text import format_time

if TYPE_CHECKING:
    from sqlalchemy import TableClause

_T = TypeVar("_T")


@click.command()
@account_option
@click.option("--platform", metavar="NAME", help="Only this platform, such as instagram.")
@click.option("--problems", is_flag=True, help="Only connections with a problem or an expiring token.")
@click.option("--shared", is_flag=True, help="Only profiles that are connected more than once.")
@click.option("--watch", is_flag=True, help="Keep the table on screen and update it, worst first.")
@as_json_option
@pass_session
def status(
    session: Session,
    account: str | None,
    platform: str | None,
    *,
    problems: bool,
    shared: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """
    Show the state of every connection.

    Removed connections appear only in the JSON output, with removed_at set.
    """
    if watch:
        if as_json or not sys.stdout.isatty():
            raise click.UsageError(
                "--watch is for a terminal: leave it out, or run `status --json` again and again."
            )
        return _watch(session, account=account, platform=platform, problems=problems, shared=shared)
    with session.history(as_json=as_json) as store:
        if store is None:
            return print_json([])
        incidents = known.open_incidents(store)
        rows = known.known_connections(
            store, incidents, account=account, platform=platform, problems=problems, shared=shared
        )
        rows = require_rows(rows, account=account, platform=platform)
        if as_json:
            return print_json(rows)
        now = utc_now()
        known.print_connections(rows, incidents, now)
        known.print_sources(incidents, now, account=account)
    return None


def _watch(
    session: Session, *, account: str | None, platform: str | None, problems: bool, shared: bool
) -> None:
    from monitor.errors import StorageError

    with session.open_database() as database:
        last: live_table.LiveTable | None = None

        def look() -> live_table.LiveTable:
            nonlocal last
            try:
                with database.read() as store:
                    last = known.live_table(
                        store, utc_now(), account=account, platform=platform, problems=problems, shared=shared
                    )
            except StorageError as error:
                if last is None or not error.transient:
                    raise
                return replace(last, error=str(error))
            return last

        live_table.run_live_table(look)


@click.command()
@click.argument("platform_id", required=False)
@account_option
@since_option
@as_json_option
@pass_session
def history(
    session: Session, platform_id: str | None, account: str | None, since: datetime | None, as_json: bool
) -> None:
    """
    Show token changes and incidents, oldest first.

    On a terminal a chart comes first: the timeline of one connection, or the tokens that expire within 60 days.

    --json prints only the token changes. `incidents --all --json` prints the incidents.
    """
    from monitor.storage import queries, views

    with session.history(as_json=as_json) as store:
        if store is None:
            return print_json([])

        def found(view: "TableClause") -> Iterator[Row]:
            wanted = queries.equals(view, account=account, platform_id=platform_id)
            wanted += [queries.since(view, since)] if since else []
            return queries.rows(store, view, *wanted)

        if as_json:
            return print_json(
                require_rows(found(views.TRANSITIONS), platform_id=platform_id, account=account)
            )
        if sys.stdout.isatty():
            from rich.console import Console, Group

            now, console = utc_now(), Console(highlight=False)
            if platform_id:
                wanted = queries.equals(views.TIMELINE, account=account, platform_id=platform_id)
                periods = queries.rows(store, views.TIMELINE, *wanted)
                chart = charts.timelines(periods, since=since, now=now, console=console)
            else:
                tokens = queries.rows(store, views.EXPIRING, *queries.equals(views.EXPIRING, account=account))
                chart = charts.expiries(tokens, now=now, console=console)
            console.print(Group(*chart))
        story: list[tuple[datetime, list[Cell]]] = []
        for row in found(views.TRANSITIONS):
            before = f"{row['from_status']} → " if row["from_status"] else "first seen, "
            change = f"{before}{row['to_status']}", STYLES.get(row["to_status"], "")
            until = f"until {format_time(row['expires_at'])}" if row["expires_at"] else ""
            story.append((row["at"], [known.who(row), change, until]))
        for row in found(views.INCIDENTS):
            rule = f"{row['rule']} (incident {row['id']})"
            for moment, word, look, text in (
                (row["opened_at"], "opened", row["severity"], row["summary"]),
                (row["resolved_at"], row["resolution"], "valid", ""),
            ):
                if moment and (since is None or moment >= since):
                    story.append((moment, [known.who(row), (f"{word}: {rule}", STYLES[look]), text]))
        story.sort(key=lambda line: line[0])
        shown = require_rows(iter(story), platform_id=platform_id, account=account)
        lines = [[format_time(moment), *cells] for moment, cells in shown]
        _print(("at", "who", "what", "detail"), lines, empty="Nothing happened.")
    return None


@click.command()
@click.option("--all", "everything", is_flag=True, help="Include resolved incidents.")
@as_json_option
@pass_session
def incidents(session: Session, everything: bool, as_json: bool) -> None:
    """Show open incidents."""
    from monitor.storage import queries, views

    with session.history(as_json=as_json) as store:
        if store is None:
            return print_json([])
        wanted = [] if everything else [queries.is_open()]
        order = () if everything else queries.AS_THEY_OPENED
        rows = queries.rows(store, views.INCIDENTS, *wanted, order_by=order)
        if as_json:
            return print_json(rows)
        headers = ("id", "severity", "rule", "who", "summary", "since", "deadline", "acknowledged", "over")
        lines: list[list[Cell]] = [
            [
                str(row["id"]),
                styled(row["severity"]),
                row["rule"],
                known.who(row),
                row["summary"],
                format_time(row["opened_at"]),
                format_time(row["deadline_at"]) if row["deadline_at"] else "",
                f"{row['acknowledged_by'] or 'somebody'}, {format_time(row['acknowledged_at'])}"
                if row["acknowledged_at"]
                else "",
                f"{row['resolution']}, {format_time(row['resolved_at'])}" if row["resolved_at"] else "",
            ]
            for row in rows
        ]
        _print(headers, lines, empty="Nothing is open." if wanted else "None yet.")
    return None


@click.group(invoke_without_command=True)
@click.option("--failed", is_flag=True, help="Only dead letters, which are no longer retried.")
@as_json_option
@pass_session
@click.pass_context
def deliveries(ctx: click.Context, session: Session, failed: bool, as_json: bool) -> None:
    """Show sent messages, their channels and results."""
    if ctx.invoked_subcommand:
        return None
    from monitor.storage import queries, views

    with session.history(as_json=as_json) as store:
        if store is None:
            return print_json([])
        wanted = queries.equals(views.DELIVERIES, state="failed" if failed else None)
        rows = queries.rows(store, views.DELIVERIES, *wanted)
        if as_json:
            return print_json(rows)
        headers = ("id", "channel", "state", "reason", "incident", "tries", "written", "delivered", "error")
        lines: list[list[Cell]] = [
            [
                str(row["id"]),
                row["channel"],
                styled(row["state"]),
                row["reason"],
                str(row["incident_id"] or ""),
                str(row["attempts"]),
                format_time(row["created_at"]),
                format_time(row["delivered_at"]) if row["delivered_at"] else "",
                row["error"] or "",
            ]
            for row in rows
        ]
        _print(headers, lines, empty="None.")
    return None


@deliveries.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True, type=click.IntRange(1, 2**31 - 1))
@pass_session
def retry(session: Session, ids: tuple[int, ...]) -> int:
    """Retry dead letters. The daemon sends them immediately; without one, the next `poll` does."""
    from monitor.storage import dead_letters

    with session.open_database() as database, database.begin() as store:
        revived = dead_letters.requeue_on_request(store, ids, utc_now())
    for id_ in dict.fromkeys(ids):
        if id_ in revived:
            print_line(f"{id_}: will be sent again")
        else:
            click.echo(f"postpost-monitor: {id_}: no dead letter; see `deliveries --failed`", err=True)
    return 0 if set(ids) <= set(revived) else 1


def _print(headers: tuple[str, ...], lines: list[list[Cell]], *, empty: str) -> None:
    if lines:
        print_table(headers, lines)
    else:
        print_line(empty)


def require_rows(rows: Iterator[_T], **wanted: str | None) -> Iterator[_T]:
    """Yield the rows. If there are none and the filters name something, print a note."""
    some = False
    for row in rows:
        some = True
        yield row
    asked = [f"{name.replace('_', ' ')} {value!r}" for name, value in wanted.items() if value]
    if asked and not some:
        click.echo(f"postpost-monitor: nothing found with {' and '.join(asked)}", err=True)
