"""What is said of a cycle: complete, partial for a while, failed after too long."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.core.evaluation.cycle import Cycle, CycleStatus, assess_cycle
from tests.factories import DAY, MINUTE, NOW

SECOND = timedelta(seconds=1)
EVERY, SLACK = 15 * MINUTE, MINUTE
# The oldest look that is in time: twice the interval, and the time of one request.
OLDEST = NOW - 2 * EVERY - SLACK
COMPLETE, PARTIAL, FAILED = CycleStatus


@dataclass(frozen=True)
class Polled:
    account: str = "agency"
    last_polled_at: datetime | None = NOW
    last_ok_at: datetime | None = NOW


def assess(*targets: Polled, **given: Any) -> Cycle:
    ordinary: dict[str, Any] = {
        "every": {"agency": EVERY, "b": EVERY, "c": EVERY, "d": EVERY},
        "slack": SLACK,
        "monitoring_since": NOW - DAY,
        "pending_since": None,
        "stalled": (),
        "now": NOW,
    }
    return assess_cycle(targets, **(ordinary | given))


GOOD = Polled()
LATE = Polled(last_polled_at=OLDEST - SECOND, last_ok_at=OLDEST - SECOND)
FAILING = Polled(last_ok_at=OLDEST)
BLIND = Polled(last_ok_at=OLDEST - SECOND)


@pytest.mark.parametrize(
    ("targets", "given", "cycle"),
    [
        pytest.param((GOOD, GOOD), {}, (COMPLETE, "2 of 2 targets seen", True), id="complete"),
        pytest.param((), {}, (FAILED, "no target is polled", True), id="no-targets"),
        pytest.param(
            (Polled(account="x", last_ok_at=None), GOOD),
            {},
            (COMPLETE, "1 of 1 targets seen", True),
            id="of-another-configuration",
        ),
        pytest.param(
            (Polled(last_polled_at=OLDEST, last_ok_at=OLDEST),),
            {},
            (COMPLETE, "1 of 1 targets seen", True),
            id="just-in-time",
        ),
        pytest.param((FAILING, GOOD), {}, (PARTIAL, "1 target failing (agency)", True), id="failing"),
        pytest.param((FAILING, FAILING), {}, (PARTIAL, "2 targets failing (agency)", True), id="two-failing"),
        pytest.param(
            (Polled(last_ok_at=None),),
            {"monitoring_since": OLDEST},
            (PARTIAL, "1 target failing (agency)", True),
            id="never-well-but-new",
        ),
        pytest.param(
            (Polled(last_polled_at=None, last_ok_at=None),),
            {"monitoring_since": NOW},
            (PARTIAL, "1 target not looked at yet (agency)", False),
            id="not-yet",
        ),
        pytest.param(
            (LATE, GOOD),
            {"monitoring_since": OLDEST},
            (PARTIAL, "1 target not looked at yet (agency)", False),
            id="late-since-before-the-start",
        ),
        pytest.param((BLIND,), {}, (FAILED, "1 target not seen in time (agency)", True), id="blind"),
        pytest.param(
            (BLIND,),
            {"monitoring_since": OLDEST},
            (PARTIAL, "1 target failing (agency)", True),
            id="blind-since-before-the-start",
        ),
        pytest.param((LATE,), {}, (FAILED, "1 target not seen in time (agency)", False), id="late-and-blind"),
        pytest.param(
            (Polled(last_ok_at=None),),
            {},
            (FAILED, "1 target not seen in time (agency)", True),
            id="never-well",
        ),
        pytest.param(
            tuple(Polled(account=name, last_ok_at=None) for name in ("d", "c", "b", "agency", "b")),
            {},
            (FAILED, "5 targets not seen in time (agency, b, c, …)", True),
            id="more-than-three-accounts",
        ),
        pytest.param(
            tuple(Polled(account=name, last_ok_at=None) for name in ("c", "b", "agency")),
            {},
            (FAILED, "3 targets not seen in time (agency, b, c)", True),
            id="three-accounts",
        ),
        pytest.param(
            (GOOD,),
            {"stalled": ("recorder", "sender")},
            (FAILED, "recorder hangs, sender hangs", True),
            id="stalled",
        ),
        pytest.param(
            (GOOD,),
            {"pending_since": NOW - 15 * MINUTE},
            (COMPLETE, "1 of 1 targets seen", True),
            id="a-message-waits",
        ),
        pytest.param(
            (GOOD,),
            {"pending_since": NOW - 15 * MINUTE - SECOND},
            (FAILED, "a message can't be delivered", True),
            id="a-message-waits-too-long",
        ),
        pytest.param(
            (GOOD,),
            {"pending_since": NOW - DAY, "monitoring_since": NOW - MINUTE},
            (COMPLETE, "1 of 1 targets seen", True),
            id="a-message-waits-since-before-the-start",
        ),
        pytest.param(
            (GOOD,),
            {"unlisted_since": {"agency": OLDEST}},
            (PARTIAL, "users not listed (agency)", True),
            id="users-not-listed",
        ),
        pytest.param(
            (GOOD,),
            {"unlisted_since": {"agency": OLDEST - SECOND}},
            (FAILED, "users not listed in time (agency)", True),
            id="users-not-listed-for-long",
        ),
        pytest.param(
            (GOOD,),
            {"unlisted_since": {"agency": NOW - DAY}, "monitoring_since": OLDEST},
            (PARTIAL, "users not listed (agency)", True),
            id="users-not-listed-since-before-the-start",
        ),
        pytest.param(
            (GOOD,),
            {"unlisted_since": {"x": NOW - DAY}},
            (PARTIAL, "users not listed (x)", True),
            id="users-of-another-configuration",
        ),
        pytest.param(
            (BLIND,),
            {"stalled": ("sender",), "pending_since": NOW - DAY, "unlisted_since": {"b": NOW - DAY}},
            (
                FAILED,
                "sender hangs, 1 target not seen in time (agency), users not listed in time (b), "
                "a message can't be delivered",
                True,
            ),
            id="everything-at-once",
        ),
    ],
)
def test_a_cycle_is_judged_by_how_long_ago_each_target_was_seen(
    targets: tuple[Polled, ...], given: dict[str, Any], cycle: tuple[CycleStatus, str, bool]
) -> None:
    status, text, is_round = cycle
    assert assess(*targets, **given) == Cycle(status=status, text=text, is_round=is_round)
