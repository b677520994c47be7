"""Targets come and go with the configuration; deadlines pass without the API."""

import pytest
from structlog.testing import capture_logs

from monitor.core.model import Outcome, Severity
from monitor.core.rules.registry import Rules
from monitor.core.rules.token_expiry import TokenExpiry
from monitor.jobs.sync_targets import sync_targets
from monitor.storage import queries, stats
from monitor.storage.registration import Removal
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure
from tests.fakes import FakeProvider
from tests.jobs.simulator import EVERY, JobSimulator

DEAD = connection(token_status="expired", expires_at=NOW - DAY)


def test_a_new_account_is_due_at_once_and_once(simulator: JobSimulator) -> None:
    for _ in range(3):
        (target,) = simulator.discover()
        with simulator.database.read() as store:
            assert [target] == store.due_targets(simulator.clock(), limit=10)
    simulator.poll()
    simulator.providers["other"] = FakeProvider()
    assert ["agency", "other"] == [target.account for target in simulator.discover()]
    with simulator.database.read() as store:
        assert ["other"] == [target.account for target in store.due_targets(simulator.clock(), limit=10)]


def test_an_account_that_left_the_configuration_is_polled_no_more_and_nobody_is_told(
    simulator: JobSimulator,
) -> None:
    simulator.providers["other"] = FakeProvider()
    simulator.providers["other"].lists(DEAD)
    simulator.provider.lists(connection())
    simulator.poll()
    assert 1 == len(simulator.deliver())
    other = simulator.providers.pop("other")
    simulator.advance(DAY)
    assert ["agency"] == [target.account for target in simulator.discover()]
    with simulator.database.read() as store:
        assert ["agency"] == [target.account for target in store.due_targets(simulator.clock(), limit=10)]
        assert [] == store.due_for_reevaluation(simulator.clock() + 90 * DAY, limit=10)[1:]
    assert ["removed"] == [row["resolution"] for row in simulator.view("incident_log")]
    assert [] == simulator.deliver()
    assert 1 == other.asked.count(None)
    assert 2 == len(simulator.view("current_connections"))  # what was known stays


def test_an_account_that_comes_back_is_told_of_anew(simulator: JobSimulator) -> None:
    # Its answer is the very same as before; what was ended when it left must open again.
    simulator.poll_connections(DEAD)
    simulator.deliver()
    agency = simulator.providers.pop("agency")
    simulator.advance()
    simulator.discover()
    assert ["removed"] == [row["resolution"] for row in simulator.view("incident_log")]
    simulator.advance()
    simulator.providers["agency"] = agency
    simulator.poll()
    assert ["removed", None] == [row["resolution"] for row in simulator.view("incident_log")]
    assert 1 == len(simulator.deliver())
    assert 1 == len(simulator.view("token_transitions"))


def test_a_failing_account_that_leaves_takes_its_incident_along(simulator: JobSimulator) -> None:
    simulator.provider.fails(failure(Outcome.UNAUTHORIZED, http_status=401))
    simulator.poll()
    simulator.deliver()
    agency = simulator.providers.pop("agency")
    simulator.advance()
    simulator.discover()
    assert [("api_key_rejected", "removed")] == [
        (row["rule"], row["resolution"]) for row in simulator.view("incident_log")
    ]
    simulator.providers["agency"] = agency
    simulator.poll()
    assert [None] == [row["resolution"] for row in simulator.view("incident_log")][1:]


