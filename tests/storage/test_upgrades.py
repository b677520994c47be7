"""A populated history goes through every migration whole, and one that fails leaves it as it was."""

import multiprocessing
import re
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, insert, inspect, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from monitor.errors import StorageError
from monitor.storage import migrate
from monitor.storage.database import Database
from monitor.storage.file_lock import daemon_lock
from monitor.storage.integrity import _indexes, check_integrity
from monitor.storage.tables import target_schedule
from monitor.storage.transaction import Transaction
from tests.conftest import NewDatabase
from tests.factories import DAY, HOUR, NOW, connection
from tests.fakes import FrozenClock
from tests.jobs.simulator import VIEWS
from tests.simulator import Simulator
from tests.storage.sample_history import USERS
from tests.storage.test_migrations import run_by_hand, schema_of, views_of

FIRST, SECOND = "0001_history", "0002"
SECOND_VERSION = Path(__file__).parent / "second_version"
HOLD_ONE_ROW = {"installation"}
Rows = dict[str, list[dict[str, Any]]]


def rows_of(engine: Engine) -> Rows:
    """Give every row of every table, but for the version."""
    with engine.connect() as connection:
        return {
            name: sorted(
                (dict(row) for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()),
                key=lambda row: repr(sorted(row.items())),
            )
            for name in inspect(connection).get_table_names()
            if name != "alembic_version"
        }


def kept(before: Rows, after: Rows) -> Rows:
    """Give what is still there of what was, by the columns that there were."""
    return {
        name: sorted(
            ({column: row[column] for column in rows[0]} for row in after[name]),
            key=lambda row: repr(sorted(row.items())),
        )
        if rows
        else after[name]
        for name, rows in before.items()
    }


def fill(engine: Engine) -> None:
    """Put two rows into every table that takes two, whatever it asks for."""
    found = MetaData()
    with engine.begin() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about an index over an expression
        found.reflect(connection)
        for table in found.sorted_tables:
            if table.name == "alembic_version":
                continue
            checks = [str(each["sqltext"]) for each in inspect(connection).get_check_constraints(table.name)]
            allowed = {
                column: match[1]
                for column in table.columns.keys()  # noqa: SIM118 - not a dict
                for check in checks
                if (match := re.match(rf"{column}\b\W+(?:IN|= ANY)\W+(?:ARRAY\W+)?(\w+)", check.lstrip("(")))
            }
            for number in (1,) if table.name in HOLD_ONE_ROW else (1, 2):
                row: dict[str, Any] = {}
                for column in table.columns:
                    kind = column.type.python_type
                    if column.name in {"resolved_at", "resolution"}:
                        row[column.name] = None
                    elif column.name in allowed:
                        row[column.name] = allowed[column.name]
                    elif column.primary_key or column.foreign_keys or kind is int:
                        row[column.name] = f"account {number}" if kind is str else number
                    elif kind is str:
                        is_time = getattr(column.type, "length", None) == len("2026-01-01 00:00:00.000")
                        row[column.name] = "2026-01-01 00:00:00.000" if is_time else f"word {number}"
                    elif kind is bool:
                        row[column.name] = True
                    elif kind is bytes:
                        row[column.name] = b"\0\xff"
                    else:
                        row[column.name] = NOW
                connection.execute(insert(table).values(row))


