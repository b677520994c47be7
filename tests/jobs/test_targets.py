"""Targets come and go with the configuration; deadlines pass without the API."""

from monitor.core.model import Outcome, Severity
from monitor.core.rules import Rules, TokenExpiry
from tests.factories import DAY, HOUR, NOW, connection, failure
from tests.fakes import FakeProvider
from tests.jobs.house import EVERY, House

DEAD = connection(token_status="expired", expires_at=NOW - DAY)


def test_a_new_account_is_due_at_once_and_once(house: House) -> None:
    for _ in range(3):
        (target,) = house.discover()
        with house.database.read() as store:
            assert [target] == store.due(house.clock(), limit=10)
    house.poll()
    house.providers["other"] = FakeProvider()
    assert ["agency", "other"] == [target.account for target in house.discover()]
    with house.database.read() as store:
        assert ["other"] == [target.account for target in store.due(house.clock(), limit=10)]


def test_an_account_that_left_the_configuration_is_polled_no_more_and_nobody_is_told(house: House) -> None:
    house.providers["other"] = FakeProvider()
    house.providers["other"].lists(DEAD)
    house.provider.lists(connection())
    house.poll()
    assert 1 == len(house.deliver())
    other = house.providers.pop("other")
    house.later(DAY)
    assert ["agency"] == [target.account for target in house.discover()]
    with house.database.read() as store:
        assert ["agency"] == [target.account for target in store.due(house.clock(), limit=10)]
        assert [] == store.due_for_review(house.clock() + 90 * DAY, limit=10)[1:]
    assert ["removed"] == [row["resolution"] for row in house.view("incident_log")]
    assert [] == house.deliver()
    assert 1 == other.asked.count(None)
    assert 2 == len(house.view("current_connections"))  # what was known stays


def test_an_account_that_comes_back_is_told_of_anew(house: House) -> None:
    # Its answer is the very same as before; what was ended when it left must open again.
    house.sees(DEAD)
    house.deliver()
    agency = house.providers.pop("agency")
    house.later()
    house.discover()
    assert ["removed"] == [row["resolution"] for row in house.view("incident_log")]
    house.later()
    house.providers["agency"] = agency
    house.poll()
    assert ["removed", None] == [row["resolution"] for row in house.view("incident_log")]
    assert 1 == len(house.deliver())
    assert 1 == len(house.view("token_transitions"))


def test_a_failing_account_that_leaves_takes_its_incident_along(house: House) -> None:
    house.provider.fails(failure(Outcome.UNAUTHORIZED, http_status=401))
    house.poll()
    house.deliver()
    agency = house.providers.pop("agency")
    house.later()
    house.discover()
    assert [("api_key_rejected", "removed")] == [
        (row["rule"], row["resolution"]) for row in house.view("incident_log")
    ]
    house.providers["agency"] = agency
    house.poll()
    assert [None] == [row["resolution"] for row in house.view("incident_log")][1:]


def test_a_poll_that_lies_too_far_off_is_pulled_in(house: House) -> None:
    house.sees(connection())
    house.clock.now -= 30 * DAY  # the clock was wrong when it was polled
    (target,) = house.discover()
    with house.database.read() as store:
        assert [] == store.due(house.clock(), limit=10)
        assert [target] == store.due(house.clock() + max(2 * EVERY, HOUR + EVERY), limit=10)


def test_a_deadline_is_met_without_the_api(house: House) -> None:
    house.sees(connection(expires_at=NOW + 10 * DAY))
    house.provider.fails(failure())
    told = []
    for hour in range(6, 24 * 11, 6):
        house.later(6 * HOUR)
        house.review()
        told += [(hour, message.severity) for message in house.deliver()]
    assert [(72, "notice"), (168, "warning"), (216, "critical"), (240, "critical")] == told
    assert 1 == len(house.provider.asked)
    assert 1 == len(house.view("incident_log"))


def test_a_review_that_finds_nothing_due_writes_nothing(house: House) -> None:
    house.sees(connection(expires_at=NOW + 10 * DAY))
    before = house.sizes()
    assert 0 == house.review()
    house.later(3 * DAY)
    assert 1 == house.review()
    assert 0 == house.review()
    after = house.sizes()
    assert 1 == after.pop("incidents") == after.pop("notifications")
    assert {**before, "incidents": 1, "notifications": 1} == {**after, "incidents": 1, "notifications": 1}


def test_many_deadlines_that_pass_at_once_are_all_met(house: House) -> None:
    users = [f"{n:024x}" for n in range(450)]  # more than two batches
    house.managed = {"agency": users}
    for user in users:
        house.provider.lists(connection(expires_at=NOW + 10 * DAY), user=user)
    house.poll()
    house.later(4 * DAY)
    assert 450 == house.review()
    assert 450 == house.sizes()["incidents"]
    (message,) = house.deliver()
    assert message.severity == "notice"


def test_rules_that_changed_are_applied_to_what_is_known(house: House) -> None:
    house.sees(connection())
    house.rules = Rules(connection=(TokenExpiry(before={90 * DAY: Severity.NOTICE}),))
    house.later()
    house.sees(connection())
    assert house.view("incident_log") == []  # the same answer again: nobody looks closer
    with house.database.begin() as store:
        store.reconsider(house.clock())
    assert 1 == house.review()
    assert ["notice"] == [row["severity"] for row in house.view("incident_log")]
