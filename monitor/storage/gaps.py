"""When the monitor itself was away: known at the next start, and kept."""

from sqlalchemy import Connection as DatabaseConnection
from sqlalchemy import insert

from monitor.core.notices import Gap
from monitor.storage.tables import gaps


def remember(database: DatabaseConnection, gap: Gap) -> None:
    """Keep a gap that a start has found."""
    database.execute(insert(gaps).values(began_at=gap.starts_at, ended_at=gap.ends_at))