def test_a_poll_that_lies_too_far_off_is_pulled_in(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    simulator.clock.now -= 30 * DAY  # the clock was wrong when it was polled
    (target,) = simulator.discover()
    with simulator.database.read() as store:
        assert [] == store.due_targets(simulator.clock(), limit=10)
        assert [target] == store.due_targets(simulator.clock() + max(2 * EVERY, HOUR + EVERY), limit=10)


def test_a_deadline_is_met_without_the_api(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(expires_at=NOW + 10 * DAY))
    simulator.provider.fails(failure())
    notified = []
    for hour in range(6, 24 * 11, 6):
        simulator.advance(6 * HOUR)
        simulator.review()
        notified += [(hour, message.severity) for message in simulator.deliver()]
    assert [(72, "notice"), (168, "warning"), (216, "critical"), (240, "critical")] == notified
    assert 1 == len(simulator.provider.asked)
    assert 1 == len(simulator.view("incident_log"))


def test_a_review_that_finds_nothing_due_writes_nothing(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection(expires_at=NOW + 10 * DAY))
    before = simulator.sizes()
    assert 0 == simulator.review()
    simulator.advance(3 * DAY)
    assert 1 == simulator.review()
    assert 0 == simulator.review()
    after = simulator.sizes()
    assert 1 == after.pop("incidents") == after.pop("notifications")
    assert {**before, "incidents": 1, "notifications": 1} == {**after, "incidents": 1, "notifications": 1}


def test_many_deadlines_that_pass_at_once_are_all_met(simulator: JobSimulator) -> None:
    users = [f"{n:024x}" for n in range(450)]  # more than two batches
    simulator.managed = {"agency": users}
    for user in users:
        simulator.provider.lists(connection(expires_at=NOW + 10 * DAY), user=user)
    simulator.poll()
    simulator.advance(4 * DAY)
    assert 450 == simulator.review()
    assert 450 == simulator.sizes()["incidents"]
    (message,) = simulator.deliver()
    assert message.severity == "notice"


def test_rules_that_changed_are_applied_to_what_is_known(simulator: JobSimulator) -> None:
    simulator.poll_connections(connection())
    simulator.rules = Rules(connection=(TokenExpiry(before={90 * DAY: Severity.NOTICE}),))
    simulator.advance()
    simulator.poll_connections(connection())
    assert simulator.view("incident_log") == []  # the same answer again: nobody looks closer
    with simulator.database.begin() as store:
        store.invalidate_evaluations(simulator.clock())
    assert 1 == simulator.review()
    assert ["notice"] == [row["severity"] for row in simulator.view("incident_log")]


# A configuration that drops most targets


@pytest.fixture
def fleet(simulator: JobSimulator) -> JobSimulator:
    """Give nine accounts with one dead token each, of which everybody was notified."""
    simulator.providers.update({f"client-{n}": FakeProvider() for n in range(8)})
    for provider in simulator.providers.values():
        provider.lists(DEAD)
    simulator.poll()
    simulator.deliver()
    return simulator


def open_incidents(simulator: JobSimulator) -> int:
    return sum(1 for row in simulator.view("incident_log") if row["resolution"] is None)


def keep(simulator: JobSimulator, count: int) -> dict[str, FakeProvider]:
    """Take all but the first accounts out of the configuration; give those that are gone."""
    return {name: simulator.providers.pop(name) for name in list(simulator.providers)[count:]}


def test_most_targets_at_once_are_kept_unpolled_and_one_warning_says_so(fleet: JobSimulator) -> None:
    gone = keep(fleet, 4)
    with capture_logs() as lines:
        for _ in range(3):
            assert len(fleet.discover()) == 4
            fleet.advance(HOUR)
    warnings = [line["warning"] for line in lines if line["event"] == "config.warning"]
    assert len(warnings) == 1
    assert warnings[0].startswith("5 targets are no longer configured")
    with fleet.database.read() as store:
        assert {target.account for target in store.due_targets(fleet.clock(), limit=99)}.isdisjoint(gone)
        assert stats.due_since(store, fleet.clock()).keys().isdisjoint(gone)
        polled = queries.health(store, fleet.clock(), recently=DAY).targets
        assert {target.account for target in polled}.isdisjoint(gone)
    assert open_incidents(fleet) == 9
    fleet.providers.update(gone)
    fleet.poll()
    assert fleet.deliver() == []
    assert open_incidents(fleet) == 9


def test_what_stays_dropped_for_a_day_is_removed(fleet: JobSimulator) -> None:
    keep(fleet, 4)
    fleet.discover()
    fleet.advance(DAY - MINUTE)
    fleet.discover()
    assert open_incidents(fleet) == 9
    fleet.advance(MINUTE)
    fleet.discover()
    assert open_incidents(fleet) == 4
    assert fleet.deliver() == []


def test_removal_can_be_accepted_before_and_after_targets_were_dropped(fleet: JobSimulator) -> None:
    keep(fleet, 4)
    fleet.discover()
    sync_targets(fleet.context, removal=Removal.ALL)
    assert open_incidents(fleet) == 4


def test_fewer_targets_are_removed_at_once(fleet: JobSimulator) -> None:
    keep(fleet, 5)  # four are fewer than five
    fleet.discover()
    assert open_incidents(fleet) == 5


def test_half_of_the_targets_are_removed_at_once(fleet: JobSimulator) -> None:
    fleet.providers["client-8"] = FakeProvider()
    fleet.providers["client-8"].lists(DEAD)
    fleet.poll()
    keep(fleet, 5)  # five of ten
    fleet.discover()
    assert open_incidents(fleet) == 5


def test_beside_a_daemon_nothing_is_removed(fleet: JobSimulator) -> None:
    keep(fleet, 5)
    sync_targets(fleet.context, removal=Removal.NONE)
    assert open_incidents(fleet) == 9
    with fleet.database.read() as store:
        assert len(store.active_targets()) == 9
