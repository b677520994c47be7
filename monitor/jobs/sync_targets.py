"""Bring the targets up to date with the configuration."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog

from monitor.clock import Clock
from monitor.core.evaluation.incidents import resolve
from monitor.core.evaluation.workspace import REMEMBER_FOR, PollScope
from monitor.core.model import Incident, Resolution, RuleName, Target
from monitor.core.scheduling.slots import next_slot
from monitor.rate_limits import RateLimits
from monitor.storage import account_status
from monitor.storage.database import Database

log = structlog.get_logger()

# How far off a poll may lie: its interval with some slack, or as long as a server may tell us to stay away.
MAX_POLL_DELAY = timedelta(hours=1, minutes=5)
NO_SCOPES: Mapping[str, PollScope] = MappingProxyType({})


def sync_targets(
    accounts: Iterable[str],
    *,
    every: Mapping[str, timedelta],
    database: Database,
    clock: Clock,
    scopes: Mapping[str, PollScope] = NO_SCOPES,
    rate_limits: RateLimits | None = None,
    incident_channels: Collection[str] = (),
) -> list[Target]:
    """
    Register the targets of the configured accounts; new ones are due at once, managed users in their turn.

    A target that is no longer configured is polled no more; its open incidents end as removed, and nobody is
    told but services with incidents of their own: whoever edited the configuration knows.

    Args:
        scopes: what of each account is to be polled; the account itself unless given.
        incident_channels: to services with incidents of their own, which end there too.

    Returns:
        The targets that are polled from now on.
    """
    now = clock()
    wanted = [scopes.get(name, PollScope(account=name)) for name in accounts]
    names = [plan.account for plan in wanted]

    def first_due(target: Target) -> datetime:
        if target.managed_user_id is None:
            return now
        return next_slot(now, every=every[target.account], target_id=target.id)

    with database.begin() as store:
        targets = store.register(
            [pair for plan in wanted for pair in plan.targets()],
            now,
            as_listed={plan.account for plan in wanted if plan.all_users},
            due_at=first_due,
        )
        for name in names:
            interval = rate_limits.interval(name) if rate_limits else every[name]
            store.cap_next_poll(name, latest=now + max(2 * interval, MAX_POLL_DELAY))
        account_status.clear_discovery(
            store.connection, [plan.account for plan in wanted if not plan.needs_user_list]
        )
        orphans = [
            incident
            for incident in store.orphaned_incidents(names)
            if not _left_recently(incident, scopes.get(incident.subject.account or ""), now)
        ]
        store.save_incidents(
            [(resolve(incident, Resolution.REMOVED, now, is_notified=False), ()) for incident in orphans],
            now,
            incident_channels=incident_channels,
        )
    if rate_limits:
        rate_limits.set_targets(targets)
    log.debug("targets.registered", targets=len(targets), ended_incidents=len(orphans))
    return targets


def _left_recently(incident: Incident, plan: PollScope | None, now: datetime) -> bool:
    """Whether an incident says that a managed user left, and did so lately enough to matter to somebody."""
    return (
        plan is not None
        and plan.all_users
        and incident.rule is RuleName.USER_NOT_MANAGED
        and now - incident.opened_at < REMEMBER_FOR
    )
