"""Bring the targets up to date with the configuration."""

from datetime import datetime, timedelta

import structlog

from monitor.core.evaluation.incidents import resolve
from monitor.core.evaluation.workspace import REMEMBER_FOR
from monitor.core.model import Incident, Resolution, RuleName, Target
from monitor.core.scheduling.slots import next_slot
from monitor.jobs.context import JobContext
from monitor.storage import discovery
from monitor.storage.registration import Removal, dropped_targets

log = structlog.get_logger()

# How far off a poll may lie: its interval with some slack, or as long as a server may ask the monitor to wait.
MAX_POLL_DELAY = timedelta(hours=1, minutes=5)


def sync_targets(context: JobContext, *, removal: Removal = Removal.GUARDED) -> list[Target]:
    """
    Register the targets of the configured accounts; new ones are due at once, managed users in their slot.

    A target that is no longer configured isn't polled any more, and its open incidents end as removed. Only
    incident services are notified of that: the person who edited the configuration knows. A configuration that
    drops more than half of the targets may be a mistake, so for a day they are only not polled.

    Returns:
        The targets that are polled from now on.
    """
    now, limits = context.clock(), context.rate_limits
    scopes = [context.scope_of(account) for account in context.providers]
    accounts = list(context.providers)

    def first_due(target: Target) -> datetime:
        if target.managed_user_id is None:
            return now
        return next_slot(now, every=limits.every[target.account], target_id=target.id)

    def left_recently(incident: Incident) -> bool:
        """Return whether a managed user left so lately that its incident still matters."""
        scope = context.poll_scopes.get(incident.subject.account or "")
        return (
            scope is not None
            and scope.all_users
            and incident.rule is RuleName.USER_NOT_MANAGED
            and now - incident.opened_at < REMEMBER_FOR
        )

    with context.database.begin() as store:
        targets = store.register(
            [pair for scope in scopes for pair in scope.targets()],
            now,
            as_listed={scope.account for scope in scopes if scope.all_users},
            due_at=first_due,
            removal=removal,
        )
        dropped = dropped_targets(store)
        for account in accounts:
            latest = now + max(2 * limits.interval(account), MAX_POLL_DELAY)
            store.cap_next_poll(account, latest=latest)
        unlisted = [scope.account for scope in scopes if not scope.needs_user_list]
        discovery.clear_discovery(store, unlisted)
        kept = [*accounts, *(account for account, _ in dropped)]
        orphans = [
            each
            for each in ([] if removal is Removal.NONE else store.orphaned_incidents(kept))
            if not left_recently(each)
        ]
        store.save_incidents(
            [(resolve(incident, Resolution.REMOVED, now, is_notified=False), ()) for incident in orphans],
            now,
            incident_channels=context.routing.incident_channels,
        )
    limits.set_targets(targets)
    if count := sum(1 for _, since in dropped if since == now):
        log.warning(
            "config.warning",
            warning=f"{count} targets are no longer configured, more than half of all: they are not polled, and "
            "after 24 hours they are removed. If that is intended, --accept-removal removes them at once",
        )
    log.debug("targets.registered", targets=len(targets), ended_incidents=len(orphans))
    return targets
