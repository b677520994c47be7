"""
A year in the life of a fleet, on a walked clock, through the real core and storage: ``python -m benchmarks.year``.

Every target is polled every quarter of an hour; tokens are renewed, warned of, left to expire and reconnected,
posts go out and fail, accounts have outages. Only the API and the channel are not real.
"""

import argparse
import heapq
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from monitor.core.messages.message import Message
from monitor.core.model import (
    Connection,
    Failure,
    FailureScope,
    Outcome,
    PublishError,
    RuleName,
    Snapshot,
    Target,
    to_milliseconds,
)
from monitor.core.routing.routes import Route, Routing
from monitor.jobs.context import JobContext
from monitor.jobs.deliver import deliver_channel
from monitor.jobs.poll import record_polls
from monitor.jobs.reevaluate import reevaluate_due
from monitor.logs import configure_logs
from monitor.rate_limits import RateLimits
from monitor.storage.database import Database
from tests.postgres_for import serving_postgres

BEGINS_AT = datetime(2026, 1, 1, tzinfo=UTC)
EVERY = timedelta(minutes=15)
DAY = timedelta(days=1)
ACCOUNTS, CONNECTIONS = 10, 8
# Of the connections of a target, the first are renewed by the vendor.
RENEWED = 2
PLATFORMS = ("facebook", "twitter", "instagram", "linkedin", "threads", "mastodon", "bluesky", "telegram")
ERRORS = (
    "Media upload failed: Invalid image format",
    "Error validating access token: Session has expired (code 190)",
    "The service is temporarily unavailable",
)
UNREACHABLE = Failure(
    outcome=Outcome.SERVER_ERROR,
    rule=RuleName.API_UNREACHABLE,
    error="HTTP 500: Internal server error",
    remedy="wait: it is tried again",
    http_status=500,
    scope=FailureScope.UNCLEAR,
)
QUESTIONS = (
    ("status of everything", "SELECT * FROM current_connections", 0.5),
    (
        "history of one connection",
        "SELECT * FROM token_transitions WHERE account = 'account 3' AND platform_id = 'instagram-301' ORDER BY at",
        0.02,
    ),
    (
        "timeline of one connection",
        "SELECT * FROM connection_timeline WHERE account = 'account 3' AND platform_id = 'instagram-301'",
        0.02,
    ),
    (
        "time to reconnect, by platform",
        "SELECT platform, count(*), avg(seconds_from_warning) FROM reconnect_times GROUP BY platform",
        2.0,
    ),
    ("tokens that expire", "SELECT * FROM expiring_tokens WHERE days_left < 7 ORDER BY expires_at", 0.5),
    ("health of every client", "SELECT * FROM account_health", 0.5),
)


class Quiet:
    """A channel that takes everything and keeps nothing."""

    name, allow_reconnect_links, time_zone, service, body_limit, title_limit, takes_attachments = (
        "ops",
        False,
        UTC,
        "json",
        None,
        200,
        False,
    )

    def send(self, message: Message) -> None:
        """Take it."""


