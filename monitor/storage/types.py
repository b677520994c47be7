"""Column types for times: aware UTC, whole milliseconds."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from monitor.core.model import to_milliseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class UtcDateTime(TypeDecorator[datetime]):
    """
    A time: ``timestamptz`` on PostgreSQL, text such as ``2026-11-23 21:00:00.123`` on SQLite.

    The text sorts, and SQLite's own date functions read it. SQLite has no time zones, so a naive value is refused.
    Otherwise it could be stored wrongly without an error.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose how the database keeps it."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(23))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write a time; raises ValueError for a naive one."""
        if value is None:
            return None
        value = to_milliseconds(value)
        if dialect.name == "sqlite":
            return value.replace(tzinfo=None).isoformat(" ", "milliseconds")
        return value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a time: aware UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        aware: datetime = value.astimezone(UTC)
        return aware


class UtcMillis(TypeDecorator[datetime]):
    """
    A time in few bytes: ``timestamptz`` on PostgreSQL, milliseconds since 1970 on SQLite.

    It is for rows that every poll rewrites, and for tables with millions of rows: as text, times were a third of
    the database. The views show it like any other time.
    """

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose how the database keeps it."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write a time; raises ValueError for a naive one."""
        if value is None:
            return None
        if dialect.name == "sqlite" and value.tzinfo is not None:
            return (value - _EPOCH) // _MILLISECOND
        return to_milliseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a time: aware UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _EPOCH + int(value) * _MILLISECOND
        aware: datetime = value.astimezone(UTC)
        return aware
