"""What the daemon asks of the database all day costs the same however much history there is."""

import re
from collections.abc import Iterator
from datetime import UTC, time, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from monitor.core.routing.routes import Route, Schedule
from monitor.errors import DeliveryError
from monitor.jobs.backfill_notifications import backfill_notifications
from monitor.jobs.clock_step import ClockStepRecovery
from monitor.storage import dead_letters, notification_log, outbox, queries, silences, stats
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, NOW
from tests.fakes import FakeChannel
from tests.simulator import Simulator
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
    simulator = live(database)
    simulator.routes = (
        Route(
            channels=("ops", "pager"),
            group_wait=timedelta(),
            remind_every=HOUR,
            digest=Schedule(time_of_day=time(8), zone=UTC),
        ),
    )
    # One that doesn't take messages for so long that there are dead letters, and then takes them.
    simulator.channels["pager"] = FakeChannel(refusal=DeliveryError("no", uncertain=True))
    simulator.advance(4 * DAY, STEP)
    simulator.channels["pager"].refusal = DeliveryError("never", permanent=True)
    simulator.advance(DAY, STEP)
    simulator.channels["pager"].refusal = None
    simulator.advance(DAY, STEP)
    assert simulator.channels["pager"].sent
    _ask_aside(database, simulator)
    assert len(plans.found) > 100
    assert not plans.reading_whole(), "\n\n".join(plans.reading_whole())


def _ask_aside(database: Database, simulator: Simulator) -> None:
    """Do what such a life has no occasion for."""
    now = simulator.clock()
    with database.begin() as store:
        stats.collect(store, now)
        queries.health(store, now, recently=DAY)
        queries.health(store, now, account="agency", recently=DAY)
        notification_log.channel_states(store)
        dead_letters.lost(store, channels=["ops"], attempts_below=60, tried_before=now)
        dead_letters.requeue(store, [1], now)
        silences.expire_silence(store, 1, now, author="mia", routing=simulator.routing)
        claimed = outbox.Claim(
            message_key="m1", channel="ops", ids=(1,), attempts=1, first_attempt_at=now, leased_until=now
        )
        notification_log.last_client_notification(store, claimed, NOW)
        outbox.renew_lease(store, claimed, now)
    backfill_notifications(simulator.context)
    ClockStepRecovery(simulator.context).recover()
