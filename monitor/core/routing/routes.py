"""Who is told: which channels take an incident, in which group, and when."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta, tzinfo
from functools import cache

from monitor.core.evaluation.incidents import IncidentChange
from monitor.core.model import Cause, Incident, Reason, Severity, Target
from monitor.core.routing.client_channels import ClientUrl, client_group, is_for_clients

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a route can match an incident by."""

    account: str
    rule: str
    severity: Severity
    platform: str = ""
    cause: tuple[str, ...] = ()
    managed_user: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def group_value(self, name: str) -> str:
        """Return the text that groups by ``name`` are made of."""
        if name == "managed_user":
            return self.managed_user[0] if self.managed_user else ""
        return str(getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """
    What a route takes: every given key must match, and a key matches if any of its patterns does.

    In a pattern ``*`` stands for any text and all else for itself; what is not there matches no pattern.

    Args:
        managed_user: matched against the id and the name.
        cause: what lies behind it; a problem that isn't a platform's matter has none.
    """

    account: tuple[str, ...] = ()
    managed_user: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, about: Labels) -> bool:
        """Return whether an incident in these circumstances matches."""
        return (
            _any_matches(self.account, about.account)
            and _any_matches(self.managed_user, *about.managed_user)
            and _any_matches(self.platform, about.platform)
            and _any_matches(self.rule, about.rule)
            and _any_matches(self.severity, about.severity)
            and _any_matches(self.cause, *about.cause)
            and all(
                _any_matches(patterns, about.labels.get(name, "")) for name, patterns in self.labels.items()
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """A daily time when only what is critical gets through, if even that."""

    starts: time
    ends: time
    zone: tzinfo
    critical: bool = True

    def until(self, now: datetime) -> datetime | None:
        """Return when quiet ends if it is quiet now; None if it isn't."""
        local = now.astimezone(self.zone)
        clock = local.time()
        if self.starts <= self.ends:
            quiet = self.starts <= clock < self.ends
        else:
            quiet = clock >= self.starts or clock < self.ends
        if not quiet:
            return None
        day = local.date() if clock < self.ends else local.date() + timedelta(days=1)
        ends = datetime.combine(day, self.ends, self.zone).astimezone(now.tzinfo)
        if ends > now:
            return ends
        # The clocks are set back tonight, and it is quiet for the second time.
        return datetime.combine(day, self.ends.replace(fold=1), self.zone).astimezone(now.tzinfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """
    When a regular summary is due.

    Args:
        weekday: such as ``monday``; None for every day.
    """

    time_of_day: time
    zone: tzinfo
    weekday: str | None = None

    @property
    def every(self) -> str:
        """How often: ``daily`` or ``weekly``."""
        return "weekly" if self.weekday else "daily"

    def last_due_at(self, now: datetime) -> datetime:
        """Return the newest moment at which one was due, aware UTC, not after ``now``."""
        local = now.astimezone(self.zone)
        day = local.date()
        if datetime.combine(day, self.time_of_day, self.zone).astimezone(now.tzinfo) > now:
            day -= timedelta(days=1)
        if self.weekday is not None:
            day -= timedelta(days=(day.weekday() - WEEKDAYS.index(self.weekday)) % 7)
        return datetime.combine(day, self.time_of_day, self.zone).astimezone(now.tzinfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    Which incidents go to which channels, how they are grouped and how long a group waits to fill.

    Args:
        group_by: names of ``Circumstances``; what is equal in all of them is one message.
        send_resolved: whether the end of an incident is told too.
        digest: when a summary of all that the route takes is sent; None for never.
        continues: whether later routes may take it as well.
    """

    channels: tuple[str, ...]
    match: Matcher = field(default_factory=Matcher)
    group_by: tuple[str, ...] = ("account",)
    group_wait: timedelta = timedelta(seconds=30)
    remind_every: timedelta | None = None
    remind_at_most: int | None = None
    quiet_hours: QuietHours | None = None
    send_resolved: bool = True
    continues: bool = True
    digest: Schedule | None = None

    @property
    def digest_group(self) -> str:
        """What the outbox calls the digests of this route."""
        return f"digest {self.match}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """
    What is not to be told for a while.

    Args:
        ends_at: what is still wrong then is told then.
    """

    id: int
    match: Matcher
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """
    The routes and silences in force, and the labels they match accounts by.

    Args:
        clients: the channels that tell each managed user apart, and only those whom they reach.
        incident_channels: the channels to services with incidents of their own: nothing is grouped for them.
    """

    routes: Sequence[Route]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    silences: Sequence[Silence] = ()
    clients: Mapping[str, ClientUrl] = field(default_factory=dict)
    incident_channels: frozenset[str] = frozenset()

    def active_silence(self, about: Labels) -> Silence | None:
        """Return the silence that holds an incident back the longest; None if none does."""
        taking = (silence for silence in self.silences if silence.match.matches(about))
        return max(taking, key=lambda silence: silence.ends_at, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNotification:
    """
    One incident change for one channel: what becomes a row of the outbox.

    Args:
        due_at: when its group is sent.
        suppressed_until: set where quiet hours or a silence hold it back, not only the wait for its group.
    """

    channel: str
    group: str
    reason: Reason
    due_at: datetime
    suppressed_until: datetime | None = None
    silence_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Until when something is not to be told, and by which silence, if it is one that says so."""

    until: datetime
    silence_id: int | None = None


def labels_of(incident: Incident, target: Target | None, routing: Routing) -> Labels:
    """
    Gather what routes match on.

    The end of an incident goes by the worst it ever was: whoever was told of that is told that it is over.
    """
    account = incident.subject.account or ""
    names = (target.managed_user, target.managed_user_id) if target else ()
    causes = (incident.cause,) if incident.cause else ()
    was_worse = not incident.is_open and incident.severity.rank < incident.max_severity.rank
    if was_worse and incident.max_severity is Severity.CRITICAL:
        # What lay behind it when it was at its worst isn't known any more: either may have.
        causes = (*causes, Cause.AUTHORIZATION, Cause.PERMISSION)
    return Labels(
        account=account,
        rule=incident.rule,
        severity=incident.severity if incident.is_open else incident.max_severity,
        platform=(incident.subject.platform_id or "").partition("-")[0],
        cause=causes,
        managed_user=tuple(name for name in names if name),
        labels=routing.labels.get(account, {}),
    )


def matching_routes(about: Labels, routes: Sequence[Route]) -> list[Route]:
    """Pick the routes that take an incident, in their order."""
    taken = []
    for route in routes:
        if route.match.matches(about):
            taken.append(route)
            if not route.continues:
                break
    return taken


def plan_notifications(
    change: IncidentChange, target: Target | None, routing: Routing, now: datetime
) -> tuple[PlannedNotification, ...]:
    """
    Return who is to be told of a change, and when.

    A channel that several routes name is told once: by the first of them.
    """
    if change.reason is None:
        return ()
    about = labels_of(change.incident, target, routing)
    silence = routing.active_silence(about)
    notified: dict[str, PlannedNotification] = {}
    for route in matching_routes(about, routing.routes):
        if change.reason is Reason.RESOLVED and not route.send_resolved:
            continue
        group = " ".join(f"{name}={about.group_value(name)}" for name in route.group_by)
        for channel in route.channels:
            filled_at = now if channel in routing.incident_channels else now + route.group_wait
            ready_at = max(filled_at, silence.ends_at) if silence else filled_at
            due_at = _due_at(route, about.severity, ready_at)
            client = routing.clients.get(channel)
            if client and not (
                target and is_for_clients(change.incident, target) and client.can_reach(target)
            ):
                continue
            notified.setdefault(
                channel,
                PlannedNotification(
                    channel=channel,
                    group=client_group(target) if client and target else group,
                    reason=change.reason,
                    due_at=due_at,
                    suppressed_until=due_at if due_at > filled_at else None,
                    silence_id=silence.id if silence else None,
                ),
            )
    return tuple(notified.values())


def tell_operators(
    change: IncidentChange,
    channels: Iterable[str],
    routing: Routing,
    now: datetime,
    *,
    itself: str | None = None,
) -> tuple[PlannedNotification, ...]:
    """
    Return who is notified of a problem of the monitor itself: who the routes name, or every channel if that is
    nobody.

    Args:
        channels: the names of those that are configured. Those of clients are never meant.
        itself: the channel that the problem is about.
    """
    others = tuple(each for each in plan_notifications(change, None, routing, now) if each.channel != itself)
    rest = tuple(name for name in channels if name != itself and name not in routing.clients)
    if others or not rest:
        return others
    return plan_notifications(change, None, replace(routing, routes=[Route(channels=rest)]), now)


def find_suppression(
    incident: Incident, target: Target | None, channel: str, routing: Routing, now: datetime
) -> Suppression | None:
    """
    Return whether a channel must not hear of an incident just now, though it was written that it should.

    A silence may have begun since, quiet hours too, and the incident isn't what it was.
    """
    about = labels_of(incident, target, routing)
    silence = routing.active_silence(about)
    due_at = silence.ends_at if silence else now
    ways = (route for route in matching_routes(about, routing.routes) if channel in route.channels)
    if route := next(ways, None):
        due_at = _due_at(route, about.severity, due_at)
    return Suppression(until=due_at, silence_id=silence.id if silence else None) if due_at > now else None


def unreachable_users(channel: str, users: Iterable[Target], routing: Routing) -> list[Target]:
    """Pick the managed users that a channel is to tell apart and can't, having no plausible address."""
    client = routing.clients.get(channel)
    if client is None:
        return []
    ways = [route.match for route in routing.routes if channel in route.channels]
    whole = [replace(match, platform=(), rule=(), severity=()) for match in ways]

    def is_meant(user: Target) -> bool:
        about = Labels(
            account=user.account,
            rule="",
            severity=Severity.NOTICE,
            managed_user=tuple(name for name in (user.managed_user, user.managed_user_id) if name),
            labels=routing.labels.get(user.account, {}),
        )
        return any(match.matches(about) for match in whole)

    return [user for user in users if not client.can_reach(user) and is_meant(user)]


def _due_at(route: Route, severity: Severity, ready_at: datetime) -> datetime:
    quiet = route.quiet_hours
    if quiet is None or (severity is Severity.CRITICAL and quiet.critical):
        return ready_at
    return quiet.until(ready_at) or ready_at


def _any_matches(patterns: tuple[str, ...], *values: str) -> bool:
    return not patterns or any(
        glob_match(pattern, value) for value in values if value for pattern in patterns
    )


def glob_match(pattern: str, value: str) -> bool:
    """Return whether a pattern fits a value: ``*`` stands for any text, all else for itself."""
    return _regex(pattern).fullmatch(value) is not None


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
