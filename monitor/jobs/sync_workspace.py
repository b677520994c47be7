"""Ask workspaces whom they hold, and bring the targets up to date with the answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from monitor.clock import Clock
from monitor.core.evaluation.accounts import evaluate_account
from monitor.core.evaluation.incidents import IncidentChange, reconcile, resolve
from monitor.core.evaluation.workspace import (
    OWNER_LISTED,
    KnownUser,
    PollScope,
    WorkspaceDiff,
    diff_workspace,
    user_removed,
)
from monitor.core.model import Failure, Reason, Resolution, RuleName, Subject, Target
from monitor.core.routing.routes import Routing, plan_notifications
from monitor.core.rules.reconnect_link import LinkUse, check_link, usable_link
from monitor.core.rules.registry import Rules
from monitor.core.scheduling.backoff import MAX_RETRY_AFTER, next_poll_at
from monitor.core.scheduling.slots import next_slot
from monitor.errors import FetchError
from monitor.jobs import log_incident_changes, record_changes
from monitor.logs import scrub
from monitor.providers.base import Provider, Workspace
from monitor.rate_limits import PollRate, RateLimits
from monitor.storage import account_status, managed_users, registration
from monitor.storage.database import Database
from monitor.storage.notification_log import write_notifications as write_again
from monitor.storage.store import Store
from monitor.workspace.managed_users import ManagedUsers

log = structlog.get_logger()

# A list that can't be had is asked for again after a minute, then two, then four, up to its interval.
_NO_JITTER = 0.5

Changes = list[tuple[IncidentChange, Target | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceContext:
    """
    What surveying needs.

    Args:
        scopes: what of each account is to be polled, by its name.
        link_use: what is done with reconnect links, by account; none where it isn't said.
        warned_owner_ids: the managed users that were said to be the owner of their key, by their targets' ids.
    """

    database: Database
    providers: Mapping[str, Provider]
    scopes: Mapping[str, PollScope]
    managed_users: ManagedUsers
    rate_limits: RateLimits
    rules: Rules
    routing: Routing
    clock: Clock
    link_use: Mapping[str, LinkUse] = field(default_factory=dict)
    warned_owner_ids: set[int] = field(default_factory=set)


def sync_workspaces(
    context: WorkspaceContext, *, force: bool = False, accounts: Iterable[str] | None = None
) -> int:
    """
    Ask every workspace that is due, except during a pause of its key.

    Args:
        force: whether to ask those that aren't due, too.
        accounts: ask these only.

    Returns:
        How many were asked.
    """
    asked = 0
    for name in context.scopes if accounts is None else accounts:
        plan = context.scopes[name]
        if context.rate_limits.is_paused(name, context.clock()):
            continue  # the server asked for a pause: it holds every request of the key
        if plan.needs_user_list and (force or _is_due(plan, context)):
            _sync_one(plan, context)
            asked += 1
    return asked


def _is_due(scope: PollScope, context: WorkspaceContext) -> bool:
    now = context.clock()
    with context.database.read() as store:
        known = account_status.load_discovery(store.connection, scope.account)
    if known.is_refused:
        return False  # one of its targets tries, and that is enough
    if not context.managed_users.is_loaded(scope.account) and not known.consecutive_failures:
        return True  # names and links are kept in memory alone
    if known.next_at is None:
        return True
    # A clock that was set back must not put it off until it has caught up.
    return not now < known.next_at <= now + max(scope.discover_every, MAX_RETRY_AFTER)


def _sync_one(scope: PollScope, context: WorkspaceContext) -> None:
    context.rate_limits.force_acquire(scope.account, context.clock())
    found, failure = _list_users(scope, context)
    now = context.clock()
    with context.database.begin() as store:
        diff, changes = None, Changes()
        if found:
            discovery = account_status.load_discovery(store.connection, scope.account)
            diff = diff_workspace(
                scope,
                managed_users.known_users(store.connection, scope.account),
                found.users,
                now,
                unreadable_ids=found.unreadable_ids,
                shrunk_since=discovery.shrunk_since,
            )
            failure = diff.anomaly
            changes += _apply(diff, found, scope, context, store=store, now=now)
        _save_result(
            scope, failure, context, store, now, is_short=diff is not None and diff.anomaly is not None
        )
        since = now - context.rules.flapping.window
        for source in store.account_states([scope.account], recent_since=since):
            changes += [
                (change, source.target_of(change.incident.subject))
                for change in evaluate_account(source, now, rules=context.rules)
            ]
        if found:
            changes += _check_links(scope, context, store, now)
        owners = managed_users.likely_owners(store.connection, scope.account)
        notified = record_changes(changes, store=store, routing=context.routing, now=now)
    _log(scope, found, diff, failure)
    _log_owners(owners, context)
    log_incident_changes(notified)


def _list_users(scope: PollScope, context: WorkspaceContext) -> tuple[Workspace | None, Failure | None]:
    try:
        found = context.providers[scope.account].workspace_users()
    except FetchError as error:
        context.rate_limits.on_rejection(scope.account, context.clock(), error.failure)
        return None, replace(error.failure, error=scrub(error.failure.error))
    context.managed_users.update(scope.account, found.users)
    return found, None


def _save_result(
    scope: PollScope,
    failure: Failure | None,
    context: WorkspaceContext,
    store: Store,
    now: datetime,
    *,
    is_short: bool,
) -> None:
    before = account_status.load_discovery(store.connection, scope.account)
    next_at = next_poll_at(
        now,
        every=scope.discover_every,
        jitter=0,
        chance=_NO_JITTER,
        failure=failure,
        failures=before.consecutive_failures + 1,
    )
    account_status.save_discovery(
        store.connection, scope.account, now, next_at=next_at, failure=failure, is_shrunk=is_short
    )


def _apply(
    diff: WorkspaceDiff,
    found: Workspace,
    scope: PollScope,
    context: WorkspaceContext,
    *,
    store: Store,
    now: datetime,
) -> Changes:
    connection = store.connection
    managed_users.mark_missing(connection, [each.target.id for each in diff.reappeared], None)
    managed_users.mark_missing(connection, [each.target.id for each in diff.missing], now)
    changes = _handle_removed(diff.removed, store, now)
    changes += _handle_returned(diff.returned, store, now)
    # Known before the first looks are spread: more of them may need more time.
    context.rate_limits.set_target_count(
        scope.account, registration.count_targets(connection, scope.account) + len(diff.new)
    )
    fresh = registration.activate(
        connection,
        [(scope.account, user) for user in diff.new],
        now,
        due_at=lambda target: next_slot(
            now, every=context.rate_limits.interval(scope.account), target_id=target.id
        ),
    )
    listed = {user.id: user for user in found.users}
    managed_users.rename(
        connection, {**diff.renamed, **{each.id: listed[str(each.managed_user_id)] for each in fresh}}
    )
    _renotify(diff, context, store, now)
    return changes


def _renotify(diff: WorkspaceDiff, context: WorkspaceContext, store: Store, now: datetime) -> None:
    """Tell a client whose address is another now of what is open: nobody there was told."""
    if not context.routing.clients or not diff.address_changed:
        return
    users = {each.id: each for each in diff.address_changed}
    routing = replace(context.routing, silences=store.active_silences(now))
    changes = [
        (IncidentChange(incident=incident, reason=Reason.OPENED), users[id_])
        for id_, found in managed_users.open_incidents(store.connection, users).items()
        for incident in found
    ]
    notified = [
        (
            change,
            tuple(
                each
                for each in plan_notifications(change, user, routing, now)
                if each.channel in routing.clients
            ),
        )
        for change, user in changes
    ]
    write_again(store.connection, notified, now)


def _handle_removed(removed: Sequence[KnownUser], store: Store, now: datetime) -> Changes:
    """Detach who is gone: told once, and whoever was told of its connections is told that they are gone."""
    ids = [each.target.id for each in removed]
    open_ones = managed_users.open_incidents(store.connection, ids)
    changes: Changes = []
    for user in removed:
        subject = Subject(account=user.target.account, target_id=user.target.id)
        rest = [*open_ones.get(user.target.id, ())]
        known = next((each for each in rest if each.rule is RuleName.USER_NOT_MANAGED), None)
        change = reconcile(known, user_removed(user), subject=subject, now=now)
        changes += [(change, user.target)] if change else []
        changes += [
            (
                resolve(each, Resolution.REMOVED, now, is_notified=each.subject.platform_id is not None),
                user.target,
            )
            for each in rest
            if each is not known
        ]
    managed_users.remove_connections(store.connection, ids, now)
    registration.deactivate(store.connection, ids, now)
    return changes


def _handle_returned(returned: Sequence[KnownUser], store: Store, now: datetime) -> Changes:
    ids = [each.target.id for each in returned]
    found = managed_users.open_incidents(store.connection, ids, RuleName.USER_NOT_MANAGED) if ids else {}
    return [
        (resolve(incident, Resolution.RECOVERED, now), user.target)
        for user in returned
        for incident in found.get(user.target.id, ())
    ]


def _check_links(scope: PollScope, context: WorkspaceContext, store: Store, now: datetime) -> Changes:
    """Warn of links that end while somebody needs them."""
    use = context.link_use.get(scope.account, LinkUse.OFF)
    needed = managed_users.users_needing_reconnect(store.connection, scope.account)
    users = {each.target.id: each for each in managed_users.known_users(store.connection, scope.account)}
    open_ones = managed_users.open_incidents(store.connection, users, RuleName.RECONNECT_LINK_EXPIRING)
    changes: Changes = []
    for target_id in sorted(needed.keys() & users.keys() | open_ones.keys()):
        target = users[target_id].target
        link = usable_link(context.managed_users.links(scope.account, str(target.managed_user_id)), now)
        verdict = check_link(link, now, needed_by=needed.get(target_id, 0), use=use)
        known = next(iter(open_ones.get(target_id, ())), None)
        subject = Subject(account=scope.account, target_id=target_id)
        if change := reconcile(known, verdict, subject=subject, now=now):
            changes.append((change, target))
    return changes


def log_poll_rate(rate: PollRate) -> None:
    """Say how often the targets of an account can be looked at, where that isn't as often as wanted."""
    about = {
        "account": rate.account,
        "targets": rate.targets,
        "requests_per_minute": rate.per_minute,
        "wanted_seconds": round(rate.every.total_seconds()),
        "kept_seconds": round(rate.effective_interval.total_seconds()),
    }
    if rate.is_limited:
        log.warning("poll_rate.limited", **about)
    else:
        log.info("poll_rate.restored", **about)


