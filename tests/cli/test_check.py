"""check-config, test-channel, db: is it right, does it arrive, is it sound."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from monitor.clock import utc_now
from monitor.config.model import Retention
from monitor.errors import StorageError
from monitor.jobs.context import JobContext
from monitor.jobs.prune import prune
from monitor.storage.database import Database
from monitor.storage.maintenance import backup
from monitor.storage.migrate import HEAD
from monitor.storage.store import Store
from tests.cli.conftest import CANARIES, KEY, PASSWORD, PATH, CliEnvironment
from tests.incident_services import KINDS, Program, RealHttp, lead_to
from tests.receivers import Answer, http_receiver
from tests.sandbox.faults import Fault

INSTAGRAM = "instagram-17841412345678"


def test_a_right_configuration_is_shown_with_who_is_told_what(cli_env: CliEnvironment) -> None:
    before = cli_env.files()
    ran = cli_env.run("check-config")
    assert ran.status == 0
    assert f"account agency: postpost at {cli_env.server.url}, every 15m" in ran.out
    assert "channel ops: json, " in ran.out
    assert ran.out.splitlines()[-1] == "The configuration is valid."
    (line,) = (
        line for line in ran.out.splitlines() if line.startswith("token_expiry") and "critical" in line
    )
    assert line.split() == ["token_expiry", "critical", "any", "any", "1", "ops"]
    assert cli_env.files() == before
    assert not cli_env.server.requests
    assert not cli_env.receiver.requests


def test_the_samples_take_the_ways_that_incidents_would(cli_env: CliEnvironment) -> None:
    cli_env.tree["channels"].append({"name": "night", "url_env": "OPS_URL"})
    cli_env.tree["routes"] = [
        {"channels": ["night"], "match": {"severity": "critical", "platform": "linkedin"}, "continue": False},
        {"channels": ["ops"]},
    ]
    lines = [line.split() for line in cli_env.run("check-config").out.splitlines()]
    ways = [line[2:] for line in lines if line[:2] == ["token_expiry", "critical"]]
    assert ["any", "linkedin", "1", "night"] in ways
    assert len(ways) == 2
    assert [line[2:] for line in lines if line[:2] == ["token_expiry", "warning"]] == [
        ["any", "any", "2", "ops"]
    ]


def test_what_no_route_takes_is_an_error_unless_it_is_meant(cli_env: CliEnvironment) -> None:
    cli_env.tree["routes"] = [{"channels": ["ops"], "match": {"rule": "token_expiry"}}]
    ran = cli_env.run("check-config")
    assert ran.status == 2
    assert "no route takes a " in ran.complaint
    assert "unrouted: ignore" in ran.complaint
    assert "nobody" in ran.out
    cli_env.tree["unrouted"] = "ignore"
    assert cli_env.run("check-config").status == 0


def test_without_a_channel_it_warns_and_goes_on(cli_env: CliEnvironment) -> None:
    del cli_env.tree["channels"]
    ran = cli_env.run("check-config")
    assert ran.status == 0
    assert "no alert will be sent" in ran.err


def test_the_configuration_in_force_is_shown_without_its_secrets(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("check-config", "--show")
    assert ran.status == 0
    shown = yaml.safe_load(ran.out)
    assert shown["accounts"][0]["api_key_env"] == "AGENCY_KEY"
    assert shown["channels"][0]["url"] == "***"
    assert shown["retention"] == {"history": "400d"}


def test_a_test_message_arrives(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("test-channel")
    assert (ran.status, ran.out) == (0, "ops (json): sent\n")
    (request,) = cli_env.receiver.requests
    assert "test" in request.json()["title"].lower()
    assert not cli_env.database.exists()


def test_a_test_message_that_is_refused_says_why(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_URL", f"nosuchservice://{PATH}")
    cli_env.tree["channels"].append({"name": "bad", "url_env": "BAD_URL"})
    cli_env.receiver.answer = Answer(status=503)
    ran = cli_env.run("test-channel")
    assert ran.status == 1
    first, second = ran.out.splitlines()
    assert first.startswith("ops (json): not sent: ")
    assert "503" in first
    assert second.startswith("bad (unknown): not sent: ")
    cli_env.receiver.answer = Answer()
    assert cli_env.run("test-channel", "ops").status == 0


def test_an_unknown_channel_is_wrong_and_the_known_are_named(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("test-channel", "opps")
    assert ran.status == 2
    assert "ops" in ran.complaint.partition("want")[2]
    del cli_env.tree["channels"]
    assert cli_env.run("test-channel").status == 2


def test_upgrading_makes_the_database_once(cli_env: CliEnvironment) -> None:
    assert cli_env.run("db", "current").out.startswith("none; ")
    assert not cli_env.database.exists()
    assert cli_env.run("db", "upgrade").out.endswith("(was empty)\n")
    assert cli_env.run("db", "upgrade").out.endswith(f"schema {HEAD}\n")
    assert cli_env.run("db", "current").out == f"{HEAD}, as this program needs it\n"


def test_an_upgrade_can_be_read_beforehand(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("db", "upgrade", "--sql")
    assert ran.status == 0
    assert "CREATE TABLE incidents" in ran.out
    assert "CREATE VIEW current_connections" in ran.out
    assert not cli_env.database.exists()
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(ran.out.removeprefix(".bail on\n"))
        assert connection.execute("SELECT count(*) FROM incident_log").fetchone() == (0,)


def test_an_upgrade_shows_what_it_does(cli_env: CliEnvironment) -> None:
    ran = cli_env.run("db", "upgrade")
    assert ran.err.startswith("0001_history: ")
    assert f"{HEAD}: " in ran.err
    assert cli_env.run("db", "upgrade").err == ""


def test_where_nothing_would_run_or_nobody_answers_the_statements_say_so(cli_env: CliEnvironment) -> None:
    cli_env.run("db", "upgrade")
    assert cli_env.run("db", "upgrade", "--sql").out.endswith(f"schema {HEAD}, nothing to do\n")
    cli_env.tree["database"] = {"url": f"postgresql://monitor:{PASSWORD}@127.0.0.1:1/nothing"}
    ran = cli_env.run("db", "upgrade", "--sql")
    assert ran.status == 0
    assert "for an empty database, since " in ran.err
    assert "CREATE TABLE incidents" in ran.out
    assert PASSWORD not in ran.out + ran.err


def test_a_database_in_use_is_sound(cli_env: CliEnvironment, empty_database_url: str) -> None:
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    cli_env.run("poll")
    cli_env.fake_service.expire(INSTAGRAM)
    cli_env.run("poll")
    ran = cli_env.run("db", "check")
    assert (ran.status, ran.out.endswith(": sound\n")) == (0, True), ran.out


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (
            "UPDATE notifications SET delivered_at = NULL WHERE id = 1",
            "delivered without a delivery time: deliveries: 1",
        ),
        ("UPDATE notifications SET state = 'sending', leased_until = NULL", "being sent without a sender"),
        ("DELETE FROM notifications", "open incidents without a notification: 1, 2"),
        ("DELETE FROM target_schedule", "without a next poll: targets: 1"),
        ("DELETE FROM snapshots", "different from their newest snapshot: connections"),
        (
            "UPDATE connections SET token_status = 'expired' WHERE id = 2",
            "different from their newest snapshot: connections: 2",
        ),
        ("PRAGMA foreign_keys = OFF; DELETE FROM targets", "rows without their parent row: in connections"),
        ("DELETE FROM poll_runs", "polled without a poll run: targets: 1"),
        (
            "UPDATE poll_runs SET ended_at = started_at, poll_count = 1",
            "polled without a poll run: targets: 1",
        ),
        ("UPDATE poll_runs SET poll_count = 1", "neither running nor ended: poll runs: 1"),
        (
            "UPDATE targets SET deactivated_at = first_seen_at",
            "open, but no longer monitored: incidents: 1, 2",
        ),
        (
            "INSERT INTO acknowledgements (incident_id, created_by, comment, acknowledged_at) VALUES (1, "
            "'m', 'w', '2026-01-01'); "
            "UPDATE incidents SET resolved_at = '2026-01-01 00:00:00.000', resolution = 'recovered'",
            "resolved, but still acknowledged: incidents: 1",
        ),
        ("DROP TABLE connection_tests", "the schema lacks table connection_tests"),
        (
            "ALTER TABLE connection_tests DROP COLUMN missing_permissions",
            "the schema lacks column connection_tests.missing_permissions",
        ),
        ("DROP INDEX ix_notifications_undelivered", "the schema lacks index ix_notifications_undelivered"),
        (
            "DROP INDEX uq_incidents_open; UPDATE incidents SET rule = 'publish_error'",
            "two open incidents for one problem: 2",
        ),
    ],
)
def test_what_should_never_be_is_found(cli_env: CliEnvironment, damage: str, word: str) -> None:
    cli_env.run("poll")
    with closing(sqlite3.connect(cli_env.database)) as connection:
        connection.executescript(damage)
    ran = cli_env.run("db", "check")
    assert ran.status == 1
    assert word in ran.out


def test_an_incident_that_no_route_takes_need_not_be_told(cli_env: CliEnvironment) -> None:
    cli_env.tree["routes"] = [{"channels": ["ops"], "match": {"rule": "api_*"}}]
    cli_env.tree["unrouted"] = "ignore"
    cli_env.run("poll")
    assert cli_env.run("db", "check").status == 0


def test_a_backup_is_consistent_while_others_write(cli_env: CliEnvironment, tmp_path: Path) -> None:
    cli_env.run("poll")
    database = Database(cli_env.tree["database"]["url"])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with database.begin() as store:
                store.connection.execute(text("UPDATE target_schedule SET run_length = run_length + 1"))
                store.connection.execute(
                    text("UPDATE targets SET consecutive_failures = consecutive_failures + 1")
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            assert cli_env.run("db", "backup", str(tmp_path / f"copy-{number}.db")).status == 0
    finally:
        stop.set()
        writer.join()
        database.close()
    for copy in sorted(tmp_path.glob("copy-*.db")):
        with closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            ((polls, failures),) = connection.execute(
                "SELECT run_length, consecutive_failures FROM target_schedule JOIN targets ON id = target_id"
            )
            assert polls == failures + 1
        assert copy.stat().st_mode & 0o077 == 0


def test_a_backup_overwrites_nothing(cli_env: CliEnvironment, tmp_path: Path) -> None:
    cli_env.run("poll")
    (tmp_path / "there").write_text("precious")
    ran = cli_env.run("db", "backup", str(tmp_path / "there"))
    assert ran.status == 1
    assert "is kept" in ran.complaint
    assert (tmp_path / "there").read_text() == "precious"
    assert cli_env.run("db", "backup", str(tmp_path / "no" / "folder")).status == 1
    assert cli_env.run("db", "backup", str(cli_env.database)).status == 1


def test_a_damaged_history_is_not_copied(cli_env: CliEnvironment, tmp_path: Path) -> None:
    cli_env.run("poll")
    content = bytearray(cli_env.database.read_bytes())
    page = int.from_bytes(content[16:18], "big")
    for start in range(3 * page, len(content), page):
        content[start + 8 : start + 40] = b"\xff" * 32
    cli_env.database.write_bytes(content)
    ran = cli_env.run("db", "backup", str(tmp_path / "copy.db"))
    assert ran.status == 1
    assert "damaged" in ran.complaint
    assert list(tmp_path.glob("copy.db*")) == []


def test_a_backup_put_in_place_is_taken_up_and_tells_nothing_anew(
    cli_env: CliEnvironment, tmp_path: Path
) -> None:
    cli_env.run("poll")
    assert cli_env.run("db", "backup", str(tmp_path / "copy.db")).status == 0
    cli_env.fake_service.expire(INSTAGRAM)
    cli_env.run("poll")
    notified = len(cli_env.receiver.requests)
    for each in cli_env.folder.glob("history.db*"):
        each.unlink()
    (tmp_path / "copy.db").rename(cli_env.database)
    assert cli_env.run("db", "check").status == 0
    cli_env.run("poll")
    (again,) = cli_env.receiver.requests[notified:]  # what happened since the backup, and that alone
    assert again.json()["title"].startswith("[CRITICAL]")


def test_a_server_is_backed_up_by_its_own_tool(
    cli_env: CliEnvironment, postgres_url: str, tmp_path: Path
) -> None:
    database = Database(postgres_url)
    with pytest.raises(
        StorageError, match=r"pg_dump --format=custom --file=\S+copy.db --dbname=postgresql://"
    ):
        backup(database, tmp_path / "copy.db")
    database.close()
    assert not (tmp_path / "copy.db").exists()


@pytest.fixture
def aged(cli_env: CliEnvironment, empty_database_url: str) -> CliEnvironment:
    """Give a place where a token ended and was renewed, and a post fails now; on each kind of database."""
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    cli_env.run("poll")
    cli_env.fake_service.expire(INSTAGRAM)
    cli_env.run("poll")
    cli_env.fake_service.reconnect(INSTAGRAM)
    cli_env.fake_service.post(INSTAGRAM)
    cli_env.run("poll")
    cli_env.fake_service.fail(INSTAGRAM, "Media upload failed again")
    cli_env.run("poll")
    return cli_env


def test_what_is_older_than_the_retention_is_forgotten_and_what_is_known_stays(aged: CliEnvironment) -> None:
    status = aged.run("status", "--json").json()
    assert len(aged.run("incidents", "--all", "--json").json()) == 3
    database = Database(aged.tree["database"]["url"].replace("postgresql:", "postgresql+psycopg:"))
    year = timedelta(days=365)
    keep = Retention.model_validate({"history": "365d"})
    forgotten = prune(JobContext(database=database, retention=keep, clock=lambda: utc_now() + 2 * year))
    again = prune(JobContext(database=database, retention=keep, clock=lambda: utc_now() + 2 * year))
    database.close()
    assert forgotten["transitions"] > 0
    assert forgotten["incidents"] == 2
    assert set(again.values()) == {0}
    assert aged.run("status", "--json").json() == status
    (still_open,) = aged.run("incidents", "--all", "--json").json()
    assert still_open["resolved_at"] is None
    assert {row["incident_id"] for row in aged.run("deliveries", "--json").json()} == {still_open["id"]}
    assert aged.run("db", "check").status == 0
    assert aged.run("poll").out.splitlines()[-1] == "0 messages sent."


def test_what_is_younger_than_the_retention_stays(aged: CliEnvironment) -> None:
    before = [aged.run("export", view).out for view in ("transitions", "incidents", "deliveries")]
    assert aged.run("db", "prune").out == "older than 400d: nothing\n"
    assert [aged.run("export", view).out for view in ("transitions", "incidents", "deliveries")] == before


def test_each_kind_is_kept_as_long_as_is_said(aged: CliEnvironment) -> None:
    database = Database(aged.tree["database"]["url"].replace("postgresql:", "postgresql+psycopg:"))
    year = timedelta(days=365)

    def kinds() -> list[int]:
        views = ("token_transitions", "snapshots", "incident_log", "delivery_log")
        with database.read() as store:
            return [
                store.connection.execute(text(f"SELECT count(*) FROM {view}")).scalar_one() for view in views
            ]

    def forget(**kept: str) -> dict[str, int]:
        keep = Retention.model_validate({"history": "9999d"} | kept)
        found = prune(JobContext(database=database, retention=keep, clock=lambda: utc_now() + year))
        return {kind: count for kind, count in found.items() if count}

    aged.fake_service.fail(INSTAGRAM, "Media upload failed once more")
    aged.run("poll")
    transitions, snapshots, incidents, deliveries = kinds()
    assert forget() == {}
    forgotten = forget(snapshots="30d")
    assert set(forgotten) == {"snapshots"}
    assert kinds() == [transitions, snapshots - forgotten["snapshots"], incidents, deliveries]
    # The open incident's deliveries say what its channels know: they stay.
    forgotten = forget(deliveries="30d")
    assert set(forgotten) == {"deliveries"}
    assert kinds()[2:] == [incidents, deliveries - forgotten["deliveries"]]
    assert {row["incident_id"] for row in aged.run("deliveries", "--json").json()} == {
        row["id"] for row in aged.run("incidents", "--json").json()
    }
    assert set(forget(incidents="30d")) == {"incidents"}
    assert set(forget(transitions="30d")) == {"transitions"}
    assert aged.run("db", "check").out.endswith("sound\n")
    assert aged.run("poll").out.splitlines()[-1] == "0 messages sent."
    database.close()


def test_the_ages_of_the_kinds_are_said_apart(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    cli_env.tree["retention"] = {"poll_runs": "90d"}
    assert cli_env.run("db", "prune").out == "older than 400d: nothing\nolder than 90d: nothing\n"
    cli_env.tree["retention"] = {"polls": "90d"}
    ran = cli_env.run("db", "prune")
    assert (ran.status, "did you mean 'poll_runs'?" in ran.complaint) == (2, True)


def test_pruning_holds_up_nobody_who_writes(cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever looks for what is old doesn't have the writer's lock: it may take long.
    cli_env.run("poll")
    database = Database(cli_env.tree["database"]["url"])
    wrote = []
    real = Database.read

    @contextmanager
    def reading(self: Database) -> Iterator[Store]:
        with real(self) as store:
            if self is database:
                with self.begin() as writer:
                    writer.connection.execute(text("UPDATE target_schedule SET run_length = run_length + 1"))
                    wrote.append(True)
            yield store

    monkeypatch.setattr(Database, "read", reading)
    prune(JobContext(database=database))
    assert wrote
    database.close()


def test_the_newest_digest_is_remembered(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    with closing(sqlite3.connect(cli_env.database)) as connection, connection:
        for id_ in (101, 102):
            connection.execute(
                "INSERT INTO notifications (id, channel, reason, group_key, state, created_at, due_at, delivered_at) "
                "VALUES (?, 'ops', 'digest', 'all', 'delivered', 1577836800000, 1577836800000, 1577836800000)",
                [id_],
            )
    assert cli_env.run("db", "prune").out == "older than 400d: deleted 1 deliveries\n"
    with closing(sqlite3.connect(cli_env.database)) as connection:
        assert connection.execute("SELECT id FROM notifications WHERE reason = 'digest'").fetchall() == [
            (102,)
        ]


def test_what_is_still_to_be_sent_is_not_forgotten(cli_env: CliEnvironment) -> None:
    cli_env.receiver.answer = Answer(status=503)
    cli_env.run("poll")
    cli_env.fake_service.reconnect(INSTAGRAM)
    cli_env.fake_service.clear_error(INSTAGRAM)
    cli_env.run("poll")
    with closing(sqlite3.connect(cli_env.database)) as connection, connection:
        old = "2020-01-01 00:00:00.000"
        connection.execute("UPDATE incidents SET opened_at = 0, resolved_at = ?", [old])
        connection.execute(
            "UPDATE notifications SET state = 'delivered', delivered_at = 1 WHERE incident_id = 1"
        )
    assert cli_env.run("db", "prune").out == "older than 400d: deleted 1 incidents\n"
    assert [row["id"] for row in cli_env.run("incidents", "--all", "--json").json()] == [2]


def test_forgetting_much_takes_many_small_transactions(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli_env.run("poll")
    monkeypatch.setattr("monitor.storage.maintenance.MAX_BATCH_SIZE", 10)
    with closing(sqlite3.connect(cli_env.database)) as connection, connection:
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 95) "
            "INSERT INTO snapshots (id, connection_id, taken_at, token_status) "
            "SELECT -i, 1, 1577836800000, 'valid' FROM n"
        )
    assert cli_env.run("db", "prune").out == "older than 400d: deleted 95 transitions\n"


def test_secrets_of_a_database_url_stay_out_of_messages(cli_env: CliEnvironment) -> None:
    cli_env.tree["database"] = {"url": f"postgresql://monitor:{PASSWORD}@127.0.0.1:1/nothing"}
    for command in ("status", "poll", "db current", "--debug db upgrade"):
        ran = cli_env.run(*command.split())
        assert ran.status == 1
        assert PASSWORD not in ran.out + ran.err
        assert "127.0.0.1" in ran.err


def test_no_command_shows_or_keeps_a_secret(cli_env: CliEnvironment) -> None:
    commands = (
        *("check-config", "check-config --show", "test-channel", "poll --dry-run", "poll", "status"),
        *("status --json", "history", "incidents", "deliveries", "check-health", "db check", "db current"),
        *("db prune", "db upgrade", "export deliveries", "export incidents", "deliveries retry 1"),
        *("db backup copy.db", "db backup copy.db", "poll --account nobody", "test-channel nobody"),
    )
    cli_env.receiver.answer = Answer(status=401, body=f"{CANARIES}".encode())
    for refused in (False, True):
        if refused:  # and the API repeats the key in what it says
            cli_env.server.faults.set(Fault.error(401, f"Invalid API key {KEY}"))
        for command in commands:
            for debug in ((), ("--debug",)):
                ran = cli_env.run(*debug, *command.split())
                shown = ran.out + ran.err
                assert not [canary for canary in CANARIES if canary in shown], (command, shown)
    stored = cli_env.database.read_bytes()
    assert not [canary for canary in CANARIES if canary.encode() in stored]


# Services with incidents of their own


def add_channel(cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PAGER_URL", url)
    cli_env.tree["channels"].append({"name": "pager", "url_env": "PAGER_URL"})


def test_a_test_incident_is_opened_and_resolved(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Program()
    with http_receiver(service) as receiver:
        add_channel(cli_env, monkeypatch, f"json://{receiver.address}/?events=incident")
        ran = cli_env.run("test-channel", "pager")
        cli_env.run("test-channel", "pager")
    assert (ran.status, ran.out) == (0, "pager (json): sent\n")
    assert [("opened", "notice"), ("resolved", "notice")] * 2 == service.story
    assert {} == service.open
    assert 2 == len(service.keys)
    assert not cli_env.database.exists()


@pytest.mark.parametrize("kind", ["pagerduty", "opsgenie", "alertmanager", "splunk"])
def test_a_test_says_sent_only_if_the_service_took_both(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    about = KINDS[kind]
    service = about.make()
    with http_receiver(service) as receiver:
        monkeypatch.setattr("monitor.app.http_of", lambda config: RealHttp(receiver.address))
        lead_to(receiver.address, monkeypatch)
        add_channel(cli_env, monkeypatch, about.url.format(address=receiver.address))
        vars(service)["now"] = utc_now() + timedelta(minutes=1)
        ran = cli_env.run("test-channel", "pager")
        assert (0, f"pager ({kind}): sent\n", 2) == (ran.status, ran.out, len(receiver.requests))
        assert [] == service.refused
        service.instead = Answer(status=500)
        ran = cli_env.run("test-channel", "pager")
        assert (1, f"pager ({kind}): not sent: {kind}: HTTP 500\n") == (ran.status, ran.out)


def test_a_service_with_incidents_is_named_as_one(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_channel(cli_env, monkeypatch, "alertmanager://127.0.0.1:9093")
    ran = cli_env.run("check-config")
    assert ran.status == 0
    assert "channel pager: alertmanager, one event for each change of an incident" in ran.out
    assert "127.0.0.1" not in ran.out.replace(cli_env.server.url, "")


def test_a_wish_for_incidents_that_no_service_grants_is_refused(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_channel(cli_env, monkeypatch, f"slack://TokenAAAA/TokenBBBB/{PATH}CCCC?events=incident")
    ran = cli_env.run("check-config")
    assert ran.status == 2
    assert ran.complaint.endswith(
        "channels[1].url_env: events=incident is for json:// and for services with incidents of their own; leave it out"
    )
    monkeypatch.setenv("PAGER_URL", f"alertmanager://{PATH}:nowhere")
    ran = cli_env.run("check-config")
    assert ran.status == 2
    assert "channels[1].url_env: channel pager: want alertmanager://" in ran.complaint
    assert PATH not in ran.err


def test_a_rehearsal_shows_the_events_and_sends_none(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with http_receiver() as receiver:
        add_channel(cli_env, monkeypatch, f"json://{receiver.address}/?events=incident")
        ran = cli_env.run("poll", "--dry-run")
        assert [] == receiver.requests
    notified = [line for line in ran.out.splitlines() if line.startswith("would notify pager: ")]
    assert notified
    assert all(re.match(r"would notify pager: opened [0-9a-f]{16}-\d+, \w+: ", line) for line in notified)


def test_one_pass_sends_an_event_for_each_incident(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Program()
    with http_receiver(service) as receiver:
        add_channel(cli_env, monkeypatch, f"json://{receiver.address}/?events=incident")
        assert cli_env.run("poll").status == 0
        incidents = cli_env.run("incidents", "--json").json()
        assert cli_env.run("poll").status == 0
    assert [each["id"] for each in incidents] == [int(each.key.rpartition("-")[2]) for each in service.seen]
    assert {"opened"} == {each.what for each in service.seen}
