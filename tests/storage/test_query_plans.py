"""How the databases find what is asked of the views: by an index wherever one should serve."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from monitor.storage import queries, tables
from monitor.storage.database import Database
from monitor.storage.notification_items import told_and_open
from monitor.storage.notification_log import unknown_acknowledgements
from tests.conftest import NewDatabase
from tests.factories import NOW

# Tables that grow with the history or the fleet: to answer for one connection or one account, none is read whole.
LARGE = ("snapshots", "incidents", "connections", "targets", "notifications", "poll_runs")
BY_PROFILE = "platform_id = 'instagram-1'"
BY_ACCOUNT = "account = 'agency'"
ABOUT_CONNECTIONS = (
    *("current_connections", "token_transitions", "incident_log", "expiring_tokens", "connection_timeline"),
    *("reconnect_times", "publish_failures"),
)
ABOUT_ACCOUNTS = (*ABOUT_CONNECTIONS, "account_health", "poll_log")


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, migrated_database: NewDatabase) -> Iterator[Database]:
    """Give a migrated database in which no row ever was: what a server remembers of rows bends its plans."""
    with migrated_database(request.param) as url, closing(Database(url)) as database:
        yield database


def plan(database: Database, query: str) -> str:
    """Say how a database would answer; a server that has no choice but to read a table whole says so, too."""
    with database.read() as store:
        if database.is_sqlite:
            rows = store.connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))
            return "\n".join(row.detail for row in rows)
        # A small table is read whole even where an index would serve a large one.
        store.connection.execute(text("SET LOCAL enable_seqscan = off"))
        return "\n".join(store.connection.execute(text(f"EXPLAIN {query}")).scalars())


def read_whole(database: Database, planned: str) -> set[str]:
    """Name the tables that a plan reads from the first row to the last."""
    if database.is_sqlite:
        scanned = re.findall(
            r"^SCAN (\w+)\b(?! USING (?:COVERING )?INDEX ix_incidents_open)", planned, re.MULTILINE
        )
        return {alias for alias in scanned if alias not in ABOUT_ACCOUNTS}  # a view read by its rows so far
    return set(re.findall(r"Seq Scan on (\w+)", planned)) & set(LARGE)


@pytest.mark.parametrize("view", ABOUT_CONNECTIONS)
def test_what_is_asked_of_one_profile_reads_no_table_whole(database: Database, view: str) -> None:
    planned = plan(database, f"SELECT * FROM {view} WHERE {BY_PROFILE}")
    assert set() == read_whole(database, planned), planned
    assert "ix_connections_platform_id" in planned


@pytest.mark.parametrize("view", ABOUT_ACCOUNTS)
def test_what_is_asked_of_one_account_reads_no_table_whole(database: Database, view: str) -> None:
    planned = plan(database, f"SELECT * FROM {view} WHERE {BY_ACCOUNT} AND managed_user_id = '64a1'")
    assert set() == read_whole(database, planned), planned
    assert re.search("uq_targets_account_managed_user_id|ix_incidents_account", planned)


def test_what_is_open_is_found_among_what_is_open(database: Database) -> None:
    order = ", ".join(queries.AS_THEY_OPENED)
    planned = plan(database, f"SELECT * FROM incident_log WHERE resolved_at IS NULL ORDER BY {order}")
    if database.is_sqlite:
        assert "SCAN i USING INDEX ix_incidents_open_target_id" in planned
    else:
        assert re.search("ix_incidents_open_target_id|uq_incidents_open", planned), planned


def test_what_is_open_in_one_account_is_found_by_both(database: Database) -> None:
    planned = plan(database, f"SELECT * FROM incident_log WHERE resolved_at IS NULL AND {BY_ACCOUNT}")
    assert "ix_incidents_open_account" in planned or not database.is_sqlite, planned


def test_the_deliveries_of_an_incident_are_found_by_it(database: Database) -> None:
    planned = plan(database, "SELECT * FROM delivery_log WHERE incident_id = 1")
    assert "ix_notifications_incident_id" in planned
    assert set() == read_whole(database, planned), planned


def test_what_incident_services_are_sent_each_minute_is_found_from_what_is_open(database: Database) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, values: Any, *___: object) -> None:
        asked.append((statement, values))

    with database.begin() as store:
        store.connection.execute(
            insert(tables.incidents).values(
                rule="token_expiry", subject="x", severity="warning", max_severity="warning", summary="s", remedy="",
                notified_levels="{}", opened_at=NOW, acknowledged_at=NOW, acknowledged_by="mia",
            )
        )  # fmt: skip
        event.listen(store.connection, "before_cursor_execute", note)
        told_and_open(store, "pager", {})
        unknown_acknowledgements(store, ["pager"])
        event.remove(store.connection, "before_cursor_execute", note)
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        if not database.is_sqlite:
            store.connection.execute(text("SET LOCAL enable_seqscan = off"))
        plans = [
            "\n".join(str(row[-1]) for row in store.connection.exec_driver_sql(f"{explain} {query}", values))
            for query, values in asked
        ]
        store.connection.rollback()
    assert 4 == len(plans)
    for planned in plans:
        assert set() == read_whole(database, planned), planned
        assert "ix_notifications_notified" not in planned or not database.is_sqlite


def test_what_was_before_and_what_came_after_is_looked_up_in_the_index(database: Database) -> None:
    for view in ("connection_timeline", "publish_failures"):
        planned = plan(database, f"SELECT * FROM {view} WHERE {BY_PROFILE}")
        assert len(re.findall("ix_snapshots_connection_id_taken_at", planned)) >= 2, planned
        assert "WindowAgg" not in planned


def test_every_index_is_read_by_something_that_is_named() -> None:
    source = Path(tables.__file__).read_text(encoding="utf-8")
    for table in tables.metadata.sorted_tables:
        for index in table.indexes:
            before = re.split(r"\b(?:Index|_partial)\(", source[: source.index(f'"{index.name}"')])[-2]
            assert before.rstrip().splitlines()[-1].startswith("# "), index.name
