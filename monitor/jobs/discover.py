"""Bring the targets up to date with the configuration."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import structlog

from monitor.budgets import Budgets
from monitor.clock import Clock
from monitor.core.cadence import next_slot
from monitor.core.incidents import resolve
from monitor.core.model import Incident, Resolution, RuleName, Target
from monitor.core.workspace import REMEMBERED_FOR, Plan
from monitor.storage import Database, sources

log = structlog.get_logger()

# How far off a poll may lie: its interval with some slack, or as long as a server may tell us to stay away.
FARTHEST = timedelta(hours=1, minutes=5)
NO_PLANS: Mapping[str, Plan] = MappingProxyType({})


def discover(
    accounts: Iterable[str],
    *,
    every: Mapping[str, timedelta],
    database: Database,
    clock: Clock,
    plans: Mapping[str, Plan] = NO_PLANS,
    budgets: Budgets | None = None,
    incident_channels: Collection[str] = (),
) -> list[Target]:
    """
    Register the targets of the configured accounts; new ones are due at once, managed users in their turn.

    A target that is no longer configured is polled no more; its open incidents end as removed, and nobody is
    told but services with incidents of their own: whoever edited the configuration knows.

    Args:
        plans: what of each account is to be polled; the account itself unless given.
        incident_channels: to services with incidents of their own, which end there too.

    Returns:
        The targets that are polled from now on.
    """
    now = clock()
    wanted = [plans.get(name, Plan(account=name)) for name in accounts]
    names = [plan.account for plan in wanted]

    def first_due(target: Target) -> datetime:
        if target.managed_user_id is None:
            return now
        return next_slot(now, every=every[target.account], target_id=target.id)

    with database.begin() as store:
        targets = store.register(
            [pair for plan in wanted for pair in plan.targets()],
            now,
            as_listed={plan.account for plan in wanted if plan.everyone},
            due_at=first_due,
        )
        for name in names:
            cadence = budgets.cadence(name) if budgets else every[name]
            store.pull_in(name, latest=now + max(2 * cadence, FARTHEST))
        sources.forget_discovery(
            store.connection, [plan.account for plan in wanted if not plan.asks_for_users]
        )
        orphans = [
            incident
            for incident in store.orphaned_incidents(names)
            if not _is_news(incident, plans.get(incident.subject.account or ""), now)
        ]
        store.record_incidents(
            [(resolve(incident, Resolution.REMOVED, now, told=False), ()) for incident in orphans],
            now,
            incident_channels=incident_channels,
        )
    if budgets:
        budgets.watch(targets)
    log.debug("targets.registered", targets=len(targets), ended_incidents=len(orphans))
    return targets


def _is_news(incident: Incident, plan: Plan | None, now: datetime) -> bool:
    """Whether an incident says that a managed user left, and did so lately enough to matter to somebody."""
    return (
        plan is not None
        and plan.everyone
        and incident.rule is RuleName.USER_NOT_MANAGED
        and now - incident.opened_at < REMEMBERED_FOR
    )
