"""
A year of many lives: what an API reports of tokens by either contract, and what every channel is told of them.

A life is one managed user with five tokens and a channel of its own. Ten lives share an account: its key, its
outages, its clock, and a second channel that hears of all of them. The clock is moved from one event to the next.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any

from sqlalchemy import func, select

from monitor.channels.templates import compile_template
from monitor.core.model import DeliveryState, Outcome, TokenStatus, to_milliseconds
from monitor.core.routing.routes import Matcher, Route
from monitor.errors import FetchError
from monitor.jobs.check_channels import check_channels
from monitor.providers.base import ConnectionList
from monitor.storage import silences
from monitor.storage.database import Database
from monitor.storage.outbox import UNSENT
from monitor.storage.tables import incidents, notifications, target_schedule, targets
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure
from tests.lives import MODES, PLAIN, Killed, Receiver, Said, by_incident, empty, repetitions
from tests.test_skewed_lives import DatedProvider, LocalClock, SkewedSimulator

YEAR = 365 * DAY
LIVES = 10
TOKENS = 5
EVERY = 6 * HOUR
# Polls that are due within this time are made together, or a year would take too long.
TOGETHER = 2 * HOUR
WEEK = 7 * DAY
# A channel that has been up for this long was tried again: the waits between attempts grow to an hour.
LONG_ENOUGH = 3 * HOUR
ABOUT_TOKENS = {"token_expiry", "renewal_overdue", "connection_removed", "publish_error"}


class Contract(StrEnum):
    """Which of the vendor's documents the API goes by."""

    SEED = "seed"
    NEWER = "2026"


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when something is so."""

    begins: datetime
    ends: datetime
    what: Any = None

    def holds(self, now: datetime) -> bool:
        """Whether it is so now."""
        return self.begins <= now < self.ends


@dataclass(frozen=True, slots=True)
class Report:
    """What the API says of a token at one moment."""

    word: str
    date: datetime | None

    @property
    def status(self) -> TokenStatus | None:
        """The word as the documents know it, whatever its case; None if they don't."""
        return next((status for status in TokenStatus if status == self.word.lower()), None)


@dataclass(slots=True, kw_only=True)
class Token:
    """
    The life of one token in true time.

    Args:
        dates: from when it has which date.
        expired: when the platform rejects it, whatever its date.
        words: when the API says something unheard of, or ``upper``: its word in capitals.
        is_dated: whether the API shows the date.
        has_deadline: whether its status follows from its date.
        soon: how long before its date it expires soon.
        healthy: the API's word for it while all is well.
        stays_well: whether nothing ever happens to it that a person must know.
    """

    platform_id: str
    dates: list[tuple[datetime, datetime]]
    stays_well: bool
    expired: list[Span] = field(default_factory=list)
    words: list[Span] = field(default_factory=list)
    is_dated: bool = True
    has_deadline: bool = True
    soon: timedelta = WEEK
    healthy: TokenStatus = TokenStatus.VALID

    def __post_init__(self) -> None:
        # No finer than the API writes them.
        self.dates = [(to_milliseconds(begins), to_milliseconds(date)) for begins, date in self.dates]

    def report_at(self, now: datetime) -> Report:
        """Return what the API says."""
        date = self.dates[bisect_right(self.dates, now, key=lambda each: each[0]) - 1][1]
        word = self.healthy.value
        if any(each.holds(now) for each in self.expired) or (self.has_deadline and date <= now):
            word = "expired"
        elif self.has_deadline and date - now < self.soon:
            word = "expiring_soon"
        for each in self.words:
            if each.holds(now):
                word = word.upper() if each.what == "upper" else each.what
        return Report(word, date if self.is_dated else None)


