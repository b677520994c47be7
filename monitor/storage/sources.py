"""Accounts as sources of answers: what of them fails, what rests, and how their discovery goes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, func, or_, select, text, update
from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy.dialects import postgresql, sqlite

from monitor.core.model import Failure, Incident, Reach, RuleName, Target
from monitor.core.phrases import platform_name
from monitor.core.source import SOURCE_RULES, UNHEARD_NAMED, FailingTarget, SourceState
from monitor.storage.rows import TARGET_COLUMNS, as_connection, as_incident, as_target, incident_query
from monitor.storage.tables import UNHEARD, connections, incidents, poll_runs, polls, sources, targets

_WATCHED = targets.c.detached_at.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """
    How asking for an account's managed users goes.

    Args:
        next_at: when it is due; None for at once.
        failures: in a row.
        short_since: since when the list has been too short to be believed; None after a good one.
        is_refused: whether nothing at all may be asked with the key, so that only one target tries.
    """

    next_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    short_since: datetime | None = None
    is_refused: bool = False


def is_resting() -> ColumnElement[bool]:
    """Tell of a target, with ``sources`` joined to it, whether it is not to be polled though it is due."""
    is_user = targets.c.managed_user_id.is_not(None)
    return and_(
        sources.c.paused_at.is_not(None),
        or_(sources.c.paused_reach == Reach.KEY, is_user),
        func.coalesce(sources.c.probe_id, 0) != targets.c.id,
    )


def load(
    connection: DatabaseConnection, accounts: Sequence[str], *, recent: Mapping[tuple[str, RuleName], int]
) -> list[SourceState]:
    """Load what is known of accounts as sources; ``recent`` is passed on."""
    failing = _failing(connection, accounts)
    seen = _seen(connection, accounts)
    unheard = _unheard(connection, accounts)
    open_ones, subjects = _open_incidents(connection, accounts)
    known = {
        row["account"]: row
        for row in connection.execute(select(sources).where(sources.c.account.in_(accounts))).mappings()
    }
    states = []
    for name in accounts:
        count, last_ok_at, last_user_ok_at = seen.get(name, (0, None, None))
        row = known.get(name)
        states.append(
            SourceState(
                account=name,
                targets=count,
                failing=tuple(failing.get(name, ())),
                workspace=_workspace(row) if row and row["failures"] else None,
                last_ok_at=last_ok_at,
                last_user_ok_at=last_user_ok_at,
                paused=Reach(row["paused_reach"]) if row and row["paused_reach"] else None,
                subjects=subjects,
                incidents=tuple(each for each in open_ones if each.subject.account == name),
                recent=recent,
                unheard={
                    word: (len(names), names[:UNHEARD_NAMED]) for word, names in unheard.get(name, {}).items()
                },
            )
        )
    return states


def last_ok_at(connection: DatabaseConnection, accounts: Sequence[str]) -> dict[str, datetime | None]:
    """Tell when any target of accounts last answered well."""
    return {account: newest for account, (_, newest, _) in _seen(connection, accounts).items()}


def rest(connection: DatabaseConnection, account: str, reach: Reach, now: datetime) -> None:
    """Let an account's polling rest, but for one target that tries."""
    probe_id = _probe(connection, account, reach)
    _put(connection, account, paused_at=now, paused_reach=reach, probe_id=probe_id)


def wake(connection: DatabaseConnection, account: str, *, next_poll_at: Callable[[int], datetime]) -> int:
    """
    Poll all of an account again.

    Args:
        next_poll_at: when each target is due, by its id.

    Returns:
        How many targets were resting.
    """
    query = (
        select(targets.c.id)
        .join(sources, sources.c.account == targets.c.account)
        .where(targets.c.account == account, _WATCHED, is_resting())
    )
    ids = list(connection.execute(query).scalars())
    plan(connection, {id_: next_poll_at(id_) for id_ in ids})
    _put(connection, account, paused_at=None, paused_reach=None, probe_id=None)
    return len(ids)


