"""One daemon on a PostgreSQL database: an advisory lock of a session, which ends with the process."""

import socket
from threading import Lock

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

# Any number works, as long as it never changes and isn't the one of the migrations.
KEY = 7_085_320_772
# The session's name in pg_stat_activity, which PostgreSQL cuts at 63 bytes.
NAME_PREFIX = "postpost-monitor on "
_HOLDER = text(
    """
    SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 1
      AND classid = :high AND objid = :low
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)


class SessionLock:
    """
    The lock of the one daemon that monitors a database.

    Any thread may ask whether it is held; one at a time takes or checks it.

    Args:
        engine: makes its connections, which no one else uses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._turn = Lock()

    @property
    def is_held(self) -> bool:
        """Whether the lock was held when it was last taken or checked."""
        return self._connection is not None

    def acquire(self) -> str | None:
        """
        Take the lock, or check that it is still held.

        Returns:
            The host that holds it instead; None if this daemon does.

        Raises:
            SQLAlchemyError: the database can't be asked, and the lock isn't held.
        """
        with self._turn:
            if self._connection is not None:
                try:
                    self._connection.execute(text("SELECT 1"))
                except SQLAlchemyError:
                    self._drop()
                else:
                    return None
            connection = self._engine.connect()
            try:
                if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY}).scalar():
                    self._connection = connection
                    return None
                return find_holder(connection) or "another host"
            finally:
                if self._connection is not connection:
                    connection.close()

    def close(self) -> None:
        """Release the lock."""
        with self._turn:
            self._drop()
            self._engine.dispose()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


def session_name() -> str:
    """Return the name that the lock's session has in the server's list of sessions."""
    return f"{NAME_PREFIX}{socket.gethostname()}"[:63]


def find_holder(connection: Connection) -> str | None:
    """Return the host of the daemon that monitors a database; None if there is none."""
    name = connection.execute(_HOLDER, {"high": KEY >> 32, "low": KEY & 0xFFFFFFFF}).scalar()
    return None if name is None else str(name).removeprefix(NAME_PREFIX)
