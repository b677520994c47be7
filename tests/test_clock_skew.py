"""A local clock and an API's clock that are apart: one warning about that, and no token judged by the wrong one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.clock import ClockStepDetector
from monitor.core.model import Severity
from monitor.jobs.clock_step import ClockStepRecovery
from monitor.storage.database import Database
from tests.factories import DAY, HOUR, MINUTE
from tests.fakes import FrozenClock
from tests.sandbox.faults import Drop, Fault
from tests.sandbox.server import serve
from tests.sandbox.service import FakeService
from tests.workspace_simulator import KEY, WorkspaceSimulator, profile

AWAY = Fault(drop=Drop.RESET)
AHEAD = 61 * DAY


@dataclass(slots=True)
class LocalClock(FrozenClock):
    """The clock of the monitor's machine; ``now`` is the true time, which is the API's."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return self.now + self.ahead

    def monotonic(self) -> float:
        return self.now.timestamp()


@contextmanager
def watched(
    database: Database, ahead: timedelta = timedelta(), **given: Any
) -> Iterator[tuple[WorkspaceSimulator, LocalClock]]:
    """Serve a world of true time, and watch it from a machine whose clock is ahead of that."""
    clock = LocalClock(ahead=ahead)
    fake_service = FakeService(lambda: clock.now)
    fake_service.add_account(KEY)
    with serve(fake_service) as server:
        given = {"managed_users": "none"} | given
        simulator = WorkspaceSimulator(database, server, clock, given=given, monotonic=clock.monotonic)
        try:
            yield simulator, clock
        finally:
            simulator.close()


def add(
    simulator: WorkspaceSimulator, platform: str, count: int, left: timedelta | None, **given: Any
) -> None:
    for n in range(count):
        simulator.fake_service.add_connection(
            profile(simulator.fake_service, f"{platform}-{n:03}", left, **given)
        )


def set_right(simulator: WorkspaceSimulator, clock: LocalClock) -> None:
    """Set the local clock right, and do what the daemon does when its clock was set back."""
    steps = ClockStepDetector(clock, clock.monotonic)
    rewind = ClockStepRecovery(simulator.context, steps)
    clock.ahead = timedelta()
    if rewind.check():
        rewind.recover()


def tokens(simulator: WorkspaceSimulator) -> list[tuple[str, str]]:
    """Return what is or was wrong with tokens, worst severity and resolution, without times: those are local."""
    rows = simulator.rows("incidents", "WHERE rule = 'token_expiry'", order="subject, id")
    return [(row["max_severity"], row["resolution"] or "open") for row in rows]


def skews(simulator: WorkspaceSimulator) -> list[dict[str, Any]]:
    return simulator.rows("incident_log", "WHERE rule = 'clock_skew'")


def header(moment: datetime) -> dict[str, str]:
    return {"Date": format_datetime(moment.astimezone(UTC), usegmt=True)}


@pytest.mark.parametrize("ahead", [AHEAD, -AHEAD, 25 * HOUR, -11 * MINUTE], ids=str)
def test_a_clock_that_is_wrong_is_one_warning_and_moves_no_token(
    database: Database, ahead: timedelta
) -> None:
    with watched(database, ahead) as (simulator, clock):
        add(simulator, "linkedin", 30, 40 * DAY)
        add(simulator, "threads", 2, 4 * DAY)
        add(simulator, "mastodon", 2, None)
        simulator.advance(2 * DAY, step=30 * MINUTE)
        assert tokens(simulator) == [("warning", "open")] * 2
        [skew] = skews(simulator)
        assert (skew["severity"], skew["account"], skew["resolved_at"]) == ("warning", None, None)
        assert (
            f"{'ahead' if ahead > timedelta() else 'behind'} of the clock of {simulator.server.url}"
            in skew["summary"]
        )
        [notified] = [message for message in simulator.ops.sent if "clock" in message.title]
        assert notified.severity is Severity.WARNING
        assert "What to do: turn on time synchronization (NTP)" in notified.body
        # What messages say of the time left is true as well.
        about_tokens = [message.body for message in simulator.ops.sent if message is not notified]
        assert ["expires in 4 days" in about_tokens[0], "expires in 3 days" in about_tokens[1]] == [True] * 2
        set_right(simulator, clock)
        simulator.advance(HOUR, step=15 * MINUTE)
        assert [each["resolution"] for each in skews(simulator)] == ["recovered"]
        assert tokens(simulator) == [("warning", "open")] * 2


