"""What is not ours, or newer than we are, is left exactly as it was found."""

import hashlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from monitor.errors import StorageError
from monitor.storage.database import Database


def of_development_revision(file: Path, revision: str = "0008") -> None:
    database = Database(f"sqlite:///{file}")
    database.upgrade()
    database.close()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def of_the_first_development_revision(file: Path) -> None:
    of_development_revision(file, "0001")


def foreign(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE recipes (id INTEGER PRIMARY KEY, cake TEXT)")
        connection.execute("INSERT INTO recipes (cake) VALUES ('chocolate')")


def foreign_with_a_log(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    foreign(file)


def half_ours(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE targets (id INTEGER PRIMARY KEY)")


def somebody_elses_migrations(file: Path) -> None:
    foreign(file)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('3f2a9c')")


def not_a_database(file: Path) -> None:
    file.write_bytes(b"Dear diary, " * 200)


def damaged(file: Path) -> None:
    foreign(file)
    content = bytearray(file.read_bytes())
    content[100:] = os.urandom(len(content) - 100)
    file.write_bytes(content)


def everything_in(folder: Path) -> dict[str, str]:
    return {
        str(each.relative_to(folder)): hashlib.sha256(each.read_bytes()).hexdigest()
        for each in sorted(folder.rglob("*"))
        if each.is_file()
    }


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (of_development_revision, "made by a development version: export it .* and start a new one"),
        (
            of_the_first_development_revision,
            "made by a development version: export it .* and start a new one",
        ),
        (foreign, r"not the monitor's \(recipes\)"),
        (foreign_with_a_log, r"not the monitor's \(recipes\)"),
        (half_ours, r"not the monitor's \(targets\)"),
        (somebody_elses_migrations, "doesn't know"),
        (not_a_database, "this file is something else"),
        (damaged, "the file is damaged|something else"),
    ],
)
@pytest.mark.parametrize("deed", [Database.upgrade, Database.current_revision])
def test_a_file_that_is_not_ours_is_refused_and_not_a_byte_is_changed(
    tmp_path: Path, make: Callable[[Path], None], says: str, deed: Callable[[Database], object]
) -> None:
    file = tmp_path / "history.db"
    make(file)
    before = everything_in(tmp_path)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(StorageError, match=says) as refused:
        deed(database)
    database.close()
    assert everything_in(tmp_path) == before
    assert not refused.value.transient
    assert "\n" not in str(refused.value)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}")
    with pytest.raises(StorageError):
        database.upgrade()
    database.close()
    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE targets (id integer)", "INSERT INTO targets VALUES (1)"],
        [
            "CREATE TABLE alembic_version (version_num text)",
            "INSERT INTO alembic_version VALUES ('9999')",
        ],
    ],
)
def test_a_server_database_that_is_not_ours_is_refused_and_untouched(
    postgres_url: str, statements: list[str]
) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database = Database(postgres_url)
    with pytest.raises(StorageError, match=r"[Nn]othing was touched"):
        database.upgrade()
    database.close()
    with engine.connect() as connection:
        assert len(inspect(connection).get_table_names()) == 1
        assert inspect(connection).get_view_names() == []
    engine.dispose()


def test_a_server_database_may_hold_other_things_beside_ours(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE recipes (cake text)"))
    database = Database(postgres_url)
    assert database.upgrade() is None
    database.close()
    engine.dispose()


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    database = Database("postgresql+psycopg://monitor:s3cr3tT0ken@127.0.0.1:1/history")
    with pytest.raises(StorageError, match="start the server") as refused:
        database.upgrade()
    database.close()
    assert refused.value.transient
    assert "s3cr3tT0ken" not in str(refused.value) + database.display_name + repr(database)


def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'state' / 'history.db'}")
    database.upgrade()
    with database.begin():
        kept = sorted(each for each in (tmp_path / "state").iterdir())
    assert [each.name for each in kept if each.stat().st_mode & 0o077] == []
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    database.close()
