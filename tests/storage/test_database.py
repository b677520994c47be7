"""The database as something that can be away: locked, gone, replaced, restarted."""

import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from monitor.errors import StorageError
from monitor.storage import database as module
from monitor.storage.database import Database
from tests.factories import NOW
from tests.storage.lock_holder import locked_by_another_program


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def sqlite(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Give a migrated SQLite database that is quick to lose its patience."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    yield database
    database.close()


def register(database: Database, account: str = "agency") -> int:
    with database.begin() as store:
        return len(store.register([(account, None)], NOW))


def test_a_locked_file_is_worth_waiting_for(sqlite: Database, file: Path) -> None:
    with locked_by_another_program(file):
        with pytest.raises(StorageError, match="another program holds the database") as refused:
            register(sqlite)
        assert refused.value.transient
    assert register(sqlite) == 1


def test_reading_never_waits_for_a_writer(sqlite: Database) -> None:
    register(sqlite)
    with sqlite.begin() as writer:
        writer.register([("agency", None), ("other", None)], NOW)
        with sqlite.read() as store:
            assert len(store.due_targets(NOW, limit=10)) == 1
    with sqlite.read() as store:
        assert len(store.due_targets(NOW, limit=10)) == 2


def test_what_is_read_is_one_state(database: Database) -> None:
    register(database)
    with database.read() as store:
        assert len(store.due_targets(NOW, limit=10)) == 1
        writer = threading.Thread(target=lambda: _register_two(database))
        writer.start()
        writer.join()
        assert len(store.due_targets(NOW, limit=10)) == 1
    with database.read() as store:
        assert len(store.due_targets(NOW, limit=10)) == 2


def _register_two(database: Database) -> None:
    with database.begin() as store:
        store.register([("agency", None), ("other", None)], NOW)


def test_a_failed_transaction_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.begin() as store:
        store.register([("agency", None)], NOW)
        raise ZeroDivisionError
    with database.read() as store:
        assert store.due_targets(NOW, limit=10) == []


def test_a_file_that_is_gone_does_not_come_back_empty(sqlite: Database, file: Path) -> None:
    register(sqlite)
    for each in file.parent.glob("history.db*"):
        each.unlink()
    for attempt in (sqlite.begin, sqlite.read):
        with pytest.raises(StorageError, match="is gone") as refused, attempt():
            pass
        assert refused.value.transient
    assert not file.exists()


def test_a_file_that_was_brought_back_is_used_again(sqlite: Database, file: Path) -> None:
    register(sqlite)
    sqlite.close()
    shutil.copy(file, copy := file.with_suffix(".copy"))
    register(sqlite, "later")
    for each in file.parent.glob("history.db*"):
        each.unlink()
    with pytest.raises(StorageError), sqlite.read():
        pass
    copy.rename(file)
    with sqlite.read() as store:
        assert [target.account for target in store.due_targets(NOW, limit=10)] == ["agency"]
    register(sqlite, "new")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM targets").fetchone() == (2,)


def test_a_file_that_was_replaced_while_nobody_looked_is_noticed(sqlite: Database, file: Path) -> None:
    register(sqlite)
    sqlite.close()
    shutil.copy(file, copy := file.with_suffix(".copy"))
    register(sqlite, "lost")
    for each in file.parent.glob("history.db-*"):
        each.unlink()
    copy.replace(file)
    with sqlite.begin() as store:
        assert [target.account for target in store.due_targets(NOW, limit=10)] == ["agency"]


def test_a_full_disk_says_so(sqlite: Database) -> None:
    with sqlite.begin() as store:
        pages = store.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        store.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="make room on the disk") as refused, sqlite.begin() as store:
        store.register([(f"account {n} {'x' * 100}", None) for n in range(500)], NOW)
    assert refused.value.transient


def test_a_file_that_may_not_be_written_says_so(sqlite: Database) -> None:
    with sqlite.begin() as store:
        store.connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="make the file and its folder writable"):
        register(sqlite)


def test_one_daemon_holds_a_file(sqlite: Database, file: Path) -> None:
    with sqlite.exclusive():
        other = Database(f"sqlite:///{file}")
        holder = f"another daemon already .process {os.getpid()}."
        with pytest.raises(StorageError, match=holder) as refused, other.exclusive():
            pass
        assert not refused.value.transient
        other.close()
    with sqlite.exclusive():
        pass


def test_the_lock_does_not_follow_a_link(sqlite: Database, file: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    Path(f"{file}.daemon").symlink_to(victim)
    with pytest.raises(StorageError, match="symbolic links"), sqlite.exclusive():
        pass
    assert victim.read_text() == "kept"


def test_an_upgrade_leaves_no_lock_behind(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    database.upgrade()
    database.close()
    assert ["new.db"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_server_is_shared(postgres_url: str) -> None:
    one, other = Database(postgres_url), Database(postgres_url)
    with one.exclusive(), other.exclusive():
        pass


def test_a_server_that_ends_our_connections_is_asked_again(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.upgrade()
    register(database)
    administrator = create_engine(postgres_url, isolation_level="AUTOCOMMIT")

    def end_all() -> None:
        with administrator.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    end_all()  # while idle: nobody notices
    assert register(database) == 1
    with pytest.raises(StorageError) as refused, database.begin() as store:  # mid-way: nothing is written
        store.register([("agency", None), ("other", None)], NOW)
        end_all()
        store.due_targets(NOW, limit=1)
    assert refused.value.transient
    with pytest.raises(StorageError) as at_commit, database.begin() as store:
        store.register([("agency", None), ("other", None)], NOW)
        end_all()
    assert at_commit.value.transient
    with database.read() as store:
        assert len(store.due_targets(NOW, limit=10)) == 1
    administrator.dispose()
    database.close()


def test_postgresql_bounds_statements_locks_and_idle_transactions(postgres_url: str) -> None:
    with closing(Database(postgres_url, statement_timeout=timedelta(milliseconds=200))) as database:
        database.upgrade()
        assert database.unapplied_settings() == []
        with pytest.raises(StorageError, match="statement timeout"), database.read() as store:
            store.connection.execute(text("SELECT pg_sleep(30)"))
        assert register(database) == 1


def test_settings_that_the_url_asks_for_win_and_are_named(postgres_url: str) -> None:
    url = f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-c%20lock_timeout%3D0"
    with closing(Database(url)) as database:
        assert database.unapplied_settings() == ["lock_timeout"]


def test_a_row_that_the_schema_refuses_is_no_failure_of_the_database(database: Database) -> None:
    with pytest.raises(IntegrityError) as refused, database.begin() as store:
        for _ in range(2):
            row = {"id": 7, "account": "somebody by name", "now": "2026-11-27 10:00:00.000000"}
            insert = "INSERT INTO targets (id, account, first_seen_at) VALUES (:id, :account, :now)"
            store.connection.execute(text(insert), row)
    assert "somebody by name" not in str(refused.value)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StorageError, match=r"postpost-monitor\[postgres\]"):
        Database("postgresql+psycopg://user:secret@localhost/history")


def test_the_longest_transaction_is_the_age_of_the_oldest_that_is_open(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    assert database.longest_transaction() == 0
    with database.read():
        now[0] += 5
        with database.read():
            now[0] += 2
            assert database.longest_transaction() == 7
        assert database.longest_transaction() == 7
    assert database.longest_transaction() == 0