@dataclass(slots=True)
class World:
    """
    What the API would say.

    A quarter of the tokens is renewed by the vendor, so that nobody notices but for the date. The others are warned
    of when a tenth of their life is left, and reconnected by somebody; one in ten only after it has expired. One
    post in two hundred fails, and the next one is good. An account has an outage a month.

    Args:
        per_day: status changes of one connection a day, on average over all.
        is_quiet: whether they go between words that alarm nobody; then nothing expires.
    """

    targets: list[Target]
    per_day: float
    is_quiet: bool
    dice: random.Random = field(default_factory=lambda: random.Random(7))
    listed: dict[int, list[Connection]] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    down_until: dict[str, datetime] = field(default_factory=dict)
    _ahead: list[tuple[datetime, int, str, int, int]] = field(default_factory=list)
    _number: int = 0

    @property
    def life(self) -> timedelta:
        """How long a token lives: two changes of three quarters of them come to so many of each."""
        return 2 * DAY * (CONNECTIONS - RENEWED) / CONNECTIONS / self.per_day

    def begin(self, now: datetime) -> None:
        """Let every token be somewhere in its life."""
        for target in self.targets:
            self.listed[target.id] = []
            self.versions[target.id] = 0
            for place in range(CONNECTIONS):
                self.listed[target.id].append(self._new(target.id, place, now))
                self._plan(now, "post", target.id, place, 2 * DAY)
                if self.is_quiet:
                    self._plan(now, "flip", target.id, place, DAY / self.per_day)
                elif place < RENEWED:
                    self._at(now + DAY * self.dice.uniform(0, 50), "renew", target.id, place)
                else:
                    ends_at = now + self.life * self.dice.uniform(0.1, 1)
                    self._date(target.id, place, "valid", ends_at)
                    self._at(ends_at - self.life / 10, "warn", target.id, place)
        for number, target in enumerate(self.targets[:: len(self.targets) // ACCOUNTS][:ACCOUNTS]):
            self._plan(now, "outage", target.id, number, 30 * DAY)

    def live(self, now: datetime) -> None:
        """Let happen what happens until now."""
        while self._ahead and self._ahead[0][0] <= now:
            at, _, what, target_id, place = heapq.heappop(self._ahead)
            getattr(self, f"_{what}")(at, target_id, place)

    def snapshot(self, target: Target, now: datetime) -> Snapshot:
        """Answer as the API would."""
        if self.down_until.get(target.account, now) > now:
            return Snapshot(target=target, taken_at=now, failure=UNREACHABLE)
        name = f"{target.id}:{self.versions[target.id]}".encode()
        listed = tuple(self.listed[target.id])
        return Snapshot(target=target, taken_at=now, connections=listed, response_digest=name)

    def _outage(self, at: datetime, target_id: int, number: int) -> None:
        self.down_until[f"account {number}"] = at + timedelta(hours=self.dice.uniform(0.3, 6))
        self._plan(at, "outage", target_id, number, 30 * DAY)

    def _flip(self, at: datetime, target_id: int, place: int) -> None:
        seen = self.listed[target_id][place]
        self._change(target_id, place, token_status="unknown" if seen.token_status == "valid" else "valid")
        self._plan(at, "flip", target_id, place, DAY / self.per_day)

    def _renew(self, at: datetime, target_id: int, place: int) -> None:
        self._date(target_id, place, "valid", at + 60 * DAY)
        self._at(at + DAY * self.dice.uniform(48, 52), "renew", target_id, place)

    def _warn(self, at: datetime, target_id: int, place: int) -> None:
        self._change(target_id, place, token_status="expiring_soon")
        ends_at = at + self.life / 10
        if self.dice.random() < 0.1:
            self._at(ends_at, "expire", target_id, place)
        else:
            self._at(at + self.life / 10 * self.dice.random(), "reconnect", target_id, place)

    def _expire(self, at: datetime, target_id: int, place: int) -> None:
        self._change(target_id, place, token_status="expired")
        self._plan(at, "reconnect", target_id, place, self.life / 20)

    def _reconnect(self, at: datetime, target_id: int, place: int) -> None:
        self._date(target_id, place, "valid", at + self.life)
        self._at(at + self.life * 9 / 10, "warn", target_id, place)

    def _post(self, at: datetime, target_id: int, place: int) -> None:
        if self.dice.random() < 1 / 200:
            error = PublishError(message=self.dice.choice(ERRORS), occurred_at=at)
            self._change(target_id, place, last_error=error)
        else:
            self._change(target_id, place, last_successful_post_at=at, last_error=None)
        self._plan(at, "post", target_id, place, 2 * DAY)

    def _new(self, target_id: int, place: int, now: datetime) -> Connection:
        platform = PLATFORMS[place]
        return Connection(
            platform_id=f"{platform}-{target_id}",
            username=f"client{target_id}",
            display_name=f"Client Number {target_id}",
            token_status="valid",
            expires_at=None if self.is_quiet else now + 60 * DAY,
            last_successful_post_at=now,
        )

    def _date(self, target_id: int, place: int, status: str, ends_at: datetime) -> None:
        self._change(target_id, place, token_status=status, expires_at=to_milliseconds(ends_at))

    def _change(self, target_id: int, place: int, **what: Any) -> None:
        self.listed[target_id][place] = replace(self.listed[target_id][place], **what)
        self.versions[target_id] += 1

    def _plan(self, after: datetime, what: str, target_id: int, place: int, wait: timedelta) -> None:
        self._at(after + wait * self.dice.uniform(0.5, 1.5), what, target_id, place)

    def _at(self, at: datetime, what: str, target_id: int, place: int) -> None:
        self._number += 1
        # As everything that is read from an answer: in whole milliseconds.
        heapq.heappush(self._ahead, (to_milliseconds(at), self._number, what, target_id, place))


def live(
    database: Database, *, targets: int, days: int, per_day: float, is_quiet: bool
) -> Iterator[tuple[int, int]]:
    """Live so many days; gives each 30th day and the size of the database then, in bytes."""
    now = BEGINS_AT
    clock: Callable[[], datetime] = lambda: now  # noqa: E731 - the clock is the name that moves
    names = [f"account {number}" for number in range(ACCOUNTS)]
    routing = Routing(routes=(Route(channels=("ops",), group_by=("account",)),))
    made = iter(range(sys.maxsize))
    context = JobContext(
        database=database,
        clock=clock,
        channels={"ops": Quiet()},
        routing=routing,
        rate_limits=RateLimits(dict.fromkeys(names, EVERY), {}),
        random=lambda: 0.0,
        new_message_key=lambda: f"{next(made):010x}",
    )
    with database.begin() as store:
        store.register([(names[number % ACCOUNTS], f"{number:024x}") for number in range(targets)], now)
        everyone = store.active_targets()
    world = World(targets=everyone, per_day=per_day, is_quiet=is_quiet)
    world.begin(now)
    for tick in range(days * int(DAY / EVERY)):
        now = BEGINS_AT + tick * EVERY
        world.live(now)
        record_polls([world.snapshot(each, now) for each in everyone], context)
        reevaluate_due(context)
        deliver_channel("ops", context, {}, wait=False)
        if (tick + 1) % (30 * int(DAY / EVERY)) == 0:
            yield (tick + 1) // int(DAY / EVERY), size_of(database)


def size_of(database: Database) -> int:
    """Tell how many bytes a database takes on disk."""
    with database.read() as store:
        if database.is_sqlite:
            page, pages = (
                store.connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("page_size", "page_count")
            )
            return int(page) * int(pages)
        return int(store.connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def asked(database: Database) -> dict[str, float]:
    """Ask the questions that people ask, five times each; gives the median seconds."""
    took: dict[str, float] = {}
    for name, question, _ in QUESTIONS:
        times = []
        for _ in range(5):
            with database.read() as store:
                began = time.perf_counter()
                store.connection.execute(text(question)).all()
                times.append(time.perf_counter() - began)
        took[name] = statistics.median(times)
    return took


def main() -> None:
    """Live a year, and say what it cost and how fast it can be asked about."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.year", description=__doc__)
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument(
        "--per-day", type=float, default=1.0, help="status changes of one connection a day (1.0)"
    )
    parser.add_argument("--quiet", action="store_true", help="changes that nobody needs to hear of")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument("--keep", type=Path, help="where the SQLite file goes, to be kept")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ask", metavar="URL", help="live nothing: ask a history that there is")
    given = parser.parse_args()
    configure_logs(format="json", level="error", secrets=[], stream=sys.stderr)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = given.ask or f"sqlite:///{given.keep or folder / 'history.db'}"
        if given.postgres:
            url = stack.enter_context(serving_postgres())()
        database = Database(url)
        stack.callback(database.close)
        database.upgrade()
        lived = {} if given.ask else _lived(database, given)
        with database.read() as store:
            rows = {
                name: store.connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
                for name in ("snapshots", "incidents", "notifications", "poll_runs")
            }
        result: dict[str, Any] = {
            "database": "SQLite" if database.is_sqlite else "PostgreSQL",
            "size_mib": size_of(database) / 2**20,
            "rows": rows,
            "questions": asked(database),
            **lived,
        }
    if given.json:
        print(json.dumps(result))
        return
    print(f"{result['database']}: {result['size_mib']:.0f} MiB, {rows}")
    for what, figure in lived.items():
        print(f"{what.replace('_', ' '):34}{figure:>9.3g}")
    for name, _, at_most in QUESTIONS:
        print(f"{name:34}{result['questions'][name] * 1000:>9.1f} ms, at most {at_most * 1000:.0f}")


def _lived(database: Database, given: argparse.Namespace) -> dict[str, float]:
    """Live through it all; gives what it was and what it took."""
    began, cpu_began = time.monotonic(), time.process_time()
    sizes = [(0, size_of(database))]
    for day, size in live(
        database, targets=given.targets, days=given.days, per_day=given.per_day, is_quiet=given.quiet
    ):
        sizes.append((day, size))
        print(
            f"day {day}: {size / 2**20:.1f} MiB, {time.monotonic() - began:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    polls = given.targets * given.days * int(DAY / EVERY)
    return {
        "targets": given.targets,
        "days": given.days,
        "changes_per_day": given.per_day,
        "is_quiet": given.quiet,
        "growth_mib_a_month": (sizes[-1][1] - sizes[0][1]) / 2**20 / max(sizes[-1][0] / 30, 1),
        "seconds": time.monotonic() - began,
        "cpu_ms_per_poll": (time.process_time() - cpu_began) * 1000 / polls,
    }


if __name__ == "__main__":
    main()
