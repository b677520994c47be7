"""Forget what is older than the retention, and give back the room that it took."""

from collections import Counter
from collections.abc import Mapping

import structlog

from monitor.clock import Clock
from monitor.config.model import Retention
from monitor.storage.database import Database
from monitor.storage.maintenance import KINDS, compact, prune_older

log = structlog.get_logger()


def prune(*, database: Database, keep: Retention, clock: Clock) -> Mapping[str, int]:
    """
    Forget the past in small transactions, so that nobody waits long.

    Returns:
        How many rows of each kind were forgotten.
    """
    now = clock()
    forgotten = Counter(dict.fromkeys(KINDS, 0))
    for kind, count in prune_older(database, {kind: now - keep.for_kind(kind) for kind in KINDS}):
        forgotten[kind] += count
    freed = compact(database)
    if any(forgotten.values()):
        counts = {kind.replace(" ", "_"): count for kind, count in forgotten.items()}
        log.info("history.pruned", bytes_freed=max(freed, 0), **counts)
    return dict(forgotten)