@dataclass(slots=True)
class Maker:
    """Makes up tokens, about half of which stay well for all of the time."""

    random: Random
    contract: Contract
    begins: datetime
    ends: datetime

    def spans(
        self, every: timedelta, lasting: Sequence[timedelta], what: Sequence[Any] = (None,)
    ) -> list[Span]:
        """Return spans that don't touch, one ``every`` so often; none in the last days."""
        found, now = [], self.begins + every * self.random.uniform(0.2, 1.8)
        while now < self.ends - 4 * DAY:
            until = min(
                now + self.random.choice(lasting) * self.random.uniform(0.5, 1.5), self.ends - 3 * DAY
            )
            found.append(Span(to_milliseconds(now), to_milliseconds(until), self.random.choice(what)))
            now = found[-1].ends + every * self.random.uniform(0.2, 1.8)
        return found

    def token(self, platform_id: str) -> Token:
        """Make up one token."""
        stays_well = self.random.random() < 0.5
        made = self._of(platform_id.partition("-")[0], platform_id, stays_well)
        if not stays_well and self.random.random() < 0.4:
            made.expired = self.spans(120 * DAY, [8 * HOUR, 3 * DAY, 20 * DAY])
        if not stays_well and self.random.random() < 0.25:
            words = ["revoked", "upper", "Expired soon?", "null", "7"]
            made.words = self.spans(100 * DAY, [8 * HOUR, 5 * DAY, 30 * DAY], words)
        return made

    def _of(self, platform: str, platform_id: str, stays_well: bool) -> Token:
        is_seed = self.contract is Contract.SEED
        if platform in {"linkedin", "instagram", "threads"}:
            return self._renewed_by_person(platform_id, stays_well, life=60 * DAY, soon=WEEK)
        if platform == "tiktok" and not is_seed:
            return self._renewed_by_person(platform_id, stays_well, life=365 * DAY, soon=30 * DAY)
        if platform == "facebook":
            return self._renewed_by_vendor(platform_id, stays_well)
        if platform in {"youtube", "tiktok"}:
            return self._renewed_by_posting(platform_id, HOUR if platform == "youtube" else DAY)
        healthy = TokenStatus.UNKNOWN if is_seed else TokenStatus.VALID
        return Token(
            platform_id=platform_id,
            dates=[(self.begins - DAY, self.ends)],
            stays_well=stays_well,
            is_dated=False,
            has_deadline=False,
            healthy=healthy,
        )

    def _renewed_by_person(
        self, platform_id: str, stays_well: bool, *, life: timedelta, soon: timedelta
    ) -> Token:
        """Somebody reconnects it: early, while it expires soon, or too late."""
        date = self.begins + soon + (life - soon) * self.random.uniform(0.1, 1)
        dates = [(self.begins - DAY, date)]
        while date < self.ends + soon:
            kind = "early" if stays_well else self.random.choice(["early", "soon", "soon", "late"])
            if kind == "early":
                now = date - soon - min(life / 4, date - soon - dates[-1][0]) * self.random.uniform(0.1, 0.9)
            elif kind == "soon":
                now = date - soon * self.random.uniform(0.02, 0.95)
            else:
                now = date + 10 * DAY * self.random.uniform(0.02, 1)
            date = now + life
            dates.append((now, date))
        return Token(platform_id=platform_id, dates=dates, stays_well=stays_well, soon=soon)

    def _renewed_by_vendor(self, platform_id: str, stays_well: bool) -> Token:
        """A Facebook page: renewed each day, until that fails in silence and its date stops moving."""
        fails = [] if stays_well else self.spans(200 * DAY, [5 * DAY, 30 * DAY, 70 * DAY])
        days = [self.begins + n * DAY for n in range(-1, (self.ends - self.begins).days + 2)]
        dates = [(day, day + 59 * DAY) for day in days if not any(each.holds(day) for each in fails)]
        return Token(
            platform_id=platform_id,
            dates=dates,
            stays_well=stays_well,
            is_dated=self.contract is Contract.SEED,
        )

    def _renewed_by_posting(self, platform_id: str, life: timedelta) -> Token:
        """An access token that is renewed when something is posted: its date lies mostly in the past."""
        dates, now = [], self.begins - DAY
        while now < self.ends:
            dates.append((now, now + life))
            now += DAY * self.random.uniform(0.2, 6)
        is_dated = self.contract is Contract.SEED
        return Token(
            platform_id=platform_id, dates=dates, stays_well=True, is_dated=is_dated, has_deadline=False
        )


PLATFORMS = (
    *("linkedin", "instagram", "threads", "facebook", "youtube", "tiktok"),
    *("twitter", "bluesky", "mastodon"),
)


