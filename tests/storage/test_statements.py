"""What the daemon asks of the database all day costs the same however much history there is."""

import re
from collections.abc import Iterator
from datetime import UTC, time, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from monitor.core.routes import Route, Schedule
from monitor.errors import DeliveryError
from monitor.jobs.catch_up import catch_up
from monitor.jobs.rewind import Rewind
from monitor.storage import Database, dead_letters, figures, outbox, people, queries, told
from tests.factories import DAY, HOUR, NOW
from tests.fakes import FakeChannel
from tests.house import House
from tests.storage.sample_history import live

# What grows for as long as the monitor runs.
LONG = {"snapshots", "incidents", "notifications", "poll_runs"}
# What is in these is open, growing or undelivered: as much as is wrong now, not as much as ever was.
SHORT = "uq_incidents_open|ix_incidents_open_target_id|uq_poll_runs_growing|ix_notifications_(undelivered|digests)"

# What was resolved since the last digest.
SELDOM = "incidents.resolved_at IS NULL OR incidents.resolved_at > "

# Of those days; steps of a quarter of an hour ask nothing else, and cost six times as much.
STEP = 3 * HOUR


class Plans:
    """The plan of each statement that was run, once."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def take(self, connection: Connection, _: Any, statement: str, given: Any, __: Any, many: bool) -> None:
        """Have a statement explained before it runs."""
        if not re.match("SELECT|UPDATE|DELETE", statement) or statement in self.found:
            return
        self.found[statement] = ""  # also keeps this from explaining itself
        values = given[0] if many else given
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            self.found[statement] = "\n".join(row.detail for row in rows)
            return
        # Small tables are read whole even where an index would serve large ones.
        connection.exec_driver_sql("SET enable_seqscan = off")
        rows = connection.exec_driver_sql(f"EXPLAIN {statement}", values)
        self.found[statement] = "\n".join(rows.scalars())

    def reading_whole(self) -> list[str]:
        """Give the statements that read a long table from the first row to the last, and not just once a day."""
        return [
            f"{statement}\n{plan}"
            for statement, plan in self.found.items()
            if not re.search(SELDOM, statement)
            and any(
                table in LONG and not re.search(rf"USING (COVERING )?INDEX ({SHORT})", line)
                for line in plan.splitlines()
                for table in self._scanned(line, statement)
            )
        ]

    def _scanned(self, line: str, statement: str) -> list[str]:
        # All that one account ever had is as long as the table where there is one account.
        whole = r"^SCAN (\w+)|^SEARCH (\w+) USING (?:COVERING )?INDEX ix_incidents_account |Seq Scan on (\w+)"
        names = re.findall(whole, line)
        named = {alias: table for table, alias in re.findall(r"\b(\w+) AS (\w+)\b", statement)}
        return [named.get(name, name) for pair in names for name in pair if name]


@pytest.fixture
def plans(database: Database) -> Iterator[Plans]:
    plans = Plans()
    event.listen(Engine, "before_cursor_execute", plans.take)
    yield plans
    event.remove(Engine, "before_cursor_execute", plans.take)


def test_nothing_that_is_asked_all_day_reads_a_long_table_whole(database: Database, plans: Plans) -> None:
    house = live(database)
    house.routes = (
        Route(
            channels=("ops", "pager"),
            group_wait=timedelta(),
            remind_every=HOUR,
            digest=Schedule(at=time(8), zone=UTC),
        ),
    )
    # One that doesn't take messages for so long that there are dead letters, and then takes them.
    house.channels["pager"] = FakeChannel(refusal=DeliveryError("no", uncertain=True))
    house.live(4 * DAY, STEP)
    house.channels["pager"].refusal = DeliveryError("never", permanent=True)
    house.live(DAY, STEP)
    house.channels["pager"].refusal = None
    house.live(DAY, STEP)
    assert house.channels["pager"].sent
    _ask_aside(database, house)
    assert len(plans.found) > 100
    assert not plans.reading_whole(), "\n\n".join(plans.reading_whole())


def _ask_aside(database: Database, house: House) -> None:
    """Do what such a life has no occasion for."""
    now = house.clock()
    with database.begin() as store:
        figures.gather(store.connection, now)
        queries.health(store.connection, now, lately=DAY)
        queries.health(store.connection, now, account="agency", lately=DAY)
        told.channel_states(store.connection)
        dead_letters.lost(store.connection, channels=["ops"], attempts_below=60, tried_before=now)
        dead_letters.requeue(store.connection, [1], now)
        people.end_silence(store.connection, 1, now, by="mia", routing=house.routing)
        claimed = outbox.Claim(
            name="m1", channel="ops", ids=(1,), attempts=1, first_tried_at=now, leased_until=now
        )
        told.told_lately(store.connection, claimed, NOW)
        outbox.renew(store.connection, claimed, now)
    catch_up(house.channels, database=database, routing=house.routing, clock=house.clock)
    Rewind(house.clock, every={"agency": HOUR}, database=database)()
