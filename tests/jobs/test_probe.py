"""Active tests, one at a time: whose turn it is, what is kept of them, and what an answer that fails does."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from monitor.budgets import Budgets
from monitor.core.budget import Budget
from monitor.core.model import Connection, KnownConnection, Outcome, Reach, Severity
from monitor.core.probing import Meaning, Probing
from monitor.jobs.probe import Bench, probe, try_one
from monitor.providers import Trial
from monitor.storage import Database, probing
from tests.factories import DAY, HOUR, MINUTE, connection, error, failure
from tests.house import House

DEAD = Trial(passed=False, message="Token has been revoked")
SLOWLY = Probing(every=DAY, per_hour=4)


def blind(n: int = 1, platform: str = "mastodon") -> Connection:
    return connection(platform_id=f"{platform}-{n}", token_status="unknown", expires_at=None)


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


def bench(house: House, plan: Probing | None = SLOWLY, budgets: Budgets | None = None) -> Bench:
    return Bench(
        database=house.database,
        testers={house.account: house.api},
        rules=house.rules,
        routing=house.routing,
        clock=house.clock,
        probing={house.account: plan} if plan else {},
        budgets=budgets,
    )


def due(house: House) -> str | None:
    """Name the connection whose turn it is."""
    with house.database.read() as store:
        found = probing.next_due(
            store.connection, house.account, house.clock(), is_wanted=lambda known, now: True
        )
    return found[1].connection.platform_id if found else None


def test_an_account_without_a_plan_is_left_alone(house: House) -> None:
    house.shows(blind())
    assert probe(bench(house, None)) == 0
    assert house.api.tested == []


def test_whoever_was_never_tested_comes_first_and_then_whoever_has_waited_longest(house: House) -> None:
    house.shows(blind(1), blind(2), connection())
    for _ in range(12):
        house.clock.advance(8 * HOUR)
        probe(bench(house))
    assert house.api.tested[:4] == ["mastodon-1", "mastodon-2", "mastodon-1", "mastodon-2"]
    assert len(house.api.tested) == 8


def test_two_tests_are_never_closer_than_the_budget_has_it(house: House) -> None:
    house.shows(*(blind(n) for n in range(9)))
    moments = []
    for _ in range(240):
        house.clock.advance(timedelta(seconds=30))
        if probe(bench(house)):
            moments.append(house.clock())
    assert len(moments) == 8
    assert all(b - a >= 15 * MINUTE for a, b in pairwise(moments))


def test_many_that_need_no_test_hide_none_that_does(house: House) -> None:
    fine = [connection(platform_id=f"linkedin-{n}", last_error=error()) for n in range(250)]
    house.shows(*fine, blind())
    assert probe(bench(house)) == 1
    assert house.api.tested == ["mastodon-1"]


def test_those_that_cannot_be_tested_are_not_even_looked_at(house: House) -> None:
    untestable = [blind(n, platform) for platform in ("bluesky", "pinterest") for n in range(2)]
    house.shows(*untestable, blind(9))
    looked_at: list[str] = []

    def is_wanted(known: KnownConnection, _now: datetime) -> bool:
        looked_at.append(known.connection.platform_id)
        return False

    with house.database.read() as store:
        probing.next_due(store.connection, house.account, house.clock(), is_wanted=is_wanted)
    assert looked_at == ["mastodon-9"]


@pytest.mark.parametrize("status", ["valid", "expiring_soon", "expired", "unknown"])
def test_whoever_has_no_date_is_due_whatever_the_status(house: House, status: str) -> None:
    dateless = connection(platform_id="mastodon-1", token_status=status, expires_at=None)
    house.shows(dateless, connection(platform_id="linkedin-1", token_status="valid"))
    assert due(house) == "mastodon-1"
    assert probe(bench(house)) == 1
    assert house.api.tested == ["mastodon-1"]


def test_a_test_that_passed_is_remembered_when_later_ones_fail(house: House) -> None:
    house.shows(blind())
    probe(bench(house))
    first = house.clock()
    house.api.trials["mastodon-1"] = DEAD
    house.clock.advance(DAY)
    house.look()
    probe(bench(house))
    with house.database.read() as store:
        [(_, known)] = probing.named(store.connection, "mastodon-1", account=None, managed_user_id=None)
    assert (Meaning.BROKEN, first) == (known.tested.meaning, known.tested.passed_at)


def test_what_is_gone_missing_or_fails_to_be_polled_has_no_turn(house: House) -> None:
    others = [connection(platform_id=f"linkedin-{n}") for n in range(3)]
    house.shows(*others, blind())
    assert due(house) == "mastodon-1"
    house.shows(*others)
    assert probe(bench(house)) == 0
    house.shows(*others, blind())
    house.api.fails(failure(Outcome.SERVER_ERROR))
    house.look()
    assert due(house) is None


def test_an_answer_that_fails_is_no_finding_and_the_connection_waits_its_turn(house: House) -> None:
    house.shows(blind())
    house.api.fails(failure(Outcome.RATE_LIMITED, retry_after=HOUR))
    assert probe(bench(house)) == 1
    house.clock.advance(23 * HOUR)
    assert probe(bench(house)) == 0
    house.clock.advance(HOUR)
    assert probe(bench(house)) == 1
    assert house.rows("incident_log", "WHERE platform_id IS NOT NULL") == []
    assert house.api.tested == ["mastodon-1"] * 2


def test_an_answer_that_fails_takes_back_no_finding(house: House) -> None:
    house.api.trials["mastodon-1"] = DEAD
    house.shows(blind())
    probe(bench(house))
    house.clock.advance(DAY)
    house.api.fails(failure(Outcome.TIMEOUT))
    probe(bench(house))
    [incident] = house.rows("incident_log")
    assert incident["resolved_at"] is None


def test_polls_leave_a_finding_as_it_is_and_a_restart_remembers_it(house: House) -> None:
    house.api.trials["mastodon-1"] = DEAD
    house.shows(blind())
    probe(bench(house))
    house.live(HOUR)
    house.restart()
    house.live(HOUR)
    assert [message.severity for message in house.sent] == [Severity.CRITICAL]
    house.clock.advance(DAY)
    house.api.trials.clear()
    house.look()
    probe(bench(house))
    house.deliver()
    assert house.sent[1:] and house.sent[1].severity is None


def test_a_key_without_requests_left_is_not_used_for_a_test(house: House) -> None:
    house.shows(blind())
    budgets = Budgets({house.account: house.every}, {house.account: Budget(per_minute=60)})
    for _ in range(3):
        budgets.spend(house.account, house.clock())
    assert probe(bench(house, budgets=budgets)) == 0
    limited = failure(Outcome.RATE_LIMITED, reach=Reach.KEY, retry_after=HOUR)
    budgets.refused(house.account, house.clock(), limited)
    house.clock.advance(MINUTE)
    assert probe(bench(house, budgets=budgets)) == 0
    house.clock.advance(HOUR)
    assert probe(bench(house, budgets=budgets)) == 1


def test_a_key_whose_every_request_polls_would_use_is_used_for_tests_in_their_time(house: House) -> None:
    house.shows(*(blind(n) for n in range(3)))
    budgets = Budgets({house.account: house.every}, {house.account: Budget(per_minute=60)})
    polls = 0
    for second in range(3600):
        while budgets.take(house.account, house.clock()):
            polls += 1
        if second % 10 == 0:
            probe(bench(house, budgets=budgets))
        house.clock.advance(timedelta(seconds=1))
    assert len(house.api.tested) == 3
    assert 3400 < polls + 3 <= 3460


def test_a_clock_that_was_set_back_does_not_end_all_tests(house: House) -> None:
    house.shows(blind(1), blind(2))
    probe(bench(house))
    house.clock.advance(-30 * DAY)
    house.look()
    assert probe(bench(house)) == 1
    assert house.api.tested == ["mastodon-1", "mastodon-2"]


def test_a_clock_that_was_set_back_makes_no_burst_of_tests(house: House) -> None:
    house.shows(*(blind(n) for n in range(8)))
    probe(bench(house))
    house.clock.advance(-30 * DAY)
    house.look()
    for _ in range(30):
        probe(bench(house))
        house.clock.advance(MINUTE)
    assert len(house.api.tested) == 1 + 2


def test_who_was_tested_before_a_clock_was_set_back_is_tested_again(house: House) -> None:
    house.shows(blind())
    probe(bench(house))
    house.clock.advance(-365 * DAY)
    house.look()
    assert probe(bench(house)) == 1
    house.clock.advance(DAY)
    assert probe(bench(house)) == 1
    assert len(house.api.tested) == 3


def test_a_connection_that_was_forgotten_while_it_was_tested_costs_nothing(house: House) -> None:
    house.shows(blind())
    with house.database.read() as store:
        [(target, known)] = probing.named(store.connection, "mastodon-1", account=None, managed_user_id=None)
    with house.database.begin() as store:
        store.connection.exec_driver_sql("DELETE FROM connections")
    tried = try_one(bench(house), target, known)
    assert tried.meaning is Meaning.PASSED
    assert house.rows("incident_log") == []


def test_the_same_profile_of_two_users_is_found_twice_and_told_apart(database: Database) -> None:
    users = tuple(f"{n:024x}" for n in range(2))
    house = House(database, users=users)
    for user in users:
        house.api.lists(blind(), user=user)
    house.look()
    with house.database.read() as store:

        def found(**given: str | None) -> list[str | None]:
            wanted = {"account": None, "managed_user_id": None} | given
            named = probing.named(store.connection, "mastodon-1", **wanted)
            return [target.managed_user_id for target, _ in named]

        assert found() == list(users)
        assert found(managed_user_id=users[1]) == [users[1]]
        assert found(account="another") == []
