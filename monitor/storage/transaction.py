"""One transaction of the history database."""

from sqlalchemy import Connection, text

# Locked in one order, or two transactions could wait for each other for ever.
_LOCK = text(
    "SELECT pg_advisory_xact_lock(turn) FROM (SELECT DISTINCT hashtext(words) AS turn"
    " FROM unnest(CAST(:about AS text[])) AS words ORDER BY turn) AS turns"
)


class Transaction:
    """
    The history database within one transaction, which the modules of ``storage`` read and write by.

    Args:
        connection: used in ``storage`` alone.
        uses_locks: whether transactions about the same things wait for each other, as those that write must;
            SQLite has one writer anyway.
    """

    def __init__(self, connection: Connection, *, uses_locks: bool = False) -> None:
        self.connection = connection
        self._uses_locks = uses_locks

    def lock(self, *about: str) -> None:
        """
        Keep every other transaction that locks one of the words waiting until this one ends.

        Call it before reading, so that a transaction that waited reads what the other one wrote.
        """
        if self._uses_locks:
            self.connection.execute(_LOCK, {"about": sorted(set(about))})
