"""Whom a workspace holds: who is new, who is missing, who is gone, and what isn't believed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.core.evaluation.workspace import KnownUser, PollScope, diff_workspace, user_removed
from monitor.core.model import Failure, FailureScope, Outcome, RuleName, Severity, Target
from monitor.core.rules.base import Problem
from tests.factories import DAY, HOUR, MINUTE, NOW

EVERYONE = PollScope(account="agency", all_users=True, discover_every=15 * MINUTE)

SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class User:
    id: str
    name: str
    username: str | None = None


def known(n: int, **given: Any) -> KnownUser:
    target = Target(id=n, account="agency", managed_user_id=f"u{n}", managed_user=f"User {n}")
    return KnownUser(target=target, **given)


def listed(*numbers: int) -> list[User]:
    return [User(id=f"u{n}", name=f"User {n}") for n in numbers]


def test_who_is_listed_for_the_first_time_is_new() -> None:
    diff = diff_workspace(EVERYONE, [known(1)], listed(1, 2, 3), NOW)
    assert (diff.new, diff.missing, diff.removed, diff.anomaly) == (("u2", "u3"), (), (), None)


def test_one_look_misses_and_the_next_one_detaches() -> None:
    six = [known(n) for n in range(6)]
    diff = diff_workspace(EVERYONE, six, listed(0, 1, 2, 3, 4), NOW)
    assert [each.target.id for each in diff.missing] == [5]
    assert diff.removed == ()
    missed = [*six[:5], known(5, missing_since=NOW)]
    diff = diff_workspace(EVERYONE, missed, listed(0, 1, 2, 3, 4), NOW + 15 * MINUTE)
    assert (diff.missing, [each.target.id for each in diff.removed]) == ((), [5])


def test_two_looks_on_the_heels_of_each_other_are_one() -> None:
    missed = [known(0), known(1), known(2, missing_since=NOW)]
    assert diff_workspace(EVERYONE, missed, listed(0, 1), NOW + MINUTE).removed == ()


def test_who_is_listed_again_was_found() -> None:
    diff = diff_workspace(EVERYONE, [known(0), known(1, missing_since=NOW)], listed(0, 1), NOW)
    assert [each.target.id for each in diff.reappeared] == [1]


def test_who_was_detached_and_is_listed_comes_back() -> None:
    diff = diff_workspace(EVERYONE, [known(0), known(1, is_deactivated=True)], listed(0, 1), NOW)
    assert diff.new == ("u1",)
    assert [each.target.id for each in diff.returned] == [1]


def test_who_is_listed_but_unreadable_is_not_missing() -> None:
    diff = diff_workspace(EVERYONE, [known(0), known(1)], listed(0), NOW, unreadable_ids={"u1"})
    assert diff.missing == ()


def test_a_list_that_lacks_most_is_doubted_for_a_day() -> None:
    many = [known(n) for n in range(10)]
    for numbers in ([], [0, 1, 2]):
        diff = diff_workspace(EVERYONE, many, listed(*numbers), NOW)
        assert diff.anomaly is not None
        assert (diff.missing, diff.removed) == ((), ())
    after = diff_workspace(EVERYONE, many, listed(0), NOW, shrunk_since=NOW - 23 * HOUR)
    assert after.anomaly is not None
    after = diff_workspace(EVERYONE, many, listed(0), NOW, shrunk_since=NOW - DAY)
    assert (after.anomaly, len(after.missing)) == (None, 9)


def test_names_are_taken_over_and_a_new_address_is_noticed() -> None:
    acme = User(id="u1", name="Acme", username="acme@example.com")
    for scope in (EVERYONE, PollScope(account="agency", users=frozenset({"u1"}))):
        diff = diff_workspace(scope, [known(1)], [acme], NOW)
        assert diff.renamed == {1: acme}
        assert diff.address_changed == (
            Target(
                id=1,
                account="agency",
                managed_user_id="u1",
                managed_user="Acme",
                username="acme@example.com",
            ),
        )
    same = diff_workspace(EVERYONE, [known(1)], listed(1), NOW)
    assert (same.renamed, same.address_changed) == ({}, ())


def test_of_named_users_nobody_is_added_or_detached_but_strangers_are_said() -> None:
    plan = PollScope(account="agency", users=frozenset({"u1", "u9"}))
    diff = diff_workspace(plan, [known(1, missing_since=NOW - DAY), known(9)], listed(1, 2, 3), NOW)
    assert (diff.new, diff.removed, diff.unmanaged) == ((), (), ("u9",))


def test_a_plan_names_whom_it_polls() -> None:
    assert EVERYONE.targets() == [("agency", None)]
    named = PollScope(
        account="a", include_owner=False, users=frozenset({"u2", "u1"}), discover_every=timedelta(hours=1)
    )
    assert named.targets() == [("a", "u1"), ("a", "u2")]
    assert not PollScope(account="a").needs_user_list


@pytest.mark.parametrize(
    ("of", "gone", "is_doubted"),
    [
        pytest.param(10, 0, False, id="none"),
        pytest.param(1, 1, True, id="the-only-one"),
        pytest.param(2, 2, True, id="both"),
        pytest.param(2, 1, False, id="one-of-two"),
        pytest.param(3, 2, False, id="two-of-three"),
        pytest.param(5, 3, True, id="three-of-five"),
        pytest.param(6, 3, False, id="half"),
    ],
)
def test_a_list_is_doubted_that_lacks_all_or_three_and_more_than_half(
    of: int, gone: int, is_doubted: bool
) -> None:
    diff = diff_workspace(EVERYONE, [known(n) for n in range(of)], listed(*range(gone, of)), NOW)
    assert (diff.anomaly is not None) is is_doubted
    assert len(diff.missing) == (0 if is_doubted else gone)


def test_a_doubted_list_says_what_it_lacks() -> None:
    here = [known(n) for n in range(4)]
    missed = known(8, missing_since=NOW - DAY)
    diff = diff_workspace(EVERYONE, [*here, missed, known(9, is_deactivated=True)], listed(0), NOW)
    assert diff.anomaly == Failure(
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        scope=FailureScope.USERS,
        error="the list of managed users suddenly lacks 3 of 4, which counts after a day",
        remedy="check the managed users in the dashboard",
    )


@pytest.mark.parametrize(
    ("missing_for", "is_removed"),
    [
        pytest.param(7 * MINUTE + 29 * SECOND, False, id="less-than-half-the-interval"),
        pytest.param(7 * MINUTE + 30 * SECOND, True, id="half-the-interval"),
    ],
)
def test_who_is_missing_in_two_lists_is_removed(missing_for: timedelta, is_removed: bool) -> None:
    here = [known(0), known(1), known(2, missing_since=NOW - missing_for)]
    assert bool(diff_workspace(EVERYONE, here, listed(0, 1), NOW).removed) is is_removed


@pytest.mark.parametrize(
    ("missing_since", "since"),
    [pytest.param(NOW, " (since 2026-02-22 20:00 UTC)", id="since"), pytest.param(None, "", id="at-once")],
)
def test_who_left_the_workspace_is_a_problem_that_says_since_when(
    missing_since: datetime | None, since: str
) -> None:
    assert user_removed(known(1, missing_since=missing_since)) == Problem(
        rule=RuleName.USER_NOT_MANAGED,
        severity=Severity.WARNING,
        summary=f"the workspace no longer lists this managed user{since}",
        remedy="add the user to the workspace again, unless they were removed on purpose",
        dedup_key="user_not_managed",
    )
