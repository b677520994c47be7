"""Two daemons on one PostgreSQL, of which the one that monitors is killed, again and again."""

import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from tests.drills.scene import scene

KILLS = 6
# A standby looks every five seconds.
TAKEOVER_SECONDS = 15


def test_a_standby_takes_over_from_each_daemon_that_is_killed(tmp_path: Path, postgres_url: str) -> None:
    dice = random.Random(9)
    with scene(tmp_path, postgres_url, connections=200) as place, ExitStack() as stack:
        active = stack.enter_context(place.daemon())
        active.wait_for("daemon.started")
        for _ in range(KILLS):
            standby = stack.enter_context(place.daemon())
            standby.wait_for("daemon.standing_by")
            for _ in range(dice.randint(3, 10)):
                place.end_next()
                time.sleep(dice.uniform(0.05, 0.4))
            active.process.send_signal(signal.SIGKILL)
            killed_at = time.monotonic()
            place.end_next()
            standby.wait_for("daemon.started")
            assert time.monotonic() - killed_at < TAKEOVER_SECONDS
            active = standby
        place.stop(active)
        assert place.wrong(repeats=KILLS) == []
