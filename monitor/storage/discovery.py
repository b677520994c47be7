"""Discovery: how asking for the managed users of an account goes, and when it is due again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from monitor.core.model import Failure, FailureScope
from monitor.storage.account_status import save_status
from monitor.storage.tables import account_status
from monitor.storage.transaction import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """
    How asking for an account's managed users goes.

    Args:
        next_at: when it is due; None if it is due at once.
        shrunk_since: since when the list has been too short to be accepted; None after a good one.
        is_refused: whether the API refuses the key, so that only one target is polled.
    """

    next_at: datetime | None = None
    consecutive_failures: int = 0
    failing_since: datetime | None = None
    shrunk_since: datetime | None = None
    is_refused: bool = False


def load_discovery(store: Transaction, account: str) -> Discovery:
    """Load how asking for an account's managed users goes."""
    row = (
        store.connection.execute(select(account_status).where(account_status.c.account == account))
        .mappings()
        .first()
    )
    if row is None:
        return Discovery()
    return Discovery(
        next_at=row["next_discovery_at"],
        consecutive_failures=row["consecutive_failures"],
        failing_since=row["failing_since"],
        shrunk_since=row["shrunk_since"],
        is_refused=row["paused_scope"] == FailureScope.KEY and row["canary_target_id"] is not None,
    )


def unlisted_since(store: Transaction) -> dict[str, datetime]:
    """Return since when the managed users of accounts can't be listed, of those that fail."""
    query = select(account_status.c.account, account_status.c.failing_since).where(
        account_status.c.consecutive_failures > 0, account_status.c.failing_since.is_not(None)
    )
    return {row.account: row.failing_since for row in store.connection.execute(query)}


def save_discovery(
    store: Transaction,
    account: str,
    before: Discovery,
    now: datetime,
    *,
    next_at: datetime,
    failure: Failure | None,
    is_shrunk: bool = False,
) -> None:
    """
    Save how asking for an account's managed users went, and when to ask again.

    Args:
        before: how it went until now.
        is_shrunk: whether the failure is that too many were missing for the list to be accepted.
    """
    if failure is None:
        save_status(
            store,
            account,
            next_discovery_at=next_at,
            discovered_at=now,
            consecutive_failures=0,
            failing_since=None,
            shrunk_since=None,
            failed_at=None,
            failure_rule=None,
            failure_scope=None,
            failure_error=None,
            failure_remedy=None,
        )
        return
    save_status(
        store,
        account,
        next_discovery_at=next_at,
        consecutive_failures=before.consecutive_failures + 1,
        failing_since=before.failing_since or now,
        shrunk_since=before.shrunk_since or (now if is_shrunk else None),
        failed_at=now,
        failure_rule=failure.rule,
        failure_scope=failure.scope,
        failure_error=failure.error,
        failure_remedy=failure.remedy,
    )


def clear_discovery(store: Transaction, accounts: Sequence[str]) -> None:
    """Clear the failures of accounts whose managed users aren't asked for any more."""
    store.connection.execute(
        update(account_status)
        .where(account_status.c.account.in_(accounts), account_status.c.consecutive_failures > 0)
        .values(
            consecutive_failures=0,
            failing_since=None,
            shrunk_since=None,
            failure_rule=None,
            failure_error=None,
        )
    )
