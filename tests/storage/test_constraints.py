"""What the schema itself refuses, whoever writes."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from monitor.core.model import DeliveryState, Outcome, Reason, Resolution, RuleName, Severity
from monitor.errors import StorageError
from monitor.storage.database import Database
from monitor.storage.tables import connections, incidents, notifications, poll_runs, target_schedule, targets
from tests.factories import NOW, connection, error
from tests.jobs.simulator import JobSimulator

INCIDENT = {
    "rule": RuleName.TOKEN_EXPIRY,
    "subject": "connection:1:instagram-1",
    "account": "agency",
    "severity": Severity.WARNING,
    "max_severity": Severity.WARNING,
    "summary": "token expires",
    "remedy": "",
    "notified_levels": "{}",
    "opened_at": NOW,
}
RESOLVED = {"resolved_at": NOW, "resolution": Resolution.RECOVERED}
NOTIFICATION = {
    "channel": "ops",
    "reason": Reason.TEST,
    "group_key": "",
    "state": DeliveryState.PENDING,
    "created_at": NOW,
    "due_at": NOW,
}
TARGET = {"account": "agency", "first_seen_at": NOW}
RUN = {"target_id": 1, "outcome": Outcome.OK, "started_at": NOW}
CONNECTION = {
    "target_id": 1,
    "platform": "x",
    "platform_id": "x-1",
    "username": "",
    "token_status": "odd",
    "first_seen_at": NOW,
}


def write(database: Database, table: Table, **row: Any) -> None:
    with database.begin() as store:
        store.connection.execute(insert(table), row)


FORBIDDEN: list[tuple[Table, dict[str, Any]]] = [
    (incidents, INCIDENT | {"severity": "dreadful"}),
    (incidents, INCIDENT | {"max_severity": "dreadful"}),
    (incidents, INCIDENT | {"resolved_at": NOW}),
    (incidents, INCIDENT | {"resolution": Resolution.REMOVED}),
    (incidents, INCIDENT | {"target_id": 99}),
    (incidents, INCIDENT | {"connection_id": 99}),
    (notifications, NOTIFICATION | {"state": "missing_permissions"}),
    (notifications, NOTIFICATION | {"incident_id": 99}),
    (notifications, NOTIFICATION | {"silence_id": 99}),
    (targets, TARGET),
    (poll_runs, RUN | {"target_id": 99}),
    (connections, CONNECTION | {"target_id": 99}),
    (target_schedule, {"target_id": 99, "next_poll_at": NOW}),
    (target_schedule, {"target_id": 1, "next_poll_at": NOW}),
]
ALLOWED: list[tuple[Table, dict[str, Any]]] = [
    *((incidents, INCIDENT | {"rule": rule}) for rule in RuleName),
    *((incidents, INCIDENT | {"severity": each, "max_severity": each}) for each in Severity),
    *((incidents, INCIDENT | RESOLVED | {"resolution": each}) for each in Resolution),
    *((notifications, NOTIFICATION | {"reason": reason}) for reason in Reason),
    *((notifications, NOTIFICATION | {"state": state}) for state in DeliveryState),
    *((poll_runs, RUN | {"outcome": outcome, "ended_at": NOW, "poll_count": 1}) for outcome in Outcome),
    # Open sets: a rule, a reason or an outcome that is added later needs no migration.
    (incidents, INCIDENT | {"rule": "rule_of_tomorrow"}),
    (incidents, INCIDENT | RESOLVED | {"resolution": "resolution_of_tomorrow"}),
    (notifications, NOTIFICATION | {"reason": "reason_of_tomorrow"}),
    (poll_runs, RUN | {"outcome": "outcome_of_tomorrow", "ended_at": NOW, "poll_count": 1}),
    (connections, CONNECTION),
    (targets, TARGET | {"managed_user_id": "one"}),
    (targets, TARGET | {"account": "other"}),
]


def test_what_must_not_be_is_refused(database: Database) -> None:
    with database.begin() as store:
        store.register([("agency", None)], NOW)
    taken = []
    for table, row in FORBIDDEN:
        with suppress(IntegrityError):
            write(database, table, **row)
            taken.append((table.name, row))
    assert taken == []


def test_what_may_be_is_taken(database: Database) -> None:
    with database.begin() as store:
        store.register([("agency", None)], NOW)
    for number, (table, row) in enumerate(ALLOWED):
        write(database, table, **row | ({"subject": f"connection:{number}"} if table is incidents else {}))


def test_one_run_of_a_target_grows_at_a_time(database: Database) -> None:
    with database.begin() as store:
        store.register([("agency", None)], NOW)
    write(database, poll_runs, **RUN)
    write(database, poll_runs, **RUN, ended_at=NOW, poll_count=1)
    with pytest.raises(IntegrityError):
        write(database, poll_runs, **RUN)


def test_one_problem_of_one_subject_is_open_once(database: Database) -> None:
    write(database, incidents, **INCIDENT)
    with pytest.raises(IntegrityError):
        write(database, incidents, **INCIDENT | {"severity": Severity.CRITICAL})
    write(database, incidents, **INCIDENT | {"rule": RuleName.PUBLISH_ERROR})
    write(database, incidents, **INCIDENT | {"subject": "connection:1:threads-1"})
    for _ in range(2):
        with database.begin() as store:
            store.connection.execute(update(incidents).values(**RESOLVED))
        write(database, incidents, **INCIDENT)


def test_a_connection_is_there_once(database: Database) -> None:
    with database.begin() as store:
        store.register([("agency", None), ("other", None)], NOW)
    write(database, connections, **CONNECTION)
    write(database, connections, **CONNECTION | {"target_id": 2})
    with pytest.raises(IntegrityError):
        write(database, connections, **CONNECTION)


def test_what_belongs_to_a_target_goes_with_it(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(token_status="expired", last_error=error()))
    simulator.deliver()
    assert all(simulator.sizes()[name] for name in ("connections", "snapshots", "incidents", "notifications"))
    with simulator.database.begin() as store:
        store.connection.execute(delete(targets))
    assert {"target_schedule", "poll_runs", "silences"} <= simulator.sizes().keys()
    assert {0} == set(simulator.sizes().values())


@pytest.mark.parametrize("table", [incidents, notifications])
def test_an_id_that_people_have_seen_is_never_given_again(database: Database, table: Table) -> None:
    row = INCIDENT if table is incidents else NOTIFICATION
    write(database, table, **row)
    with database.begin() as store:
        store.connection.execute(delete(table))
    write(database, table, **row | {"channel": "other"})
    with database.read() as store:
        assert [2] == list(store.connection.execute(select(table.c.id)).scalars())


def test_a_time_that_nobody_could_read_back_is_never_written(database: Database) -> None:
    with pytest.raises((StorageError, ValueError)):
        write(database, incidents, **INCIDENT | {"opened_at": NOW.replace(tzinfo=None)})
    write(database, incidents, **INCIDENT | {"opened_at": NOW + timedelta(microseconds=1)})
    with database.read() as store:
        assert [NOW] == list(store.connection.execute(select(incidents.c.opened_at)).scalars())