@dataclass(slots=True)
class Api(DatedProvider):
    """
    An API that reports the tokens of every life as they are, and is out of order at times.

    Args:
        outages: when it fails, and how.
        seen: what good polls showed of each token of each managed user, and when.
    """

    tokens: dict[str, list[Token]] = field(default_factory=dict)
    outages: list[Span] = field(default_factory=list)
    seen: dict[tuple[str, str], list[tuple[datetime, Report]]] = field(default_factory=dict)

    def connections(self, managed_user_id: str | None = None) -> ConnectionList:
        now = self.local.now
        for outage in self.outages:
            if outage.holds(now):
                raise FetchError(outage.what)
        listed = []
        for token in self.tokens.get(managed_user_id or "", ()):
            report = token.report_at(now)
            self.seen.setdefault((managed_user_id or "", token.platform_id), []).append((now, report))
            listed.append(
                connection(platform_id=token.platform_id, token_status=report.word, expires_at=report.date)
            )
        self.listed[managed_user_id] = tuple(listed)
        return DatedProvider.connections(self, managed_user_id)


@dataclass(slots=True)
class Year:
    """
    Ten lives on one database.

    Args:
        lasts: how long it is.
    """

    database: Database
    contract: Contract
    seed: int
    lasts: timedelta = YEAR
    simulator: SkewedSimulator = field(init=False)
    api: Api = field(init=False)
    modes: dict[str, list[Span]] = field(init=False)
    skews: list[Span] = field(init=False)
    silences: list[Span] = field(init=False)
    restarts: list[datetime] = field(init=False)
    polled_at: datetime = NOW

    @property
    def now(self) -> datetime:
        """The true time."""
        return self.simulator.clock.now

    def __post_init__(self) -> None:
        empty(self.database)
        random = Random(self.seed)
        maker = Maker(random, self.contract, NOW, NOW + self.lasts)
        users = [f"{n:024x}" for n in range(1, LIVES + 1)]
        clock = LocalClock()
        self.api = Api(
            tokens={
                user: [maker.token(f"{random.choice(PLATFORMS)}-{n}") for n in range(TOKENS)]
                for user in users
            },
            outages=maker.spans(
                30 * DAY,
                [HOUR, 8 * HOUR, 3 * DAY, 9 * DAY],
                [
                    failure(outcome)
                    for outcome in (Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.UNAUTHORIZED)
                ],
            ),
        )
        names = ["ops", *(f"of {user}" for user in users)]
        broken = [mode for mode in MODES if mode != "up"]
        self.modes = {name: maker.spans(25 * DAY, [20 * MINUTE, 3 * HOUR, 2 * DAY], broken) for name in names}
        # How far ahead the local clock is; a wrong clock is set right after a while.
        ahead = [3 * MINUTE, -40 * MINUTE, 26 * HOUR, -3 * DAY, 61 * DAY]
        self.skews = maker.spans(60 * DAY, [HOUR, 2 * DAY, 20 * DAY], ahead)
        wanted = maker.spans(40 * DAY, [HOUR, DAY], [(user, "t*") for user in users])
        # A silence ends by the local clock, so one during a skew lasts as long as nobody meant it to.
        self.silences = [
            each
            for each in wanted
            if not any(skew.begins <= each.ends and each.begins <= skew.ends for skew in self.skews)
        ]
        self.restarts = [each.begins for each in maker.spans(20 * DAY, [HOUR])]
        self.simulator = SkewedSimulator(
            self.database,
            clock=clock,
            api=self.api,
            users=users,
            every=EVERY,
            channels={name: Receiver(name=name, now=lambda: clock.now) for name in names},
            templates={name: compile_template(name, title=None, body=PLAIN, now=NOW) for name in names},
            routes=[
                *(
                    Route(
                        channels=(f"of {user}",),
                        match=Matcher(managed_user=(user,)),
                        group_wait=random.choice([timedelta(), 30 * MINUTE]),
                        remind_every=random.choice([None, 3 * DAY]),
                    )
                    for user in users
                ),
                Route(channels=("ops",)),
            ],
        )

    def live(self) -> None:
        """Let the year pass, from one event to the next, and then a few quiet days."""
        ends = NOW + self.lasts
        events = sorted(
            {
                *(moment for each in self._spans() for moment in (each.begins, each.ends)),
                *self.restarts,
                ends,
            }
        )
        for event in events:
            while self.now < event:
                looks_at, sends_at = self._wakes_at()
                wakes_at = min(looks_at, sends_at)
                self._move_to(min(max(wakes_at, self.now + MINUTE), event))
                # Most of the time there is nothing to do but to try again what a channel didn't take.
                if self.now >= looks_at:
                    self._look()
                else:
                    self._alive(self._send)
            self._happen()
        for pause in (MINUTE, HOUR, 2 * HOUR, 13 * HOUR, DAY, DAY):
            self._move_to(self.now + pause)
            self._alive(self.simulator.restart)
            self._alive(self.simulator.poll_all)
        self._alive(self.simulator.restart)
        for _ in range(5):  # what the last polls wrote goes out
            self._move_to(self.now + 31 * MINUTE)
            self._alive(self._send)

    def mode_at(self, channel: str, now: datetime) -> str:
        """Return whether and how a channel is broken."""
        return next((each.what for each in self.modes[channel] if each.holds(now)), "up")

    def is_silenced(self, user: str, platform_id: str, now: datetime) -> bool:
        """Whether a silence covers a token."""
        return any(
            each.holds(now) and each.what[0] == user and platform_id.startswith("t") for each in self.silences
        )

    def _spans(self) -> Iterator[Span]:
        yield from self.skews
        yield from self.silences
        yield from self.api.outages
        for spans in self.modes.values():
            yield from spans

    def _move_to(self, moment: datetime) -> None:
        clock = self.simulator.local
        clock.now = moment
        clock.ahead = next((each.what for each in self.skews if each.holds(moment)), timedelta())

    def _look(self) -> None:
        self.polled_at = self.now
        self._alive(self.simulator.tick)

    def _wakes_at(self) -> tuple[datetime, datetime]:
        """Return when a poll or a review is due next, and when a message is, in true time."""
        unsent_at = func.min(func.coalesce(notifications.c.leased_until, notifications.c.due_at))
        queries = (
            select(func.min(target_schedule.c.next_poll_at)),
            select(func.min(targets.c.next_evaluation_at)),
            select(unsent_at).where(UNSENT),
        )
        with self.database.read() as store:
            poll, review, send = (store.connection.execute(query).scalar() for query in queries)
        local_now, skew = self.simulator.clock(), self.simulator.local.ahead
        far = local_now + EVERY
        # A re-evaluation that stays overdue waits for an answer of the API, and so for the next poll.
        review = far if review is None or review <= local_now else review
        poll = max(poll or far, self.polled_at + TOGETHER + skew)
        return min(poll, review) - skew, (send or far) - skew

    def _send(self) -> None:
        self.simulator.deliver()
        check_channels(self.simulator.context)
        self.simulator.deliver()

    def _happen(self) -> None:
        simulator = self.simulator
        for name, channel in simulator.channels.items():
            assert isinstance(channel, Receiver)
            wanted = self.mode_at(name, self.now)
            began = any(each.begins == self.now for each in self.modes[name])
            if wanted == "up" or began:
                channel.mode = wanted
        for each in self.silences:
            if each.begins == self.now:
                user, platform = each.what
                with self.database.begin() as store:
                    silences.add_silence(
                        store,
                        {"managed_user": [user], "platform": [platform]},
                        simulator.clock(),
                        until=simulator.clock() + (each.ends - each.begins),
                        author="mia",
                        comment="maintenance",
                        routing=simulator.routing,
                    )
        if any(self.now in {each.begins, each.ends} for each in self.skews):
            self._look()
        if self.now in self.restarts:
            self._alive(simulator.restart)

    def _alive(self, happens: Callable[[], None]) -> None:
        try:
            happens()
        except Killed:
            self._alive(self.simulator.restart)


