"""forget: what is known of a client goes, wherever it is kept; how much it was stays."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from monitor.clock import utc_now
from monitor.jobs.context import JobContext
from monitor.jobs.poll import record_polls
from monitor.storage import silences
from monitor.storage.database import Database
from monitor.storage.erasure import CHUNK
from monitor.storage.tables import metadata
from tests.cli.conftest import CliEnvironment
from tests.conftest import NewDatabase
from tests.factories import DAY, NOW, connection, snapshot
from tests.simulator import Simulator
from tests.storage.sample_history import USERS, live, resume

NAMES = (USERS[0], "Client & Söhne", "youtube-1")


@pytest.fixture(params=["sqlite", "postgres"])
def lived(
    cli_env: CliEnvironment, sample_database: NewDatabase, request: pytest.FixtureRequest
) -> Iterator[Simulator]:
    """Give a place whose history knows an account with two managed users; on each kind of database."""
    with sample_database(request.param) as url, closing(Database(url)) as database:
        cli_env.tree["database"]["url"] = url.replace("+psycopg", "")
        simulator = resume(database)
        with database.begin() as store:
            store.connection.execute(
                text(
                    "UPDATE targets SET managed_user = 'Client & Söhne', managed_username = 'c@example.com'"
                    " WHERE id = 2"
                )
            )
        yield simulator


def cells(database: Database) -> str:
    with database.read() as store:
        return "\n".join(
            repr(tuple(row))
            for table in metadata.sorted_tables
            for row in store.connection.execute(table.select())
        )


def counts(database: Database) -> dict[str, Any]:
    with database.read() as store:
        (row,) = store.connection.execute(text("SELECT * FROM erasure_log")).mappings()
        return dict(row)


def ids(simulator: Simulator, view: str) -> list[int]:
    return [row["id"] for row in simulator.rows(view)]


def test_a_managed_user_is_erased_and_only_counts_stay(cli_env: CliEnvironment, lived: Simulator) -> None:
    before = {
        name: [row for row in lived.rows(name) if row.get("managed_user_id") == USERS[0]]
        for name in ("current_connections", "token_transitions", "incident_log", "poll_log")
    }
    theirs = {row["id"] for row in before["incident_log"]}
    notified = [row for row in lived.rows("delivery_log") if row["incident_id"] in theirs]
    assert all(before.values())
    assert notified
    others = {
        name: [row for row in lived.rows(name) if row["managed_user_id"] != USERS[0]] for name in before
    }
    ran = cli_env.run("erase", "--account", "agency", "--managed-user", USERS[0])
    assert ran.status == 0, ran.err
    assert USERS[0] not in cells(lived.database)
    assert "c@example.com" not in cells(lived.database)
    for name, rows in others.items():
        assert lived.rows(name) == rows
    found = counts(lived.database)
    assert found["account"] == "agency"
    assert {
        name: found[name] for name in ("targets", "connections", "polls", "transitions", "incidents")
    } == {
        "targets": 1,
        "connections": len(before["current_connections"]),
        "polls": sum(row["polls"] for row in before["poll_log"]),
        "transitions": len(before["token_transitions"]),
        "incidents": len(before["incident_log"]),
    }
    assert found["deliveries"] == sum(row["state"] == "delivered" for row in notified)
    assert f"{found['incidents']} incidents" in ran.out
    assert cli_env.run("db", "check").status == 0


def test_an_account_is_erased_with_all_of_its_managed_users(
    cli_env: CliEnvironment, lived: Simulator
) -> None:
    with lived.database.begin() as store:
        store.register([("agency", None), ("other", None), *(("agency", user) for user in USERS)], NOW)
    ran = cli_env.run("erase", "--account", "agency")
    assert ran.status == 0, ran.err
    left = cells(lived.database)
    assert [name for name in (*NAMES, *USERS, "agency", "instagram", "mia") if name in left] == []
    assert "'other'" in left
    found = counts(lived.database)
    assert (found["account"], found["targets"]) == (None, 3)
    assert found["incidents"] > 0


def test_whom_nothing_is_known_of_is_said_so(cli_env: CliEnvironment, lived: Simulator) -> None:
    before = cells(lived.database)
    for given in (("--account", "nobody"), ("--account", "agency", "--managed-user", "nobody")):
        ran = cli_env.run("erase", *given)
        assert ran.status == 1
        assert "there is no data about" in ran.complaint
        assert "nobody" in ran.complaint
    assert cli_env.run("erase").status == 2
    assert cli_env.run("erase", "--account", "%' OR 1=1 --").status == 1
    assert cells(lived.database) == before


def test_one_who_is_still_polled_is_erased_with_a_warning(cli_env: CliEnvironment, lived: Simulator) -> None:
    ran = cli_env.run("erase", "--account", "agency", "--managed-user", USERS[1])
    assert ran.status == 0
    assert "still polled" in ran.err
    with lived.database.begin() as store:
        store.register([("agency", None)], NOW)
    ran = cli_env.run("erase", "--account", "agency", "--managed-user", USERS[0])
    assert (ran.status, ran.err) == (0, "")


def test_nothing_of_them_is_left_in_any_corner_of_the_file(cli_env: CliEnvironment) -> None:
    database = Database(cli_env.tree["database"]["url"])
    database.upgrade()
    live(database)
    names = [name.encode() for name in NAMES]
    content = b"".join(each.read_bytes() for each in cli_env.folder.glob("history.db*"))
    assert all(name in content for name in names)
    # The daemon goes on meanwhile: its connections are open.
    assert cli_env.run("erase", "--account", "agency").status == 0
    content = b"".join(each.read_bytes() for each in cli_env.folder.glob("history.db*"))
    assert [name for name in (*names, b"agency", b"brand") if name in content] == []
    database.close()


def test_silences_that_name_them_go_and_those_of_others_stay(lived: Simulator) -> None:
    from monitor.jobs.erase import erase_client

    def silence(patterns: list[str], until: timedelta) -> int:
        with lived.database.begin() as store:
            return silences.add_silence(
                store,
                {"managed_user": patterns},
                lived.clock(),
                until=lived.clock() + until,
                author="mia",
                comment="on holiday",
                routing=lived.routing,
            )

    by_id, by_name = silence([USERS[0]], DAY), silence(["Client & Söhne"], DAY)
    somebody, everybody, shared = silence(["Other"], DAY), silence(["*"], DAY), silence(["Client*"], DAY)
    lived.clock.advance(timedelta(hours=1))
    over = silence(["Client*"], timedelta(seconds=1))
    lived.clock.advance(timedelta(minutes=1))
    erase_client(lived.context, "agency", USERS[0])
    with lived.database.read() as store:
        left = [row["id"] for row in silences.list_silences(store, lived.clock(), everything=True)]
    assert {somebody, everybody, shared} <= set(left)
    assert {by_id, by_name, over} & set(left) == set()


def test_what_was_still_to_be_told_of_them_is_never_sent(lived: Simulator) -> None:
    from monitor.jobs.erase import erase_client

    lived.api.lists(
        connection(platform_id="youtube-1", token_status="expired", expires_at=NOW), user=USERS[0]
    )
    with lived.database.begin() as store:
        store.cap_next_poll("agency", latest=lived.clock())
    lived.poll()
    assert [row for row in lived.rows("delivery_log") if row["state"] == "pending"]
    erase_client(lived.context, "agency", USERS[0])
    sent = len(lived.sent)
    lived.clock.advance(31 * DAY)
    lived.deliver()
    assert len(lived.sent) == sent


def test_an_answer_that_comes_after_they_were_forgotten_brings_nothing_back(lived: Simulator) -> None:
    from monitor.jobs.erase import erase_client

    with lived.database.read() as store:
        watched = store.active_targets()
    erase_client(lived.context, "agency", USERS[1])
    with lived.database.begin() as store:  # on SQLite, whoever comes next gets the id that became free
        store.register([("agency", None), ("agency", USERS[0]), ("newcomer", None)], lived.clock())
    late = [
        snapshot(connection(platform_id="twitter-2", username="gone"), target=target, taken_at=lived.clock())
        for target in watched
        if target.managed_user_id == USERS[1]
    ]
    assert record_polls(late, lived.context) == []
    assert "twitter-2" not in cells(lived.database)


def test_a_large_account_is_erased_in_small_transactions_while_others_write(database: Database) -> None:
    from monitor.jobs.erase import erase_client

    users = [f"{n:024x}" for n in range(3 * CHUNK)]
    with database.begin() as store:
        store.register([("agency", None), ("other", None), *(("agency", user) for user in users)], NOW)
    stop, failed = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            try:
                with database.begin() as store:
                    store.connection.execute(
                        text("UPDATE target_schedule SET run_length = run_length + 1 WHERE target_id = 2")
                    )
            except Exception as error:  # noqa: BLE001 - the test wants to see whatever it was
                failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    gone = erase_client(JobContext(database=database), "agency", None)
    stop.set()
    writer.join()
    assert failed == []
    assert gone["targets"] == len(users) + 1
    assert counts(database)["targets"] == len(users) + 1
    with database.read() as store:
        assert [target.account for target in store.active_targets()] == ["other"]


def test_the_room_that_was_taken_is_given_back(cli_env: CliEnvironment) -> None:
    database = Database(cli_env.tree["database"]["url"])
    database.upgrade()
    with database.begin() as store:
        store.register([("agency", None)], utc_now())
        store.connection.execute(
            text(
                "INSERT INTO connections (id, target_id, platform, platform_id, username, token_status, first_seen_at)"
                " VALUES (1, 1, 'x', 'x-1', 'u', 'valid', '2020-01-01 00:00:00.000')"
            )
        )
        store.connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
                "INSERT INTO snapshots (connection_id, taken_at, from_status, token_status, last_error) "
                "SELECT 1, 1577836800000, 'valid', 'expired', 'a rather long word ' || i FROM n"
            )
        )
    database.close()
    large = cli_env.database.stat().st_size
    assert cli_env.run("db", "prune").out == "older than 400d: deleted 19999 transitions\n"
    assert cli_env.database.stat().st_size < large / 4
    assert not Path(f"{cli_env.database}-wal").exists() or Path(f"{cli_env.database}-wal").stat().st_size == 0
    engine = create_engine(f"sqlite:///{cli_env.database}")
    with closing(engine.raw_connection()) as connection:
        assert connection.cursor().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    engine.dispose()
