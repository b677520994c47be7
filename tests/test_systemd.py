"""What is said to systemd, and the units: clean, hardened, and no harder than the monitor bears."""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

from monitor.clock import utc_now
from monitor.daemon.systemd import Systemd
from monitor.sandbox.samples import SANDBOX_KEY
from tests.daemon_process import NotifySocket, daemon, notify_socket
from tests.needs import needs, needs_program
from tests.receivers import http_receiver
from tests.sandbox.server import serve
from tests.sandbox.worlds import seed_world

ROOT = Path(__file__).parent.parent
UNITS = ROOT / "systemd"
SERVICE = UNITS / "postpost-monitor.service"
BACKOFF = UNITS / "postpost-monitor.service.d" / "backoff.conf"
PROGRAM = "/opt/postpost-monitor/bin/postpost-monitor"
EXPOSED_AT_MOST = 1.3


# The line


@pytest.fixture
def line(tmp_path: Path) -> Iterator[NotifySocket]:
    with notify_socket(tmp_path) as line:
        yield line


def test_every_word_arrives_as_one_message(line: NotifySocket) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(line.path)})
    systemd.extend_timeout("waiting for the database", timedelta(seconds=2))
    systemd.notify_ready("watching 1 account")
    systemd.set_status("last cycle")
    systemd.notify_watchdog()
    systemd.notify_reloading()
    systemd.notify_stopping()
    line.wait_for("STOPPING")
    microseconds = line.said("MONOTONIC_USEC")[0]
    assert line.notes == [
        {"STATUS": "waiting for the database", "WATCHDOG": "1", "EXTEND_TIMEOUT_USEC": "2000000"},
        {"READY": "1", "STATUS": "watching 1 account"},
        {"STATUS": "last cycle"},
        {"WATCHDOG": "1"},
        {"RELOADING": "1", "MONOTONIC_USEC": microseconds},
        {"STOPPING": "1", "STATUS": "stopping"},
    ]


def test_a_status_cannot_say_another_word(line: NotifySocket) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(line.path)})
    systemd.set_status("bad\nSTOPPING=1\nMAINPID=1 " + "x" * 1000)
    status = line.wait_for("STATUS")
    assert line.notes == [{"STATUS": status}]
    assert status.startswith("bad STOPPING=1 MAINPID=1 x")
    assert len(status) == 300


def test_a_name_without_a_file_is_listened_to_as_well() -> None:
    name = f"postpost-monitor-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        Systemd({"NOTIFY_SOCKET": f"@{name}"}).notify_watchdog()
        assert listening.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "/nowhere/at/all"])
def test_without_anybody_there_nothing_is_said_and_nothing_breaks(address: str) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": address})
    systemd.notify_ready("x")
    systemd.notify_stopping()


def test_a_service_manager_that_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling,
    ):
        deaf.bind(str(tmp_path / "deaf"))
        filling.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                filling.sendto(b"x", str(tmp_path / "deaf"))
        Systemd({"NOTIFY_SOCKET": str(tmp_path / "deaf")}).notify_watchdog()


