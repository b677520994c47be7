"""Suspicious answers, which wait until the next poll confirms them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from monitor.core.evaluation.diff import missing_connections
from monitor.core.model import (
    Connection,
    ConnectionState,
    Failure,
    Outcome,
    RuleName,
    Snapshot,
    TargetState,
    TokenStatus,
)
from monitor.core.rules.base import Problem
from monitor.core.rules.registry import BY_API_TIME, Rules
from monitor.core.text import sanitize

SHRUNK_MIN_COUNT = 3
SHRUNK_MIN_SHARE = 0.5
ACCEPT_AFTER = timedelta(days=1)
MAX_UNPARSABLE_NAMED = 5

_STATUS_RANK: Mapping[TokenStatus | None, int] = {
    None: 0,
    TokenStatus.UNKNOWN: 0,
    TokenStatus.VALID: 0,
    TokenStatus.EXPIRING_SOON: 1,
    TokenStatus.EXPIRED: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """
    Why an answer is suspicious.

    Args:
        connections: number of connections that it concerns.
    """

    failure: Failure
    connections: int


def detect_mass_change(known: TargetState, snapshot: Snapshot, rules: Rules) -> Anomaly | None:
    """
    Detect an answer in which most tokens got worse at once. A second such answer confirms the first.

    A faulty API reports that everything expired, or changes every date. If the tokens are really lost, it
    reports so twice.
    """
    limits = rules.mass_change
    is_replay = known.taken_at == snapshot.taken_at
    if (known.suspect_changes and not is_replay) or len(snapshot.connections) < limits.count:
        return None
    now = snapshot.taken_at + snapshot.clock_offset

    def severity(state: ConnectionState) -> tuple[int, int]:
        """Return the worst result of the expiry rules for a connection."""
        results = (rule.check(state, now, now) for rule in rules.connection if rule.name in BY_API_TIME)
        return max(
            ((each.severity.rank, each.level) for each in results if isinstance(each, Problem)),
            default=(-1, 0),
        )

    def is_worse(before: ConnectionState, seen: Connection) -> bool:
        """Return whether a token's status or date got worse, the passage of time apart."""
        was = before.connection
        if (was.token_status, was.expires_at) == (seen.token_status, seen.expires_at):
            return False
        if _STATUS_RANK[seen.status] > _STATUS_RANK[was.status]:
            return True
        return severity(replace(before, connection=seen)) > severity(before)

    present = [each for each in known.connections.values() if each.removed_at is None]
    worse = [
        connection
        for connection in snapshot.connections
        if (before := known.connections.get(connection.platform_id)) and is_worse(before, connection)
    ]
    if len(worse) < limits.count or len(worse) <= len(present) * limits.share:
        return None
    platforms = Counter(connection.platform for connection in worse)
    which = ", ".join(f"{sanitize(name, 30)} {count}" for name, count in platforms.most_common(12))
    return Anomaly(
        connections=len(worse),
        failure=Failure(
            outcome=Outcome.BAD_ANSWER,
            rule=RuleName.BAD_ANSWER,
            error=f"{len(worse)} of {len(present)} tokens got worse at once ({which}), unconfirmed so far",
            remedy="",
        ),
    )


def is_shrunk(missing: int, of: int) -> bool:
    """Return whether a list lost everything, or several entries and most of them."""
    return missing > 0 and (
        missing == of or (missing >= SHRUNK_MIN_COUNT and missing > of * SHRUNK_MIN_SHARE)
    )


def detect_shrunk_list(known: TargetState, snapshot: Snapshot) -> Failure | None:
    """
    Detect a list that suddenly lacks all or most of its connections. After a day it is accepted.

    The day begins with the first such list. An outage before it confirms nothing.
    """
    if known.shrunk_since and snapshot.taken_at - known.shrunk_since >= ACCEPT_AFTER:
        return None
    present = [
        each for each in known.connections.values() if each.removed_at is None and not each.missed_polls
    ]
    lost = [each for each in missing_connections(known, snapshot) if not each.missed_polls]
    if not is_shrunk(len(lost), len(present)):
        return None
    return Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error=f"the list of connections suddenly lacks {len(lost)} of {len(present)}, which counts after a day",
        remedy="check the connections in the dashboard",
    )


def detect_unparsable_entries(snapshot: Snapshot) -> Failure | None:
    """
    Find unreadable entries of a successful list. The monitor can't check these connections, so it reports them.

    Equal causes give equal text, or each poll would begin a new run. The text therefore has no list position and
    no value.
    """
    if snapshot.unreadable_ids:
        count, total = len(snapshot.unreadable_ids), len(snapshot.unreadable_ids) + len(snapshot.connections)
        named = [sanitize(id_, 60) for id_ in sorted(snapshot.unreadable_ids)[:MAX_UNPARSABLE_NAMED]]
        more = f" and {count - len(named)} more" if count > len(named) else ""
        error = f"{count} of {total} connections can't be read: {', '.join(named)}{more}"
    elif snapshot.warnings and not snapshot.connections:
        error = "none of the connections that are listed can be read"
    else:
        return None
    return Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error=error,
        remedy="check these connections in the dashboard, and find the reason in the log (poll.partial)",
    )
