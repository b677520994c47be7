"""Whom a workspace holds: what its list of managed users changes in what is known of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from monitor.core.evaluation.anomalies import ACCEPT_AFTER, is_shrunk
from monitor.core.model import Failure, FailureScope, Outcome, RuleName, Severity, Target
from monitor.core.rules.base import Problem
from monitor.core.text import format_time

# An incident about somebody who left is of no use to anybody for longer.
REMEMBER_FOR = timedelta(days=7)

# What to do about a managed user that is the owner of the key: what is wrong is told of both.
OWNER_LISTED = "take it out of managed_users, or set include_owner: false"


@dataclass(frozen=True, slots=True, kw_only=True)
class PollScope:
    """
    What of an account is to be polled.

    Args:
        include_owner: the account itself.
        users: the managed users that the configuration names.
        all_users: all that the workspace lists, whoever they are.
        discover_every: how often its list is asked for.
    """

    account: str
    include_owner: bool = True
    users: frozenset[str] = frozenset()
    all_users: bool = False
    discover_every: timedelta = timedelta(minutes=15)

    @property
    def needs_user_list(self) -> bool:
        """Whether the list of managed users is of any use."""
        return self.all_users or bool(self.users)

    def targets(self) -> list[tuple[str, str | None]]:
        """Name the targets that are to be polled whatever the workspace lists: account and managed user."""
        return [(self.account, None)] * self.include_owner + [
            (self.account, user) for user in sorted(self.users)
        ]


class ListedUser(Protocol):
    """A managed user as the workspace lists it."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def username(self) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUser:
    """
    A managed user as the history database remembers it.

    Args:
        missing_since: since when it has not been listed; None while it is.
        is_deactivated: whether it is polled no more.
    """

    target: Target
    missing_since: datetime | None = None
    is_deactivated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceDiff:
    """
    What a list of managed users changes.

    Args:
        new: the ids of those to be polled from now on, back ones included.
        returned: those of them that were known and detached.
        renamed: those whose name or own name is another now, as they are listed.
        address_changed: known ones whose own name is another now, as they are called from now on.
        reappeared: those that were missing and are listed again.
        missing: those that are not listed, for the first time.
        removed: those that were missing already.
        unmanaged: the ids that the configuration names and the workspace doesn't list.
        anomaly: why the list isn't believed in what it lacks; None if it is.
    """

    new: tuple[str, ...] = ()
    returned: tuple[KnownUser, ...] = ()
    renamed: Mapping[int, ListedUser] = field(default_factory=dict)
    address_changed: tuple[Target, ...] = ()
    reappeared: tuple[KnownUser, ...] = ()
    missing: tuple[KnownUser, ...] = ()
    removed: tuple[KnownUser, ...] = ()
    unmanaged: tuple[str, ...] = ()
    anomaly: Failure | None = None


def diff_workspace(
    scope: PollScope,
    known: Sequence[KnownUser],
    listed: Sequence[ListedUser],
    now: datetime,
    *,
    unreadable_ids: Collection[str] = (),
    shrunk_since: datetime | None = None,
) -> WorkspaceDiff:
    """
    Compare who is listed with who is known.

    Args:
        known: all managed users of the account, detached ones included.
        unreadable_ids: those listed whose entry can't be read: they are not missing.
        shrunk_since: since when the list has been too short to be believed; an outage before it confirms nothing.
    """
    here = {user.id: user for user in listed}
    by_id = {str(each.target.managed_user_id): each for each in known}
    present = here.keys() | set(unreadable_ids)
    named = {
        each.target.id: here[id_]
        for id_, each in by_id.items()
        if id_ in here
        and (each.target.managed_user, each.target.username) != (here[id_].name, here[id_].username)
    }
    address_changed = tuple(
        replace(each.target, managed_user=here[id_].name, username=here[id_].username)
        for id_, each in by_id.items()
        if id_ in here and each.target.username != here[id_].username
    )
    if not scope.all_users:
        return WorkspaceDiff(
            renamed=named, address_changed=address_changed, unmanaged=tuple(sorted(scope.users - present))
        )
    watched = {id_: each for id_, each in by_id.items() if not each.is_deactivated}
    back = tuple(each for id_, each in by_id.items() if each.is_deactivated and id_ in here)
    absent = [each for id_, each in watched.items() if id_ not in present]
    diff = WorkspaceDiff(
        new=tuple(sorted(here.keys() - watched.keys())),
        returned=back,
        renamed=named,
        address_changed=address_changed,
        reappeared=tuple(each for id_, each in watched.items() if each.missing_since and id_ in present),
    )
    missing = tuple(each for each in absent if each.missing_since is None)
    settled = sum(1 for each in watched.values() if each.missing_since is None)
    is_believed = shrunk_since is not None and now - shrunk_since >= ACCEPT_AFTER
    if is_shrunk(len(missing), settled) and not is_believed:
        anomaly = Failure(
            outcome=Outcome.BAD_ANSWER,
            rule=RuleName.BAD_ANSWER,
            scope=FailureScope.USERS,
            error=f"the list of managed users suddenly lacks {len(missing)} of {settled}",
            remedy="look into the dashboard; if they were detached on purpose, this ends after a day",
        )
        return replace(diff, anomaly=anomaly)
    gone = tuple(
        each
        for each in absent
        # Two lists on the heels of each other, as restarts make them, are one look.
        if each.missing_since is not None and now - each.missing_since >= scope.discover_every / 2
    )
    return replace(diff, missing=missing, removed=gone)


def user_removed(user: KnownUser) -> Problem:
    """Say that a managed user is gone from the workspace."""
    since = f" since {format_time(user.missing_since)}" if user.missing_since else ""
    return Problem(
        rule=RuleName.USER_NOT_MANAGED,
        severity=Severity.WARNING,
        summary=f"the workspace does not list this managed user any more{since}; it is polled no more",
        remedy="if that was not meant, attach the user to the workspace again; else there is nothing to do",
        dedup_key=RuleName.USER_NOT_MANAGED.value,
    )