@pytest.mark.parametrize(
    ("environ", "pulse"),
    [
        ({"WATCHDOG_USEC": "180000000"}, timedelta(minutes=1)),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(minutes=1)),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_three_times_as_often_as_it_asks(
    environ: dict[str, str], pulse: timedelta | None
) -> None:
    assert pulse == Systemd({"NOTIFY_SOCKET": "/run/x", **environ}).watchdog_interval
    assert Systemd(environ).watchdog_interval is None


# The units


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copy the units, their program being there: systemd wants to see it."""
    needs_program("systemd-analyze", "systemd")
    folder = tmp_path / "units"
    folder.mkdir()
    for unit in filter(Path.is_file, UNITS.iterdir()):
        text = unit.read_text()
        assert unit.suffix == ".timer" or PROGRAM in text
        (folder / unit.name).write_text(text.replace(PROGRAM, "/bin/true"))
    return folder


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    found = analyzed("verify", *map(str, sorted(units.iterdir())))
    about_ours = [line for line in (found.stdout + found.stderr).splitlines() if "postpost" in line]
    assert (found.returncode, about_ours) == (0, [])


def test_systemd_would_find_something_wrong(units: Path) -> None:
    unit = units / "postpost-monitor.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=3min", "WatchdogSec=often"))
    found = analyzed("verify", str(unit))
    assert "postpost-monitor.service:" in found.stderr
    assert "ignoring: often" in found.stderr


@pytest.mark.parametrize("name", ["postpost-monitor.service", "postpost-monitor-poll.service"])
def test_the_services_are_hardly_exposed(units: Path, name: str) -> None:
    found = analyzed("security", "--offline=true", str(units / name))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", found.stdout)
    assert level, found.stderr
    assert float(level[1]) <= EXPOSED_AT_MOST


def settings(unit: str) -> list[str]:
    lines = (UNITS / unit).read_text().splitlines()
    return [line for line in lines if "=" in line and not line.startswith("#")]


def test_both_services_are_hardened_alike() -> None:
    daemon, poll = settings("postpost-monitor.service"), settings("postpost-monitor-poll.service")
    begin, end = "DynamicUser=yes", "LimitNOFILE=4096"
    assert daemon[daemon.index(begin) : daemon.index(end)] == poll[poll.index(begin) : poll.index(end)]


def test_newer_machines_restart_at_growing_pauses(units: Path) -> None:
    shutil.copytree(BACKOFF.parent, units / BACKOFF.parent.name)
    found = analyzed("verify", str(units / "postpost-monitor.service"))
    about_ours = [line for line in (found.stdout + found.stderr).splitlines() if "postpost" in line]
    version = re.search(r"systemd (\d+)", analyzed("--version").stdout)
    assert version
    unknown = [line for line in about_ours if "Unknown key" in line and "Restart" in line]
    assert len(about_ours) == len(unknown) == (0 if int(version[1]) >= 254 else 2)


def test_the_daemon_is_notified_reloaded_watched_and_restarted() -> None:
    wanted = {
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "WatchdogSec=3min",
        "Restart=on-failure",
        "StateDirectory=postpost-monitor",
        "StateDirectoryMode=0700",
    }
    assert wanted <= set(settings("postpost-monitor.service"))


def test_the_timer_leads_to_the_service_of_its_name() -> None:
    assert (UNITS / "postpost-monitor-poll.service").exists()
    assert not any(line.startswith("Unit=") for line in settings("postpost-monitor-poll.timer"))


@pytest.fixture
def _can_confine() -> None:
    needs_program("systemd-analyze", "systemd")
    needs(_has("libseccomp.so.2"), "libseccomp2")
    kernel = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    needs(kernel >= (6, 3), "a kernel that can refuse executable memory (6.3)")


@pytest.mark.usefixtures("_can_confine")
def test_the_daemon_bears_what_its_unit_confines_it_to(
    tmp_path: Path, empty_database_url: str, line: NotifySocket
) -> None:
    """All that it ever loads: the databases' drivers, the web door, the channels' library, TLS."""
    plain = make_url(empty_database_url).set(drivername=make_url(empty_database_url).get_backend_name())
    with serve(seed_world(utc_now)) as api, http_receiver() as ops, http_receiver() as switch:
        tree = {
            "database": {"url": plain.render_as_string(hide_password=False)},
            "polling": {"every": "1s"},
            "accounts": [
                {"name": "agency", "base_url": api.url, "api_key_env": "KEY"},
                {"name": "tls", "base_url": api.url.replace("http:", "https:"), "api_key_env": "KEY"},
            ],
            "channels": [
                {"name": "ops", "url": f"json://{ops.address}", "notify_on": ["start", "stop"]},
                {"name": "mail", "url": "mailto://localhost:9?from=a@example.com&to=b@example.com"},
            ],
            "routes": [{"channels": ["ops", "mail"], "group_wait": "0s"}],
            "heartbeat": {"url": f"http://{switch.address}/api/push/abc"},
            "web": {"listen": "localhost:0"},
        }
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(tree))
        environ = {"KEY": SANDBOX_KEY, "NOTIFY_SOCKET": str(line.path)}
        program = ("tests.confined", str(SERVICE), sys.executable, "-m", "monitor")
        with daemon(config, environ, program=program) as process:
            port = process.wait_for("web.listening")[0]["port"]
            ops.wait_for(2, 30)
            process.wait_for("notification.failed")
            process.wait_for("poll.failed")
            process.wait_for("cycle.ended")
            for path in ("/", "/metrics", "/api/connections"):
                with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as answer:
                    assert answer.status == 200
            tree["accounts"] = tree["accounts"][:1]  # type: ignore[index]  # a list
            config.write_text(yaml.safe_dump(tree))
            process.process.send_signal(signal.SIGHUP)
            process.wait_for("config.reloaded")
            switch.wait_for(1, 30)
            process.process.terminate()
            assert process.end() == 0
        assert "STOPPING" in line.notes[-1]
    assert "not permitted" not in process.text
    assert {found["event"] for found in process.log if found["level"] == "error"} == set()


@pytest.mark.usefixtures("_can_confine")
def test_a_confined_process_is_confined() -> None:
    """Else the test above would show nothing: any other process may do these."""
    attempt = """
import mmap, os, socket
for forbidden in (
    lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
):
    try:
        forbidden()
    except PermissionError:
        print("refused")
"""
    confined = [sys.executable, "-m", "tests.confined", str(SERVICE), sys.executable]
    refused = subprocess.run(
        [*confined, "-c", attempt], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert refused.stdout == "refused\n" * 3


def _has(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