def test_a_clock_that_is_set_while_the_api_is_down_moves_no_deadline(database: Database) -> None:
    with watched(database) as (simulator, clock):
        add(simulator, "linkedin", 30, 40 * DAY)
        add(simulator, "threads", 1, 4 * DAY)
        simulator.advance(HOUR, step=15 * MINUTE)
        simulator.server.faults.set(AWAY)
        clock.ahead = AHEAD
        simulator.advance(12 * HOUR, step=15 * MINUTE)
        assert [each for each in tokens(simulator) if each[0] == "critical"] == []
        # The deadline of the one that does expire is still told in time, though nobody answers.
        simulator.advance(3 * DAY, step=HOUR)
        assert simulator.rows("incident_log", "WHERE severity = 'critical'", order="platform_id")[0][
            "platform_id"
        ] == ("threads-000")
        assert skews(simulator) == []  # what a clock shows that nobody confirms isn't told
        simulator.server.faults.clear()
        simulator.advance(2 * HOUR, step=15 * MINUTE)
        assert [each["resolution"] for each in skews(simulator)] == [None]
        assert [row for row in simulator.rows("incident_log") if row["severity"] == "critical"][1:] == []


@pytest.mark.parametrize("ahead", [AHEAD, -AHEAD], ids=str)
def test_a_report_from_before_the_clock_was_set_is_as_old_as_it_is(
    database: Database, ahead: timedelta
) -> None:
    """Its age decides whether a date of a valid token is one to act by."""
    with watched(database, ahead) as (simulator, clock):
        add(simulator, "linkedin", 1, 3 * DAY, overrides={"tokenStatus": "valid"})
        add(simulator, "threads", 1, 9 * DAY)
        simulator.advance(HOUR, step=15 * MINUTE)
        simulator.server.faults.set(AWAY)
        set_right(simulator, clock)
        simulator.advance(HOUR, step=5 * MINUTE)
        assert [each for each in tokens(simulator) if each != ("warning", "open")] == []
        simulator.server.faults.clear()
        simulator.advance(HOUR, step=5 * MINUTE)
        assert "critical" not in {worst for worst, _ in tokens(simulator)}


@pytest.mark.parametrize("ahead", [AHEAD, -AHEAD], ids=str)
def test_a_restart_pages_nobody_before_an_answer_was_seen(database: Database, ahead: timedelta) -> None:
    with watched(database, ahead) as (simulator, _):
        add(simulator, "linkedin", 12, 40 * DAY)
        add(simulator, "threads", 1, 2 * DAY)
        simulator.advance(HOUR, step=15 * MINUTE)
        before = tokens(simulator)
        simulator.start()
        simulator.review()  # what the daemon does first, before any answer
        assert tokens(simulator) == before
        simulator.advance(MINUTE)
        assert tokens(simulator) == before
        assert [each["resolution"] for each in skews(simulator)] == [None]


def test_a_restart_asks_the_api_at_once_whether_the_local_clock_is_right(database: Database) -> None:
    with watched(database, every="6h") as (simulator, _):
        add(simulator, "linkedin", 1, 40 * DAY)
        simulator.advance(MINUTE)
        simulator.forget_requests()
        simulator.advance(MINUTE)
        assert len(simulator.polls) == 0
        simulator.start()
        simulator.advance(MINUTE)
        assert len(simulator.polls) == 1


def test_without_an_answer_a_restart_goes_by_the_local_clock_after_a_quarter_of_an_hour(
    database: Database,
) -> None:
    with watched(database) as (simulator, clock):
        add(simulator, "linkedin", 1, 8 * DAY)
        simulator.advance(HOUR, step=15 * MINUTE)
        simulator.server.faults.set(AWAY)
        clock.advance(10 * DAY)
        simulator.start()
        simulator.advance(14 * MINUTE)
        assert tokens(simulator) == []
        simulator.advance(2 * MINUTE)
        assert ("critical", "open") in tokens(simulator)


def test_without_an_answer_a_clock_that_was_wrong_stays_wrong(database: Database) -> None:
    with watched(database, AHEAD) as (simulator, _):
        add(simulator, "linkedin", 12, 40 * DAY)
        simulator.advance(HOUR, step=15 * MINUTE)
        simulator.server.faults.set(AWAY)
        simulator.start()
        simulator.advance(6 * HOUR, step=5 * MINUTE)
        assert "critical" not in {worst for worst, _ in tokens(simulator)}
        simulator.server.faults.clear()
        simulator.advance(HOUR, step=5 * MINUTE)
        assert [each["resolution"] for each in skews(simulator)] == [None]


def test_an_answer_of_any_status_confirms_the_clock(database: Database) -> None:
    for status in (401, 403, 429, 500):
        with watched(database, AHEAD) as (simulator, _):
            simulator.server.faults.set(Fault(status=status, body=b"{}"))
            simulator.advance(MINUTE)
            [clock] = simulator.context.clocks.clocks()
            offset = clock.offset()
            assert offset is not None
            assert abs(offset + AHEAD) < MINUTE


