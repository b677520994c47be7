"""check-health: the answer of a monitoring plugin."""

from collections import Counter
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
from monitor.core.text import counted, one_line
from monitor.errors import MonitorError

if TYPE_CHECKING:
    from monitor.storage.queries import Health

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
    Print a one-line health result and performance data for a monitoring system.

    Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN
    (nothing has been polled yet, or the database can't be read).
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
        return Level.OK, f"{counted(found.connections, 'connection')}, {how}"
    worst = max(level for level, _ in reasons)
    return worst, ", ".join(text for _, text in sorted(reasons, key=lambda reason: -reason[0]))


def _load_health(
    session: Session, account: str | None, now: datetime
) -> "tuple[Health, Mapping[str, timedelta]]":
    from monitor.app import build_token_bucket
    from monitor.storage import queries

    config = session.config(account=account)
    with session.open_database(config) as database, database.read() as store:
        found = queries.health(store, now, account=account, recently=RECENTLY)
    targets = Counter(watched.account for watched in found.targets)
    # The longest time between two polls of a target, as the daemon would keep it.
    return found, {
        each.name: build_token_bucket(each, config).min_interval(
            each.every or config.polling.every, targets[each.name]
        )
        for each in config.accounts
    }


def _own_reasons(
    found: "Health", every: Mapping[str, timedelta], now: datetime, *, only_itself: bool
) -> Iterator[tuple[Level, str]]:
    late: set[str] = set()
    seen: list[datetime | None] = []
    for watched in found.targets:
        if watched.account not in every or (only_itself and watched.is_paused):
            continue
        limit, seen_at = 3 * every[watched.account], watched.last_ok_at
        if only_itself:  # a pause that the server asked for isn't the monitor's fault
            limit, seen_at = max(limit, MAX_RETRY_AFTER), watched.last_polled_at
        if now - (seen_at or watched.first_seen_at) > limit + SLACK:
            late.add(watched.account)
            seen.append(seen_at)
    if seen:
        oldest = min((moment for moment in seen if moment), default=None)
        how_long = f"for {format_duration(now - oldest)}" if oldest else "ever"
        what = "no poll" if only_itself else "no successful poll"
        yield (
            Level.CRITICAL,
            f"{what} of {counted(len(seen), 'target')} ({', '.join(sorted(late)[:3])}) {how_long}",
        )
    if found.pending_since and now - found.pending_since > MAX_DELIVERY_DELAY:
        yield Level.WARNING, f"a message has been waiting for {format_duration(now - found.pending_since)}"


def _reported_reasons(found: "Health") -> Iterator[tuple[Level, str]]:
    for level, count, noun, what in (
        (Level.CRITICAL, found.incidents.get(Severity.CRITICAL, 0), "critical incident", "open"),
        (Level.CRITICAL, found.expired, "token", "expired"),
        (Level.WARNING, found.incidents.get(Severity.WARNING, 0), "warning", "open"),
        (Level.WARNING, found.expiring, "token", "expiring soon"),
        (Level.WARNING, found.dead_letters, "message", "not delivered"),
    ):
        if count:
            yield level, f"{counted(count, noun)} {what}"


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
