"""From nothing to the newest schema, by one process or by six at once."""

import multiprocessing
import re
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url, text

from monitor.storage import migrate
from monitor.storage.database import Database
from monitor.storage.tables import metadata
from monitor.storage.views import view_queries
from tests.jobs.simulator import VIEWS


def schema_of(database: Database) -> dict[str, Any]:
    """Describe every table, constraint and index as the database itself has them."""
    found: dict[str, Any] = {}
    with database.read() as store:
        seen = inspect(store.connection)
        for table in metadata.tables:
            found[table] = {
                "columns": [
                    (column["name"], str(column["type"]), column["nullable"], column["default"])
                    for column in seen.get_columns(table)
                ],
                "key": seen.get_pk_constraint(table),
                "foreign": sorted(seen.get_foreign_keys(table), key=lambda each: each["name"] or ""),
                "checks": sorted(
                    (each["name"], " ".join(each["sqltext"].split()))
                    for each in seen.get_check_constraints(table)
                ),
            }
        source = (
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            if database.is_sqlite
            else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " AND tablename <> 'alembic_version'"
        )
        found["indexes"] = {
            name: re.sub(r"\s+", " ", sql) for name, sql in store.connection.execute(text(source))
        }
        if database.is_sqlite:
            tables = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' ORDER BY name"
            found["autoincrement"] = list(store.connection.execute(text(tables)).scalars())
    return found


def views_of(database: Database) -> dict[str, str]:
    """Return the definition of every view as the database has it, however it is laid out."""
    source = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'view'"
        if database.is_sqlite
        else "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"
    )
    with database.read() as store:
        return {name: " ".join(sql.split()) for name, sql in store.connection.execute(text(source))}


def upgrade_in_another_process(url: str, start: Any, results: Any) -> None:
    database = Database(url)
    start.wait()
    try:
        results.put(database.upgrade())
    except Exception as error:  # noqa: BLE001 - the test wants to see whatever it was
        results.put(repr(error))
    finally:
        database.close()


def test_an_empty_database_is_brought_to_the_newest_schema(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert database.current_revision() is None
    assert database.upgrade() is None
    assert database.current_revision() == migrate.HEAD
    assert database.upgrade() == migrate.HEAD
    with database.read() as store:
        seen = inspect(store.connection)
        assert set(seen.get_table_names()) == {*metadata.tables, "alembic_version"}
        assert set(seen.get_view_names()) == set(VIEWS)
    database.close()


def test_asking_for_the_schema_makes_no_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'absent' / 'history.db'}")
    assert database.current_revision() is None
    assert list(tmp_path.iterdir()) == []
    database.close()


def test_the_schema_migrated_is_the_schema_of_the_tables(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade()
    migrated = schema_of(database)
    with database.begin() as store:
        for view in VIEWS:
            store.connection.execute(text(f"DROP VIEW {view}"))
        metadata.drop_all(store.connection)
        metadata.create_all(store.connection)
    assert schema_of(database) == migrated
    assert len(migrated["indexes"]) >= 9
    database.close()


def test_the_views_migrated_are_the_views_of_the_program(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade()
    migrated = views_of(database)
    with database.begin() as store:
        for view, query in view_queries(database.url.get_backend_name()).items():
            store.connection.exec_driver_sql(f"DROP VIEW {view}")
            store.connection.exec_driver_sql(f"CREATE VIEW {view} AS {query}")
    assert views_of(database) == migrated
    database.close()


def test_alembic_sees_no_difference_between_the_schema_and_the_tables(database: Database) -> None:
    with database.begin() as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it can't compare an index over an expression; the test above can
        context = MigrationContext.configure(
            store.connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_the_newest_migration_is_the_one_the_program_wants() -> None:
    scripts = ScriptDirectory.from_config(migrate._config())
    assert scripts.get_heads() == [migrate.HEAD]


def test_there_is_no_way_back() -> None:
    # A downgrade that loses history would be worse than none.
    for script in ScriptDirectory.from_config(migrate._config()).walk_revisions():
        assert not hasattr(script.module, "downgrade")


@pytest.mark.parametrize(
    "url", ["sqlite:///nowhere/history.db", "postgresql+psycopg://nobody:pw@nowhere/none"]
)
def test_the_statements_can_be_had_without_a_database(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.upgrade_sql(make_url(url))
    printed = capsys.readouterr().out
    for name in (*metadata.tables, "alembic_version"):
        assert f"CREATE TABLE {name} (" in printed
    for view in VIEWS:
        assert f"CREATE VIEW {view} AS" in printed
    assert "{" not in printed
    assert "pw" not in printed
    assert ("TIMESTAMP WITH TIME ZONE" in printed) == url.startswith("postgresql")


def run_by_hand(script: str, url: str) -> int:
    """Have a database run what was printed as its shell does; gives how many statements failed."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(script)
        engine.dispose()
        return 0
    failed, statement, bails = 0, "", False
    with closing(sqlite3.connect(parsed.database or "", isolation_level=None)) as file:
        file.execute("PRAGMA foreign_keys=ON")  # as some have it
        for line in script.splitlines(keepends=True):
            if line.startswith("."):
                bails = line.split() == [".bail", "on"]
                continue
            statement += line
            if not sqlite3.complete_statement(statement):
                continue
            try:
                file.execute(statement)
            except sqlite3.Error:
                failed += 1
                if bails:
                    break
            statement = ""
    return failed


def test_the_statements_printed_make_the_same_schema(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate.upgrade_sql(make_url(empty_database_url))
    script = capsys.readouterr().out
    database = Database(empty_database_url)
    run_by_hand(script, empty_database_url)
    by_hand = schema_of(database)
    assert database.current_revision() == migrate.HEAD
    with database.begin() as store:
        for view in VIEWS:
            store.connection.execute(text(f"DROP VIEW {view}"))
        metadata.drop_all(store.connection)
        metadata.create_all(store.connection)
    assert schema_of(database) == by_hand
    database.close()


def test_six_processes_may_start_on_an_empty_database_at_once(empty_database_url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monitor.storage", "alembic.command", "alembic.script", "psycopg"])
    start, results = context.Barrier(6), context.Queue()
    crowd = [
        context.Process(target=upgrade_in_another_process, args=(empty_database_url, start, results))
        for _ in range(6)
    ]
    for each in crowd:
        each.start()
    found = [results.get(timeout=60) for _ in crowd]
    for each in crowd:
        each.join()
        each.close()
    results.close()
    results.join_thread()
    assert set(found) <= {None, migrate.HEAD}
    assert None in found
    database = Database(empty_database_url)
    assert database.current_revision() == migrate.HEAD
    assert len(schema_of(database)) >= len(metadata.tables)
    database.close()
