"""The id of an installation: made once, whoever asks first, and kept with the history."""

import threading
from pathlib import Path

from monitor.storage.database import Database
from monitor.storage.installation import installation_id
from monitor.storage.maintenance import backup


def asked(database: Database) -> str:
    with database.begin() as store:
        return installation_id(store)


def test_an_installation_has_one_id_and_another_one_has_another(database: Database, tmp_path: Path) -> None:
    first = asked(database)
    assert first == asked(database)
    assert 16 == len(first) == len(set(first) & set("0123456789abcdef")) + 16 - len(set(first))
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    other.upgrade()
    assert first != asked(other)
    other.close()


def test_of_two_that_ask_at_once_both_hear_the_same(database: Database) -> None:
    heard: list[str] = []
    together = threading.Barrier(4)

    def ask() -> None:
        together.wait(10)
        heard.append(asked(database))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 4 == len(heard)
    assert 1 == len(set(heard))


def test_a_copy_of_the_history_is_the_same_installation(sqlite_url: str, tmp_path: Path) -> None:
    original = Database(sqlite_url)
    original.upgrade()
    name = asked(original)
    backup(original, tmp_path / "copy.db")
    original.close()
    copy = Database(f"sqlite:///{tmp_path / 'copy.db'}")
    assert name == asked(copy)
    copy.close()
