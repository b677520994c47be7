"""What messages say about one incident: whom it affects, what happens if nobody acts, and what to do."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from urllib.parse import urlsplit

from monitor.core.messages.phrases import (
    CAUSE_TEXTS,
    PROBLEM_TEXTS,
    RESOLVED_TEXTS,
    as_sentence,
    format_roughly,
    platform_name,
)
from monitor.core.model import Cause, Connection, Incident, RuleName, Severity, Target
from monitor.core.rules.renewal import WEEK
from monitor.core.rules.token_expiry import EXPIRES_SOON
from monitor.core.text import one_line, sanitize

# Summaries are kept with times in UTC; a message shows them in the time zone of its readers.
_KEPT_TIME = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d UTC\b")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_FAILS_UNTIL_RECONNECTED = "Posts to this account will fail until it is reconnected."
_UNCHECKED = "The monitor can't check the connections of {whose}."
# What happens if nobody acts, by rule; publish errors and failed tests go by their cause.
_CONSEQUENCES = {
    RuleName.CONNECTION_REMOVED: "Posts to this account will fail.",
    RuleName.API_KEY_REJECTED: f"{_UNCHECKED} New problems go unnoticed until the API accepts the key.",
    RuleName.ACCESS_DENIED: f"{_UNCHECKED} New problems go unnoticed until the API grants access.",
    RuleName.USER_NOT_MANAGED: "The monitor no longer checks the connections of this managed user.",
    RuleName.API_UNREACHABLE: f"{_UNCHECKED} It keeps retrying, and known expiry dates still raise alerts.",
    RuleName.BAD_ANSWER: "New problems may go unnoticed.",
    RuleName.RECONNECT_LINK_EXPIRING: "After that, the managed user can't open the link.",
    RuleName.CHANNEL_FAILING: "Alerts for this channel are not being delivered.",
    RuleName.CLOCK_SKEW: "Polls, reminders and quiet hours may run at the wrong time.",
}
_PUBLISH_CONSEQUENCES = {
    Cause.AUTHORIZATION: _FAILS_UNTIL_RECONNECTED,
    Cause.PERMISSION: "Posts to this account fail until the permission is granted.",
    Cause.POLICY: "Posts to this account may fail until the platform lifts its restriction.",
    Cause.CONTENT: "The post was not published. Other posts are not affected.",
    Cause.TRANSIENT: "The next post may succeed.",
}


class Affected(Protocol):
    """An incident, with what is known about whom it affects."""

    @property
    def incident(self) -> Incident: ...
    @property
    def target(self) -> Target | None: ...
    @property
    def connection(self) -> Connection | None: ...
    @property
    def clock_offset(self) -> timedelta: ...
    @property
    def dashboard_url(self) -> str: ...
    @property
    def reconnect_url(self) -> str: ...
    @property
    def incident_url(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """
    Write what is true at one moment for readers in one time zone.

    Args:
        now: local time, aware UTC.
    """

    now: datetime
    time_zone: tzinfo = UTC

    def time(self, moment: datetime) -> str:
        """Write a point in time, such as ``2 Dec, 22:45 Berlin``, with its year if that isn't this year."""
        local = moment.astimezone(self.time_zone)
        is_this_year = local.year == self.now.astimezone(self.time_zone).year
        day = f"{local.day} {_MONTHS[local.month - 1]}{'' if is_this_year else f' {local.year}'}"
        return f"{day}, {local:%H:%M} {str(self.time_zone).rpartition('/')[2].replace('_', ' ')}"

    def localize(self, summary: str) -> str:
        """Write the times of a summary in the time zone of the readers."""

        def localized(found: re.Match[str]) -> str:
            try:
                kept = datetime.fromisoformat(found[0].removesuffix(" UTC"))
                return self.time(kept.replace(tzinfo=UTC))
            except (ValueError, OverflowError):  # from outside, and no time at all
                return found[0]

        return _KEPT_TIME.sub(localized, summary)

    def problem(self, about: Affected) -> str:
        """Name an open problem in a few words, with its deadline."""
        incident = about.incident
        left = self._time_left(about)
        match incident.rule:
            case RuleName.TOKEN_EXPIRY if left and left > timedelta():
                return f"token expires in {format_roughly(left)}"
            case RuleName.TOKEN_EXPIRY:
                expired = incident.summary.partition(",")[0]
                return expired if left is None else f"token expired {format_roughly(-left)} ago"
            case RuleName.RENEWAL_OVERDUE if left:
                return f"token was not renewed, expires in {format_roughly(left)}"
            case RuleName.RECONNECT_LINK_EXPIRING if left and left > timedelta():
                return f"reconnect link expires in {format_roughly(left)}"
            case RuleName.PUBLISH_ERROR | RuleName.CONNECTION_TEST_FAILED if incident.cause in CAUSE_TEXTS:
                return f"{PROBLEM_TEXTS[incident.rule]}, {CAUSE_TEXTS[incident.cause]}"
            case RuleName.API_UNREACHABLE if incident.summary.startswith("the API"):  # so it was reached
                return incident.summary.removeprefix("the ").partition(":")[0]
            case _:
                return PROBLEM_TEXTS[incident.rule]

    def state(self, about: Affected) -> str:
        """Return in two or three words why a connection must be reconnected."""
        incident, left = about.incident, self._time_left(about)
        if incident.rule is RuleName.TOKEN_EXPIRY:
            if not self.is_ahead(about):
                return "expired"
            return f"{format_roughly(left)} left" if left else "expires soon"
        if incident.cause in CAUSE_TEXTS and incident.rule is not RuleName.RENEWAL_OVERDUE:
            return CAUSE_TEXTS[incident.cause]
        return "not renewed" if incident.rule is RuleName.RENEWAL_OVERDUE else PROBLEM_TEXTS[incident.rule]

    def describe(self, about: Affected) -> str:
        """Return one sentence about what is wrong, or what was."""
        incident, left = about.incident, self._time_left(about)
        if incident.rule is not RuleName.TOKEN_EXPIRY:
            return as_sentence(self.localize(incident.summary))
        if left is None or incident.deadline_at is None or not incident.is_open:
            return as_sentence(self.localize(incident.summary.replace("token", "access", 1)))
        when = self.time(incident.deadline_at)
        if left > timedelta():
            return f"Access expires in {format_roughly(left)} ({when})."
        return f"Access expired {format_roughly(-left)} ago ({when})."

    def outlook(self, about: Affected) -> list[str]:
        """Return what happens if nobody acts on the first line, and more about the problem on the second."""
        incident = about.incident
        happened, follows = self.describe(about), self._consequence(about)
        if incident.rule in {RuleName.TOKEN_EXPIRY, RuleName.RECONNECT_LINK_EXPIRING}:
            return [f"{happened} {follows}"]
        return [follows, happened]

    def resolved(self, about: Affected) -> str:
        """Return that a problem resolved, and how long a renewed token is valid."""
        incident, seen = about.incident, about.connection
        is_dated = incident.rule in {RuleName.TOKEN_EXPIRY, RuleName.RENEWAL_OVERDUE}
        expires_at = seen.expires_at if seen and is_dated else None
        # A nearer date of a valid token is an access token's.
        until = f" until {self.time(expires_at)}" if expires_at and expires_at - self.now > WEEK else ""
        return f"The {RESOLVED_TEXTS[incident.rule]}{until}."

    def is_ahead(self, about: Affected) -> bool:
        """Return whether posts succeed until a deadline, known or not, that has not passed."""
        left = self._time_left(about)
        return about.incident.summary == EXPIRES_SOON if left is None else left > timedelta()

    def _time_left(self, about: Affected) -> timedelta | None:
        deadline = about.incident.deadline_at
        return deadline - (self.now + about.clock_offset) if deadline else None

    def _consequence(self, about: Affected) -> str:
        incident, left = about.incident, self._time_left(about)
        match incident.rule:
            case RuleName.TOKEN_EXPIRY:
                if self.is_ahead(about):
                    return "Posts to this account will fail after that."
                if incident.severity is not Severity.CRITICAL:
                    return "Posts to this account may fail."
                return _FAILS_UNTIL_RECONNECTED
            case RuleName.RENEWAL_OVERDUE:
                if left is None:
                    return "Posts to this account will fail when the token expires."
                ends_at = self.time(about.incident.deadline_at or self.now)
                return f"If the token isn't renewed, posts to this account fail in {format_roughly(left)} ({ends_at})."
            case RuleName.PUBLISH_ERROR | RuleName.CONNECTION_TEST_FAILED:
                return _PUBLISH_CONSEQUENCES.get(
                    incident.cause or Cause.UNKNOWN, "Later posts to this account may fail, too."
                )
            case RuleName.CHANNEL_FAILING if incident.severity is Severity.NOTICE:
                return "These managed users are not notified."
            case _:
                is_of_user = about.target is not None and about.target.managed_user_id is not None
                return _CONSEQUENCES[incident.rule].format(
                    whose="this managed user" if is_of_user else "this account"
                )


