"""Whom a workspace holds: who is new, who is missing, who is gone, and what isn't believed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitor.core.evaluation.workspace import KnownUser, PollScope, diff_workspace
from monitor.core.model import Target
from tests.factories import DAY, HOUR, MINUTE, NOW

EVERYONE = PollScope(account="agency", all_users=True, discover_every=15 * MINUTE)


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
    diff = diff_workspace(
        EVERYONE, [known(1)], [User(id="u1", name="Acme", username="acme@example.com")], NOW
    )
    assert [user.name for user in diff.renamed.values()] == ["Acme"]
    assert [each.username for each in diff.address_changed] == ["acme@example.com"]
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
