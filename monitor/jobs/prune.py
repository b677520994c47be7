"""Delete what is older than the retention, and give the space back."""

from collections import Counter
from collections.abc import Mapping

import structlog

from monitor.jobs.context import JobContext
from monitor.storage.maintenance import KINDS, compact, prune_older

log = structlog.get_logger()


def prune(context: JobContext) -> Mapping[str, int]:
    """
    Delete old history in small transactions, so that no other writer waits long.

    Returns:
        How many rows of each kind were deleted.
    """
    now, retention = context.clock(), context.retention
    deleted = Counter(dict.fromkeys(KINDS, 0))
    for kind, count in prune_older(
        context.database, {kind: now - retention.for_kind(kind) for kind in KINDS}
    ):
        deleted[kind] += count
    freed = compact(context.database)
    if any(deleted.values()):
        counts = {kind.replace(" ", "_"): count for kind, count in deleted.items()}
        log.info("history.pruned", bytes_freed=max(freed, 0), **counts)
    return dict(deleted)
