"""Known secrets, everything going wrong around them, and a search of all that came out."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from sqlalchemy import create_engine, inspect, make_url, text

from monitor.clock import utc_now
from tests.daemon_process import DaemonProcess, daemon, notify_socket, wait_until
from tests.receivers import Answer, HttpReceiver, http_receiver
from tests.sandbox.faults import Fault
from tests.sandbox.server import Server, serve
from tests.sandbox.worlds import sample_world

SECRETS = {
    "KEY": "legacy-KEYCANARY-0123456789abcdef",
    "OTHER_KEY": "sk_CANARY1_0011.22ff",
    "HOOK_PASSWORD": "HOOKCANARY+/=pass",
    "HOOK_PATH": "PATHCANARY7731",
    "MAIL_PASSWORD": "MAILCANARY&word",
    "SWITCH": "5c7f0ce5-7c4c-4d5e-9c2e-3a1c1f0aCA11",
    "TOKEN": "WEBCANARY-of-some-length",
    "PROXY_PASSWORD": "PROXYCANARY99",
}


def shapes(secret: str) -> Iterator[bytes]:
    """Give a secret as it may be written: as it is, in an address, in JSON, in a header."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield json.dumps(secret)[1:-1].encode()
    yield base64.b64encode(secret.encode()).rstrip(b"=")


def leaked(shown: bytes, *more: str) -> list[str]:
    """Name the secrets that are in what was shown."""
    named = {**SECRETS, **{f"link {n}": link for n, link in enumerate(more)}}
    return [name for name, secret in named.items() if any(shape in shown for shape in shapes(secret))]


@pytest.fixture
def api() -> Iterator[Server]:
    with serve(sample_world(utc_now, key=SECRETS["KEY"])) as server:
        yield server


