"""The diff between what is known and what was just seen, and what is made of connections that are missing."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.evaluation.anomalies import detect_unparsable_entries
from monitor.core.evaluation.diff import apply_changes, diff, missing_connections
from monitor.core.model import Connection, ConnectionState, Reason, Resolution, RuleName, Severity
from monitor.core.rules.registry import Rules
from monitor.core.rules.token_expiry import TokenExpiry
from tests.core.lives import Life
from tests.factories import DAY, HOUR, NOW, connection, error, failure, known, snapshot, state

OPENED, RESOLVED = Reason.OPENED, Reason.RESOLVED
POLL = timedelta(minutes=15)


def named(*ids: str) -> list[Connection]:
    return [connection(platform_id=f"linkedin-{id_}") for id_ in ids]


def failing(life: Life) -> bool:
    """Whether the newest answer was doubted."""
    return life.state.consecutive_failures > 0


def gone(life: Life) -> set[str]:
    return {each.connection.platform_id[-1] for each in life.known.values() if each.removed_at}


ids = st.sampled_from("abcde").map(lambda letter: f"linkedin-{letter}")
seen = st.builds(
    connection,
    platform_id=ids,
    username=st.sampled_from(["john", "jane"]),
    token_status=st.sampled_from(["valid", "expired", "odd"]),
    expires_at=st.sampled_from([None, NOW + DAY, NOW + 60 * DAY]),
    last_error=st.sampled_from([None, error(), error("too long")]),
)
lists = st.lists(seen, max_size=5, unique_by=lambda each: each.platform_id)


@st.composite
def remembered(draw: st.DrawFn) -> list[ConnectionState]:
    return [
        known(
            each,
            missed_polls=(missing := draw(st.integers(0, 3))),
            last_seen_at=NOW - HOUR if missing else None,
            removed_at=NOW - HOUR if missing == 3 else None,
        )
        for each in draw(lists)
    ]


@given(before=remembered(), after=lists, unreadable=st.frozensets(ids), removed_after=st.none() | st.just(3))
def test_folding_the_diff_over_before_gives_after(
    before: list[ConnectionState],
    after: list[Connection],
    unreadable: frozenset[str],
    removed_after: int | None,
) -> None:
    then = state(*before)
    now = snapshot(*after, unreadable_ids=unreadable - {each.platform_id for each in after})
    folded = apply_changes(then, diff(then, now, removed_after=removed_after))
    for each in after:
        assert each == folded[each.platform_id].connection
        assert folded[each.platform_id].missed_polls == 0
        assert folded[each.platform_id].removed_at is None
    for platform_id, one in then.connections.items():
        if platform_id not in {each.platform_id for each in after}:
            assert one.connection == folded[platform_id].connection
            is_missed = removed_after is not None and platform_id not in unreadable and not one.removed_at
            assert one.missed_polls + is_missed == folded[platform_id].missed_polls
    assert folded.keys() == then.connections.keys() | {each.platform_id for each in after}


@given(before=remembered(), after=lists)
def test_the_same_answer_again_differs_only_in_what_is_missing(
    before: list[ConnectionState], after: list[Connection]
) -> None:
    then = state(*before)
    once = state(*apply_changes(then, diff(then, snapshot(*after), removed_after=3)).values())
    again = diff(once, snapshot(*after, taken_at=NOW + HOUR), removed_after=3)
    assert {each.connection.platform_id for each in missing_connections(once, snapshot(*after))} == {
        change.after.connection.platform_id for change in again
    }
    assert all(
        change.after.missed_polls == change.before.missed_polls + 1 for change in again if change.before
    )
    assert not any(change.is_transition for change in again)


def test_a_first_look_is_a_transition_from_nothing() -> None:
    (change,) = diff(state(), snapshot(connection()), removed_after=3)
    assert (None, True, True) == (change.before, change.is_transition, change.is_history)


def test_a_good_post_is_known_and_no_history() -> None:
    (change,) = diff(state(known()), snapshot(connection(last_successful_post_at=NOW)), removed_after=3)
    assert (False, NOW) == (change.is_history, change.after.connection.last_successful_post_at)


def test_a_date_that_moves_rarely_is_history_and_one_that_moves_every_hour_once() -> None:
    def moves(every: timedelta) -> list[bool]:
        now, lived, found = NOW, state(known(connection(expires_at=NOW + every))), []
        for _ in range(6):
            now += every
            seen = snapshot(connection(expires_at=now + every), taken_at=now)
            changes = diff(lived, seen, removed_after=3)
            lived = state(*apply_changes(lived, changes).values())
            found += [change.is_history for change in changes]
        return found

    assert [True] * 6 == moves(timedelta(days=50))
    assert [True] * 6 == moves(timedelta(days=1))
    assert [True, *[False] * 5] == moves(timedelta(hours=1))


def test_a_date_that_goes_away_or_appears_is_history() -> None:
    dated, bare = connection(expires_at=NOW + 30 * DAY), connection()
    for before, after in ((dated, bare), (bare, dated)):
        (change,) = diff(state(known(before)), snapshot(after), removed_after=3)
        assert change.is_history


def test_a_new_name_is_known_and_no_history() -> None:
    (change,) = diff(state(known()), snapshot(connection(display_name="Johnny")), removed_after=3)
    assert (False, False) == (change.is_transition, change.is_history)
    assert change.after.connection.display_name == "Johnny"


def test_a_missing_connection_is_removed_after_three_good_polls_without_it() -> None:
    life = Life()
    everybody, without = named("a", "b", "c", "d"), named("a", "b", "c")
    life.poll(*everybody)
    seen_at = life.now
    removed = []
    for _ in range(4):
        life.poll(*without)
        removed.append(gone(life))
    assert [set(), set(), {"d"}, {"d"}] == removed
    assert (seen_at, seen_at + 3 * POLL) == (
        life.known["linkedin-d"].last_seen_at,
        life.known["linkedin-d"].removed_at,
    )


def test_one_that_comes_back_before_it_is_removed_was_never_gone() -> None:
    life = Life()
    for listed in ("abcd", "abc", "abc", "abcd", "abc", "abc", "abcd"):
        life.poll(*named(*listed))
        assert set() == gone(life)
    assert (0, None) == (life.known["linkedin-d"].missed_polls, life.known["linkedin-d"].last_seen_at)


def test_failed_polls_in_between_neither_count_nor_start_over() -> None:
    life = Life()
    life.poll(*named("a", "b", "c", "d"))
    for n in range(3):
        life.poll(failure=failure())
        life.poll(*named("a", "b", "c"))
        assert ({"d"} if n == 2 else set()) == gone(life)


def test_an_unreadable_connection_is_not_missing() -> None:
    then = state(known())
    now = snapshot(unreadable_ids=frozenset({"linkedin-Tz9W5i6ZYG"}), warnings=("odd",))
    assert () == diff(then, now, removed_after=1)


@pytest.mark.parametrize(
    ("mangled", "is_it"),
    [
        ("linkedin-Tz9\ufffd5i6ZYG", True),
        ("linkedin-\ufffd\ufffd", True),
        ("\ufffd", True),
        ("linkedin-Tz9W5i6ZYG\ufffd", False),
        ("tiktok-\ufffd", False),
    ],
)
def test_an_id_with_unreadable_bytes_may_be_that_of_any_connection_that_it_fits(
    mangled: str, is_it: bool
) -> None:
    life = Life()
    life.poll(connection(), *named("a", "b", "c", "d"))
    for _ in range(5):
        life.poll(*named("a", "b", "c", "d"), unreadable=(mangled,))
    assert (set() if is_it else {"G"}) == gone(life)
    assert mangled not in life.known
    assert is_it is all(incident.rule is not RuleName.CONNECTION_REMOVED for incident in life.incidents)


def test_the_newest_report_of_an_unreadable_connection_is_the_one_before() -> None:
    life = Life()
    life.poll(*named("a", "b"))
    reported_at = life.now
    for _ in range(2):
        life.poll(*named("a"), unreadable=("linkedin-b",))
        assert (None, reported_at) == (
            life.known["linkedin-a"].last_seen_at,
            life.known["linkedin-b"].last_seen_at,
        )
    life.poll(*named("a", "b"))
    assert life.known["linkedin-b"].last_seen_at is None


def test_an_unreadable_connection_is_a_failure_that_keeps_what_the_others_show() -> None:
    life = Life()
    life.poll(*named("a", "b"))
    worse = connection(platform_id="linkedin-a", token_status="expired")
    assert [(OPENED, Severity.CRITICAL)] == life.poll(worse, unreadable=("linkedin-b", "tiktok-9"))
    assert failing(life)
    assert (life.state.last_ok_at, set()) == (life.now, gone(life))
    life.poll(worse, *named("b"))
    assert not failing(life)


def test_equal_unreadable_connections_are_told_in_equal_words_and_hostile_ids_are_tamed() -> None:
    def said(*ids: str) -> str:
        found = detect_unparsable_entries(snapshot(connection(), unreadable_ids=frozenset(ids)))
        assert found is not None
        return found.error

    assert "2 of 3 connections can't be read: a-1, b-1" == said("b-1", "a-1") == said("a-1", "b-1")
    assert "7 of 8 connections can't be read: 0, 1, 2, 3, 4 and 2 more" == said(*"0123456")
    assert "@everyone" not in said("x-@everyone")


def test_a_list_in_which_nobody_can_be_read_is_a_failure_and_one_that_is_empty_is_not() -> None:
    assert (
        detect_unparsable_entries(snapshot(warnings=("connections[0]: expected an object, got 1",)))
        is not None
    )
    assert detect_unparsable_entries(snapshot()) is None
    assert (
        detect_unparsable_entries(snapshot(connection(), warnings=("lastError: expected an object",))) is None
    )


def test_a_short_list_is_doubted_for_a_day_also_where_an_entry_was_unreadable_for_longer() -> None:
    life = Life()
    for _ in range(30):
        life.poll(*named("a", "b", "c", "d"), unreadable=("tiktok-9",), after=HOUR)
    for _ in range(20):
        life.poll(*named("a"), unreadable=("tiktok-9",), after=HOUR)
    assert set() == gone(life)


def test_a_removed_connection_ends_its_incident_as_removed_and_opens_a_new_one_when_it_is_back() -> None:
    life = Life(rules=Rules(connection=(TokenExpiry(),)))
    others, expired = named("a", "b", "c"), connection(platform_id="linkedin-d", token_status="expired")
    assert [(OPENED, Severity.CRITICAL)] == life.poll(*others, expired)
    assert [[], [], [(RESOLVED, Severity.CRITICAL)]] == [life.poll(*others) for _ in range(3)]
    assert life.history[-1][1].incident.resolution is Resolution.REMOVED
    assert [(OPENED, Severity.CRITICAL)] == life.poll(*others, expired)
    assert [] == life.poll(*others, expired)
    assert set() == gone(life)


def test_a_missing_connection_goes_on_aging_until_it_is_removed() -> None:
    life = Life()
    others = named("a", "b", "c")
    date = NOW + 3 * DAY + HOUR
    aging = connection(platform_id="linkedin-d", token_status="expiring_soon", expires_at=date)
    assert [(OPENED, Severity.NOTICE)] == life.poll(*others, aging)
    assert [] == life.poll(*others)
    assert [(Reason.ESCALATED, Severity.WARNING)] == life.poll(*others, after=2 * HOUR)


def test_an_empty_list_is_doubted_and_touches_no_connection() -> None:
    for count in (1, 2, 3, 20):
        life = Life()
        expired = [connection(platform_id=f"linkedin-{n}", token_status="expired") for n in range(count)]
        life.poll(*expired)
        before = life.incidents
        for _ in range(10):
            assert [] == life.poll()
            assert failing(life)
        assert (before, set()) == (life.incidents, gone(life))
        assert [] == life.poll(*expired)
        assert not failing(life)


def test_a_short_list_is_doubted_in_what_it_lacks_and_believed_in_what_it_shows() -> None:
    life = Life()
    life.poll(*named("a", "b", "c", "d", "e"))
    renewed = connection(platform_id="linkedin-a", token_status="expired")
    assert [(OPENED, Severity.CRITICAL)] == life.poll(renewed, *named("b"))
    assert failing(life)
    assert [0] * 5 == [each.missed_polls for each in life.known.values()]


def test_a_list_that_lacks_half_or_two_is_believed() -> None:
    for before, after in (("abcdef", "abc"), ("abc", "a"), ("ab", "a")):
        life = Life()
        life.poll(*named(*before))
        life.poll(*named(*after))
        assert not failing(life)


def test_an_empty_list_is_doubted_also_when_somebody_was_missing_before() -> None:
    life = Life()
    life.poll(*named("a", "b"))
    life.poll(*named("a"))
    life.poll()
    assert failing(life)


def test_a_doubted_list_is_believed_after_a_day_and_its_connections_removed_after_three_polls() -> None:
    life = Life()
    life.poll(*named("a", "b", "c"))
    doubted_at = life.now + HOUR
    while not gone(life):
        life.poll(after=HOUR)
        assert life.now < doubted_at + 2 * DAY
    assert ({"a", "b", "c"}, doubted_at + DAY + 2 * HOUR) == (gone(life), life.now)
    assert not failing(life)
    life.poll(*named("a", "b", "c"))
    assert set() == gone(life)


def test_an_outage_of_days_makes_no_empty_list_believable() -> None:
    life = Life()
    life.poll(*named("a", "b", "c"))
    for _ in range(5):
        life.poll(after=12 * HOUR, failure=failure())
    for _ in range(23):
        life.poll(after=HOUR)
        assert (failing(life), gone(life)) == (True, set())
    life.poll(after=12 * HOUR, failure=failure())  # what was doubted before it stays so
    for _ in range(3):
        life.poll(after=HOUR)
    assert gone(life) == {"a", "b", "c"}


def test_the_first_empty_list_is_what_it_is() -> None:
    life = Life()
    assert [] == life.poll()
    assert not failing(life)


def test_a_rule_that_is_switched_off_ends_its_incidents_and_tells_nobody() -> None:
    life = Life()
    life.poll(connection(token_status="expired"))
    life.rules = Rules(connection=())
    assert [] == life.review(at=life.now + HOUR)
    assert () == life.incidents
    assert [RuleName.TOKEN_EXPIRY] == [
        change.incident.rule for _, change in life.history if not change.reason
    ]


def test_when_an_error_was_first_seen_is_kept_as_long_as_it_is_the_same() -> None:
    def first_seen(life: Life) -> datetime | None:
        return life.known["linkedin-Tz9W5i6ZYG"].error_seen_at

    life = Life()
    life.poll(connection(last_error=error()))
    seen_at = life.now
    life.poll(connection(last_error=error(), username="other"))
    assert seen_at == first_seen(life)
    life.poll(connection(last_error=error("another")))
    assert life.now == first_seen(life)
    life.poll(connection())
    assert first_seen(life) is None
