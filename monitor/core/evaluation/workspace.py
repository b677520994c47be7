"""The changes between a workspace's list of managed users and the stored ones."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from monitor.core.evaluation.anomalies import ACCEPT_AFTER, is_shrunk
from monitor.core.model import Failure, FailureScope, Outcome, RuleName, Severity, Target
from monitor.core.rules.base import Problem
from monitor.core.text import format_time

# After this time, an incident about a departed user is no longer useful.
REMEMBER_FOR = timedelta(days=7)

# What to do if a managed user is the owner of the key, since problems are then reported twice. The API doesn't name
# the owner, and equal lists are only a sign, so the user is named and not left out.
OWNER_LISTED = "take it out of managed_users, or set include_owner: false"


@dataclass(frozen=True, slots=True, kw_only=True)
class PollScope:
    """
    What to poll of an account.

    Args:
        include_owner: whether to poll the account itself.
        users: the managed users that the configuration names.
        all_users: whether to poll all users that the workspace lists.
        discover_every: how often to request the list.
    """

    account: str
    include_owner: bool = True
    users: frozenset[str] = frozenset()
    all_users: bool = False
    discover_every: timedelta = timedelta(minutes=15)

    @property
    def needs_user_list(self) -> bool:
        """Whether the list of managed users is needed."""
        return self.all_users or bool(self.users)

    def targets(self) -> list[tuple[str, str | None]]:
        """Return the targets to poll whatever the workspace lists: account and managed user."""
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
    A managed user as stored in the history database.

    Args:
        missing_since: since when it has not been listed; None while it is.
        is_deactivated: whether it is no longer polled.
    """

    target: Target
    missing_since: datetime | None = None
    is_deactivated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceDiff:
    """
    What a list of managed users changes.

    Args:
        new: ids to poll from now on, including returned ones.
        returned: those of them that were deactivated.
        renamed: listed users whose display name or own name changed.
        address_changed: known users whose own name changed, with the new name.
        reappeared: users that were missing and are listed again.
        missing: users that aren't listed for the first time.
        removed: users that were missing already.
        unmanaged: ids that the configuration names and the workspace doesn't list.
        anomaly: why the list is suspicious; None if it isn't.
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
    Compare the listed users with the known ones.

    Args:
        known: all managed users of the account, including deactivated ones.
        unreadable_ids: listed users whose entry can't be read; they are not missing.
        shrunk_since: since when the list has been suspiciously short; an outage before it confirms nothing.
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
            error=f"the list of managed users suddenly lacks {len(missing)} of {settled}, which counts after a day",
            remedy="check the managed users in the dashboard",
        )
        return replace(diff, anomaly=anomaly)
    gone = tuple(
        each
        for each in absent
        # Two lists in quick succession, as after a restart, count as one.
        if each.missing_since is not None and now - each.missing_since >= scope.discover_every / 2
    )
    return replace(diff, missing=missing, removed=gone)


def user_removed(user: KnownUser) -> Problem:
    """Return the problem that a managed user left the workspace."""
    since = f" (since {format_time(user.missing_since)})" if user.missing_since else ""
    return Problem(
        rule=RuleName.USER_NOT_MANAGED,
        severity=Severity.WARNING,
        summary=f"the workspace no longer lists this managed user{since}",
        remedy="add the user to the workspace again, unless they were removed on purpose",
        dedup_key=RuleName.USER_NOT_MANAGED.value,
    )
