"""The downtimes of the monitor. A downtime is known only at the next start, which saves it."""

from sqlalchemy import insert

from monitor.core.messages.lifecycle import Downtime
from monitor.storage.tables import downtimes
from monitor.storage.transaction import Transaction


def save_downtime(store: Transaction, gap: Downtime) -> None:
    """Save a downtime that a start has found."""
    store.connection.execute(insert(downtimes).values(began_at=gap.starts_at, ended_at=gap.ends_at))
