"""ack, silence: acknowledge incidents and silence notifications."""

from collections.abc import Sequence
from datetime import datetime

import click

from monitor.cli.options import Moment, as_json_option, author_option, comment_option
from monitor.cli.session import Session, pass_session
from monitor.cli.tables import print_json, print_line, print_table
from monitor.clock import utc_now
from monitor.core.text import format_time

MATCHES = ("account", "managed_user", "platform", "rule", "severity", "cause")


@click.command()
@click.argument("incident_id", type=int, metavar="ID")
@author_option
@comment_option
@click.option(
    "--until",
    type=Moment(is_future=True),
    help="When the acknowledgement ends: a time, or a duration such as 2h. "
    "By default it lasts until the incident escalates or resolves.",
)
@pass_session
def ack(session: Session, incident_id: int, author: str, comment: str, until: datetime | None) -> None:
    """
    Acknowledge an incident.

    Stops reminders until the incident escalates or resolves.
    """
    from monitor.storage import acknowledgements

    with session.open_database() as database, database.begin() as store:
        found = acknowledgements.acknowledge(
            store, incident_id, utc_now(), author=author, comment=comment, until=until
        )
    if found is None:
        raise click.BadParameter(f"there is no incident {incident_id}; see `postpost-monitor incidents`")
    if found.resolved_at:
        raise click.BadParameter(f"incident {incident_id} resolved at {format_time(found.resolved_at)}")
    held = f" until {format_time(until)}" if until else ""
    before = f"; {found.acknowledged_by} acknowledged it before" if found.acknowledged_by else ""
    print_line(f"incident {incident_id} is acknowledged by {author}{held}{before}: {found.summary}")


@click.group()
def silence() -> None:
    """Silence matching notifications for a while."""


@silence.command()
@click.option(
    "--match",
    "matches",
    multiple=True,
    required=True,
    metavar="KEY=PATTERN",
    help=f"KEY is one of {', '.join(MATCHES)}. * matches any text. Repeat the option to require several matches.",
)
@click.option(
    "--until",
    type=Moment(is_future=True),
    required=True,
    help="When the silence ends: a time, or a duration such as 2h. Alerts for problems still open are sent then.",
)
@author_option
@comment_option
@pass_session
def add(session: Session, matches: Sequence[str], until: datetime, author: str, comment: str) -> None:
    """Silence matching notifications. Incidents are still recorded."""
    from monitor.app import build_routing
    from monitor.storage import silences

    match = _read(matches)
    config = session.config()
    with session.open_database(config) as database, database.begin() as store:
        id_ = silences.add_silence(
            store,
            match,
            utc_now(),
            until=until,
            author=author,
            comment=comment,
            routing=build_routing(config),
        )
    print_line(f"silence {id_} until {format_time(until)}: {_shown(match)}")


@silence.command("list")
@click.option("--all", "everything", is_flag=True, help="Include silences that have ended.")
@as_json_option
@pass_session
def list_silences(session: Session, everything: bool, as_json: bool) -> None:
    """Show active silences."""
    from monitor.storage import silences

    with session.history(as_json=as_json) as store:
        found = silences.list_silences(store, utc_now(), everything=everything) if store else []
    if as_json:
        print_json(found)
    elif not found:
        print_line("there are no active silences")
    else:
        print_table(
            ("id", "match", "until", "created_by", "comment", "from", "ended"),
            [
                (
                    str(row["id"]),
                    _shown(row["match"]),
                    format_time(row["ends_at"]),
                    row["created_by"],
                    row["comment"],
                    format_time(row["starts_at"]),
                    f"{format_time(row['ended_at'])} by {row['ended_by']}" if row["ended_at"] else "",
                )
                for row in found
            ],
        )


@silence.command("expire")
@click.argument("silence_id", type=int, metavar="ID")
@click.option("--author", default="", metavar="WHO", help="Your name.")
@pass_session
def expire(session: Session, silence_id: int, author: str) -> None:
    """End a silence now. Alerts for problems that are still open are sent."""
    from dataclasses import replace

    from monitor.app import build_routing
    from monitor.storage import silences

    config, now = session.config(), utc_now()
    with session.open_database(config) as database, database.begin() as store:
        routing = replace(build_routing(config), silences=store.active_silences(now))
        if not silences.expire_silence(store, silence_id, now, author=author, routing=routing):
            raise click.BadParameter(
                f"no silence {silence_id} is in force; see `postpost-monitor silence list`"
            )
    print_line(f"silence {silence_id} has ended")


def _read(matches: Sequence[str]) -> dict[str, list[str]]:
    from monitor.core.model import RuleName, Severity
    from monitor.core.routing.routes import glob_match

    match: dict[str, list[str]] = {}
    for given in matches:
        key, sign, pattern = given.partition("=")
        if not sign or not pattern:
            raise click.BadParameter(f"found {given[:60]!r}, want KEY=PATTERN such as platform=threads")
        if key not in MATCHES:
            raise click.BadParameter(f"found {key[:40]!r} before the =, want one of {', '.join(MATCHES)}")
        match.setdefault(key, []).append(pattern)
    closed = {"rule": tuple(RuleName), "severity": tuple(Severity)}
    for key, known in closed.items():
        for pattern in match.get(key, []):
            if not any(glob_match(pattern, name) for name in known):
                raise click.BadParameter(f"no {key} is like {pattern[:40]!r}; known: {', '.join(known)}")
    return match


def _shown(match: dict[str, list[str]]) -> str:
    return ", ".join(f"{key}={'|'.join(patterns)}" for key, patterns in match.items())
