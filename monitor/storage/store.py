"""What several jobs read and write in one transaction, always for many targets at once."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import exists, func, not_, or_, select, update

from monitor.core.evaluation.accounts import AccountState
from monitor.core.evaluation.evaluate import Evaluation, is_stale, is_unchanged
from monitor.core.model import (
    ConnectionState,
    Incident,
    RuleName,
    Snapshot,
    Subject,
    Target,
    TargetState,
)
from monitor.core.routing.routes import Silence
from monitor.storage import account_status, pauses, recording, registration
from monitor.storage.recording import PollRecord, RoutedChange
from monitor.storage.rows import (
    IS_POLLED,
    TARGET_COLUMNS,
    as_incident,
    as_known,
    as_silence,
    as_target,
    incident_query,
)
from monitor.storage.tables import account_status as sources_table
from monitor.storage.tables import (
    connection_tests,
    connections,
    incidents,
    silences,
    target_schedule,
    targets,
)
from monitor.storage.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledTarget:
    """
    A target in its stored state, with its new snapshot.

    Args:
        state: the state, with connections and incidents if ``is_changed``.
        is_changed: whether anything may have changed; if not, there is nothing to evaluate.
    """

    state: TargetState
    snapshot: Snapshot
    is_changed: bool


class Store(Transaction):
    """The history database within one transaction: what several jobs read and write."""

    # Polls

    def has_targets(self) -> bool:
        """Whether any target is polled."""
        return bool(self.connection.execute(select(exists().where(IS_POLLED))).scalar())

    def touch(self) -> None:
        """Write a row as it is, to see whether that works."""
        one = select(func.min(target_schedule.c.target_id)).scalar_subquery()
        self.connection.execute(
            update(target_schedule)
            .where(target_schedule.c.target_id == one)
            .values(next_poll_at=target_schedule.c.next_poll_at)
        )

    def due_targets(self, now: datetime, *, limit: int, of_each: int | None = None) -> list[Target]:
        """
        Load the targets whose next poll is due, the longest overdue first.

        Args:
            of_each: maximum for each account, so that one that is far behind doesn't hide the others.
        """
        query = (
            select(*TARGET_COLUMNS, target_schedule.c.next_poll_at)
            .join(target_schedule, target_schedule.c.target_id == targets.c.id)
            .join(sources_table, sources_table.c.account == targets.c.account, isouter=True)
            .where(
                IS_POLLED,
                target_schedule.c.next_poll_at <= now,
                not_(pauses.is_paused()),
            )
        )
        if of_each is not None:
            place = func.row_number().over(
                partition_by=targets.c.account, order_by=target_schedule.c.next_poll_at
            )
            behind = query.add_columns(place.label("place")).subquery()
            query = select(behind).where(behind.c.place <= of_each)
        rows = self.connection.execute(query.order_by("next_poll_at").limit(limit)).mappings().all()
        return [as_target(row) for row in rows]

    def load_batch(
        self, snapshots: Iterable[Snapshot], now: datetime, *, recent_since: datetime
    ) -> list[PolledTarget]:
        """
        Load the targets of snapshots, the possibly changed ones with connections and incidents.

        Leaves out a snapshot that is older than a saved one, or whose target was erased and whose id belongs to
        another.

        Args:
            recent_since: incidents opened since then count as recent.
        """
        by_target = {snapshot.target.id: snapshot for snapshot in snapshots}
        states = self.target_states([snapshot.target for snapshot in by_target.values()])
        batch = []
        for id_, state in states.items():
            snapshot, is_changed = by_target[id_], not is_unchanged(state, by_target[id_])
            key = (snapshot.target.account, snapshot.target.managed_user_id)
            is_same = key == (state.target.account, state.target.managed_user_id)
            if is_same and not is_stale(state.taken_at, snapshot, now):
                batch.append(PolledTarget(state=state, snapshot=snapshot, is_changed=is_changed))
        changed = {polled.state.target.id: polled.state for polled in batch if polled.is_changed}
        whole = self.with_connections(changed, recent_since=recent_since)
        return [
            replace(polled, state=whole[polled.state.target.id], snapshot=polled.snapshot.decoded())
            if polled.is_changed
            else polled
            for polled in batch
        ]

    def target_states(self, wanted: Sequence[Target]) -> dict[int, TargetState]:
        """
        Load the states of targets, without their connections and incidents.

        Transactions about the same accounts take turns until they end. Not about the same targets: what happens
        to one may pause or resume all the others of its account.
        """
        self.lock(*(target.account for target in wanted))
        ids = [target.id for target in wanted]
        found = self.connection.execute(_STATES.where(targets.c.id.in_(ids))).all()
        return {
            id_: TargetState(
                target=Target(
                    id=id_,
                    account=account,
                    managed_user_id=user_id,
                    managed_user=user,
                    username=username,
                ),
                taken_at=last_at,
                last_ok_at=last_ok_at if failures or not last_at else last_at,
                consecutive_failures=failures,
                failing_since=failing_since,
                response_digest=bytes(fingerprint or b""),
                next_evaluation_at=next_evaluation_at,
                suspect_changes=suspect_changes,
                shrunk_since=shrunk_since,
                clock_offset=timedelta(seconds=clock_offset_seconds),
            )
            for (
                id_,
                account,
                user_id,
                user,
                username,
                last_at,
                last_ok_at,
                failures,
                failing_since,
                fingerprint,
                next_evaluation_at,
                suspect_changes,
                shrunk_since,
                clock_offset_seconds,
            ) in found
        }

    def with_connections(
        self, states: Mapping[int, TargetState], *, recent_since: datetime
    ) -> dict[int, TargetState]:
        """
        Add the connections and the incidents to the states of targets.

        Args:
            recent_since: incidents opened since then count as recent.
        """
        ids = list(states)
        if not ids:
            return {}
        by_target: dict[int, dict[str, ConnectionState]] = {id_: {} for id_ in ids}
        tested = (each for each in connection_tests.c if each is not connection_tests.c.connection_id)
        query = (
            select(connections, *tested)
            .join(connection_tests, connection_tests.c.connection_id == connections.c.id, isouter=True)
            .where(connections.c.target_id.in_(ids))
            .order_by(connections.c.id)
        )
        for row in self.connection.execute(query).mappings():
            by_target[row["target_id"]][row["platform_id"]] = as_known(row)
        open_ones = self._open_incidents(
            incidents.c.target_id.in_(ids), incidents.c.connection_id.is_not(None)
        )
        of_target = {
            id_: tuple(group) for id_, group in groupby(open_ones, key=lambda each: each.subject.target_id)
        }
        recent = self._recent_opens(incidents.c.target_id.in_(ids), since=recent_since)
        return {
            id_: replace(
                state,
                connections=by_target[id_],
                incidents=of_target.get(id_, ()),
                recent_opens=recent.get(id_, {}),
            )
            for id_, state in states.items()
        }

    def save_polls(self, records: Sequence[PollRecord]) -> None:
        """Save what a batch of polls saw and changed, except incidents."""
        recording.save_polls(self, records)

    def recovering_accounts(self, before: datetime) -> list[str]:
        """Return the accounts with a flapping problem that hasn't occurred since ``before``."""
        query = select(incidents.c.account).where(
            incidents.c.resolved_at.is_(None),
            incidents.c.recovering_since <= before,
            incidents.c.connection_id.is_(None),
            incidents.c.account.is_not(None),
        )
        return sorted(set(self.connection.execute(query).scalars()))

    def account_states(self, accounts: Iterable[str], *, recent_since: datetime) -> list[AccountState]:
        """Load the states of accounts; ``recent_since`` as for ``with_connections``."""
        names = sorted(set(accounts))
        if not names:
            return []
        # Two targets of one account that fail or recover at once must see each other's change.
        self.lock(*names)
        recent = self._recent_opens(
            incidents.c.account.in_(names), incidents.c.connection_id.is_(None), since=recent_since
        )
        flat = {about: times for found in recent.values() for about, times in found.items()}
        return account_status.load_accounts(self, names, recent_opens=flat)

    def active_silences(self, now: datetime) -> list[Silence]:
        """Load the silences that are in force."""
        query = select(silences).where(
            silences.c.starts_at <= now, silences.c.ends_at > now, silences.c.ended_at.is_(None)
        )
        return [as_silence(row) for row in self.connection.execute(query).mappings()]

    def save_incidents(
        self, changes: Sequence[RoutedChange], now: datetime, *, incident_channels: Collection[str] = ()
    ) -> list[int]:
        """Save incidents, and write the notifications of them; return the incidents' ids in order."""
        return recording.save_incidents(self, changes, now, incident_channels=incident_channels)

    # Evaluations without a poll

    def due_for_reevaluation(
        self, now: datetime, *, limit: int, except_accounts: Collection[str] = ()
    ) -> list[Target]:
        """Load the targets for which a deadline has passed."""
        others = [targets.c.account.not_in(except_accounts)] if except_accounts else []
        query = (
            select(*TARGET_COLUMNS)
            .join(target_schedule, target_schedule.c.target_id == targets.c.id)
            .where(targets.c.deactivated_at.is_(None), targets.c.next_evaluation_at <= now, *others)
            .order_by(targets.c.next_evaluation_at)
            .limit(limit)
        )
        return [as_target(row) for row in self.connection.execute(query).mappings()]

    def save_reevaluations(self, evaluations: Sequence[Evaluation]) -> None:
        """Save when targets must be evaluated again."""
        recording.save_reevaluations(self, evaluations)

    def invalidate_evaluations(self, now: datetime, accounts: Collection[str] | None = None) -> None:
        """
        Have targets evaluated again: the rules or the clock may have changed.

        Args:
            accounts: only theirs; by default all.
        """
        of_these = [] if accounts is None else [targets.c.account.in_(accounts)]
        self.connection.execute(
            update(targets)
            .where(targets.c.deactivated_at.is_(None), *of_these)
            .values(next_evaluation_at=now, response_digest=None)
        )

    def clock_incidents(self) -> list[Incident]:
        """Return the open incidents about clocks that are far apart."""
        return self._open_incidents(incidents.c.rule == RuleName.CLOCK_SKEW)

    def openings(self, rule: RuleName, subject: Subject, *, since: datetime) -> int:
        """Return how often an incident of a rule about a subject was opened since then."""
        query = select(func.count()).where(
            incidents.c.rule == rule, incidents.c.subject == subject.key, incidents.c.opened_at >= since
        )
        return self.connection.scalar(query) or 0

    # Targets

    def register(
        self,
        wanted: Iterable[tuple[str, str | None]],
        now: datetime,
        *,
        as_listed: Collection[str] = (),
        due_at: Callable[[Target], datetime] | None = None,
        removal: registration.Removal = registration.Removal.GUARDED,
    ) -> list[Target]:
        """Activate and deactivate targets as the configuration says; see ``registration``."""
        self.lock("register")
        registration.register(self, wanted, now, as_listed=as_listed, due_at=due_at, removal=removal)
        return self.active_targets()

    def orphaned_incidents(self, accounts: Sequence[str]) -> list[Incident]:
        """Load the open incidents of deactivated targets, and of accounts that aren't configured any more."""
        detached = select(targets.c.id).where(targets.c.deactivated_at.is_not(None))
        return self._open_incidents(
            incidents.c.channel.is_(None),
            or_(incidents.c.target_id.in_(detached), incidents.c.account.not_in(accounts)),
        )

    def active_targets(self) -> list[Target]:
        """Load the targets that are polled."""
        return registration.active_targets(self)

    def paused_targets(self) -> frozenset[int]:
        """Return the targets that aren't polled for now, since the API refuses their key."""
        query = (
            select(targets.c.id)
            .join(sources_table, sources_table.c.account == targets.c.account)
            .where(targets.c.deactivated_at.is_(None), pauses.is_paused())
        )
        return frozenset(self.connection.execute(query).scalars())

    def cap_next_poll(self, account: str, *, latest: datetime) -> None:
        """Bring polls forward that lie too far off, since the clock or the interval was changed."""
        of_account = select(targets.c.id).where(targets.c.account == account)
        self.connection.execute(
            update(target_schedule)
            .where(target_schedule.c.target_id.in_(of_account), target_schedule.c.next_poll_at > latest)
            .values(next_poll_at=latest)
        )

    def poll_one_now(self, account: str, now: datetime) -> None:
        """Poll one target of an account now: the one that is due first."""
        first = (
            select(target_schedule.c.target_id)
            .join(targets, targets.c.id == target_schedule.c.target_id)
            .where(targets.c.account == account, IS_POLLED)
            .order_by(target_schedule.c.next_poll_at, target_schedule.c.target_id)
            .limit(1)
            .scalar_subquery()
        )
        self.connection.execute(
            update(target_schedule)
            .where(target_schedule.c.target_id == first, target_schedule.c.next_poll_at > now)
            .values(next_poll_at=now)
        )

    def defer_polls(self, ids: Sequence[int], *, until: datetime) -> None:
        """Poll targets no sooner than this."""
        self.connection.execute(
            update(target_schedule).where(target_schedule.c.target_id.in_(ids)).values(next_poll_at=until)
        )

    def _open_incidents(self, *conditions: Any) -> list[Incident]:
        query = (
            incident_query()
            .where(incidents.c.resolved_at.is_(None), *conditions)
            .order_by(incidents.c.target_id, incidents.c.id)
        )
        return [as_incident(row) for row in self.connection.execute(query).mappings()]

    def _recent_opens(
        self, *conditions: Any, since: datetime
    ) -> dict[int | None, dict[tuple[str, RuleName], int]]:
        query = (
            select(incidents.c.target_id, incidents.c.subject, incidents.c.rule, func.count())
            .where(*conditions, incidents.c.opened_at >= since)
            .group_by(incidents.c.target_id, incidents.c.subject, incidents.c.rule)
        )
        found: dict[int | None, dict[tuple[str, RuleName], int]] = {}
        for target_id, subject, rule, times in self.connection.execute(query):
            found.setdefault(target_id, {})[subject, RuleName(rule)] = times
        return found


# Selected columns only: every poll reads this, and unused times would be converted for nothing.
_STATES = (
    select(
        *TARGET_COLUMNS,
        target_schedule.c.last_polled_at,
        targets.c.last_ok_at,
        targets.c.consecutive_failures,
        targets.c.failing_since,
        targets.c.response_digest,
        targets.c.next_evaluation_at,
        targets.c.suspect_changes,
        targets.c.shrunk_since,
        targets.c.clock_offset_seconds,
    )
    .join(target_schedule, target_schedule.c.target_id == targets.c.id)
    .order_by(targets.c.id)
)
