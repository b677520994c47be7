"""When the monitor itself was away: known at the next start, and kept."""

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import insert

from monitor.core.messages.lifecycle import Downtime
from monitor.storage.tables import downtimes


def save_downtime(database: DatabaseConnection, gap: Downtime) -> None:
    """Keep a gap that a start has found."""
    database.execute(insert(downtimes).values(began_at=gap.starts_at, ended_at=gap.ends_at))
