"""Forget what is older than the retention."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

import structlog

from monitor.clock import Clock
from monitor.storage import Database
from monitor.storage.upkeep import forget_some

log = structlog.get_logger()


def prune(*, database: Database, keep: timedelta, clock: Clock) -> Mapping[str, int]:
    """
    Forget the past in small transactions, so that nobody waits long.

    Returns:
        How many rows of each kind were forgotten.
    """
    before = clock() - keep
    forgotten: Counter[str] = Counter()
    while True:
        with database.begin() as store:
            batch = forget_some(store.connection, before)
        forgotten.update(batch)
        if not any(batch.values()):
            break
    if any(forgotten.values()):
        log.info(
            "history.pruned",
            before=before.isoformat(),
            **{kind.replace(" ", "_"): n for kind, n in forgotten.items()},
        )
    return dict(forgotten)
