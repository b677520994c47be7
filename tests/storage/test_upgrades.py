"""A populated history goes through every migration whole, and one that fails leaves it as it was."""

import multiprocessing
import re
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, insert, inspect, make_url, text
from sqlalchemy.engine import Engine

from monitor.errors import StorageError
from monitor.storage import Database, migrate
from monitor.storage.soundness import _indexes, findings
from monitor.storage.watch import watching
from tests.factories import DAY, HOUR, NOW, connection
from tests.fakes import FrozenClock
from tests.house import House
from tests.jobs.house import VIEWS
from tests.storage.releases import FOLDER, KINDS, RELEASED, USERS, restore
from tests.storage.test_migrations import run_by_hand, schema_of

REVISIONS = [script.revision for script in ScriptDirectory.from_config(migrate._config()).walk_revisions()]
Rows = dict[str, list[dict[str, Any]]]
# What a migration takes away, since the rest tells it.
DERIVED = {"run_id"}


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    engine = create_engine(empty_database_url)
    yield engine
    engine.dispose()


def spelled(column: str, value: Any) -> Any:
    """Give a time as SQLite's text, however narrow the column that keeps it."""
    if isinstance(value, int) and column.endswith(("_at", "_until", "_since")):
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return value


def rows_of(engine: Engine) -> Rows:
    """Give every row of every table, but for the version."""
    with engine.connect() as connection:
        return {
            name: sorted(
                (
                    {column: spelled(column, row[column]) for column in row.keys() - DERIVED}
                    for row in connection.execute(text(f"SELECT * FROM {name}")).mappings()
                ),
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


def bring_to(revision: str, url: str) -> None:
    """Make an empty database have an older schema."""
    if make_url(url).get_backend_name() == "sqlite":
        Path(make_url(url).database or "").touch()
    database = Database(url)
    config = migrate._config()
    with database._writer.connect() as connection:
        config.attributes.update(connection=connection, on_version_apply=())
        command.upgrade(config, revision)
        connection.commit()
    database.close()


def fill(engine: Engine) -> None:
    """Put two rows into every table, whatever it asks for."""
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
            for number in (1, 2):
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
                    elif kind is bytes:
                        row[column.name] = b"\0\xff"
                    else:
                        row[column.name] = NOW
                connection.execute(insert(table).values(row))


def test_there_is_a_past_of_each_kind_for_each_release() -> None:
    assert RELEASED
    assert set(RELEASED) <= set(REVISIONS)
    for revision in RELEASED:
        for kind in KINDS:
            assert (FOLDER / f"{revision}.{kind}.sql").exists()


@pytest.mark.parametrize("revision", RELEASED)
def test_the_past_of_every_release_is_taken_over_whole(
    revision: str, empty_database_url: str, engine: Engine
) -> None:
    restore(revision, empty_database_url)
    before = rows_of(engine)
    assert all(before[name] for name in ("targets", "connections", "snapshots", "incidents", "notifications"))
    database = Database(empty_database_url)
    assert database.upgrade() == revision
    assert kept(before, rows_of(engine)) == before
    with database.read() as store:
        assert list(findings(store.connection, is_told=lambda incident, target: True)) == []
        for view in VIEWS:
            store.connection.execute(text(f"SELECT * FROM {view}")).all()
    database.close()


@pytest.mark.parametrize("revision", RELEASED)
def test_after_the_upgrade_nothing_is_told_anew_and_what_is_new_is_told(
    revision: str, empty_database_url: str
) -> None:
    restore(revision, empty_database_url)
    database = Database(empty_database_url)
    database.upgrade()
    house = House(database, clock=FrozenClock(NOW + 8 * HOUR + timedelta(minutes=30)), users=USERS)
    ended = connection(
        platform_id="instagram-1784", username="brand", token_status="expired", expires_at=NOW + 5 * HOUR
    )
    house.api.lists(ended)
    for user in USERS:
        house.api.lists(connection(platform_id="youtube-1", username="client", expires_at=None), user=user)
    house.look()
    house.live(HOUR)
    assert [title for title in house.titles() if "brand" in title or "expired" in title] == []
    house.api.lists(ended, connection(platform_id="tiktok-9", token_status="expired", expires_at=NOW - DAY))
    house.look()
    assert "TikTok" in house.titles()[-1]
    database.close()


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_every_migration_keeps_every_row(revision: str, empty_database_url: str, engine: Engine) -> None:
    bring_to(revision, empty_database_url)
    fill(engine)
    before = rows_of(engine)
    assert all(len(rows) == 2 for rows in before.values())
    database = Database(empty_database_url)
    seen: list[tuple[str, str]] = []
    assert database.upgrade(lambda *step: seen.append(step)) == revision
    database.close()
    assert kept(before, rows_of(engine)) == before
    newer = REVISIONS[: REVISIONS.index(revision)]
    assert [step for step, _ in seen] == newer[::-1]
    assert all(deed.endswith(".") for _, deed in seen)


@pytest.mark.parametrize("revision", RELEASED)
def test_the_statements_for_an_older_schema_do_what_the_upgrade_does(
    revision: str, empty_database_url: str, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    restore(revision, empty_database_url)
    before = rows_of(engine)
    database = Database(empty_database_url)
    migrate.upgrade_sql(database.url, database.current())
    script = capsys.readouterr().out
    assert "CREATE TABLE targets" not in script
    assert run_by_hand(script, empty_database_url) == 0
    assert database.current() == migrate.HEAD
    by_hand = schema_of(database)
    assert kept(before, rows_of(engine)) == before
    with database.begin() as store:
        for view in VIEWS:
            store.connection.execute(text(f"DROP VIEW {view}"))
        from monitor.storage.tables import metadata

        metadata.drop_all(store.connection)
        metadata.create_all(store.connection)
    assert schema_of(database) == by_hand
    database.close()


def test_statements_of_which_one_fails_leave_all_as_it_was(
    sqlite_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    restore(RELEASED[-1], sqlite_url)
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE poll_runs SET first_at = 'no time' WHERE id = 1"))
    schema, rows = inspected(engine), rows_of(engine)
    migrate.upgrade_sql(make_url(sqlite_url), RELEASED[-1])
    assert run_by_hand(capsys.readouterr().out, sqlite_url) == 1
    assert inspected(engine) == schema
    assert rows_of(engine) == rows
    engine.dispose()


def watch_for_a_while(file: Path, watched: Any, end: Any) -> None:
    with watching(file):
        watched.set()
        end.wait()


def test_a_file_that_an_older_daemon_watches_is_left_alone(sqlite_url: str) -> None:
    restore(RELEASED[-1], sqlite_url)
    context = multiprocessing.get_context("spawn")
    watched, end = context.Event(), context.Event()
    file = Path(make_url(sqlite_url).database or "")
    older = context.Process(target=watch_for_a_while, args=(file, watched, end))
    older.start()
    watched.wait()
    with closing(Database(sqlite_url)) as database:
        with pytest.raises(StorageError, match=f"another version .process {older.pid}.*stop it first"):
            database.upgrade()
        assert database.current() == RELEASED[-1]
        end.set()
        older.join()
        with database.held():  # as the new daemon does
            assert database.upgrade() == RELEASED[-1]


# A migration that isn't: appended to the real ones.
FUTURE = '''
"""Do what {words}."""

import os
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"
VIEWS = {views}


def upgrade() -> None:
    op.add_column("targets", sa.Column("colour", sa.Text(), nullable=True))
    {deed}
'''
REBUILD = """
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    op.drop_index("uq_targets_account_managed_user_id", table_name="targets")
    with op.batch_alter_table("targets", recreate="auto") as table:
        table.alter_column("failures", existing_type=sa.Integer(), type_=sa.BigInteger())
"""


def inspected(engine: Engine) -> set[str]:
    """Name every table, column, index and view that there is."""
    with engine.connect() as connection:
        seen, found = inspect(connection), set(inspect(connection).get_view_names())
        for table in seen.get_table_names():
            found |= {f"{table}.{column['name']} {column['type']}" for column in seen.get_columns(table)}
            found |= _indexes(connection, table)
    return found


@pytest.fixture
def future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the program one more migration, which does what the test says."""
    head = migrate.HEAD

    def add(words: str, deed: str) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(migrate._migrations(), folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "versions" / "9999_future.py").write_text(
            FUTURE.format(words=words, head=head, views=VIEWS, deed=deed)
        )
        monkeypatch.setattr(migrate, "_migrations", lambda: folder)
        monkeypatch.setattr(migrate, "HEAD", "9999")

    return add


def populated(url: str) -> Database:
    restore(RELEASED[-1], url)
    return Database(url)


def shown(engine: Engine) -> Rows:
    """Give every row of every view, but for what grows with each second."""
    with engine.connect() as connection:
        return {
            view: sorted(
                (
                    {name: value for name, value in row.items() if name not in {"days", "days_left"}}
                    for row in connection.execute(text(f"SELECT * FROM {view}")).mappings()
                ),
                key=repr,
            )
            for view in inspect(connection).get_view_names()
        }


def test_the_views_show_narrow_times_as_they_showed_wide_ones(
    empty_database_url: str, engine: Engine
) -> None:
    restore("0002", empty_database_url)
    bring_to("0007", empty_database_url)
    before = shown(engine)
    assert all(before[view] for view in ("token_transitions", "incident_log", "delivery_log", "poll_log"))
    with engine.begin() as connection:
        newest = connection.execute(text("SELECT max(id) FROM notifications")).scalar_one()
        connection.execute(text(f"DELETE FROM notifications WHERE id = {newest}"))
    before = shown(engine)
    with closing(Database(empty_database_url)) as database:
        database.upgrade()
    assert shown(engine) == before
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO notifications (channel, reason, group_key, state, created_at, due_at)"
                " SELECT channel, reason, group_key, state, created_at, due_at FROM notifications LIMIT 1"
            )
        )
        # One that people have seen is never given again.
        assert newest < connection.execute(text("SELECT max(id) FROM notifications")).scalar_one()


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("op.execute('SELECT * FROM nowhere')", "nowhere"),
        ("raise ZeroDivisionError('by nothing')", "ZeroDivisionError"),
        (REBUILD + "    raise ZeroDivisionError('by nothing')", "ZeroDivisionError"),
    ],
)
def test_a_migration_that_fails_leaves_the_old_version_working(
    empty_database_url: str, future: Any, deed: str, reason: str, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, engine = populated(empty_database_url), create_engine(empty_database_url)
    schema, rows = inspected(engine), rows_of(engine)
    future("fails", deed)
    with pytest.raises(StorageError, match=f"migration 9999 failed: .*{reason}.*it works on") as failed:
        database.upgrade()
    assert not failed.value.passing
    monkeypatch.undo()
    assert database.current() == RELEASED[-1]
    assert inspected(engine) == schema
    assert rows_of(engine) == rows
    assert database.upgrade() == RELEASED[-1]
    house = House(database, clock=FrozenClock(NOW + DAY))
    house.shows(connection(platform_id="tiktok-9", token_status="expired", expires_at=NOW - DAY))
    engine.dispose()
    assert any("TikTok" in title for title in house.titles())
    database.close()


def test_a_table_that_is_made_anew_keeps_what_belongs_to_it(
    empty_database_url: str, engine: Engine, future: Any
) -> None:
    # With foreign keys in force, SQLite would delete every connection along with the old table of targets.
    database = populated(empty_database_url)
    before = rows_of(engine)
    future("makes a table anew", REBUILD)
    database.upgrade()
    assert kept(before, rows_of(engine)) == before
    with pytest.raises(StorageError), database.begin() as store:  # and they are in force again
        store.connection.execute(text("INSERT INTO polls (target_id, next_poll_at) VALUES (999, 0)"))
    database.close()


def test_a_migration_that_leaves_orphans_is_undone(sqlite_url: str, future: Any) -> None:
    database = populated(sqlite_url)
    engine = create_engine(sqlite_url)
    rows = rows_of(engine)
    future("loses targets", "op.execute('DELETE FROM targets WHERE id = 1')")
    with pytest.raises(StorageError, match="rows would belong to nothing, in "):
        database.upgrade()
    assert rows_of(engine) == rows
    engine.dispose()
    database.close()


def upgrade_and_die(url: str, folder: Path) -> None:
    migrate._migrations = lambda: folder
    migrate.HEAD = "9999"
    Database(url).upgrade()


def test_one_that_is_killed_on_the_way_leaves_all_as_it_was(
    empty_database_url: str, engine: Engine, future: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = populated(empty_database_url)
    rows = rows_of(engine)
    future("is killed", REBUILD + "    os.kill(os.getpid(), 9)")
    folder = migrate._migrations()
    monkeypatch.undo()
    dying = multiprocessing.get_context("spawn").Process(
        target=upgrade_and_die, args=(empty_database_url, folder)
    )
    dying.start()
    dying.join()
    assert dying.exitcode == -9
    deadline = time.monotonic() + 20
    while True:  # a server needs a moment to see that its client is gone
        try:
            assert database.upgrade() == RELEASED[-1]
            break
        except StorageError:
            assert time.monotonic() < deadline
    assert kept(rows, rows_of(engine)) == rows
    database.close()


def test_an_unreadable_answer_of_the_server_is_not_the_fault_of_a_migration() -> None:
    with pytest.raises(StorageError) as away:
        Database("postgresql+psycopg://nobody@127.0.0.1:1/none").upgrade()
    assert away.value.passing
    assert "migration" not in str(away.value)


def test_a_file_from_elsewhere_is_made_able_to_shrink(sqlite_url: str) -> None:
    def auto_vacuum() -> int:
        with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as file:
            ((found,),) = file.execute("PRAGMA auto_vacuum")
            return int(found)

    database = populated(sqlite_url)
    assert auto_vacuum() == 0
    database.upgrade()
    assert auto_vacuum() == 2
    database.close()


def test_a_new_file_is_able_to_shrink(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.upgrade()
    with database.read() as store:
        assert store.connection.exec_driver_sql("PRAGMA auto_vacuum").scalar() == 2
    database.close()