def _log(
    scope: PollScope, found: Workspace | None, diff: WorkspaceDiff | None, failure: Failure | None
) -> None:
    if failure:
        log.warning(
            "workspace.list_failed", account=scope.account, error=failure.error, remedy=failure.remedy
        )
    if found and found.warnings:
        log.warning("workspace.list_partial", account=scope.account, complaints=found.warnings[:10])
    if diff is None:
        return
    for what, users in (("detached", diff.removed), ("missing", diff.missing), ("back", diff.returned)):
        if users and not diff.anomaly:
            ids = [each.target.managed_user_id for each in users[:20]]
            log.info(f"workspace.{what}", account=scope.account, users=len(users), managed_user_ids=ids)
    if fresh := len(diff.new) - len(diff.returned):
        log.info("workspace.user_added", account=scope.account, users=fresh)
    if diff.unmanaged:
        log.warning(
            "workspace.user_not_managed", account=scope.account, managed_user_ids=list(diff.unmanaged[:20])
        )


def _log_owners(owners: Sequence[Target], context: WorkspaceContext) -> None:
    """Say once of each managed user that seems to be the owner of the key that it is watched twice."""
    for target in owners:
        if target.id not in context.warned_owner_ids:
            context.warned_owner_ids.add(target.id)
            log.warning(
                "workspace.owner_listed",
                account=target.account,
                managed_user_id=target.managed_user_id,
                remedy=OWNER_LISTED,
            )
