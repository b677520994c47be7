"""Answers too strange to be taken at their word: held until the next look confirms them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.core.changes import unlisted
from monitor.core.model import (
    Connection,
    Failure,
    KnownConnection,
    Outcome,
    RuleName,
    Snapshot,
    TargetState,
    TokenStatus,
)
from monitor.core.problems import Problem
from monitor.core.rules import BY_API_TIME, Rules
from monitor.core.text import harmless

SHORT_AT_LEAST = 3
SHORT_SHARE = 0.5
BELIEVED_AFTER = timedelta(days=1)
UNREAD_NAMED = 5

_BADNESS: Mapping[TokenStatus | None, int] = {
    None: 0,
    TokenStatus.UNKNOWN: 0,
    TokenStatus.VALID: 0,
    TokenStatus.EXPIRING_SOON: 1,
    TokenStatus.EXPIRED: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """
    Why an answer isn't believed yet.

    Args:
        connections: how many of them it concerns.
    """

    failure: Failure
    connections: int


def doubt_change(known: TargetState, snapshot: Snapshot, rules: Rules) -> Doubt | None:
    """
    Question an answer in which most tokens got worse at once; one that comes twice in a row is believed.

    A vendor that stumbles says that everything has expired, or gives every token another date; one that has lost
    every token says so twice.
    """
    radius = rules.blast_radius
    is_replay = known.taken_at == snapshot.taken_at
    if (known.doubted and not is_replay) or len(snapshot.connections) < radius.count:
        return None
    present = [each for each in known.connections.values() if each.removed_at is None]
    worse = [
        connection
        for connection in snapshot.connections
        if (before := known.connections.get(connection.platform_id))
        and _is_worse(before, connection, snapshot, rules)
    ]
    if len(worse) < radius.count or len(worse) <= len(present) * radius.share:
        return None
    platforms = Counter(connection.platform for connection in worse)
    which = ", ".join(f"{harmless(name, 30)} {count}" for name, count in platforms.most_common(12))
    return Doubt(
        connections=len(worse),
        failure=Failure(
            outcome=Outcome.BAD_ANSWER,
            rule=RuleName.BAD_ANSWER,
            error=f"{len(worse)} of {len(present)} tokens got worse at once ({which})",
            remedy="wait for the next poll: if it shows the same, each of them is told",
        ),
    )


def _is_worse(before: KnownConnection, seen: Connection, snapshot: Snapshot, rules: Rules) -> bool:
    """Tell whether a token's word or its date is worse than it was; that time has passed doesn't count."""
    was = before.connection
    if (was.token_status, was.expires_at) == (seen.token_status, seen.expires_at):
        return False
    if _BADNESS[seen.status] > _BADNESS[was.status]:
        return True
    now = snapshot.taken_at + snapshot.clock_offset
    after = replace(before, connection=seen)
    return _severity(after, now, rules) > _severity(before, now, rules)


def _severity(known: KnownConnection, now: datetime, rules: Rules) -> tuple[int, int]:
    """Rank the worst that the rules about dates find in a connection."""
    problems = (rule.look(known, now, now) for rule in rules.connection if rule.name in BY_API_TIME)
    return max(
        ((each.severity.rank, each.step) for each in problems if isinstance(each, Problem)), default=(-1, 0)
    )


def doubt_list(known: TargetState, snapshot: Snapshot) -> Failure | None:
    """
    Question a list that suddenly lacks all or most of what it had; after a day it is believed.

    The day begins with the first such list: an outage before it has confirmed nothing.
    """
    if known.short_since and snapshot.taken_at - known.short_since >= BELIEVED_AFTER:
        return None
    present = [each for each in known.connections.values() if each.removed_at is None and not each.missing]
    lost = [each for each in unlisted(known, snapshot) if not each.missing]
    is_short = len(lost) >= SHORT_AT_LEAST and len(lost) > len(present) * SHORT_SHARE
    if not lost or not (is_short or len(lost) == len(present)):
        return None
    return Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error=f"the list of connections suddenly lacks {len(lost)} of {len(present)}",
        remedy="look into the dashboard; if you disconnected them yourself, this ends after a day",
    )


def unread_entries(snapshot: Snapshot) -> Failure | None:
    """
    Find what a good list holds and nobody can read: whoever stands there isn't watched, which must be told.

    Equal causes give equal text, or each poll would begin a new run: no place in the list, no value.
    """
    if snapshot.unreadable_ids:
        count, total = len(snapshot.unreadable_ids), len(snapshot.unreadable_ids) + len(snapshot.connections)
        named = [harmless(id_, 60) for id_ in sorted(snapshot.unreadable_ids)[:UNREAD_NAMED]]
        more = f" and {count - len(named)} more" if count > len(named) else ""
        error = f"{count} of {total} connections can't be read: {', '.join(named)}{more}"
    elif snapshot.complaints and not snapshot.connections:
        error = "none of the connections that are listed can be read"
    else:
        return None
    return Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error=error,
        remedy="look after them in the dashboard until a newer version of the monitor reads them; "
        "its log says what is wrong with each (poll.incomplete)",
    )