def test_it_is_logged_once_a_change_and_not_once_a_poll(database: Database) -> None:
    with watched(database, 3 * MINUTE, every="1m") as (simulator, clock):
        with capture_logs() as lines:
            simulator.advance(HOUR, step=MINUTE)
            clock.ahead = 8 * MINUTE
            simulator.advance(HOUR, step=MINUTE)
            clock.ahead = timedelta()
            simulator.advance(HOUR, step=MINUTE)
        found = [
            (
                line["event"],
                line["base_url"] == simulator.server.url,
                round(line.get("ahead_seconds", 0) / 60),
            )
            for line in lines
            if line["event"].startswith("clock.")
        ]
        assert found == [
            ("clock.skewed", True, 3),
            ("clock.skewed", True, 8),
            ("clock.synchronized", True, 0),
        ]
        assert skews(simulator) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": "soon"},
        {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Date": "Fri, 31 Dec 2099 23:59:59 GMT"},
        {"Date": ""},
    ],
    ids=["unreadable", "of 1970", "of 2099", "empty"],
)
def test_a_header_that_does_not_count_is_ignored_and_logged_once(
    database: Database, headers: dict[str, str]
) -> None:
    with watched(database, every="1m") as (simulator, _):
        add(simulator, "linkedin", 12, 40 * DAY)
        simulator.server.faults.set(Fault(headers=headers))
        with capture_logs() as lines:
            simulator.advance(HOUR, step=MINUTE)
        assert len([line for line in lines if line["event"] == "clock.date_ignored"]) == 1
        assert simulator.ops.sent == []
        assert [clock.offset() for clock in simulator.context.clocks.clocks()] == [None]


def test_a_few_odd_headers_change_nothing(database: Database) -> None:
    with watched(database, every="1m") as (simulator, clock):
        add(simulator, "threads", 12, 3 * DAY + 6 * HOUR)
        simulator.advance(5 * MINUTE, step=MINUTE)
        before = tokens(simulator), len(simulator.ops.sent)
        for odd in (header(clock.now + AHEAD), header(clock.now - AHEAD), {"Date": "?"}):
            for _ in range(3):
                simulator.server.faults.set(Fault(headers=odd))
                simulator.advance(2 * MINUTE, step=MINUTE)
                simulator.server.faults.clear()
                simulator.advance(4 * MINUTE, step=MINUTE)
        assert (tokens(simulator), len(simulator.ops.sent)) == before


def test_apis_have_clocks_of_their_own_and_accounts_of_one_api_share_it(database: Database) -> None:
    with watched(database) as (simulator, clock):
        later = FakeService(lambda: clock.now + 2 * HOUR)
        later.add_account(KEY)
        later.add_connection(profile(later, "linkedin-later", 30 * DAY))
        add(simulator, "linkedin", 1, 30 * DAY)
        with serve(later) as server:
            accounts = [
                {"name": name, "base_url": url, "api_key_env": "KEY"}
                for name, url in (
                    ("agency", simulator.server.url),
                    ("second", server.url),
                    ("third", f"{server.url}/"),
                )
            ]
            simulator.more = {"accounts": accounts}
            simulator.start()
            simulator.advance(HOUR, step=15 * MINUTE)
            assert [server.url in each["summary"] for each in skews(simulator)] == [True]
            offsets = [simulator.context.clocks.expiry_offset(name) for name in ("agency", "second", "third")]
            assert offsets[0] == timedelta()
            assert offsets[1] == offsets[2]
            assert abs(offsets[1] - 2 * HOUR) < MINUTE
            assert len([each for each in simulator.ops.sent if "clock" in each.title]) == 1
            simulator.more = {"accounts": accounts[:1]}
            simulator.start()
            simulator.deliver()
            assert [each["resolution"] for each in skews(simulator)] == ["removed"]
            assert simulator.ops.sent == []


def test_a_warning_that_no_route_takes_goes_to_every_channel(database: Database) -> None:
    with watched(database, AHEAD) as (simulator, _):
        simulator.more = {
            "routes": [{"channels": ["ops"], "match": {"account": ["agency"]}}],
            "unrouted": "ignore",
        }
        simulator.start()
        simulator.advance(HOUR, step=15 * MINUTE)
        assert len([each for each in simulator.ops.sent if "clock" in each.title]) == 1


def test_dates_of_1970_and_of_the_year_9999_are_no_dates(database: Database) -> None:
    with watched(database) as (simulator, _):
        for status in ("valid", "unknown", "expiring_soon"):
            for date in ("1970-01-01T00:00:00.000Z", "2014-12-31T23:59:59Z", "9999-12-31T00:00:00Z"):
                overrides = {"tokenStatus": status, "accessTokenExpiresAt": date}
                for n in range(14):
                    simulator.fake_service.add_connection(
                        profile(simulator.fake_service, f"linkedin-{status}{date}{n}", overrides=overrides)
                    )
        simulator.advance(DAY, step=HOUR)
        opened = simulator.rows("incident_log")
        assert {(row["severity"], "expiring_soon" in row["platform_id"]) for row in opened} == {
            ("notice", True)
        }
        assert {None} == {row["expires_at"] for row in simulator.rows("current_connections")}
