"""A copy of the current state in memory, for a poll that leaves no trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock

from sqlalchemy import ColumnElement, create_engine, false, func, insert, or_, select, text, true
from sqlalchemy.pool import StaticPool

from monitor.core.model import Incident
from monitor.storage.database import Database
from monitor.storage.outbox import UNSENT
from monitor.storage.rows import as_incident, incident_query
from monitor.storage.store import Store
from monitor.storage.tables import incidents, metadata, notifications, poll_runs, snapshots


class DryRunDatabase(Database):
    """
    A database in memory with the interface of the real one.

    Args:
        original: its current state is copied, without the past; None for an empty one.
    """

    def __init__(self, original: Database | None) -> None:
        super().__init__("sqlite://")
        # One connection is one database in memory, so threads take turns.
        self._memory = create_engine(
            "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
        )
        self._turn = RLock()
        metadata.create_all(self._memory)
        if original:
            self._copy(original)

    @contextmanager
    def begin(self) -> Iterator[Store]:
        """Open a transaction."""
        with self._turn, self._memory.begin() as connection:
            yield Store(connection)

    read = begin

    def incidents(self) -> dict[int, Incident]:
        """Load the incidents by their ids: those that were open when the copy was made, and new ones."""
        with self.read() as store:
            known = [as_incident(row) for row in store.connection.execute(incident_query()).mappings()]
        return {incident.id: incident for incident in known if incident.id is not None}

    def close(self) -> None:
        """Discard everything."""
        self._memory.dispose()
        super().close()

    def _copy(self, original: Database) -> None:
        with original.read() as source, self.begin() as copy:
            for table in metadata.sorted_tables:
                found = source.connection.execute(
                    select(table).where(_COPIED_ROWS.get(table.name, true()))
                ).mappings()
                if rows := [dict(row) for row in found]:
                    copy.connection.execute(insert(table), rows)
            # New rows get the ids that they would get in the original.
            for table in (incidents, notifications):
                newest = source.connection.execute(select(func.max(table.c.id))).scalar() or 0
                copy.connection.execute(
                    text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table.name}
                )
                copy.connection.execute(
                    text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :newest)"),
                    {"name": table.name, "newest": newest},
                )


_is_current = or_(
    incidents.c.resolved_at.is_(None),
    incidents.c.id.in_(select(notifications.c.incident_id).where(UNSENT)),
)
# The whole current state is needed, without the past.
_COPIED_ROWS: Mapping[str, ColumnElement[bool]] = {
    snapshots.name: false(),
    poll_runs.name: poll_runs.c.ended_at.is_(None),
    incidents.name: _is_current,
    notifications.name: or_(
        UNSENT, notifications.c.incident_id.in_(select(incidents.c.id).where(_is_current))
    ),
}