def configured(
    folder: Path, database_url: str, api: Server, hook: HttpReceiver, switch: HttpReceiver
) -> Path:
    plain = make_url(database_url).set(drivername=make_url(database_url).get_backend_name())
    password = quote(SECRETS["HOOK_PASSWORD"], safe="")
    mail = quote(SECRETS["MAIL_PASSWORD"], safe="")
    (folder / "hook").write_text(f"json://ops:{password}@{hook.address}/{SECRETS['HOOK_PATH']}")
    (folder / "mail").write_text(f"mailto://ops:{mail}@127.0.0.1:9?from=a@example.com&to=b@example.com")
    (folder / "switch").write_text(f"http://{switch.address}/{SECRETS['SWITCH']}")
    for name in ("KEY", "OTHER_KEY", "TOKEN"):
        (folder / name).write_text(SECRETS[name])
    tree: dict[str, Any] = {
        "database": {"url": plain.render_as_string(hide_password=False)},
        "polling": {"every": "1s", "timeout": "3s"},
        "accounts": [
            {"name": "agency", "base_url": api.url, "api_key_file": "KEY", "managed_users": "all",
             "reconnect_links": "create",
                "discover_every": "10s", "test_connections": {"every": "1h"}},
            {"name": "elsewhere", "base_url": "https://api.invalid", "api_key_file": "OTHER_KEY"},
        ],
        "channels": [
            {"name": "hook", "url_file": "hook", "notify_on": ["start", "stop"]},
            {"name": "mail", "url_file": "mail"},
        ],
        "routes": [{"channels": ["hook", "mail"], "group_wait": "0s"}],
        "heartbeat": {"url_file": "switch", "style": "healthchecks"},
        "web": {"listen": "127.0.0.1:0", "token_file": "TOKEN"},
        "log": {"format": "json", "level": "debug"},
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def failed_so(process: DaemonProcess, outcome: str) -> bool:
    return any(line["outcome"] == outcome for line in process.lines("poll.failed"))


def pages(port: int) -> bytes:
    """Ask for everything that the web door has, with the token, without, and with a wrong one."""
    found = b""
    for path in (
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/connections",
        "/api/incidents?all=true",
        "/no",
    ):
        for shown in (SECRETS["TOKEN"], "", "wrong"):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {shown}"}
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    found += bytes(str(answer.headers), "utf-8") + answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    found += bytes(str(error.headers), "utf-8") + error.read()
    return found


def stored(database_url: str) -> bytes:
    """Read all that a database holds: the bytes of its files, or every row of every table."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        file = Path(url.database or "")
        return b"".join(each.read_bytes() for each in file.parent.glob(f"{file.name}*"))
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return b"".join(
                str(tuple(row)).encode()
                for table in inspect(engine).get_table_names()
                for row in connection.execute(text(f"SELECT * FROM {table}"))
            )
    finally:
        engine.dispose()


def test_no_secret_comes_out_of_the_daemon_whatever_happens(
    tmp_path: Path, api: Server, empty_database_url: str
) -> None:
    environ = {
        "HTTPS_PROXY": f"http://proxy:{SECRETS['PROXY_PASSWORD']}@127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    everything = " ".join(SECRETS.values()).encode()
    with http_receiver() as hook, http_receiver() as switch, notify_socket(tmp_path) as line:
        config = configured(tmp_path, empty_database_url, api, hook, switch)
        environ["NOTIFY_SOCKET"] = str(line.path)
        with daemon(config, environ, program=("monitor", "--debug")) as process:
            port = process.wait_for("web.listening")[0]["port"]
            hook.wait_for(2, 30)
            process.wait_for("notification.failed")  # the mail server isn't there
            shown = pages(port)
            # Now everybody repeats what they shouldn't know.
            hook.answer = switch.answer = Answer(status=500, body=everything)
            said_by_api = json.dumps({"error": f"Invalid API key {everything.decode()}"}).encode()
            for outcome, fault in (
                ("bad_answer", Fault(body=everything)),
                ("server_error", Fault(status=500, body=said_by_api)),
                ("unauthorized", Fault(status=401, body=said_by_api)),
            ):
                api.faults.clear()
                api.faults.set(fault)
                wait_until(partial(failed_so, process, outcome), what=f"{outcome} in {process.text}")
            process.wait_for("heartbeat.failed")
            config.write_text(config.read_text().replace("every: 1s", f"every: {SECRETS['KEY']}"))
            process.process.send_signal(signal.SIGHUP)
            process.wait_for("config.reload_rejected")
            shown += pages(port)
            process.process.send_signal(signal.SIGABRT)  # what is left of it: where its threads were
            assert process.end() == -signal.SIGABRT
        said = "\n".join(str(note) for note in line.notes)
        notified = b"".join(request.body for request in hook.requests + switch.requests)
    people = api.fake_service.account().users.values()
    links = [person.link_url.rpartition("/")[2] for person in people if person.link_url]
    assert links
    assert "Fatal Python error: Aborted" in process.text
    for what, where in (
        ("the log", process.text.encode()),
        ("systemd", said.encode()),
        ("the web", shown),
        ("what receivers got", notified),
        ("the database", stored(empty_database_url)),
    ):
        assert len(where) > 100
        assert leaked(where, *links) == [], what
    assert leaked(" ".join(SECRETS.values()).encode()) == [*SECRETS]  # they would be found


def test_the_password_of_a_database_that_is_away_comes_out_nowhere(tmp_path: Path) -> None:
    password = "DATABASECANARY%211"
    config = tmp_path / "config.yaml"
    tree = {
        "database": {"url": f"postgresql://monitor:{password}@127.0.0.1:9/history"},
        "accounts": [{"name": "agency", "api_key_env": "KEY"}],
        "web": {"listen": "127.0.0.1:0"},
    }
    config.write_text(yaml.safe_dump(tree))
    with notify_socket(tmp_path) as line:
        environ = {"KEY": SECRETS["KEY"], "NOTIFY_SOCKET": str(line.path)}
        with daemon(config, environ, program=("monitor", "--debug")) as process:
            process.wait_for("database.unavailable", times=2)
            shown = pages(process.wait_for("web.listening")[0]["port"])
            process.process.send_signal(signal.SIGHUP)
            process.process.terminate()
            assert process.end() == 0
        said = str(line.notes)
    ran = [
        subprocess.run(
            [sys.executable, "-m", "monitor", "--debug", "--config", str(config), *command.split()],
            env={**os.environ, "KEY": SECRETS["KEY"]},
            capture_output=True,
            check=False,
        )
        for command in ("poll", "status", "db upgrade", "db check", "check-health", "check-config --show")
    ]
    out = b"".join(done.stdout + done.stderr for done in ran)
    assert b"Traceback" in out
    for where in (process.text.encode(), said.encode(), shown, out):
        assert b"DATABASECANARY" not in where
    assert "127.0.0.1:9" in said
