"""The daemon as systemd sees it: a process, its signals, and what it says on the line."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from structlog.testing import capture_logs

from monitor.app import build_app
from monitor.clock import utc_now
from monitor.config.load import load_config
from monitor.daemon.process import Process
from monitor.daemon.service import Daemon, Every
from monitor.daemon.status_line import StatusLine
from monitor.daemon.systemd import Systemd
from monitor.errors import StorageError
from monitor.sandbox.samples import SANDBOX_KEY
from monitor.signals import Signals
from monitor.workers.liveness import DISPATCHER, RECORDER, SENDER, Liveness
from tests.daemon_process import NotifySocket, daemon, notify_socket, wait_until
from tests.factories import DAY, NOW
from tests.hanging import PLACES
from tests.receivers import Answer, http_receiver
from tests.sandbox.faults import Fault
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import seed_world
from tests.web_client import FakeMonotonic

SECOND = timedelta(seconds=1)
WATCHDOG = "600000"  # microseconds; pinged three times as often


@pytest.fixture
def api() -> Iterator[Server]:
    with serve(seed_world(utc_now)) as server:
        yield server


@pytest.fixture
def line(tmp_path: Path) -> Iterator[NotifySocket]:
    with notify_socket(tmp_path) as line:
        yield line


def written(folder: Path, api: Server, more: str = "", *, every: str = "1s") -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"database: {{url: 'sqlite:///{folder}/history.db'}}\n"
        f"polling: {{every: {every}, jitter: 0%, timeout: 5s}}\n"
        f"accounts: [{{name: agency, base_url: '{api.url}', api_key_env: KEY}}]\n{more}"
    )
    return path


def environ(line: NotifySocket | None = None) -> dict[str, str]:
    notified = {"NOTIFY_SOCKET": str(line.path), "WATCHDOG_USEC": WATCHDOG} if line else {}
    return {"KEY": SANDBOX_KEY, **notified}


def test_a_job_whose_times_were_missed_runs_once_and_then_at_its_interval_again() -> None:
    every = Every(SECOND)
    first = every.get_next_fire_time(None, NOW)
    assert first == NOW + SECOND
    assert every.get_next_fire_time(first, first + SECOND / 4) == first + SECOND
    much_later = first + 61 * DAY + SECOND / 4
    assert every.get_next_fire_time(first, much_later) == first + 61 * DAY + SECOND


def test_systemd_is_told_of_the_start_each_cycle_and_the_end(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    with daemon(written(tmp_path, api), environ(line)) as process:
        line.wait_for("READY")
        (ready,) = (note for note in line.notes if "READY" in note)
        assert ready == {"READY": "1", "STATUS": "watching 1 account"}
        # A migration may take longer than a start is given.
        assert line.notes[0]["STATUS"].startswith("migrating the database: 0001_history: ")
        assert int(line.notes[0]["EXTEND_TIMEOUT_USEC"]) >= 60_000_000
        assert (tmp_path / "history.db").exists()
        line.wait_for("WATCHDOG")
        status = line.wait_for("STATUS", lambda status: "last cycle" in status)
        assert "1 of 1 targets seen. Open incidents: 2 warning." in status
        process.process.terminate()
        assert process.end() == 0
        assert line.notes[-1] == {"STOPPING": "1", "STATUS": "stopping"}
        assert process.lines("daemon.stopped")


def test_a_good_configuration_is_taken_whole_without_losing_what_is_known(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    config = written(tmp_path, api)
    with daemon(config, environ(line)) as process:
        process.wait_for("incident.opened", times=2)
        before = len(line.notes)
        config.write_text(config.read_text().replace("name: agency", "name: agency, labels: {team: emea}"))
        asked = len(api.requests)
        process.process.send_signal(signal.SIGHUP)
        line.wait_for("RELOADING", after=before)
        line.wait_for("READY", after=before)
        note = next(note for note in line.notes if "RELOADING" in note)
        assert 0 < int(note["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert process.wait_for("config.reloaded")
        wait_until(lambda: len(api.requests) >= asked + 2, what="polls after the reload")
        process.process.terminate()
        assert process.end() == 0
        assert len(process.lines("incident.opened")) == 2  # and not told anew


def test_a_bad_configuration_is_refused_with_its_reason_and_the_old_one_stays(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    config = written(tmp_path, api)
    with daemon(config, environ(line)) as process:
        line.wait_for("READY")
        before = len(line.notes)
        config.write_text(config.read_text().replace("every: 1s", "evry: 1s"))
        process.process.send_signal(signal.SIGHUP)
        line.wait_for("RELOADING", after=before)
        line.wait_for("READY", after=before)
        reason = "polling.evry: unknown key; did you mean 'every'?"
        assert reason in process.wait_for("config.reload_rejected")[0]["error"]
        assert reason in line.wait_for("STATUS", after=before)
        # What an operator must not overlook stands in front of the next cycle, too.
        status = line.wait_for("STATUS", lambda status: "last cycle" in status, after=before)
        assert status.startswith("new configuration refused")
        asked = len(api.requests)
        wait_until(lambda: len(api.requests) > asked, what="polls by the old configuration")
        assert process.process.poll() is None


def test_a_request_that_hangs_holds_up_neither_reload_nor_end(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    config = written(tmp_path, api)
    config.write_text(config.read_text().replace("timeout: 5s", "timeout: 60s"))
    with daemon(config, environ(line)) as process:
        line.wait_for("READY")
        api.faults.set(Fault(delay_seconds=120))
        asked = len(api.requests)
        wait_until(lambda: len(api.requests) > asked, what="a request that hangs")
        begins = time.monotonic()
        process.process.terminate()
        assert process.end() == 0
        assert time.monotonic() - begins < 10


def test_neither_a_channel_that_hangs_nor_a_locked_database_holds_up_the_end(
    tmp_path: Path, api: Server
) -> None:
    with http_receiver(Answer(delay=120)) as hangs:
        more = (
            f"channels: [{{name: ops, url: 'json://{hangs.address}/'}}]\n"
            "routes: [{channels: [ops], group_wait: 0s}]\n"
        )
        with daemon(written(tmp_path, api, more), environ()) as process:
            hangs.wait_for(1, 30)
            lock = create_engine(f"sqlite:///{tmp_path}/history.db").connect()
            lock.exec_driver_sql("BEGIN IMMEDIATE")
            time.sleep(1.5)  # more than a tick: jobs wait for the lock by now
            begins = time.monotonic()
            process.process.send_signal(signal.SIGINT)
            assert process.end() == 0
            assert time.monotonic() - begins < 10
            assert process.lines("daemon.shutdown_forced")
            lock.close()
            lock.engine.dispose()


def test_a_second_daemon_on_one_file_says_who_holds_it(tmp_path: Path, api: Server) -> None:
    config = written(tmp_path, api)
    with daemon(config, environ()) as first:
        first.wait_for("daemon.started")
        with daemon(config, environ()) as second:
            assert second.end() == 1
        assert f"is watched by another daemon already (process {first.process.pid})" in second.text
        assert first.process.poll() is None


def test_waiting_for_a_database_that_is_gone_is_alive(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    config = written(tmp_path, api)
    with daemon(config, environ(line)) as process:
        line.wait_for("READY")
        (tmp_path / "history.db").rename(tmp_path / "elsewhere.db")
        process.wait_for("database.unavailable")
        assert "waiting for the database" in line.wait_for("STATUS", lambda text: "waiting" in text)
        before = len(line.notes)
        wait_until(lambda: line.notes[before:].count({"WATCHDOG": "1"}) > 2, what="pings")
        (tmp_path / "elsewhere.db").rename(tmp_path / "history.db")
        process.wait_for("database.recovered")
        process.process.terminate()
        assert process.end() == 0


def test_a_server_that_is_away_at_the_start_is_waited_for(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    config = written(tmp_path, api)
    url = "postgresql://nobody@127.0.0.1:9/none"
    config.write_text(config.read_text().replace(f"sqlite:///{tmp_path}/history.db", url))
    with daemon(config, environ(line)) as process:
        assert process.wait_for("database.unavailable")
        assert "waiting for the database" in line.wait_for("STATUS")
        assert line.notes[0]["EXTEND_TIMEOUT_USEC"] == "120000000"
        assert not line.said("READY")
        process.process.terminate()
        assert process.end() == 0


def test_a_reload_asked_for_while_the_database_is_away_makes_nobody_hurry(
    tmp_path: Path, api: Server
) -> None:
    config = written(tmp_path, api)
    url = "postgresql://nobody@127.0.0.1:9/none"
    config.write_text(config.read_text().replace(f"sqlite:///{tmp_path}/history.db", url))
    with daemon(config, environ()) as process:
        process.wait_for("database.unavailable")
        process.process.send_signal(signal.SIGHUP)
        time.sleep(2)
        assert len(process.lines("database.unavailable")) < 5
        process.process.terminate()
        assert process.end() == 0


def test_a_reload_asked_for_before_the_start_is_taken_right_after_it(tmp_path: Path, api: Server) -> None:
    app = build_app(load_config(written(tmp_path, api), environ()))
    daemon = Daemon(app)
    asked = Signals()
    asked.reload = True
    try:
        began = time.monotonic()
        assert (
            Process(signals=asked, status=StatusLine(Systemd({})), reload=lambda: app).wait_for_reload(daemon)
            is app
        )
        assert time.monotonic() - began < 30  # and not after the next minute
    finally:
        daemon.stop()
        app.close()


def test_what_was_missed_while_it_was_down_is_told_on_return(tmp_path: Path, api: Server) -> None:
    config = written(tmp_path, api)
    with daemon(config, environ()) as process:
        process.wait_for("incident.opened", times=2)
        process.process.terminate()
        process.end()
    engine = create_engine(f"sqlite:///{tmp_path}/history.db")
    with engine.begin() as connection:  # an hour passes
        hour = 3_600_000
        connection.execute(
            text(
                f"UPDATE target_schedule SET last_polled_at = last_polled_at - {hour}, next_poll_at = "
                f"next_poll_at - {hour}"
            )
        )
    engine.dispose()
    api.fake_service.expire("linkedin-Tz9W5i6ZYG")
    with daemon(config, environ()) as process:
        down = process.wait_for("daemon.downtime_detected")[0]
        assert down["since"] < down["until"]
        assert process.wait_for("daemon.caught_up")[0]["problems_found"] == 1


@pytest.mark.parametrize("part", PLACES)
def test_a_part_that_hangs_ends_the_process_after_a_dump_of_its_threads(
    tmp_path: Path, api: Server, line: NotifySocket, part: str
) -> None:
    hook = (
        "channels: [{name: ops, url: 'json://127.0.0.1:9/'}]\nroutes: [{channels: [ops], group_wait: 0s}]\n"
    )
    trigger = tmp_path / "hang"
    config = written(tmp_path, api, hook)
    with daemon(config, environ(line), program=("tests.hanging", part, str(trigger))) as process:
        process.wait_for("notification.failed")
        line.wait_for("WATCHDOG", after=len(line.notes))
        trigger.touch()
        assert part.removesuffix("'s pass") in process.wait_for("component.stalled")[0]["components"]
        pings = line.notes.count({"WATCHDOG": "1"})
        assert process.end() == 1
        assert line.notes.count({"WATCHDOG": "1"}) == pings
        assert process.lines("daemon.stalled")
        assert "in _record_forever" in process.text


def test_a_part_that_stumbles_time_and_again_does_not_move() -> None:
    monotonic_clock = FakeMonotonic()
    liveness = Liveness(monotonic=monotonic_clock)
    monotonic_clock.now += 10
    with pytest.raises(StorageError), liveness.beating(DISPATCHER):  # asking in vain is moving
        raise StorageError("away", transient=True)
    assert liveness.ages() == {DISPATCHER: 0, RECORDER: 10, SENDER: 10}
    monotonic_clock.now += 10
    with pytest.raises(ZeroDivisionError), liveness.beating(DISPATCHER):
        raise ZeroDivisionError
    assert liveness.ages()[DISPATCHER] == 10


def test_each_cycle_is_one_line_and_every_line_says_its_cycle(tmp_path: Path, api: Server) -> None:
    with daemon(written(tmp_path, api), environ()) as process:
        ended = process.wait_for("cycle.ended", times=2)
        process.process.terminate()
        assert process.end() == 0
    assert ended[0]["verdict"] == "complete"
    assert ended[0]["seen"] == "1 of 1 targets seen"
    assert ended[0]["polls"] >= 1
    assert (ended[0]["failed"], ended[1]["changed"]) == (0, 0)
    run, _, number = ended[0]["cycle"].partition("-")
    assert (number, ended[1]["cycle"]) == ("1", f"{run}-2")
    opened = process.lines("incident.opened")
    assert {line["cycle"] for line in opened} == {f"{run}-1"}
    assert {line["target"] for line in [*opened, *process.lines("token.status_changed")]} == {1}
    begun = process.log.index(process.lines("daemon.started")[0])
    assert all("cycle" in line for line in process.log[begun:])


def test_a_part_that_hangs_stops_the_pings_until_it_moves_again(
    tmp_path: Path, api: Server, line: NotifySocket
) -> None:
    now = [0.0]
    app = build_app(load_config(written(tmp_path, api), environ()))
    app.database.upgrade()
    daemon = Daemon(app)
    daemon.liveness = Liveness(monotonic=lambda: now[0])
    asked = Signals()
    systemd = Systemd(environ(line))
    process = Process(signals=asked, status=StatusLine(systemd), reload=lambda: app)
    waiting = threading.Thread(target=process.wait_for_reload, args=(daemon,))
    waiting.start()
    try:
        line.wait_for("WATCHDOG")
        now[0] += 60.5
        daemon.liveness.beat(RECORDER)
        daemon.liveness.beat(SENDER)
        with capture_logs() as logged:
            wait_until(lambda: bool(logged), what="a word on it")
            pings = line.notes.count({"WATCHDOG": "1"})
            time.sleep(0.6)
        assert [{"event": "component.stalled", "log_level": "error", "components": [DISPATCHER]}] == logged
        assert line.notes.count({"WATCHDOG": "1"}) == pings
        daemon.liveness.beat(DISPATCHER)
        wait_until(lambda: line.notes.count({"WATCHDOG": "1"}) > pings, what="pings")
    finally:
        asked.stop = True
        asked.notify()
        waiting.join()
        daemon.stop()
        app.close()


def test_signals_may_come_at_any_moment_of_waiting_for_them() -> None:
    code = (
        "import os, signal, threading, time\n"
        "from monitor.signals import handle_signals\n"
        "def storm():\n"
        "    for _ in range(20000): os.kill(os.getpid(), signal.SIGHUP)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "with handle_signals() as asked:\n"
        "    threading.Thread(target=storm).start()\n"
        "    while not asked.stop: asked.wait(0.0001)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("is_terminal", [True, False], ids=["terminal", "service"])
def test_hangup_of_a_terminal_stops_and_of_a_service_reloads(is_terminal: bool) -> None:
    code = (
        "import os, signal\n"
        "from monitor.signals import handle_signals\n"
        "with handle_signals() as asked:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    asked.wait(60)\n"
        "    print(asked.stop, asked.reload)\n"
    )
    ours, theirs = pty.openpty()
    try:
        stdin = theirs if is_terminal else subprocess.DEVNULL
        run = subprocess.run(
            [sys.executable, "-c", code], stdin=stdin, capture_output=True, text=True, check=True
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert run.stdout == f"{is_terminal} {not is_terminal}\n"