def plan(connection: DatabaseConnection, next_poll_at: Mapping[int, datetime]) -> None:
    """Set when targets are polled next, by their ids."""
    if next_poll_at:
        statement = update(polls).where(polls.c.target_id == bindparam("b_id"))
        rows = [{"b_id": id_, "next_poll_at": moment} for id_, moment in next_poll_at.items()]
        connection.execute(statement.values(next_poll_at=bindparam("next_poll_at")), rows)


def choose_probes(connection: DatabaseConnection) -> None:
    """Choose anew who tries while an account rests: whoever did may be watched no more."""
    resting = connection.execute(
        select(sources.c.account, sources.c.paused_reach).where(sources.c.paused_at.is_not(None))
    ).all()
    for account, reach in resting:
        _put(connection, account, probe_id=_probe(connection, account, reach))


def _probe(connection: DatabaseConnection, account: str, reach: str) -> int | None:
    """Pick who tries: the account itself where it may, else its first managed user."""
    is_user = targets.c.managed_user_id.is_not(None)
    query = (
        select(targets.c.id)
        .where(targets.c.account == account, _WATCHED, *([is_user] if reach == Reach.USERS else []))
        .order_by(case((is_user, 1), else_=0), targets.c.id)
        .limit(1)
    )
    return connection.execute(query).scalar()


def discovery_of(connection: DatabaseConnection, account: str) -> Discovery:
    """Tell how asking for an account's managed users goes."""
    row = connection.execute(select(sources).where(sources.c.account == account)).mappings().first()
    if row is None:
        return Discovery()
    return Discovery(
        next_at=row["next_discovery_at"],
        failures=row["failures"],
        failing_since=row["failing_since"],
        short_since=row["short_since"],
        is_refused=row["paused_reach"] == Reach.KEY and row["probe_id"] is not None,
    )


def unlisted(connection: DatabaseConnection) -> dict[str, datetime]:
    """Tell since when the managed users of accounts can't be listed, where they can't."""
    query = select(sources.c.account, sources.c.failing_since).where(
        sources.c.failures > 0, sources.c.failing_since.is_not(None)
    )
    return {row.account: row.failing_since for row in connection.execute(query)}


def discovered(
    connection: DatabaseConnection,
    account: str,
    now: datetime,
    *,
    next_at: datetime,
    failure: Failure | None,
    is_short: bool = False,
) -> None:
    """
    Write down how asking for an account's managed users went, and when to ask again.

    Args:
        is_short: whether the failure is that too many were missing for the list to be believed.
    """
    if failure is None:
        _put(
            connection,
            account,
            next_discovery_at=next_at,
            discovered_at=now,
            failures=0,
            failing_since=None,
            short_since=None,
            failed_at=None,
            failure_rule=None,
            failure_reach=None,
            failure_error=None,
            failure_remedy=None,
        )
        return
    before = discovery_of(connection, account)
    _put(
        connection,
        account,
        next_discovery_at=next_at,
        failures=before.failures + 1,
        failing_since=before.failing_since or now,
        short_since=before.short_since or (now if is_short else None),
        failed_at=now,
        failure_rule=failure.rule,
        failure_reach=failure.reach,
        failure_error=failure.error,
        failure_remedy=failure.remedy,
    )


def forget_discovery(connection: DatabaseConnection, accounts: Sequence[str]) -> None:
    """Forget how discovery failed where it is no longer asked for: it is nobody's problem any more."""
    connection.execute(
        update(sources)
        .where(sources.c.account.in_(accounts), sources.c.failures > 0)
        .values(failures=0, failing_since=None, short_since=None, failure_rule=None, failure_error=None)
    )


def _put(connection: DatabaseConnection, account: str, **values: Any) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(sources).values(account=account, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[sources.c.account], set_=values))


