"""Routes: which channels get an incident, in which group, and when."""

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
    """The labels of an incident that routes match."""

    account: str
    rule: str
    severity: Severity
    platform: str = ""
    cause: tuple[str, ...] = ()
    managed_user: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def group_value(self, name: str) -> str:
        """Return the value to group by ``name``."""
        if name == "managed_user":
            return self.managed_user[0] if self.managed_user else ""
        return str(getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """
    What a route takes: every given key must match, by any of its patterns.

    In a pattern ``*`` matches any text. An absent value matches no pattern.

    Args:
        managed_user: matched against the id and the name.
        cause: the cause; a problem that involves no platform has none.
    """

    account: tuple[str, ...] = ()
    managed_user: tuple[str, ...] = ()
    platform: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def matches(self, about: Labels) -> bool:
        """Return whether an incident with these labels matches."""
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
    """A daily time in which only critical alerts are sent, or none."""

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
        # The clocks are set back tonight, so the hour is quiet for the second time.
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
        """Return the newest due time, aware UTC, not after ``now``."""
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
    Which incidents go to which channels, in which groups, and how long a group waits.

    Args:
        group_by: names of ``Labels``; incidents that are equal in all of them are one message.
        send_resolved: whether to notify that an incident resolved.
        digest: when to send a summary of all that the route takes; None for never.
        continues: whether later routes may take it too.
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
        """The group of this route's digests in the outbox."""
        return f"digest {self.match}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """
    A silence: matching notifications are not sent.

    Args:
        ends_at: when it ends; incidents that are still open are sent then.
    """

    id: int
    match: Matcher
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """
    The active routes and silences, and the labels of accounts.

    Args:
        clients: the client channels with their URLs.
        incident_channels: the channels to incident services, for which nothing is grouped.
    """

    routes: Sequence[Route]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    silences: Sequence[Silence] = ()
    clients: Mapping[str, ClientUrl] = field(default_factory=dict)
    incident_channels: frozenset[str] = frozenset()

    def active_silence(self, about: Labels) -> Silence | None:
        """Return the matching silence that ends last; None if none matches."""
        taking = (silence for silence in self.silences if silence.match.matches(about))
        return max(taking, key=lambda silence: silence.ends_at, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNotification:
    """
    One change of an incident for one channel: a row of the outbox.

    Args:
        due_at: when its group is sent.
        suppressed_until: set if quiet hours or a silence delay it, not only the wait for its group.
    """

    channel: str
    group: str
    reason: Reason
    due_at: datetime
    suppressed_until: datetime | None = None
    silence_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Until when a notification is suppressed, and by which silence, if any."""

    until: datetime
    silence_id: int | None = None


def labels_of(incident: Incident, target: Target | None, routing: Routing) -> Labels:
    """
    Return the labels of an incident.

    A resolved incident has its worst severity, so that every channel that was notified of it gets the end.
    """
    account = incident.subject.account or ""
    names = (target.managed_user, target.managed_user_id) if target else ()
    causes = (incident.cause,) if incident.cause else ()
    was_worse = not incident.is_open and incident.severity.rank < incident.max_severity.rank
    if was_worse and incident.max_severity is Severity.CRITICAL:
        # The cause at its worst severity is no longer known. Either may have been it.
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
    """Return the routes that take an incident, in their order."""
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
    Return the notifications of a change.

    A channel that several routes name is notified once, by the first of them.
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
    Return the notifications of a problem of the monitor itself: to the channels that the routes name, or to all
    channels if they name none.

    Args:
        channels: the names of the configured channels. Client channels are left out.
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
    Return whether a written notification must wait now.

    A silence or quiet hours may have begun since, and the incident may have changed.
    """
    about = labels_of(incident, target, routing)
    silence = routing.active_silence(about)
    due_at = silence.ends_at if silence else now
    ways = (route for route in matching_routes(about, routing.routes) if channel in route.channels)
    if route := next(ways, None):
        due_at = _due_at(route, about.severity, due_at)
    return Suppression(until=due_at, silence_id=silence.id if silence else None) if due_at > now else None


def unreachable_users(channel: str, users: Iterable[Target], routing: Routing) -> list[Target]:
    """Return the managed users that a client channel can't reach, because they have no plausible address."""
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
    """Return whether a pattern matches a value; ``*`` matches any text."""
    return _regex(pattern).fullmatch(value) is not None


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
