"""Ask workspaces for their managed users, and bring the targets up to date with the answer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

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
from monitor.core.routing.routes import plan_notifications
from monitor.core.rules.reconnect_link import LinkUse, check_link, usable_link
from monitor.core.scheduling.backoff import MAX_RETRY_AFTER, next_poll_at
from monitor.core.scheduling.slots import next_slot
from monitor.errors import FetchError
from monitor.jobs.context import JobContext
from monitor.jobs.incident_changes import log_incident_changes, record_changes
from monitor.logs import scrub
from monitor.providers.base import Workspace
from monitor.storage import discovery, managed_users, notification_log, registration
from monitor.storage.recording import RoutedChange
from monitor.storage.store import Store

log = structlog.get_logger()

Changes = list[tuple[IncidentChange, Target | None]]


def sync_workspaces(
    context: JobContext, *, force: bool = False, accounts: Iterable[str] | None = None
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
    for name in context.poll_scopes if accounts is None else accounts:
        scope = context.scope_of(name)
        if context.rate_limits.is_paused(name, context.clock()):
            continue  # the server asked for a pause of every request with the key
        if scope.needs_user_list and (force or is_due(scope, context)):
            sync_workspace(scope, context)
            asked += 1
    return asked


def is_due(scope: PollScope, context: JobContext) -> bool:
    """Return whether it is time to ask for the managed users of an account."""
    now = context.clock()
    with context.database.read() as store:
        known = discovery.load_discovery(store, scope.account)
    if known.is_refused:
        return False  # its canary target is polled, and that is enough
    if not context.managed_users.is_loaded(scope.account) and not known.consecutive_failures:
        return True  # names and links are kept in memory only
    if known.next_at is None:
        return True
    # A clock that was set back must not put it off until it has caught up.
    return not now < known.next_at <= now + max(scope.discover_every, MAX_RETRY_AFTER)


def sync_workspace(scope: PollScope, context: JobContext) -> None:
    """Ask one workspace, and save what follows for its targets and incidents in one transaction."""
    account, limits = scope.account, context.rate_limits
    listed, failure, diff = None, None, None
    limits.force_acquire(account, context.clock())
    try:
        listed = context.providers[account].workspace_users()
    except FetchError as error:
        limits.on_rejection(account, context.clock(), error.failure)
        failure = replace(error.failure, error=scrub(error.failure.error))
    else:
        context.managed_users.update(account, listed.users)
    now = context.clock()
    with context.database.begin() as store:
        changes: Changes = []
        before = discovery.load_discovery(store, account)
        if listed:
            diff = diff_workspace(
                scope,
                managed_users.known_users(store, account),
                listed.users,
                now,
                unreadable_ids=listed.unreadable_ids,
                shrunk_since=before.shrunk_since,
            )
            failure = diff.anomaly
            changes += apply_diff(diff, listed, account, store, context, now=now)
        next_at = next_poll_at(
            now,
            every=scope.discover_every,
            jitter=0,
            chance=0,
            failure=failure,
            failures=before.consecutive_failures + 1,
        )
        discovery.save_discovery(
            store, account, before, now, next_at=next_at, failure=failure, is_shrunk=listed is not None
        )
        for state in store.account_states([account], recent_since=context.recent_since(now)):
            changes += [
                (change, state.target_of(change.incident.subject))
                for change in evaluate_account(state, now, rules=context.rules)
            ]
        if listed:
            changes += check_links(account, store, context, now)
        owners = managed_users.likely_owners(store, account)
        routed = record_changes(changes, store, context, now)
    log_workspace(account, listed, diff, failure)
    log_owners(owners, context)
    log_incident_changes(routed)


def apply_diff(
    diff: WorkspaceDiff,
    listed: Workspace,
    account: str,
    store: Store,
    context: JobContext,
    *,
    now: datetime,
) -> Changes:
    """Bring the targets of an account up to date with its users; return what that changes about incidents."""
    limits = context.rate_limits
    managed_users.mark_missing(store, [each.target.id for each in diff.reappeared], None)
    managed_users.mark_missing(store, [each.target.id for each in diff.missing], now)
    changes = remove_users(diff.removed, store, now) + returned_users(diff.returned, store, now)
    # Counted before their first polls are planned: more targets may need a longer interval.
    limits.set_target_count(account, registration.count_targets(store, account) + len(diff.new))
    interval = limits.interval(account)
    fresh = registration.activate(
        store,
        [(account, user) for user in diff.new],
        now,
        due_at=lambda target: next_slot(now, every=interval, target_id=target.id),
    )
    users = {user.id: user for user in listed.users}
    managed_users.rename(
        store, {**diff.renamed, **{each.id: users[str(each.managed_user_id)] for each in fresh}}
    )
    notify_new_addresses(diff, store, context, now)
    return changes


def remove_users(removed: Sequence[KnownUser], store: Store, now: datetime) -> Changes:
    """Deactivate users that left: one incident each, and those about their connections end as removed."""
    ids = [each.target.id for each in removed]
    open_ones = managed_users.open_incidents(store, ids)
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
    managed_users.remove_connections(store, ids, now)
    registration.deactivate(store, ids, now)
    return changes


def returned_users(returned: Sequence[KnownUser], store: Store, now: datetime) -> Changes:
    """Resolve the incidents of users that had left and are listed again."""
    ids = [each.target.id for each in returned]
    open_ones = managed_users.open_incidents(store, ids, RuleName.USER_NOT_MANAGED)
    return [
        (resolve(incident, Resolution.RECOVERED, now), user.target)
        for user in returned
        for incident in open_ones.get(user.target.id, ())
    ]


def notify_new_addresses(diff: WorkspaceDiff, store: Store, context: JobContext, now: datetime) -> None:
    """Notify clients whose address changed of what is open: nobody at the new address was notified."""
    if not context.routing.clients or not diff.address_changed:
        return
    routing = context.current_routing(store, now)
    users = {each.id: each for each in diff.address_changed}
    again: list[RoutedChange] = []
    for id_, incidents in managed_users.open_incidents(store, users).items():
        for incident in incidents:
            change = IncidentChange(incident=incident, reason=Reason.OPENED)
            planned = plan_notifications(change, users[id_], routing, now)
            again.append((change, tuple(each for each in planned if each.channel in routing.clients)))
    notification_log.write_notifications(store, again, now)


def check_links(account: str, store: Store, context: JobContext, now: datetime) -> Changes:
    """Return what changes about reconnect links that expire while a user needs them."""
    use = context.link_use.get(account, LinkUse.OFF)
    needed = managed_users.users_needing_reconnect(store, account)
    users = {each.target.id: each.target for each in managed_users.known_users(store, account)}
    open_ones = managed_users.open_incidents(store, users, RuleName.RECONNECT_LINK_EXPIRING)
    changes: Changes = []
    for target_id in sorted(needed.keys() & users.keys() | open_ones.keys()):
        target = users[target_id]
        link = usable_link(context.managed_users.links(account, str(target.managed_user_id)), now)
        result = check_link(link, now, needed_by=needed.get(target_id, 0), use=use)
        known = next(iter(open_ones.get(target_id, ())), None)
        subject = Subject(account=account, target_id=target_id)
        if change := reconcile(known, result, subject=subject, now=now):
            changes.append((change, target))
    return changes


def log_workspace(
    account: str, listed: Workspace | None, diff: WorkspaceDiff | None, failure: Failure | None
) -> None:
    """Log what was wrong with a list of users, and which users came, went and returned."""
    if failure:
        log.warning("workspace.list_failed", account=account, error=failure.error, remedy=failure.remedy)
    if listed and listed.warnings:
        log.warning("workspace.list_partial", account=account, complaints=listed.warnings[:10])
    if diff is None:
        return
    for what, users in (("detached", diff.removed), ("missing", diff.missing), ("back", diff.returned)):
        if users and not diff.anomaly:
            ids = [each.target.managed_user_id for each in users[:20]]
            log.info(f"workspace.{what}", account=account, users=len(users), managed_user_ids=ids)
    if fresh := len(diff.new) - len(diff.returned):
        log.info("workspace.user_added", account=account, users=fresh)
    if diff.unmanaged:
        log.warning("workspace.user_not_managed", account=account, managed_user_ids=list(diff.unmanaged[:20]))


def log_owners(owners: Iterable[Target], context: JobContext) -> None:
    """Warn once of each managed user that seems to be the owner of the key, so that it is polled twice."""
    for target in owners:
        if context.managed_users.is_new_owner(target.id):
            log.warning(
                "workspace.owner_listed",
                account=target.account,
                managed_user_id=target.managed_user_id,
                remedy=OWNER_LISTED,
            )
