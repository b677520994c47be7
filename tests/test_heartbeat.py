"""The heartbeat: pinged when all is seen, told of failures, silent in between."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text as sql
from structlog.testing import capture_logs

from monitor.app import App, build_app
from monitor.config.load import load_config
from monitor.core.evaluation.cycle import Cycle, CycleStatus, assess_cycle
from monitor.core.messages.lifecycle import Downtime, started_message, stopping_message
from monitor.core.model import Severity
from monitor.daemon.cycles import CycleReporter
from monitor.errors import ConfigError, DeliveryError
from monitor.heartbeat import Heartbeat, HeartbeatKind, detect_kind
from monitor.http.client import HttpClient
from monitor.jobs.deliver import deliver_channel
from monitor.jobs.poll import record_polls, take_snapshot
from monitor.jobs.sync_targets import sync_targets
from monitor.jobs.sync_workspace import sync_workspaces
from monitor.sandbox.samples import SANDBOX_KEY
from tests.factories import NOW
from tests.fakes import FrozenClock
from tests.receivers import Answer, HttpReceiver, http_receiver
from tests.sandbox.faults import Fault
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import seed_world

SECRET = "5c7f0ce5-7c4c-4d5e-9c2e-3a1c1f0a9d11"
EVERY = timedelta(minutes=15)
SLACK = timedelta(seconds=20)


# The verdict


@dataclass(frozen=True)
class Seen:
    """A target that was looked at so many minutes ago, and with success so many."""

    account: str = "agency"
    last: float | None = 0
    last_ok: float | None = 0

    @property
    def last_polled_at(self) -> datetime | None:
        return None if self.last is None else NOW - timedelta(minutes=self.last)

    @property
    def last_ok_at(self) -> datetime | None:
        return None if self.last_ok is None else NOW - timedelta(minutes=self.last_ok)


def judged(
    *targets: Seen,
    watched_for: float = 600,
    waiting: float | None = None,
    stalled: tuple[str, ...] = (),
    unlisted: Mapping[str, datetime] | None = None,
) -> Cycle:
    return assess_cycle(
        targets,
        every={"agency": EVERY, "daily": timedelta(days=1)},
        slack=SLACK,
        monitoring_since=NOW - timedelta(minutes=watched_for),
        pending_since=None if waiting is None else NOW - timedelta(minutes=waiting),
        stalled=stalled,
        now=NOW,
        unlisted_since=unlisted or {},
    )


@pytest.mark.parametrize(
    ("targets", "verdict", "text"),
    [
        ((Seen(), Seen()), CycleStatus.COMPLETE, "2 of 2 targets seen"),
        ((Seen(last=30, last_ok=30),), CycleStatus.COMPLETE, "1 of 1 targets seen"),
        ((Seen("daily", last=2000, last_ok=2000), Seen()), CycleStatus.COMPLETE, "2 of 2 targets seen"),
        ((Seen("gone", last=None, last_ok=None), Seen()), CycleStatus.COMPLETE, "1 of 1 targets seen"),
        ((Seen(last_ok=15), Seen()), CycleStatus.PARTIAL, "1 target failing (agency)"),
        ((Seen(last_ok=31), Seen()), CycleStatus.FAILED, "1 target not seen in time (agency)"),
        ((Seen(last=31, last_ok=31),), CycleStatus.FAILED, "1 target not seen in time (agency)"),
        ((Seen(last_ok=None),), CycleStatus.FAILED, "1 target not seen in time (agency)"),
    ],
)  # fmt: skip
def test_a_cycle_is_judged_by_how_long_ago_each_target_was_seen(
    targets: tuple[Seen, ...], verdict: CycleStatus, text: str
) -> None:
    cycle = judged(*targets)
    assert (verdict, text) == (cycle.status, cycle.text)


def test_what_was_missed_before_the_start_is_no_failure_yet() -> None:
    cycle = judged(Seen(last=600, last_ok=600), watched_for=1)
    assert (CycleStatus.PARTIAL, "1 target not looked at yet (agency)") == (cycle.status, cycle.text)
    assert not cycle.is_round


def test_a_workspace_that_cannot_be_listed_is_never_complete() -> None:
    for minutes, verdict, said in (
        (1, CycleStatus.PARTIAL, "users not listed (agency)"),
        (30, CycleStatus.PARTIAL, "users not listed (agency)"),
        (31, CycleStatus.FAILED, "users not listed in time (agency)"),
    ):
        cycle = judged(Seen(), unlisted={"agency": NOW - timedelta(minutes=minutes)})
        assert (verdict, said) == (cycle.status, cycle.text)
        assert cycle.is_round
    fresh = judged(Seen(), watched_for=5, unlisted={"agency": NOW - timedelta(days=1)})
    assert fresh.status is CycleStatus.PARTIAL


def test_a_round_is_done_when_all_were_looked_at_though_one_fails() -> None:
    assert judged(Seen(last_ok=20), Seen()).is_round


@pytest.mark.parametrize(
    ("waiting", "stalled", "text"),
    [(16, (), "a message can't be delivered"), (None, ("recorder",), "recorder hangs")],
)
def test_a_monitor_that_cannot_tell_or_hangs_has_failed(
    waiting: float | None, stalled: tuple[str, ...], text: str
) -> None:
    cycle = judged(Seen(), waiting=waiting, stalled=stalled)
    assert (CycleStatus.FAILED, text) == (cycle.status, cycle.text)
    assert judged(Seen(), waiting=14).status is CycleStatus.COMPLETE


# The switch


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def http() -> Iterator[HttpClient]:
    http = HttpClient(timeout=timedelta(seconds=0.5), concurrency=1, environ={}, user_agent="test")
    yield http
    http.close()


def asked(receiver: HttpReceiver) -> list[tuple[str, str, bytes]]:
    return [(request.method, request.path, request.body) for request in receiver.requests]


def test_healthchecks_gets_start_success_and_failure_with_a_text(
    receiver: HttpReceiver, http: HttpClient
) -> None:
    switch = Heartbeat(url=f"http://{receiver.address}/{SECRET}", kind=HeartbeatKind.HEALTHCHECKS, http=http)
    switch.start()
    switch.success("3 of 3 targets seen")
    switch.failure("1 target not seen in time (Zoë)")
    assert asked(receiver) == [
        ("POST", f"/{SECRET}/start", b"started"),
        ("POST", f"/{SECRET}", b"3 of 3 targets seen"),
        ("POST", f"/{SECRET}/fail", "1 target not seen in time (Zoë)".encode()),
    ]


def test_uptime_kuma_gets_its_own_words_instead_of_the_example(
    receiver: HttpReceiver, http: HttpClient
) -> None:
    url = f"http://{receiver.address}/api/push/{SECRET}?status=up&msg=OK&ping="
    switch = Heartbeat(url=url, kind=HeartbeatKind.UPTIME_KUMA, http=http)
    switch.start()
    switch.success("2 of 2 targets seen")
    switch.failure("recorder hangs")
    assert asked(receiver) == [
        ("GET", f"/api/push/{SECRET}?status=up&msg=2+of+2+targets+seen", b""),
        ("GET", f"/api/push/{SECRET}?status=down&msg=recorder+hangs", b""),
    ]


def test_a_plain_address_hears_good_news_alone(receiver: HttpReceiver, http: HttpClient) -> None:
    switch = Heartbeat(url=f"http://{receiver.address}/beat?x=1", kind=HeartbeatKind.PLAIN, http=http)
    switch.start()
    switch.success("all")
    switch.failure("none")
    assert asked(receiver) == [("GET", "/beat?x=1", b"")]


@pytest.mark.parametrize(
    ("url", "style"),
    [
        (f"https://hc-ping.com/{SECRET}", HeartbeatKind.HEALTHCHECKS),
        ("https://hc-ping.com/pingkey/slug?create=1", HeartbeatKind.HEALTHCHECKS),
        (f"https://checks.example.com/ping/{SECRET}/", HeartbeatKind.HEALTHCHECKS),
        ("http://kuma.lan:3001/api/push/abcdefgh?status=up&msg=OK&ping=", HeartbeatKind.UPTIME_KUMA),
        ("https://example.com/beat", HeartbeatKind.PLAIN),
    ],
)
def test_the_service_is_known_by_its_address(url: str, style: HeartbeatKind) -> None:
    assert detect_kind(url) is style


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(status=404), "127.0.0.1 answered HTTP 404"),
        (Answer(status=302, headers={"Location": "/elsewhere"}), "127.0.0.1 answered HTTP 302"),
        (Answer(body=b"OK (not found)"), "127.0.0.1 doesn't know this address"),
        (Answer(delay=5), "no complete answer"),
        (Answer(drip=0.05), "no complete answer"),
        (Answer(hang_up=True), ""),
    ],
)
def test_a_ping_that_is_not_taken_is_told_without_the_address(
    http: HttpClient, answer: Answer, reason: str
) -> None:
    with http_receiver(answer) as receiver:
        switch = Heartbeat(
            url=f"http://{receiver.address}/{SECRET}", kind=HeartbeatKind.HEALTHCHECKS, http=http
        )
        with pytest.raises(DeliveryError) as refused:
            switch.success("all")
        assert SECRET not in repr(refused.value) + str(refused.value)
        assert refused.value.__context__ is None
        assert str(refused.value).startswith("heartbeat: ")
        assert reason in str(refused.value)
        assert len(receiver.requests) == 1  # no redirect was followed


def test_an_address_that_cannot_be_asked_is_refused_without_being_shown(http: HttpClient) -> None:
    with pytest.raises(ConfigError, match="heartbeat: not a usable URL") as refused:
        Heartbeat(url=f"https:///{SECRET}", kind=HeartbeatKind.PLAIN, http=http)
    assert SECRET not in str(refused.value)


# The cycles


@dataclass
class Watch:
    """A monitor whose polls happen when the test says so."""

    app: App
    api: Server
    receiver: HttpReceiver
    ops: HttpReceiver
    clock: FrozenClock
    cycles: CycleReporter
    said: list[str]

    def poll(self) -> None:
        with self.app.database.read() as store:
            targets = store.due_targets(self.clock.now + timedelta(days=1), limit=10)
        snapshots = [take_snapshot(target, self.app.context) for target in targets]
        record_polls(snapshots, self.app.context)
        deliver_channel("ops", self.app.context, {}, wait=False)

    def after(self, **time: float) -> list[str]:
        """Poll a time later and look; returns what was asked of the switch by that."""
        self.clock.advance(timedelta(**time))
        self.poll()
        return self.look()

    def look(self) -> list[str]:
        before = len(self.receiver.requests)
        self.cycles.evaluate()
        return [request.path.removeprefix(f"/{SECRET}") for request in self.receiver.requests[before:]]

    def restart(self) -> None:
        self.cycles = CycleReporter(self.app, stalled=list, set_status=self.said.append, is_start=True)
        self.cycles.start()


@pytest.fixture
def watch(tmp_path: Path, receiver: HttpReceiver) -> Iterator[Watch]:
    clock = FrozenClock()
    with serve(seed_world(clock)) as api, http_receiver() as ops:
        config = tmp_path / "config.yaml"
        config.write_text(
            f"database: {{url: 'sqlite:///{tmp_path}/history.db'}}\n"
            "polling: {timeout: 2s}\n"
            f"accounts: [{{name: agency, base_url: '{api.url}', api_key_env: KEY}}]\n"
            f"channels: [{{name: ops, url: 'json://{ops.address}', notify_on: [start, stop]}}]\n"
            "heartbeat: {url_env: SWITCH}\n"
        )
        environ = {"KEY": SANDBOX_KEY, "SWITCH": f"http://{receiver.address}/{SECRET}"}
        app = build_app(load_config(config, environ), clock=clock, environ={})
        app.database.upgrade()
        sync_targets(app.context)
        said: list[str] = []
        cycles = CycleReporter(app, stalled=list, set_status=said.append, is_start=False)
        yield Watch(app=app, api=api, receiver=receiver, ops=ops, clock=clock, cycles=cycles, said=said)
        app.close()


def test_each_complete_cycle_is_pinged_once(watch: Watch) -> None:
    assert watch.look() == []  # nothing was looked at yet
    assert watch.after(seconds=1) == [""]
    assert watch.look() == []
    assert watch.after(minutes=14) == []
    assert watch.after(minutes=1) == [""]
    assert watch.said[-1].endswith("1 of 1 targets seen. Open incidents: 2 warning.")


def test_a_partial_cycle_is_never_pinged_and_a_failed_one_is_told_as_such(watch: Watch) -> None:
    assert watch.after(seconds=1) == [""]
    watch.api.faults.set(Fault(status=500, body=b"{}"))
    with capture_logs() as logged:
        assert watch.after(minutes=15) == []
        assert watch.after(minutes=15) == []
        assert watch.after(minutes=1) == ["/fail"]
        assert watch.after(minutes=1) == []
        assert watch.after(minutes=14) == ["/fail"]
        watch.api.faults.clear()
        assert watch.after(seconds=10) == [""]  # good news doesn't wait for the next cycle
    ended = [line["verdict"] for line in logged if line["event"] == "cycle.ended"]
    assert ended == ["partial", "partial", "failed"]
    own = [line for line in logged if line["event"] in {"cycle.failed", "cycle.complete"}]
    assert [line["event"] for line in own] == ["cycle.failed", "cycle.complete"]
    assert own[0]["reason"] == "1 target not seen in time (agency)"


def test_a_cycle_without_the_list_of_users_is_partial_until_it_is_had_again(watch: Watch) -> None:
    scope = replace(watch.app.context.scope_of("agency"), all_users=True)
    context = replace(watch.app.context, poll_scopes={"agency": scope})
    app = replace(watch.app, context=context)
    watch.cycles = CycleReporter(app, stalled=list, set_status=watch.said.append, is_start=False)
    assert watch.after(seconds=1) == [""]
    watch.api.faults.set(Fault(status=500, body=b"{}"))
    sync_workspaces(context, force=True)
    watch.api.faults.clear()
    assert watch.after(minutes=15) == []
    assert watch.said[-1].partition(": ")[2].startswith("users not listed (agency).")
    sync_workspaces(context, force=True)
    assert watch.after(seconds=5) == [""]


def test_a_switch_that_takes_no_ping_is_logged_once_and_tried_again(watch: Watch) -> None:
    with capture_logs() as logged:
        watch.receiver.answer = Answer(status=503)
        assert watch.after(seconds=1) == [""]
        assert watch.after(minutes=15) == [""]
        watch.receiver.answer = Answer()
        assert watch.after(minutes=15) == [""]
        assert watch.after(minutes=15) == [""]
    own = [line["event"] for line in logged if line["event"].startswith("heartbeat")]
    assert own == ["heartbeat.failed", "heartbeat.recovered"]
    assert SECRET not in str(logged)


def test_the_address_of_the_switch_is_a_secret(watch: Watch) -> None:
    assert SECRET in watch.app.config.secrets()
    assert SECRET not in str(watch.app.config.shown()) + repr(watch.app.config)


# Announcements


def notified(watch: Watch, count: int) -> str:
    """Give the newest of so many messages."""
    return str(watch.ops.wait_for(count)[-1].json()["message"])


def test_a_start_is_announced_with_what_came_up_while_nobody_watched(watch: Watch) -> None:
    watch.after(seconds=1)
    watch.clock.advance(timedelta(hours=5))
    watch.api.fake_service.expire("linkedin-Tz9W5i6ZYG")
    with capture_logs() as logged:
        watch.restart()
        assert watch.look() == ["/start"]  # nothing to announce before it has looked
        assert watch.after(seconds=2) == [""]
        announced = notified(watch, 3)
    assert "The monitor did not run from 22 Feb, 20:00 UTC to 23 Feb, 01:00 UTC." in announced
    assert "It found 1 new problem since." in announced
    events = [line["event"] for line in logged]
    assert "daemon.downtime_detected" in events
    assert "daemon.caught_up" in events
    with watch.app.database.read() as store:
        gap = store.connection.execute(sql("SELECT seconds FROM monitor_downtimes")).scalar_one()
    assert 5 * 3600 <= gap < 5 * 3600 + 60  # since the newest poll
    assert watch.after(minutes=15) == [""]
    assert len(watch.ops.requests) == 3


def test_a_short_pause_is_no_time_down(watch: Watch) -> None:
    watch.after(seconds=1)
    watch.clock.advance(timedelta(minutes=40))
    with capture_logs() as logged:
        watch.restart()
    assert not [line for line in logged if line["event"] == "daemon.downtime_detected"]
    with watch.app.database.read() as store:
        assert store.connection.execute(sql("SELECT count(*) FROM monitor_downtimes")).scalar_one() == 0


def test_the_end_is_announced_where_that_was_asked_for(watch: Watch) -> None:
    for thread in watch.cycles.send_stop_notices():
        thread.join()
    assert "Pending alerts are sent after the restart." in notified(watch, 1)


def test_the_words_of_the_notices() -> None:
    gap = Downtime(starts_at=NOW - timedelta(hours=2), ends_at=NOW)
    message = started_message(
        accounts=1,
        connections=12,
        incidents={Severity.CRITICAL: 1, Severity.WARNING: 2},
        downtime=gap,
        found=0,
        key="k",
    )
    assert message.title == "[STARTED] Monitoring resumed after 2 hours of downtime"
    assert message.body.splitlines()[0] == "The monitor polls 1 account with 12 connections."
    assert message.body.splitlines()[-1] == "Open incidents: 1 critical, 2 warning."
    quiet = started_message(accounts=2, connections=1, incidents={}, downtime=None, found=0, key="k")
    assert (quiet.title, quiet.body.splitlines()) == (
        "[STARTED] Monitoring 2 accounts with 1 connection",
        ["The monitor polls 2 accounts with 1 connection.", "No open incidents."],
    )
    assert stopping_message(now=NOW, key="k").title == "[STOPPED] No monitoring until the restart"