def subject_name(about: Affected, *, length: int = 60) -> str:
    """
    Name in a title what an incident is about, harmless whatever people call it.

    Args:
        length: of each name, in characters.
    """
    subject, seen = about.incident.subject, about.connection
    account, user = one_line(subject.account or "", 64), client_name(about.target, length)
    if seen:
        return connection_name(seen, client=user, account=account, length=length)
    if subject.base_url is not None:
        return f"API {one_line(urlsplit(subject.base_url).netloc or subject.base_url, 120)}"
    if not account:
        return f"Channel {one_line(subject.channel or '', 64)}"
    return f"{user} ({account})" if user else f"Account {account}"


def connection_name(seen: Connection, *, client: str, account: str, length: int = 60) -> str:
    """
    Name a connection in one line, such as ``Instagram @northbakery (North Bakery)``.

    Args:
        client: the name of its managed user, harmless; empty for the account itself, which is then named by
            the display name of the connection if there is another one than the handle.
        length: of each name, in characters.
    """
    name, display_name = account_handle(seen, length), sanitize(seen.display_name or "", length)
    if display_name and name not in {display_name, sanitize(f"@{display_name}", length)}:
        account = display_name
    return f"{platform_name(seen.platform)} {name} ({client or account})"


def full_subject_name(about: Affected) -> str:
    """Name all that is known about whom an incident affects: name, handle, platform, managed user, account."""
    seen, user = about.connection, client_name(about.target, 80)
    account = one_line(about.incident.subject.account or "", 64)
    if seen is None:
        return f"{user}, account {account}" if user else subject_name(about)
    name, handle = sanitize(seen.name, 80), account_handle(seen, 80)
    known_as = f"{name} ({handle})" if handle not in {name, sanitize(f"@{name}", 80)} else name
    place = f", managed user {user}" if user else ""
    return f"{known_as} on {platform_name(seen.platform)}{place}, account {account}"


