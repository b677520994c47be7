"""docs/history.md: it names what there is, and each of its questions is asked on both databases and answered right."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import inspect, make_url, text

from monitor.clock import utc_now
from monitor.core.messages.lifecycle import Downtime
from monitor.core.model import Outcome
from monitor.core.routing.routes import Route
from monitor.core.text import format_time
from monitor.errors import StorageError
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.storage import downtimes
from monitor.storage.database import Database
from monitor.storage.tables import metadata
from tests.factories import DAY, HOUR, connection, error, failure
from tests.fakes import FakeProvider, FrozenClock
from tests.jobs.simulator import VIEWS, JobSimulator

DOCUMENT = Path(__file__).parents[2] / "docs" / "history.md"
TYPES = {
    "text": {"TEXT", "VARCHAR"},
    "time": {"TIMESTAMP"},
    "integer": {"INTEGER", "BIGINT"},
    "number": {"DOUBLE_PRECISION", "DOUBLE PRECISION"},
}
USER = "64a1f0c2e4b0a1b2c3d4e5f6"
GAP = Downtime(starts_at=datetime(2026, 2, 21, 22, tzinfo=UTC), ends_at=datetime(2026, 2, 22, 4, tzinfo=UTC))
# Twenty days before the questions are asked: they ask what is left from now on.
START = utc_now().replace(minute=0, second=0, microsecond=0) - 20 * DAY
DEAD = (
    f"publishing failed at {format_time(START + 4 * DAY - HOUR)}, "
    "because the platform rejected the login: The token has expired"
)
BROKEN = (
    f"publishing failed at {format_time(START + 5 * DAY - HOUR)}, "
    "because the platform refused the content: Media upload failed"
)
GONE = f"the API no longer lists this connection (last seen at {format_time(START + 10 * DAY)})"
OVER = f"token expired at {format_time(START + 10 * DAY)}"
SOON = f"token expires at {format_time(START + 23 * DAY - HOUR)}"


def sections(title: str) -> dict[str, str]:
    """Give the parts of a chapter of the document, by their headings."""
    chapter = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (found,) = (each for each in chapter if each.startswith(f"{title}\n"))
    return {
        part.partition("\n")[0].strip("`"): part for part in re.split(r"^### ", found, flags=re.MULTILINE)[1:]
    }


def documented(view: str) -> list[tuple[str, str]]:
    return re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \|$", sections("Views")[view], re.MULTILINE)


def statements(title: str, *, sqlite: bool) -> list[str]:
    """Give the SQL of a question for one of the databases."""
    text = sections("Questions")[title]
    found = re.findall(r"(?:On (\w+):\n\n)?```sql\n(.+?);\n```", text, re.DOTALL)
    return [sql for name, sql in found if not name or (name == "SQLite") == sqlite]


def test_every_view_is_documented_and_no_other() -> None:
    assert set(VIEWS) == set(sections("Views"))


@pytest.mark.parametrize("view", VIEWS)
def test_the_columns_documented_are_the_columns_of_the_view(simulator: JobSimulator, view: str) -> None:
    with simulator.database.read() as store:
        columns = inspect(store.connection).get_columns(view)
    assert [name for name, _ in documented(view)] == [each["name"] for each in columns]
    if not simulator.database.is_sqlite:  # which gives what is computed no type
        for (name, kind), column in zip(documented(view), columns, strict=True):
            assert str(column["type"]).split("(")[0] in TYPES[kind], (name, column["type"])


def test_the_diagram_shows_every_table() -> None:
    diagram = DOCUMENT.read_text(encoding="utf-8").partition("```mermaid")[2].partition("```")[0]
    assert set(metadata.tables) == set(re.findall(r"\b[a-z_]+\b(?=\s+[|}]|$)", diagram, re.MULTILINE)) | set(
        re.findall(r"[|{]\s([a-z_]+) :", diagram)
    )


@pytest.fixture
def notified(database: Database) -> JobSimulator:
    """Give a house in which, within twenty days, everything happened that the questions ask about."""
    simulator = JobSimulator(database, clock=FrozenClock(START))
    simulator.providers["studio"] = FakeProvider()
    simulator.routes = (Route(channels=("ops", "gone"), group_wait=timedelta()),)
    with database.begin() as store:
        downtimes.save_downtime(store, GAP)
        watched = store.register([("agency", None), ("agency", USER), ("studio", None)], START)
        store.connection.execute(
            text(f"UPDATE targets SET managed_user = 'Acme' WHERE managed_user_id = '{USER}'")
        )

    def own(name: str, **given: Any) -> Any:
        return connection(platform_id=name, username=name.partition("-")[0], **{"expires_at": None} | given)

    profile = {"platform_id": "linkedin-Tz9W5i6ZYG", "username": "johndoe"}
    good = connection(**profile, expires_at=START + 30 * DAY)
    soon = connection(**profile, expires_at=START + 3 * DAY, token_status="expiring_soon")
    over = connection(**profile, expires_at=START + 3 * DAY, token_status="expired")
    refused = error("The token has expired", occurred_at=START + 4 * DAY - HOUR)
    failed = connection(**profile, expires_at=START + 3 * DAY, token_status="expired", last_error=refused)
    again = connection(**profile, expires_at=START + 65 * DAY, last_successful_post_at=START + 5 * DAY - HOUR)
    broken = error("Media upload failed", occurred_at=START + 5 * DAY - HOUR)
    fine = own("instagram-1", expires_at=START + 60 * DAY)
    unfit = own("instagram-1", expires_at=START + 60 * DAY, last_error=broken)
    quiet = own("threads-1", expires_at=START + 40 * DAY)
    dead = own("threads-1", expires_at=START + 10 * DAY, token_status="expired")
    unknown, gone = own("bluesky-1", token_status="unknown"), own("mastodon-1")
    always = [unknown, own("facebook-1", expires_at=START + 59 * DAY)]
    theirs = connection(**profile, display_name="Client", expires_at=START + 23 * DAY - HOUR)
    near = connection(
        **profile, display_name="Client", expires_at=START + 23 * DAY - HOUR, token_status="expiring_soon"
    )
    days = {
        0: ([good, fine, quiet, gone], theirs),
        1: ([soon, fine, quiet, gone], theirs),
        3.25: ([over, fine, quiet, gone], theirs),
        4: ([failed, fine, quiet, gone], theirs),
        5: ([again, unfit, quiet, gone], theirs),
        10: ([again, unfit, dead, gone], theirs),
        **{12 + n / 24: ([again, unfit, dead], theirs) for n in range(4)},
        18: ([again, unfit, dead], near),
        20: ([again, unfit, dead], near),
    }
    simulator.providers["studio"].fails(
        failure(Outcome.UNAUTHORIZED, http_status=401, error="the key is refused")
    )
    for day, (listed, other) in days.items():
        simulator.clock.now = START + day * DAY
        simulator.provider.lists(*listed, *always)
        simulator.provider.lists(other, user=USER)
        if day == 3.25:
            simulator.provider.fails(failure(Outcome.TIMEOUT, error="no answer within 20 seconds"), user=USER)
        seen = [take_snapshot(each, simulator.context) for each in watched]
        record_polls(seen, simulator.context)
        simulator.clock.advance(timedelta(seconds=30))
        simulator.deliver()
    with database.begin() as store:
        store.connection.execute(text("UPDATE incidents SET acknowledged_by = 'anna' WHERE id = 5"))
    return simulator


def answer(simulator: JobSimulator, title: str) -> list[tuple[Any, ...]]:
    """Ask one question of the document; times are given as days since the start, numbers as they are."""
    (statement,) = statements(title, sqlite=simulator.database.is_sqlite)
    return [
        tuple(_plain(value) for value in row.values())
        for row in simulator.query(statement.replace(":", "\\:"))
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", value):
        value = datetime.fromisoformat(value).replace(tzinfo=UTC)
    if isinstance(value, datetime):
        return round((value - START) / DAY, 3)
    return float(value) if isinstance(value, Decimal) else value


QUIET = ("agency", None, "threads", "threads")
ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "Who must reconnect something this week?": [
        (*QUIET, "expired", 10.0),
        ("agency", "Acme", "linkedin", "johndoe", "expiring_soon", 22.958),
    ],
    "Which tokens expire within 60 days?": [
        ("agency", "Acme", "linkedin", "johndoe", 22.958),
        ("agency", None, "facebook", "facebook", 59.0),
        ("agency", None, "instagram", "instagram", 60.0),
        ("agency", None, "linkedin", "johndoe", 65.0),
    ],
    "How long does it take to reconnect, by platform?": [("linkedin", 1, 96.0, 48.0)],
    "Which clients take longest to reconnect?": [("agency", None, 96)],
    "Which expired tokens did no failed post reveal?": [(*QUIET, 10.0, "10 days")],
    "Was the monitor itself down on a date?": [(GAP.starts_at, GAP.ends_at, 6 * 3600)],
    "What exactly was sent to whom, and when?": [
        (0.0, "ops", "opened", "api_key_rejected", "studio", None, "the key is refused"),
        (
            1.0,
            "ops",
            "opened",
            "token_expiry",
            "agency",
            "johndoe",
            f"token expired at {format_time(START + 3 * DAY)}",
        ),
        (
            3.25,
            "ops",
            "escalated",
            "token_expiry",
            "agency",
            "johndoe",
            f"token expired at {format_time(START + 3 * DAY)}",
        ),
        (4.0, "ops", "opened", "publish_error", "agency", "johndoe", DEAD),
        (
            5.0,
            "ops",
            "resolved",
            "token_expiry",
            "agency",
            "johndoe",
            f"token expired at {format_time(START + 3 * DAY)}",
        ),
        (5.0, "ops", "resolved", "publish_error", "agency", "johndoe", DEAD),
        (5.0, "ops", "opened", "publish_error", "agency", "instagram", BROKEN),
        (
            10.0,
            "ops",
            "opened",
            "token_expiry",
            "agency",
            "threads",
            OVER,
        ),
        (12.084, "ops", "opened", "connection_removed", "agency", "mastodon", GONE),
        (18.0, "ops", "opened", "token_expiry", "agency", "johndoe", SOON),
        (20.0, "ops", "escalated", "token_expiry", "agency", "johndoe", SOON),
    ],
    "How long do messages take, by channel?": [("ops", 11, 30.0)],
    "What happened to one connection?": [
        (0.0, None, "valid", 30.0),
        (1.0, "valid", "expiring_soon", 3.0),
        (3.25, "expiring_soon", "expired", 3.0),
        (5.0, "expired", "valid", 65.0),
    ],
    "What share of its time was each connection's token good?": [
        ("agency", None, "threads-1", "half"),
        ("agency", None, "linkedin-Tz9W5i6ZYG", "nearly all"),
        ("agency", None, "facebook-1", 100.0),
        ("agency", None, "instagram-1", 100.0),
        ("agency", "Acme", "linkedin-Tz9W5i6ZYG", 100.0),
        ("agency", None, "mastodon-1", 100.0),
    ],
    "What is open, and who acknowledged it?": [
        (1, "critical", "api_key_rejected", "studio", None, None, "the key is refused", 0.0, None),
        (4, "warning", "publish_error", "agency", None, "instagram", BROKEN, 5.0, None),
        (
            5,
            "critical",
            "token_expiry",
            "agency",
            None,
            "threads",
            OVER,
            10.0,
            "anna",
        ),
        (7, "warning", "token_expiry", "agency", "Acme", "johndoe", SOON, 18.0, None),
    ],
    "How many problems were there of each kind, and how did they end?": [
        ("api_key_rejected", "open", 1),
        ("connection_removed", "removed", 1),
        ("publish_error", "open", 1),
        ("publish_error", "recovered", 1),
        ("token_expiry", "open", 2),
        ("token_expiry", "recovered", 1),
    ],
    "When was the API down, or the key rejected?": [
        ("studio", None, "unauthorized", "the key is refused", 0.0, 20.0, 12),
        ("agency", "Acme", "timeout", "no answer within 20 seconds", 3.25, 3.25, 1),
    ],
    "Which accounts and clients have problems?": [
        ("agency", None, 5, 1, 0, 2),
        ("agency", "Acme", 1, 0, 1, 1),
        ("studio", None, 0, 0, 0, 1),
    ],
    "Which accounts and clients had no successful poll lately?": [("studio", None, None, 12)],
    "Which errors do platforms report most?": [
        ("instagram", "Media upload failed", 1, 5.0),
        ("linkedin", "The token has expired", 1, 4.0),
    ],
    "Which posts failed although the token was valid?": [
        (5.0, "agency", None, "instagram", "instagram", "Media upload failed")
    ],
    "Which connections were removed, and when?": [("agency", None, "mastodon", "mastodon", 10.0, 12.083)],
    "Which profile is connected more than once?": [("linkedin-Tz9W5i6ZYG", 2, "agency", "agency")],
}
# Of those that say how much, in the words of the table above.
ROUGHLY = {"10 days": (9.9, 10.2), "half": (49, 51), "nearly all": (90, 99)}


def test_twenty_questions_are_asked_and_each_has_its_answer_here() -> None:
    asked = [title.partition(". ") for title in sections("Questions")]
    assert [str(n) for n in range(1, len(asked) + 1)] == [number for number, _, _ in asked]
    assert len(asked) >= 20
    others = {
        "Which messages never arrived, and why?",
        "How many tokens got worse each month?",
    }
    assert {title for _, _, title in asked} == set(ANSWERS) | others


def test_the_questions_of_the_document_are_answered(notified: JobSimulator) -> None:
    for title in sections("Questions"):
        wanted = ANSWERS.get(title.partition(". ")[2])
        if wanted is None:
            continue
        found = answer(notified, title)
        assert len(wanted) == len(found), (title, found)
        for expected, got in zip(wanted, found, strict=True):
            for one, other in zip(expected, got, strict=True):
                if one in ROUGHLY:
                    assert ROUGHLY[one][0] < other < ROUGHLY[one][1], (title, got)
                elif isinstance(one, datetime):
                    assert pytest.approx((one - START) / DAY, abs=0.001) == other, (title, got)
                else:
                    assert one == other, (title, got)


def test_what_never_arrived_is_all_that_the_missing_channel_was_to_get(notified: JobSimulator) -> None:
    found = answer(notified, "8. Which messages never arrived, and why?")
    assert 11 == len(found)
    assert {("gone", 1, "no channel 'gone' in the configuration; add it back and retry")} == {
        (channel, attempts, error) for _, channel, _, _, attempts, error in found
    }


def test_months_are_those_of_utc(notified: JobSimulator) -> None:
    changed = [("expiring_soon", 1), ("expired", 3.25), ("expired", 10), ("expiring_soon", 18)]
    months = Counter((f"{START + days * DAY:%Y-%m}", status) for status, days in changed)
    found = answer(notified, "21. How many tokens got worse each month?")
    assert sorted((*key, count) for key, count in months.items()) == found


@pytest.fixture
def reader(postgres_url: str) -> Iterator[Database]:
    """Give a database as the role of the document sees it."""
    owner = Database(postgres_url)
    owner.upgrade()
    recipe = sections("Reading the history with other programs")[
        "PostgreSQL: a role that can only read the views"
    ]
    (script,) = re.findall(r"```sql\n(.+?)```", recipe, re.DOTALL)
    role = f"reader_{os.getpid()}"
    with owner.begin() as store:
        for statement in script.replace("history_reader", role).split(";"):
            if statement.strip():
                store.connection.exec_driver_sql(statement)
    url = make_url(postgres_url).set(username=role, password="choose one")
    database = Database(url.render_as_string(hide_password=False))
    yield database
    database.close()
    with owner.begin() as store:
        store.connection.exec_driver_sql(f"DROP OWNED BY {role}; DROP ROLE {role}")
    owner.close()


def test_the_role_of_the_document_reads_every_view_and_nothing_else(reader: Database) -> None:
    for view in VIEWS:
        with reader.read() as store:
            store.connection.execute(text(f"SELECT * FROM {view}"))
            assert "UTC" == store.connection.execute(text("SHOW timezone")).scalar()
    for statement in (
        *(f"SELECT * FROM {table}" for table in metadata.tables),
        "DELETE FROM delivery_log",
        "CREATE TABLE mine (id integer)",
        "SET default_transaction_read_only = off; DELETE FROM delivery_log",
    ):
        with pytest.raises(StorageError, match=r"permission denied|read-only"), reader.read() as store:
            store.connection.exec_driver_sql(statement)


def test_the_metadata_for_datasette_asks_a_question_of_the_document(notified: JobSimulator) -> None:
    recipe = sections("Reading the history with other programs")["SQLite: Datasette"]
    (metadata_file,) = re.findall(r"```yaml\n(.+?)```", recipe, re.DOTALL)
    (kept,) = yaml.safe_load(metadata_file)["databases"]["history"]["queries"].values()
    assert [kept["sql"]] == statements(f"1. {kept['title']}", sqlite=True)