def _failing(connection: DatabaseConnection, accounts: Sequence[str]) -> dict[str, list[FailingTarget]]:
    query = (
        select(targets, poll_runs.c.error, polls.c.last_at)
        .join(polls, polls.c.target_id == targets.c.id)
        .join(poll_runs, and_(poll_runs.c.target_id == targets.c.id, poll_runs.c.last_at.is_(None)))
        .where(targets.c.account.in_(accounts), _WATCHED, targets.c.failures > 0)
        .order_by(targets.c.id)
    )
    found: dict[str, list[FailingTarget]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["account"], []).append(
            FailingTarget(
                target=as_target(row),
                failures=row["failures"],
                failing_since=row["failing_since"],
                failed_at=row["last_at"],
                rule=RuleName(row["failure_rule"]),
                reach=Reach(row["failure_reach"] or Reach.UNCLEAR),
                alone=row["failed_alone"],
                doubted=row["doubted"],
                error=row["error"] or "",
                remedy=row["failure_remedy"] or "",
            )
        )
    return found


def _seen(
    connection: DatabaseConnection, accounts: Sequence[str]
) -> dict[str, tuple[int, datetime | None, datetime | None]]:
    """Count the targets of accounts, and tell when any of them, and any managed user, last answered well."""
    at_ok = case((targets.c.failures == 0, polls.c.last_at))
    is_user = targets.c.managed_user_id.is_not(None)
    by_poll, by_target = polls.c.last_at.type, targets.c.last_ok_at.type
    query = (
        select(
            targets.c.account,
            func.count(),
            func.max(at_ok, type_=by_poll),
            func.max(targets.c.last_ok_at, type_=by_target),
            func.max(case((is_user, at_ok)), type_=by_poll),
            func.max(case((is_user, targets.c.last_ok_at)), type_=by_target),
        )
        .join(polls, polls.c.target_id == targets.c.id)
        .where(targets.c.account.in_(accounts), _WATCHED)
        .group_by(targets.c.account)
    )
    return {
        account: (count, _latest(newest, older), _latest(newest_user, older_user))
        for account, count, newest, older, newest_user, older_user in connection.execute(query)
    }


def _unheard(connection: DatabaseConnection, accounts: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Name the connections whose token status is a word that the monitor doesn't know, by account and word."""
    query = (
        select(targets.c.account, connections)
        .join(connections, connections.c.target_id == targets.c.id)
        .where(targets.c.account.in_(accounts), _WATCHED, text(UNHEARD))
        .order_by(connections.c.id)
    )
    found: dict[str, dict[str, list[str]]] = {}
    for row in connection.execute(query).mappings():
        seen = as_connection(row)
        if seen.status is None:
            names = found.setdefault(row["account"], {}).setdefault(seen.token_status, [])
            names.append(f"{platform_name(seen.platform)} {seen.name}")
    return found


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def _open_incidents(
    connection: DatabaseConnection, accounts: Sequence[str]
) -> tuple[list[Incident], dict[int, Target]]:
    query = (
        incident_query()
        .add_columns(*(column.label(f"of_{column.name}") for column in TARGET_COLUMNS))
        .join(targets, targets.c.id == incidents.c.target_id, isouter=True)
        .where(
            incidents.c.resolved_at.is_(None),
            incidents.c.account.in_(accounts),
            incidents.c.connection_id.is_(None),
            incidents.c.channel.is_(None),
            incidents.c.rule.in_(SOURCE_RULES),
            targets.c.detached_at.is_(None),
        )
        .order_by(incidents.c.id)
    )
    rows = list(connection.execute(query).mappings())
    subjects = {
        row["of_id"]: as_target({column.name: row[f"of_{column.name}"] for column in TARGET_COLUMNS})
        for row in rows
        if row["of_id"] is not None
    }
    return [as_incident(row) for row in rows], subjects


def _workspace(row: Any) -> FailingTarget:
    return FailingTarget(
        target=None,
        failures=row["failures"],
        failing_since=row["failing_since"],
        failed_at=row["failed_at"],
        rule=RuleName(row["failure_rule"]),
        reach=Reach(row["failure_reach"]),
        error=row["failure_error"] or "",
        remedy=row["failure_remedy"] or "",
    )
