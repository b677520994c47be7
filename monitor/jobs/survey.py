"""Ask workspaces whom they hold, and bring the targets up to date with the answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog

from monitor.budgets import Budgets, Pace
from monitor.clock import Clock
from monitor.core.cadence import next_slot
from monitor.core.incidents import IncidentChange, reconcile, resolve
from monitor.core.links import LinkUse, good_link, look_at_link
from monitor.core.model import Failure, Reason, Resolution, RuleName, Subject, Target
from monitor.core.retry import RETRY_AFTER_AT_MOST, next_poll_at
from monitor.core.routes import Routing, tell
from monitor.core.rules import Rules
from monitor.core.source import decide_source
from monitor.core.workspace import OWNER_LISTED, Census, KnownUser, Plan, departed, take_census
from monitor.errors import FetchError
from monitor.jobs import log_told, record_changes
from monitor.logs import scrub
from monitor.providers import Provider, Workspace
from monitor.roster import Roster
from monitor.storage import Database, registration, sources, workspaces
from monitor.storage.store import Store
from monitor.storage.told import write as write_again

log = structlog.get_logger()

# A list that can't be had is asked for again after a minute, then two, then four, up to its interval.
_NO_CHANCE = 0.5

Changes = list[tuple[IncidentChange, Target | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """
    What surveying needs.

    Args:
        plans: what of each account is to be polled, by its name.
        link_use: what is done with reconnect links, by account; none where it isn't said.
        said: the managed users that were said to be the owner of their key, by their targets' ids.
    """

    database: Database
    providers: Mapping[str, Provider]
    plans: Mapping[str, Plan]
    roster: Roster
    budgets: Budgets
    rules: Rules
    routing: Routing
    clock: Clock
    link_use: Mapping[str, LinkUse] = field(default_factory=dict)
    said: set[int] = field(default_factory=set)


def survey(office: Office, *, force: bool = False, accounts: Iterable[str] | None = None) -> int:
    """
    Ask every workspace that is due, except during a pause of its key.

    Args:
        force: whether to ask those that aren't due, too.
        accounts: ask these only.

    Returns:
        How many were asked.
    """
    asked = 0
    for name in office.plans if accounts is None else accounts:
        plan = office.plans[name]
        if office.budgets.is_paused(name, office.clock()):
            continue  # the server asked for a pause: it holds every request of the key
        if plan.asks_for_users and (force or _is_due(plan, office)):
            _survey_one(plan, office)
            asked += 1
    return asked


def _is_due(plan: Plan, office: Office) -> bool:
    now = office.clock()
    with office.database.read() as store:
        known = sources.discovery_of(store.connection, plan.account)
    if known.is_refused:
        return False  # one of its targets tries, and that is enough
    if not office.roster.knows(plan.account) and not known.failures:
        return True  # names and links are kept in memory alone
    if known.next_at is None:
        return True
    # A clock that was set back must not put it off until it has caught up.
    return not now < known.next_at <= now + max(plan.discover_every, RETRY_AFTER_AT_MOST)


def _survey_one(plan: Plan, office: Office) -> None:
    office.budgets.spend(plan.account, office.clock())
    found, failure = _ask(plan, office)
    now = office.clock()
    with office.database.begin() as store:
        census, changes = None, Changes()
        if found:
            discovery = sources.discovery_of(store.connection, plan.account)
            census = take_census(
                plan,
                workspaces.known_users(store.connection, plan.account),
                found.users,
                now,
                unreadable_ids=found.unreadable_ids,
                short_since=discovery.short_since,
            )
            failure = census.doubt
            changes += _apply(census, found, plan, office, store=store, now=now)
        _note(plan, failure, office, store, now, is_short=census is not None and census.doubt is not None)
        since = now - office.rules.flapping.within
        for source in store.sources_of([plan.account], recent_since=since):
            changes += [
                (change, source.target_of(change.incident.subject))
                for change in decide_source(source, now, rules=office.rules)
            ]
        if found:
            changes += _links(plan, office, store, now)
        owners = workspaces.seeming_owners(store.connection, plan.account)
        told = record_changes(changes, store=store, routing=office.routing, now=now)
    _log(plan, found, census, failure)
    _log_owners(owners, office)
    log_told(told)


def _ask(plan: Plan, office: Office) -> tuple[Workspace | None, Failure | None]:
    try:
        found = office.providers[plan.account].workspace_users()
    except FetchError as error:
        office.budgets.refused(plan.account, office.clock(), error.failure)
        return None, replace(error.failure, error=scrub(error.failure.error))
    office.roster.put(plan.account, found.users)
    return found, None


def _note(
    plan: Plan, failure: Failure | None, office: Office, store: Store, now: datetime, *, is_short: bool
) -> None:
    before = sources.discovery_of(store.connection, plan.account)
    next_at = next_poll_at(
        now,
        every=plan.discover_every,
        jitter=0,
        chance=_NO_CHANCE,
        failure=failure,
        failures=before.failures + 1,
    )
    sources.discovered(
        store.connection, plan.account, now, next_at=next_at, failure=failure, is_short=is_short
    )


def _apply(
    census: Census, found: Workspace, plan: Plan, office: Office, *, store: Store, now: datetime
) -> Changes:
    connection = store.connection
    workspaces.miss(connection, [each.target.id for each in census.found], None)
    workspaces.miss(connection, [each.target.id for each in census.missing], now)
    changes = _departures(census.gone, store, now)
    changes += _returns(census.back, store, now)
    # Known before the first looks are spread: more of them may need more time.
    office.budgets.count(plan.account, registration.count(connection, plan.account) + len(census.new))
    fresh = registration.attach(
        connection,
        [(plan.account, user) for user in census.new],
        now,
        due_at=lambda target: next_slot(now, every=office.budgets.cadence(plan.account), target_id=target.id),
    )
    listed = {user.id: user for user in found.users}
    workspaces.name(
        connection, {**census.named, **{each.id: listed[str(each.managed_user_id)] for each in fresh}}
    )
    _retell(census, office, store, now)
    return changes


def _retell(census: Census, office: Office, store: Store, now: datetime) -> None:
    """Tell a client whose address is another now of what is open: nobody there was told."""
    if not office.routing.clients or not census.readdressed:
        return
    users = {each.id: each for each in census.readdressed}
    routing = replace(office.routing, silences=store.silences(now))
    changes = [
        (IncidentChange(incident=incident, reason=Reason.OPENED), users[id_])
        for id_, found in workspaces.open_incidents(store.connection, users).items()
        for incident in found
    ]
    told = [
        (change, tuple(each for each in tell(change, user, routing, now) if each.channel in routing.clients))
        for change, user in changes
    ]
    write_again(store.connection, told, now)


def _departures(gone: Sequence[KnownUser], store: Store, now: datetime) -> Changes:
    """Detach who is gone: told once, and whoever was told of its connections is told that they are gone."""
    ids = [each.target.id for each in gone]
    open_ones = workspaces.open_incidents(store.connection, ids)
    changes: Changes = []
    for user in gone:
        subject = Subject(account=user.target.account, target_id=user.target.id)
        rest = [*open_ones.get(user.target.id, ())]
        known = next((each for each in rest if each.rule is RuleName.USER_NOT_MANAGED), None)
        change = reconcile(known, departed(user), subject=subject, now=now)
        changes += [(change, user.target)] if change else []
        changes += [
            (resolve(each, Resolution.REMOVED, now, told=each.subject.platform_id is not None), user.target)
            for each in rest
            if each is not known
        ]
    workspaces.remove_connections(store.connection, ids, now)
    registration.detach(store.connection, ids, now)
    return changes


def _returns(back: Sequence[KnownUser], store: Store, now: datetime) -> Changes:
    ids = [each.target.id for each in back]
    found = workspaces.open_incidents(store.connection, ids, RuleName.USER_NOT_MANAGED) if ids else {}
    return [
        (resolve(incident, Resolution.RECOVERED, now), user.target)
        for user in back
        for incident in found.get(user.target.id, ())
    ]


def _links(plan: Plan, office: Office, store: Store, now: datetime) -> Changes:
    """Warn of links that end while somebody needs them."""
    use = office.link_use.get(plan.account, LinkUse.OFF)
    needed = workspaces.in_need(store.connection, plan.account)
    users = {each.target.id: each for each in workspaces.known_users(store.connection, plan.account)}
    open_ones = workspaces.open_incidents(store.connection, users, RuleName.RECONNECT_LINK_EXPIRING)
    changes: Changes = []
    for target_id in sorted(needed.keys() & users.keys() | open_ones.keys()):
        target = users[target_id].target
        link = good_link(office.roster.links(plan.account, str(target.managed_user_id)), now)
        verdict = look_at_link(link, now, needed_by=needed.get(target_id, 0), use=use)
        known = next(iter(open_ones.get(target_id, ())), None)
        subject = Subject(account=plan.account, target_id=target_id)
        if change := reconcile(known, verdict, subject=subject, now=now):
            changes.append((change, target))
    return changes


def log_pace(pace: Pace) -> None:
    """Say how often the targets of an account can be looked at, where that isn't as often as wanted."""
    about = {
        "account": pace.account,
        "targets": pace.targets,
        "requests_per_minute": pace.per_minute,
        "wanted_seconds": round(pace.every.total_seconds()),
        "kept_seconds": round(pace.kept.total_seconds()),
    }
    if pace.is_stretched:
        log.warning("cadence.stretched", **about)
    else:
        log.info("cadence.kept", **about)