def account_handle(seen: Connection, length: int) -> str:
    """Return the handle of a connection with its ``@``, made harmless; its name if it has no handle."""
    username = one_line(seen.username.lstrip("@"), length)
    name = f"@{username}" if username and " " not in username else seen.name
    return sanitize(name, length) or sanitize(seen.platform_id, length)


def client_name(target: Target | None, length: int) -> str:
    """Return the name of a managed user, made harmless; empty for the account itself."""
    return sanitize((target and (target.managed_user or target.managed_user_id)) or "", length)


def remedy(about: Affected, *, are_several: bool = False) -> str:
    """
    Return what resolves the problem, in the imperative; empty if there is nothing to do.

    Args:
        are_several: whether the same is said for several connections, whose own links can't all be named.
    """
    incident, seen = about.incident, about.connection
    if not needs_reconnect(about) or seen is None:
        return incident.remedy
    link = about.dashboard_url if are_several else about.reconnect_url or about.dashboard_url
    where = f"at {link}" if link else "in the dashboard"
    if incident.cause is Cause.PERMISSION:
        where += " and grant all that it asks for"
    return f"reconnect {'these accounts' if are_several else 'this account'} {where}"


def needs_reconnect(about: Affected) -> bool:
    """Return whether a person must reconnect the account: the problem is about one and has no other remedy."""
    return about.connection is not None and not about.incident.remedy