def with_migrations(folder: Path, *more: Path) -> Path:
    """Copy the real migrations and add some that come after them."""
    shutil.copytree(migrate._migrations(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    for each in more:
        shutil.copy(each, folder / "versions")
    return folder


@pytest.fixture
def second_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the program want the second version of the schema, and return its folder of migrations."""
    return want_second_version(tmp_path, monkeypatch)


def want_second_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Do what the fixture does, for a test that has a history before."""
    assert migrate.HEAD == FIRST
    folder = with_migrations(tmp_path / "second", *SECOND_VERSION.glob("*.py"))
    monkeypatch.setattr(migrate, "_migrations", lambda: folder)
    monkeypatch.setattr(migrate, "HEAD", SECOND)
    return folder


@pytest.fixture(params=["sqlite", "postgres"])
def populated_url(request: pytest.FixtureRequest, sample_database: NewDatabase) -> Iterator[str]:
    """Give the URL of a database of the first version that holds a history, once on each kind."""
    with sample_database(request.param) as url:
        yield url


@pytest.fixture
def populated(populated_url: str) -> Iterator[Database]:
    """Give a database of the first version that holds a history."""
    with closing(Database(populated_url)) as database:
        yield database


@pytest.fixture
def engine(populated_url: str) -> Iterator[Engine]:
    """Give another way into the same database."""
    engine = create_engine(populated_url)
    yield engine
    engine.dispose()


@pytest.fixture
def populated_sqlite(sample_database: NewDatabase) -> Iterator[Database]:
    """Give a SQLite file of the first version that holds a history."""
    with sample_database("sqlite") as url, closing(Database(url)) as database:
        yield database


def test_a_history_is_taken_over_whole(populated: Database, engine: Engine, second_version: Path) -> None:
    before = rows_of(engine)
    assert all(before[name] for name in ("targets", "connections", "snapshots", "incidents", "notifications"))
    assert populated.upgrade() == FIRST
    assert populated.current_revision() == SECOND
    after = rows_of(engine)
    assert kept(before, after) == before
    assert {row["origin"] for row in after["connections"]} == {"api"}
    with populated.read() as store:
        assert list(check_integrity(store, is_routed=lambda incident, target: True)) == []
        for view in VIEWS:
            store.connection.execute(text(f"SELECT * FROM {view}")).all()


def test_an_empty_database_gets_every_version_in_turn(empty_database_url: str, second_version: Path) -> None:
    database = Database(empty_database_url)
    steps: list[str] = []
    assert database.upgrade(lambda revision, deed: steps.append(revision)) is None
    assert steps == [FIRST, SECOND]
    assert database.current_revision() == SECOND
    database.close()


def test_after_the_upgrade_nothing_is_told_anew_and_what_is_new_is_told(
    populated: Database, second_version: Path
) -> None:
    populated.upgrade()
    simulator = Simulator(populated, clock=FrozenClock(NOW + 8 * HOUR + timedelta(minutes=30)), users=USERS)
    ended = connection(
        platform_id="instagram-1784", username="brand", token_status="expired", expires_at=NOW + 5 * HOUR
    )
    simulator.api.lists(ended)
    for user in USERS:
        simulator.api.lists(
            connection(platform_id="youtube-1", username="client", expires_at=None), user=user
        )
    simulator.poll_all()
    simulator.advance(HOUR)
    assert [title for title in simulator.titles() if "brand" in title or "expired" in title] == []
    simulator.api.lists(
        ended, connection(platform_id="tiktok-9", token_status="expired", expires_at=NOW - DAY)
    )
    simulator.poll_all()
    assert "TikTok" in simulator.titles()[-1]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_row_of_every_table_is_kept(
    kind: str, migrated_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with migrated_database(kind) as url, closing(Database(url)) as database:
        engine = create_engine(url)
        fill(engine)
        before = rows_of(engine)
        assert all(len(rows) == (1 if name in HOLD_ONE_ROW else 2) for name, rows in before.items())
        want_second_version(tmp_path, monkeypatch)
        seen: list[tuple[str, str]] = []
        assert database.upgrade(lambda *step: seen.append(step)) == FIRST
        assert kept(before, rows_of(engine)) == before
        engine.dispose()
    assert seen == [(SECOND, "Note where connections come from, and refuse counts below zero.")]


def test_the_statements_for_an_older_schema_do_what_the_upgrade_does(
    populated: Database, engine: Engine, second_version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows_of(engine)
    url = populated.url.render_as_string(hide_password=False)
    migrate.upgrade_sql(populated.url, populated.current_revision())
    script = capsys.readouterr().out
    assert "CREATE TABLE targets" not in script
    assert run_by_hand(script, url) == 0
    assert populated.current_revision() == SECOND
    by_hand, rows, views = schema_of(populated), rows_of(engine), views_of(populated)
    assert kept(before, rows) == before
    populated.close()
    empty(engine)
    with closing(Database(url)) as upgraded:
        upgraded.upgrade()
        assert schema_of(upgraded) == by_hand
        assert views_of(upgraded) == views


def empty(engine: Engine) -> None:
    """Take everything out of a database."""
    if engine.dialect.name == "sqlite":
        engine.dispose()
        for end in ("", "-wal", "-shm"):
            Path(f"{engine.url.database}{end}").unlink(missing_ok=True)
        return
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def test_statements_of_which_one_fails_leave_all_as_it_was(
    populated_sqlite: Database, second_version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = populated_sqlite.url
    populated_sqlite.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE connections SET missed_polls = -1 WHERE id = 2"))
    schema, rows = inspected(engine), rows_of(engine)
    migrate.upgrade_sql(url, FIRST)
    assert run_by_hand(capsys.readouterr().out, str(url)) == 1
    assert inspected(engine) == schema
    assert rows_of(engine) == rows
    engine.dispose()


def watch_for_a_while(file: Path, watched: Any, end: Any) -> None:
    with daemon_lock(file):
        watched.set()
        end.wait()


def test_a_file_that_an_older_daemon_watches_is_left_alone(
    populated_sqlite: Database, second_version: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    watched, end = context.Event(), context.Event()
    file = Path(populated_sqlite.url.database or "")
    older = context.Process(target=watch_for_a_while, args=(file, watched, end))
    older.start()
    watched.wait()
    with pytest.raises(StorageError, match=f"another version .process {older.pid}.*stop it first"):
        populated_sqlite.upgrade()
    assert populated_sqlite.current_revision() == FIRST
    end.set()
    older.join()
    with populated_sqlite.exclusive():  # as the new daemon does
        assert populated_sqlite.upgrade() == FIRST


# A migration that isn't: it comes after the second version.
FUTURE = '''
"""Do what {words}."""

import os
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "0002"
VIEWS = {views}


def upgrade() -> None:
    op.add_column("targets", sa.Column("color", sa.Text(), nullable=True))
    {deed}
'''
REBUILD = """
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    op.drop_index("uq_targets_account_managed_user_id", table_name="targets")
    with op.batch_alter_table("targets", recreate="auto") as table:
        table.alter_column("consecutive_failures", existing_type=sa.Integer(), type_=sa.BigInteger())
"""


def inspected(engine: Engine) -> set[str]:
    """Name every table, column, index and view that there is."""
    with engine.connect() as connection:
        seen, found = inspect(connection), set(inspect(connection).get_view_names())
        for table in seen.get_table_names():
            found |= {f"{table}.{column['name']} {column['type']}" for column in seen.get_columns(table)}
            found |= _indexes(Transaction(connection), table)
    return found


@pytest.fixture
def third_version(second_version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the program one more migration after the second version, which does what the test says."""

    def add(words: str, deed: str) -> Path:
        folder = with_migrations(tmp_path / "third")
        (folder / "versions" / "9999_future.py").write_text(
            FUTURE.format(words=words, views=VIEWS, deed=deed)
        )
        monkeypatch.setattr(migrate, "_migrations", lambda: folder)
        monkeypatch.setattr(migrate, "HEAD", "9999")
        return folder

    return add


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("op.execute('SELECT * FROM nowhere')", "nowhere"),
        ("raise ZeroDivisionError('by nothing')", "ZeroDivisionError"),
        (REBUILD + "    raise ZeroDivisionError('by nothing')", "ZeroDivisionError"),
    ],
)
def test_a_migration_that_fails_leaves_the_old_version_working(
    populated: Database,
    engine: Engine,
    third_version: Any,
    deed: str,
    reason: str,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schema, rows = inspected(engine), rows_of(engine)
    third_version("fails", deed)
    with pytest.raises(StorageError, match=f"migration 9999 failed: .*{reason}.*it works on") as failed:
        populated.upgrade()
    assert not failed.value.transient
    monkeypatch.undo()
    assert populated.current_revision() == FIRST
    assert inspected(engine) == schema
    assert rows_of(engine) == rows
    assert populated.upgrade() == FIRST
    simulator = Simulator(populated, clock=FrozenClock(NOW + DAY))
    simulator.list_connections(
        connection(platform_id="tiktok-9", token_status="expired", expires_at=NOW - DAY)
    )
    assert any("TikTok" in title for title in simulator.titles())


def test_a_table_that_is_made_anew_keeps_what_belongs_to_it(
    populated: Database, engine: Engine, third_version: Any
) -> None:
    # With foreign keys in force, SQLite would delete every connection along with the old table of targets.
    before = rows_of(engine)
    third_version("makes a table anew", REBUILD)
    populated.upgrade()
    assert kept(before, rows_of(engine)) == before
    with pytest.raises(IntegrityError), populated.begin() as store:  # and they are in force again
        store.connection.execute(insert(target_schedule).values(target_id=999, next_poll_at=NOW))


def test_a_migration_that_leaves_orphans_is_undone(populated_sqlite: Database, third_version: Any) -> None:
    engine = create_engine(populated_sqlite.url)
    rows = rows_of(engine)
    third_version("loses targets", "op.execute('DELETE FROM targets WHERE id = 1')")
    with pytest.raises(StorageError, match="rows would belong to nothing, in "):
        populated_sqlite.upgrade()
    assert rows_of(engine) == rows
    engine.dispose()


def upgrade_and_die(url: str, folder: Path) -> None:
    migrate._migrations = lambda: folder
    migrate.HEAD = "9999"
    Database(url).upgrade()


def test_one_that_is_killed_on_the_way_leaves_all_as_it_was(
    populated: Database,
    engine: Engine,
    second_version: Path,
    third_version: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = rows_of(engine)
    folder = third_version("is killed", REBUILD + "    os.kill(os.getpid(), 9)")
    dying = multiprocessing.get_context("spawn").Process(
        target=upgrade_and_die, args=(populated.url.render_as_string(hide_password=False), folder)
    )
    dying.start()
    dying.join()
    assert dying.exitcode == -9
    monkeypatch.setattr(migrate, "_migrations", lambda: second_version)
    monkeypatch.setattr(migrate, "HEAD", SECOND)
    deadline = time.monotonic() + 20
    while True:  # a server needs a moment to see that its client is gone
        try:
            assert populated.upgrade() == FIRST
            break
        except StorageError:
            assert time.monotonic() < deadline
    assert populated.current_revision() == SECOND
    assert kept(rows, rows_of(engine)) == rows


def test_an_unreadable_answer_of_the_server_is_not_the_fault_of_a_migration() -> None:
    with pytest.raises(StorageError) as away:
        Database("postgresql+psycopg://nobody@127.0.0.1:1/none").upgrade()
    assert away.value.transient
    assert "migration" not in str(away.value)


def test_a_file_from_elsewhere_is_made_able_to_shrink(sqlite_url: str, tmp_path: Path) -> None:
    def auto_vacuum() -> int:
        with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as file:
            ((found,),) = file.execute("PRAGMA auto_vacuum")
            return int(found)

    made = Database(f"sqlite:///{tmp_path / 'made.db'}")
    made.upgrade()
    made.close()
    with (
        closing(sqlite3.connect(made.url.database or "")) as source,
        closing(sqlite3.connect(make_url(sqlite_url).database or "")) as elsewhere,
    ):
        elsewhere.executescript("\n".join(source.iterdump()))
    assert auto_vacuum() == 0
    database = Database(sqlite_url)
    database.upgrade()
    assert auto_vacuum() == 2
    database.close()


def test_a_new_file_is_able_to_shrink(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.upgrade()
    with database.read() as store:
        assert store.connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 2
    database.close()
