"""Points in time, in and out of both databases."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, select, text
from sqlalchemy.exc import StatementError

from monitor.core.model import to_milliseconds
from monitor.errors import StorageError
from monitor.storage.database import Database
from monitor.storage.types import UtcDateTime, UtcMillis
from tests.factories import DAY, NOW

times = Table(
    "times",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("moment", UtcDateTime),
    Column("millis", UtcMillis),
)


@pytest.fixture
def scratch(database: Database) -> Iterator[Database]:
    """Give a database with one more table, for as long as the test takes."""
    with database.begin() as store:
        times.create(store.connection)
    yield database
    with database.begin() as store:
        times.drop(store.connection)


def write(database: Database, *moments: datetime | None) -> None:
    with database.begin() as store:
        times.create(store.connection, checkfirst=True)
        if moments:
            rows = [{"moment": each, "millis": each} for each in moments]
            store.connection.execute(insert(times), rows)


def read(database: Database) -> list[tuple[Any, Any]]:
    with database.read() as store:
        found = store.connection.execute(select(times.c.moment, times.c.millis).order_by(times.c.id))
        return [(row.moment, row.millis) for row in found]


EDGES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 2, 22, 9, 15, 0, 1000, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
]


def test_a_time_comes_back_as_it_went_in(scratch: Database) -> None:
    write(scratch, *EDGES, None)
    assert [(each, each) for each in [*EDGES, None]] == read(scratch)
    assert all(moment.tzinfo is UTC and millis.tzinfo is UTC for moment, millis in read(scratch)[:-1])


@pytest.mark.parametrize("hours", [-12, -3.5, 5.75, 14])
def test_a_time_in_another_zone_is_kept_as_utc(scratch: Database, hours: float) -> None:
    away = NOW.astimezone(timezone(timedelta(hours=hours)))
    write(scratch, away)
    assert [(NOW, NOW)] == read(scratch)
    assert read(scratch)[0][0].utcoffset() == timedelta()


def test_what_is_finer_than_a_millisecond_is_cut_off_alike_in_both_types(scratch: Database) -> None:
    write(scratch, NOW.replace(microsecond=123_999), datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    assert read(scratch) == [
        (NOW.replace(microsecond=123_000),) * 2,
        (datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),) * 2,
    ]


@pytest.mark.parametrize("column", ["moment", "millis"])
def test_a_time_without_a_zone_is_refused(scratch: Database, column: str) -> None:
    write(scratch)
    with scratch.begin() as store, pytest.raises(StatementError, match="without a zone"):
        store.connection.execute(insert(times), {column: datetime(2026, 2, 22)})  # noqa: DTZ001 - naive on purpose
    with pytest.raises(StorageError), scratch.read() as store:
        store.connection.execute(select(times).where(times.c[column] == datetime(2026, 2, 22)))  # noqa: DTZ001 - naive on purpose


def test_times_sort_and_compare_as_times(scratch: Database) -> None:
    dice = random.Random(7)
    moments = [to_milliseconds(NOW + dice.uniform(-400, 400) * DAY) for _ in range(50)] + EDGES
    write(scratch, *moments)
    for column in (times.c.moment, times.c.millis):
        with scratch.read() as store:
            in_order = list(store.connection.execute(select(column).order_by(column)).scalars())
            before = list(store.connection.execute(select(column).where(column <= NOW)).scalars())
        assert sorted(moments) == in_order
        assert sorted(each for each in moments if each <= NOW) == sorted(before)


def test_sqlite_keeps_a_time_as_text_that_its_own_functions_read(sqlite_url: str, tmp_path: Any) -> None:
    database = Database(sqlite_url)
    database.upgrade()
    write(database, NOW.replace(microsecond=7_000))
    with database.read() as store:
        row = store.connection.execute(
            text(
                "SELECT moment, typeof(moment) AS kept, typeof(millis) AS narrow, datetime(moment) AS whole,"
                " strftime('%Y-%m-%d %H:%M:%f', moment) AS again,"
                " strftime('%Y-%m-%d %H:%M:%f', millis / 1000.0, 'unixepoch') AS shown,"
                " julianday(moment, '+1 day') - julianday(moment) AS day FROM times"
            )
        ).one()
    database.close()
    assert ("2026-02-22 20:00:00.007", "text", "integer") == (row.moment, row.kept, row.narrow)
    assert ("2026-02-22 20:00:00", row.moment, row.moment) == (row.whole, row.again, row.shown)
    assert row.day == pytest.approx(1)


def test_sqlite_shows_every_millisecond_of_the_narrow_type(sqlite_url: str) -> None:
    # The views divide by a thousand, in floating point.
    database = Database(sqlite_url)
    database.upgrade()
    dice = random.Random(11)
    write(database, *[to_milliseconds(NOW + dice.uniform(-20_000, 40_000) * DAY) for _ in range(2000)])
    with database.read() as store:
        wrong = store.connection.execute(
            text(
                "SELECT moment FROM times"
                " WHERE moment <> strftime('%Y-%m-%d %H:%M:%f', millis / 1000.0, 'unixepoch')"
            )
        ).all()
    database.close()
    assert wrong == []


def test_postgresql_keeps_a_time_with_its_zone(postgres_url: str) -> None:
    database = Database(postgres_url)
    write(database, NOW)
    with database.read() as store:
        kinds = store.connection.execute(
            text("SELECT pg_typeof(moment)::text, pg_typeof(millis)::text FROM times")
        )
        assert ("timestamp with time zone",) * 2 == tuple(kinds.one())
        store.connection.execute(text("SET TIME ZONE 'Asia/Kathmandu'"))
        assert store.connection.execute(select(times.c.moment)).scalar_one().tzinfo is UTC
    database.close()
