"""Forget a client on request."""

from collections import Counter
from collections.abc import Mapping

import structlog

from monitor.clock import Clock
from monitor.storage.database import Database
from monitor.storage.erasure import erase
from monitor.storage.maintenance import compact

log = structlog.get_logger()


def erase_client(
    account: str, managed_user_id: str | None, *, database: Database, clock: Clock
) -> Mapping[str, int]:
    """
    Erase a managed user, or an account with all its managed users; no name of theirs is logged.

    Returns:
        How much of each kind was erased; that stays known.
    """
    gone: Counter[str] = Counter()
    for some in erase(database, account, managed_user_id, clock()):
        gone.update(some)
    compact(database)  # the log of the database would still have the names
    log.info("client.erased", **gone)
    return gone
