"""Erase a client on request."""

from collections import Counter
from collections.abc import Mapping

import structlog

from monitor.jobs.context import JobContext
from monitor.storage.erasure import erase
from monitor.storage.maintenance import compact

log = structlog.get_logger()


def erase_client(context: JobContext, account: str, managed_user_id: str | None) -> Mapping[str, int]:
    """
    Erase a managed user, or an account with all its managed users; no name of theirs is logged.

    Returns:
        How much of each kind was erased; that stays known.
    """
    gone: Counter[str] = Counter()
    for some in erase(context.database, account, managed_user_id, context.clock()):
        gone.update(some)
    compact(context.database)  # the log of the database would still have the names
    log.info("client.erased", **gone)
    return gone
