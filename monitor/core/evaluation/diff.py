"""The changes between a snapshot and the stored connections."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from monitor.core.model import NO_HISTORY, Connection, ConnectionState, RenewalHistory, Snapshot, TargetState
from monitor.core.rules.renewal import observe_renewal
from monitor.core.text import REPLACEMENT

# A date that moves less often than this is recorded each time.
MIN_HISTORY_INTERVAL = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One connection before and after a snapshot.

    Args:
        before: None when the connection is seen for the first time.
        after: the new state.
    """

    before: ConnectionState | None
    after: ConnectionState

    @property
    def is_history(self) -> bool:
        """
        Whether it belongs in the history, or only changes the current state.

        A successful post doesn't belong there, nor does the date of a token that is renewed more often than
        daily: an hourly one alone would write nine thousand rows a year. The next recorded change shows both.
        """
        if self.before is None or _history_fields(self.before) != _history_fields(self.after):
            return True
        was, now = self.before.renewals.expiry_set_at, self.after.renewals.expiry_set_at
        return now is not None and now != was and (was is None or now - was >= MIN_HISTORY_INTERVAL)

    @property
    def has_unheard_status(self) -> bool:
        """Whether the token status is, or was, unknown to the monitor."""
        known = (self.before, self.after)
        return any(each is not None and each.connection.status is None for each in known)

    @property
    def is_transition(self) -> bool:
        """Whether the token status changed."""
        return self.before is None or (
            self.before.connection.token_status != self.after.connection.token_status
        )


def diff(known: TargetState, snapshot: Snapshot, *, removed_after: int | None) -> tuple[Change, ...]:
    """
    Compare a successful snapshot with the stored connections.

    Args:
        removed_after: successful polls in a row without a connection until it counts as removed;
            None if the list is suspicious, so nothing counts as missing.

    Returns:
        One change for each connection that differs from its stored state, in the snapshot's order, then
        the missing ones.
    """
    changes = []
    for connection in snapshot.connections:
        before = known.connections.get(connection.platform_id)
        after = _observe(before, connection, known, snapshot)
        if removed_after is None:  # the list counts as failed, but the connection was reported this way
            after = replace(after, last_seen_at=snapshot.taken_at)
        if before != after:
            changes.append(Change(before=before, after=after))
    if removed_after is not None:
        for before in missing_connections(known, snapshot):
            missed_polls = before.missed_polls + 1
            after = replace(
                before,
                missed_polls=missed_polls,
                last_seen_at=before.last_seen_at or known.last_ok_at,
                removed_at=snapshot.taken_at if missed_polls >= removed_after else None,
            )
            changes.append(Change(before=before, after=after))
    return tuple(changes)


def mark_unread(known: TargetState, snapshot: Snapshot) -> tuple[Change, ...]:
    """Return a change for each connection that became unreadable: its newest report is an earlier one."""
    return tuple(
        Change(before=before, after=replace(before, last_seen_at=known.last_ok_at))
        for before in _unread(known, snapshot)
        if before.last_seen_at is None
    )


def missing_connections(known: TargetState, snapshot: Snapshot) -> list[ConnectionState]:
    """Return the known, not removed connections that a successful snapshot lacks, readable or not."""
    listed = {connection.platform_id for connection in snapshot.connections}
    listed |= {each.connection.platform_id for each in _unread(known, snapshot)}
    return [
        each
        for platform_id, each in known.connections.items()
        if each.removed_at is None and platform_id not in listed
    ]


def _unread(known: TargetState, snapshot: Snapshot) -> list[ConnectionState]:
    """Return the known, not removed connections whose entry can't be read."""
    if not snapshot.unreadable_ids:
        return []
    # A pattern for every id that an id with unreadable bytes may have been.
    mangled = [
        re.compile(".+".join(map(re.escape, re.split(f"{REPLACEMENT}+", each))), re.DOTALL)
        for each in snapshot.unreadable_ids
        if REPLACEMENT in each
    ]
    listed = {connection.platform_id for connection in snapshot.connections}
    return [
        each
        for platform_id, each in known.connections.items()
        if each.removed_at is None
        and platform_id not in listed
        and (
            platform_id in snapshot.unreadable_ids
            or any(pattern.fullmatch(platform_id) for pattern in mangled)
        )
    ]


def apply_changes(known: TargetState, changes: Iterable[Change]) -> dict[str, ConnectionState]:
    """Apply changes to the stored connections."""
    after = {change.after.connection.platform_id: change.after for change in changes}
    return {**known.connections, **after}


def _observe(
    before: ConnectionState | None, connection: Connection, known: TargetState, snapshot: Snapshot
) -> ConnectionState:
    taken_at = snapshot.taken_at
    # The life of a token is measured by the clock of its dates.
    api_now = taken_at + snapshot.clock_offset
    if before is None:
        return ConnectionState(
            connection=connection,
            first_seen_at=taken_at,
            error_seen_at=taken_at if connection.last_error else None,
            renewals=RenewalHistory(expiry_set_at=api_now) if snapshot.clock_offset else NO_HISTORY,
        )
    seen_at = before.last_seen_at or known.last_ok_at
    was, now = before.connection.last_error, connection.last_error
    error_seen_at = before.error_seen_at if was == now else taken_at if now else None
    error_cleared_at = before.error_cleared_at
    if was and was.occurred_at and now is None:
        # The API withdrew the error. If the same one shows up again, it is not new.
        error_cleared_at = max(was.occurred_at, error_cleared_at or was.occurred_at)
    return replace(
        before,
        connection=connection,
        error_seen_at=error_seen_at,
        error_cleared_at=error_cleared_at,
        missed_polls=0,
        last_seen_at=None,
        removed_at=None,
        renewals=observe_renewal(
            before.renewals,
            before=before.connection.expires_at,
            after=connection.expires_at,
            first_seen_at=before.first_seen_at,
            observed_at=seen_at and min(seen_at + known.clock_offset, api_now),
            now=api_now,
        ),
    )


def _history_fields(known: ConnectionState) -> tuple[object, ...]:
    seen = known.connection
    return (
        seen.token_status,
        seen.expires_at is None,
        seen.last_error,
        known.removed_at,
    )