def broken_promises(year: Year) -> list[str]:
    """Compare what each channel was told in a year with what the API said; one line for each difference."""
    found = []
    for name, channel in year.simulator.channels.items():
        assert isinstance(channel, Receiver)
        for user, tokens in year.api.tokens.items():
            if name not in {"ops", f"of {user}"}:
                continue
            for token in tokens:
                said = [
                    each
                    for each in channel.said
                    if (each.managed_user_id, each.platform_id) == (user, token.platform_id)
                    and each.rule in ABOUT_TOKENS
                ]
                about = f"seed {year.seed} {year.contract}, {name}, {user[-2:]} {token.platform_id}"
                found += [f"{about}: {what}" for what in _of_token(year, name, user, token, said)]
    return [*found, *_of_history(year)]


def _of_token(year: Year, channel: str, user: str, token: Token, said: Sequence[Said]) -> Iterator[str]:
    seen = year.api.seen.get((user, token.platform_id), [])
    ends_well = seen[-1][1].status in {TokenStatus.VALID, TokenStatus.UNKNOWN}
    if token.stays_well and not any(report.status != token.healthy for _, report in seen):
        yield from (f"stayed well, and {each}" for each in said)
        return
    if ends_well and said and said[-1].is_open and not _is_late(token, year):
        yield f"is well, and the last said was {said[-1]}"
    for begins, ends in _runs_of_expired(seen, year.now):
        notified = [
            each for each in said if _says_expired(each) and begins - EVERY <= each.received_at < ends
        ]
        after = [each for each in said if _says_expired(each) and each.received_at < ends]
        if not after and _could_be_told(year, channel, (user, token.platform_id), Span(begins, ends)):
            yield f"expired at {begins:%m-%d %H:%M}, and nobody was told until {ends:%m-%d %H:%M}"
        if len(notified) > 1:
            yield f"expired once, at {begins:%m-%d %H:%M}, and was told {notified}"
    for id_, story in by_incident(said).items():
        if [each for each in story[:-1] if not each.is_open]:
            yield f"incident {id_} was over before it was: {[each.news for each in story]}"
        for each in repetitions(story):
            yield f"was told again: {each}"


