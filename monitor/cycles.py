"""What is said of the monitor itself, cycle by cycle: to the dead man's switch, to systemd, to channels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from threading import Thread

import structlog

from monitor.app import App
from monitor.channels import Channel
from monitor.core.cycle import Cycle, Verdict, judge
from monitor.core.notices import Gap, open_line, stopping, watching
from monitor.dead_man import DeadMan
from monitor.errors import DeliveryError
from monitor.jobs.announce import announce
from monitor.logs import accompany, scrub
from monitor.storage import gaps, queries, sources
from monitor.storage.queries import Health
from monitor.systemd import Systemd

log = structlog.get_logger()

# A start is announced this late at most, though not everything was looked at by then.
FIRST_ROUND = timedelta(minutes=5)
LATELY = timedelta(hours=24)


class Cycles:
    """
    The cycles of one daemon, judged as they end.

    Args:
        stuck: names the parts of the daemon that hang.
        say: is told of each cycle in one line.
        counted: gives what was counted since it was last asked, for the log.
        on_ended: told how each cycle ended.
        is_start: the program starts; a new configuration in a running one isn't worth a word.

    Attributes:
        text: what was last said.
    """

    def __init__(
        self,
        app: App,
        *,
        stuck: Callable[[], Sequence[str]],
        say: Callable[[str], None],
        is_start: bool,
        counted: Callable[[], Mapping[str, int]] = lambda: {},
        on_ended: Callable[[Verdict], None] = lambda verdict: None,
    ) -> None:
        self.text = f"watching {len(app.providers)} account{'' if len(app.providers) == 1 else 's'}"
        self._app = app
        self._stuck = stuck
        self._say = say
        self._counted = counted
        self._on_ended = on_ended
        self._every = app.config.polling.every
        if app.config.dead_man and app.config.dead_man.every:
            self._every = app.config.dead_man.every
        self._watching_since = app.clock()
        self._is_start = is_start
        self._gap: Gap | None = None
        self._next_at = self._watching_since
        self._verdict: Verdict | None = None
        self._is_heard = True
        self._run = app.post.new_name()[:4]
        self._number = 0
        self._ends_at = self._watching_since

    def begin(self) -> None:
        """
        See how long nobody watched; to be called before the first poll.

        Raises:
            StorageError: the database can't be used.
        """
        found, _ = self._health()
        last_at = max((target.last_at for target in found.watched if target.last_at), default=None)
        every = min(self._app.policy.every.values(), default=timedelta())
        if self._is_start and last_at and self._watching_since - last_at > 3 * every:
            self._gap = Gap(starts_at=last_at, ends_at=self._watching_since)
            with self._app.database.begin() as store:
                gaps.remember(store.connection, self._gap)
            log.warning("daemon.was_down", since=last_at.isoformat(), until=self._watching_since.isoformat())
        self._begin_next(self._watching_since)

    def look(self) -> None:
        """
        Judge the cycle when it is due; while one isn't complete, at every call.

        Raises:
            StorageError: the database can't be used.
        """
        app = self._app
        now = app.clock()
        is_steady = self._verdict is Verdict.COMPLETE and not self._is_start
        if now < min(self._next_at, self._ends_at) and is_steady:
            return
        if self._is_start and self._verdict is None:
            self._ping(DeadMan.started)
        found, unlisted = self._health()
        cycle = judge(
            found.watched,
            every=app.policy.intervals(),
            slack=app.config.polling.timeout,
            watching_since=self._watching_since,
            waiting_since=found.waiting_since,
            stuck=self._stuck(),
            now=now,
            unlisted=unlisted,
        )
        self.text = f"last cycle {now:%H:%M} UTC: {cycle.text}. {open_line(found.incidents)}"
        self._say(self.text)
        self._tell(cycle, now)
        if now >= self._ends_at:
            log.info("cycle.ended", verdict=cycle.verdict, seen=cycle.text, **self._counted())
            self._on_ended(cycle.verdict)
            self._begin_next(now)
        if self._is_start and (cycle.is_round or now - self._watching_since > FIRST_ROUND):
            self._is_start = False
            self._announce_start(found)

    def _begin_next(self, now: datetime) -> None:
        """Begin a cycle, whose name every line of the log carries."""
        self._number += 1
        self._ends_at = now + self._app.config.polling.every
        accompany(cycle=f"{self._run}-{self._number}")

    def announce_stop(self) -> list[Thread]:
        """Begin to tell the channels that asked for it that the monitor stops."""
        app = self._app
        return announce(self._asking_for("stop"), stopping(now=app.clock(), key=app.post.new_name()))

    def _tell(self, cycle: Cycle, now: datetime) -> None:
        """Tell the switch of a new verdict at once, of the same one once a cycle, of a partial one never."""
        before, self._verdict = self._verdict, cycle.verdict
        if cycle.verdict is Verdict.FAILED and before is not Verdict.FAILED:
            log.warning("cycle.failed", reason=cycle.text)
        if before is Verdict.FAILED and cycle.verdict is Verdict.COMPLETE:
            log.info("cycle.complete", seen=cycle.text)
        if cycle.verdict is Verdict.PARTIAL or (cycle.verdict is before and now < self._next_at):
            return
        self._next_at = now + self._every
        is_good = cycle.verdict is Verdict.COMPLETE
        self._ping(lambda switch: switch.good(cycle.text) if is_good else switch.bad(cycle.text))

    def _ping(self, say: Callable[[DeadMan], None]) -> None:
        if self._app.dead_man is None:
            return
        try:
            say(self._app.dead_man)
        except DeliveryError as error:
            if self._is_heard:
                log.warning("dead_man.unreachable", error=str(error))
            self._is_heard = False
        else:
            if not self._is_heard:
                log.info("dead_man.reached")
            self._is_heard = True

    def _announce_start(self, found: Health) -> None:
        app = self._app
        problems = self._opened_since_start() if self._gap else 0
        if self._gap:
            log.info("daemon.caught_up", since=self._gap.starts_at.isoformat(), problems_found=problems)
        message = watching(
            accounts=len(app.providers),
            connections=found.connections,
            incidents=found.incidents,
            gap=self._gap,
            found=problems,
            key=app.post.new_name(),
        )
        announce(self._asking_for("start"), message)

    def _opened_since_start(self) -> int:
        with self._app.database.read() as store:
            opened = queries.INCIDENTS.c.opened_at >= self._watching_since
            return sum(1 for _ in queries.rows(store.connection, queries.INCIDENTS, opened))

    def _asking_for(self, what: str) -> Iterator[Channel]:
        app = self._app
        for channel in app.config.channels:
            if what in channel.announce:
                yield app.post.channels[channel.name]

    def _health(self) -> tuple[Health, Mapping[str, datetime]]:
        plans = self._app.plans
        with self._app.database.read() as store:
            found = queries.health(store.connection, self._app.clock(), lately=LATELY)
            unlisted = sources.unlisted(store.connection)
        asked = {name: at for name, at in unlisted.items() if name in plans and plans[name].asks_for_users}
        return found, asked


class Line:
    """What systemd shows of us: how things are, after what an operator must not overlook."""

    def __init__(self, systemd: Systemd) -> None:
        self.systemd = systemd
        self.refusal = ""

    def say(self, text: str) -> None:
        """Say how things are."""
        self.systemd.status(self._whole(text))

    def ready(self, text: str) -> None:
        """Say that a start or a reload is done, and how things are."""
        self.systemd.ready(self._whole(text))

    def migrating(self, revision: str, deed: str) -> None:
        """Say that the schema is brought up to date, which may take its time."""
        log.info("database.migrating", revision=revision, deed=deed)
        self.systemd.waiting(f"migrating the database: {revision}: {deed}", timedelta(minutes=30))

    def _whole(self, text: str) -> str:
        return scrub(f"{self.refusal}; {text}" if self.refusal else text)