def _log(plan: Plan, found: Workspace | None, census: Census | None, failure: Failure | None) -> None:
    if failure:
        log.warning("workspace.unseen", account=plan.account, error=failure.error, remedy=failure.remedy)
    if found and found.complaints:
        log.warning("workspace.incomplete", account=plan.account, complaints=found.complaints[:10])
    if census is None:
        return
    for what, users in (("detached", census.gone), ("missing", census.missing), ("back", census.back)):
        if users and not census.doubt:
            ids = [each.target.managed_user_id for each in users[:20]]
            log.info(f"workspace.{what}", account=plan.account, users=len(users), managed_user_ids=ids)
    if fresh := len(census.new) - len(census.back):
        log.info("workspace.joined", account=plan.account, users=fresh)
    if census.unmanaged:
        log.warning("workspace.unmanaged", account=plan.account, managed_user_ids=list(census.unmanaged[:20]))


def _log_owners(owners: Sequence[Target], office: Office) -> None:
    """Say once of each managed user that seems to be the owner of the key that it is watched twice."""
    for target in owners:
        if target.id not in office.said:
            office.said.add(target.id)
            log.warning(
                "workspace.owner_listed",
                account=target.account,
                managed_user_id=target.managed_user_id,
                remedy=OWNER_LISTED,
            )