def _is_late(token: Token, year: Year) -> bool:
    """Whether a valid token may have a problem all the same: its vendor doesn't renew it, or nobody yet."""
    return token.platform_id.startswith("facebook") or token.healthy is TokenStatus.UNKNOWN


def _says_expired(said: Said) -> bool:
    is_expired = said.summary.startswith(("token has expired", "token expired"))
    return is_expired and said.is_open and said.news != "reminder" and said.severity == "critical"


def _runs_of_expired(
    seen: Sequence[tuple[datetime, Report]], now: datetime
) -> Iterator[tuple[datetime, datetime]]:
    begins = None
    for at, report in seen:
        is_expired = report.status is TokenStatus.EXPIRED
        if is_expired and begins is None:
            begins = at
        elif not is_expired and begins is not None:
            yield begins, at
            begins = None
    if begins is not None:
        yield begins, now


def _could_be_told(year: Year, channel: str, about: tuple[str, str], while_: Span) -> bool:
    """Whether the channel was up and not silenced for long enough while the token was expired."""
    up, now = timedelta(), while_.begins
    while now < while_.ends:
        is_up = year.mode_at(channel, now) == "up" and not year.is_silenced(*about, now)
        up = up + 10 * MINUTE if is_up else timedelta()
        if up >= LONG_ENOUGH:
            return True
        now += 10 * MINUTE
    return False


def _of_history(year: Year) -> Iterator[str]:
    """Compare what was told with what is recorded, once all is quiet."""
    with year.database.read() as store:
        rows = store.connection.execute(select(incidents)).mappings().all()
        undelivered = store.connection.execute(
            select(notifications.c.incident_id, notifications.c.channel, notifications.c.state).where(
                notifications.c.state != DeliveryState.DELIVERED
            )
        ).all()
    over = {row["id"] for row in rows if row["resolved_at"] is not None}
    stories = {
        name: by_incident(channel.said)
        for name, channel in year.simulator.channels.items()
        if isinstance(channel, Receiver)
    }
    for id_, name, state in undelivered:
        if state != DeliveryState.FAILED or id_ not in over or id_ in stories[name]:
            yield f"seed {year.seed}: incident {id_} is {state} for {name}"
    for row in rows:
        notified = stories["ops"].get(row["id"], [])
        if row["resolved_at"] is None and row["channel"] != "ops" and not notified:
            yield f"seed {year.seed}: incident {row['id']} is open, and ops was not told"
