"""Targets come and go with the configuration; deadlines pass without the API."""

from monitor.core.model import Outcome, Severity
from monitor.core.rules.registry import Rules
from monitor.core.rules.token_expiry import TokenExpiry
from tests.factories import DAY, HOUR, NOW, connection, failure
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
