"""check-health: the answer of a monitoring plugin."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING

import click

from monitor.cli.session import Session, pass_session
from monitor.cli.tables import print_line
from monitor.clock import utc_now
from monitor.core.messages.phrases import format_duration
from monitor.core.model import Severity
from monitor.core.scheduling.backoff import MAX_RETRY_AFTER
from monitor.core.text import one_line
from monitor.errors import ConfigError, MonitorError

if TYPE_CHECKING:
    from monitor.config.model import Config
    from monitor.storage.queries import Health, TargetStatus

SLACK = timedelta(minutes=5)
RECENTLY = timedelta(hours=24)
MAX_DELIVERY_DELAY = timedelta(minutes=15)


class Level(IntEnum):
    """The exit status of a monitoring plugin."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@click.command("check-health")
@click.option("--account", metavar="NAME", help="Only this account.")
@click.option("--self", "only_itself", is_flag=True, help="Only check the monitor itself.")
@pass_session
def check_health(session: Session, account: str | None, only_itself: bool) -> int:
    """
    Answer a monitoring system with one line and performance data.

    Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    (nothing was polled yet, or the database can't be read).
    """
    now = utc_now()
    try:
        found, every = _load_health(session, account, now)
        level, text = assess(found, every, now, only_itself=only_itself)
        data = f" | {_performance(found, now)}"
    except MonitorError as error:
        from monitor.logs import scrub

        level, text, data = Level.UNKNOWN, scrub(str(error)), ""
    except Exception as error:  # noqa: BLE001 - the exit status of a failed command would read as a warning
        text = f"this is a bug in the monitor, please report it: {type(error).__name__}"
        level, data = Level.UNKNOWN, ""
    print_line(f"{level.name}: {one_line(text).replace('|', '/')}{data}")
    return level


def assess(
    found: "Health", every: Mapping[str, timedelta], now: datetime, *, only_itself: bool = False
) -> tuple[Level, str]:
    """
    Return the level and the reasons, the worst first.

    Args:
        every: how often the targets of each account are polled.
        only_itself: check only the monitor itself.
    """
    if not any(watched.last_polled_at for watched in found.targets):
        return Level.UNKNOWN, "nothing was polled yet"
    reasons = list(_own_reasons(found, every, now, only_itself=only_itself))
    if not only_itself:
        reasons += _reported_reasons(found)
    if not reasons:
        how = "polls and messages make progress" if only_itself else "nothing to do"
        return Level.OK, f"{_many(found.connections, 'connection')}, {how}"
    worst = max(level for level, _ in reasons)
    return worst, ", ".join(text for _, text in sorted(reasons, key=lambda reason: -reason[0]))


def _load_health(
    session: Session, account: str | None, now: datetime
) -> "tuple[Health, Mapping[str, timedelta]]":
    from monitor.storage import queries

    config = session.config()
    every = {each.name: each.every or config.polling.every for each in config.accounts}
    if account is not None and account not in every:
        raise ConfigError(f"no account {account!r}; want one of {', '.join(every)}")
    with session.open_database(config) as database, database.read() as store:
        found = queries.health(store, now, account=account, recently=RECENTLY)
    return found, {name: _max_interval(name, every[name], found, config) for name in every}


def _max_interval(account: str, every: timedelta, found: "Health", config: "Config") -> timedelta:
    """Return the longest time between two polls of a target, as the daemon would."""
    from monitor.app import build_token_bucket

    of_account = next(each for each in config.accounts if each.name == account)
    targets = sum(1 for watched in found.targets if watched.account == account)
    return build_token_bucket(of_account, config).min_interval(every, targets)


def _own_reasons(
    found: "Health", every: Mapping[str, timedelta], now: datetime, *, only_itself: bool
) -> Iterator[tuple[Level, str]]:
    late = [
        watched
        for watched in found.targets
        if watched.account in every
        and _is_late(watched, every[watched.account], now, only_itself=only_itself)
    ]
    if late:
        names = ", ".join(sorted({watched.account for watched in late})[:3])
        seen = [watched.last_polled_at if only_itself else watched.last_ok_at for watched in late]
        oldest = min((moment for moment in seen if moment), default=None)
        how_long = f"for {format_duration(now - oldest)}" if oldest else "ever"
        what = "no poll" if only_itself else "no successful poll"
        yield Level.CRITICAL, f"{what} of {_many(len(late), 'target')} ({names}) {how_long}"
    if found.pending_since and now - found.pending_since > MAX_DELIVERY_DELAY:
        yield Level.WARNING, f"a message has been waiting for {format_duration(now - found.pending_since)}"


def _is_late(watched: "TargetStatus", every: timedelta, now: datetime, *, only_itself: bool) -> bool:
    if only_itself:
        if watched.is_paused:
            return False
        # A pause that the server asked for isn't the monitor's fault.
        seen, limit = watched.last_polled_at, max(3 * every, MAX_RETRY_AFTER) + SLACK
    else:
        seen, limit = watched.last_ok_at, 3 * every + SLACK
    return now - (seen or watched.first_seen_at) > limit


def _reported_reasons(found: "Health") -> Iterator[tuple[Level, str]]:
    critical, warning = (found.incidents.get(each, 0) for each in (Severity.CRITICAL, Severity.WARNING))
    if critical:
        yield Level.CRITICAL, f"{_many(critical, 'critical incident')} open"
    if found.expired:
        yield Level.CRITICAL, f"{_many(found.expired, 'token')} expired"
    if warning:
        yield Level.WARNING, f"{_many(warning, 'warning')} open"
    if found.expiring:
        yield Level.WARNING, f"{_many(found.expiring, 'token')} expiring soon"
    if found.dead_letters:
        yield Level.WARNING, f"{_many(found.dead_letters, 'message')} not delivered"


def _performance(found: "Health", now: datetime) -> str:
    last_at = max(
        (watched.last_polled_at for watched in found.targets if watched.last_polled_at), default=None
    )
    waiting = now - found.pending_since if found.pending_since else timedelta()
    numbers = {
        "connections": found.connections,
        "critical": found.incidents.get(Severity.CRITICAL, 0),
        "warning": found.incidents.get(Severity.WARNING, 0),
        "last_poll_age": f"{max((now - last_at).total_seconds(), 0):.0f}s" if last_at else "U",
        "outbox_age": f"{waiting.total_seconds():.0f}s",
    }
    return " ".join(f"{name}={number}" for name, number in numbers.items())


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
