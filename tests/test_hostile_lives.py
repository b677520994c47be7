"""From the API's answer to the payload at the receiver: hostile text, floods, and channels that misbehave."""

import base64
import csv
import io
import json
import logging
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest
import structlog

from monitor.channels import open_channels
from monitor.channels.channel import Channel
from monitor.core.routing.routes import Route
from monitor.logs import configure_logs, set_secrets
from monitor.providers.wire import read_connections
from monitor.storage.database import Database
from tests.factories import HOUR, MINUTE, NOW, connection
from tests.fakes import FakeChannel
from tests.needs import on_sqlite
from tests.receivers import Answer, SmtpReceiver, http_receiver, smtp_receiver
from tests.recorded_wire import RecordedWire, raw_body
from tests.simulator import Simulator
from tests.test_channels import Settings
from tests.test_channels_hostile import (
    DASHBOARD,
    HOSTILE,
    LIMITS,
    LONG_HOSTILE,
    SERVICES,
    as_html,
    live_parts,
    sent_texts,
    wire,
)

__all__ = ["wire"]

FLOOD = 300
FLOODED = ("slack", "discord", "telegram", "teams", "mattermost", "google chat", "rocket.chat", "json")


def hostile_answer() -> bytes:
    """What the API says when every text in it is meant to harm."""
    items = [
        {
            "platformId": "instagram-1",
            "username": HOSTILE,
            "displayName": LONG_HOSTILE,
            "tokenStatus": "expired",
            "accessTokenExpiresAt": (NOW - HOUR).isoformat(),
            "lastError": {"message": LONG_HOSTILE, "occurredAt": (NOW - HOUR).isoformat()},
        },
        {
            "platformId": f"{HOSTILE}-2",
            "username": "@everyone",
            "displayName": "<!channel>\r\nBcc: victim@acme.example",
            "tokenStatus": "expired",
            "accessTokenExpiresAt": None,
            "lastError": HOSTILE,
        },
    ]
    return json.dumps({"success": True, "connections": items}).encode()


def opened(url: str, *, timeout: timedelta = timedelta(seconds=30)) -> Channel:
    return open_channels([Settings(url=url)], timeout=timeout)["ops"]


def simulator_with(database: Database, **channels: Any) -> Simulator:
    return Simulator(
        database, channels=channels, routes=(Route(channels=tuple(channels), group_wait=timedelta()),)
    )


@pytest.mark.parametrize("service", [*FLOODED, "matrix", "ntfy", "mailgun", "xml"])
def test_a_hostile_answer_reaches_every_service_without_its_power(
    database: Database, wire: RecordedWire, service: str
) -> None:
    simulator = simulator_with(database, ops=opened(SERVICES[service]))
    simulator.list_connections(*read_connections(hostile_answer()).connections)
    texts = sent_texts(service, wire, "agency")
    assert "red" in " ".join(texts)  # the words are there, their power isn't
    assert [(text, live) for text in texts if (live := live_parts(text))] == []
    assert {"delivered"} == {row["state"] for row in simulator.rows("delivery_log")}


def test_a_hostile_answer_reaches_a_mailbox_without_its_power(database: Database) -> None:
    with smtp_receiver() as post:
        url = f"mailto://{post.address}?from=monitor@acme.example&to=ops@acme.example"
        simulator = simulator_with(database, ops=opened(url))
        simulator.list_connections(*read_connections(hostile_answer()).connections)
        (mail,) = post.mails
        assert mail.recipients == ("ops@acme.example",)
        assert mail.message["Bcc"] is None
        texts = [str(mail.message["Subject"]), mail.text(), as_html(mail.text("html"))]
        for text in texts:
            assert live_parts(text.replace("\r\n", "\n")) == []
        for text in texts[1:]:
            assert DASHBOARD in text
            assert re.search(r"message m\d+", text)
        assert re.fullmatch(r"m\d+", mail.message["X-Idempotency-Key"])


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_hostile_answer_forges_no_line_of_the_log(
    database: Database, format_: Literal["json", "console"]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(format=format_, level="debug", secrets=(), stream=stream)
    try:
        simulator = simulator_with(database, ops=FakeChannel())
        simulator.list_connections(*read_connections(hostile_answer()).connections)
    finally:
        structlog.reset_defaults()
        root.handlers, root.level = handlers, level
        set_secrets(())
    written = stream.getvalue()
    assert "incident.opened" in written
    assert not re.search(r"^(Bcc|second body)", written, re.MULTILINE)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", written)


@pytest.mark.parametrize("service", FLOODED)
def test_a_flood_is_one_message_within_the_limit_of_every_service_and_its_csv_is_complete(
    database: Database, wire: RecordedWire, service: str
) -> None:
    simulator = simulator_with(database, ops=opened(SERVICES[service]))
    simulator.routes = (Route(channels=("ops",), group_wait=30 * timedelta(seconds=1)),)
    many = [
        connection(
            platform_id=f"linkedin-{n:05}",
            display_name=f"Client & Söhne_{n} <@U{n}>",
            token_status="expired",
            expires_at=NOW - HOUR,
        )
        for n in range(FLOOD)
    ]
    simulator.list_connections(
        *(replace(each, token_status="valid", expires_at=NOW + 60 * HOUR * 24) for each in many)
    )
    simulator.list_connections(*many)
    [anomaly] = simulator.rows("incident_log", "WHERE resolved_at IS NULL")
    assert f"{FLOOD} of {FLOOD} tokens got worse at once (linkedin {FLOOD})" in anomaly["summary"]
    assert (anomaly["platform_id"], wire.sent) == (None, [])
    simulator.advance(10 * MINUTE, step=MINUTE)
    [notified] = [request for request in wire.sent if b"message m" in _plain(request)]
    raw = raw_body(notified)
    if service in LIMITS:
        most, text = LIMITS[service]
        if raw.startswith(b"{"):
            assert len(text(json.loads(raw))) <= most
    if simulator.channels["ops"].takes_attachments:
        rows = _csv(wire.bodies)
        assert rows >= {f"linkedin-{n:05}" for n in range(FLOOD)}
    else:
        left = re.search(rb"and (\d+) more: see", _plain(notified))
        shown = _plain(notified).count(b"CRITICAL: LinkedIn")
        assert FLOOD == shown + (int(left[1]) if left else 0)


def _plain(request: Any) -> bytes:
    raw = raw_body(request).replace(b"\\", b"")
    return raw.replace(b"%20", b" ").replace(b"%3A", b":").replace(b"+", b" ")


def _csv(bodies: list[bytes]) -> set[str]:
    """Find the spreadsheet among what was sent, however it was packed."""
    for body in bodies:
        packed = [base64.b64decode(found + b"===") for found in re.findall(rb"[A-Za-z0-9+/=]{400,}", body)]
        for found in (body, *packed):
            if b"reason,severity,account" in found:
                table = found[found.index(b"reason,severity") :].decode("utf-8", "replace")
                return {row[6] for row in csv.reader(io.StringIO(table)) if len(row) > 6}
    return set()


# Channels that misbehave


@on_sqlite
def test_a_url_that_leads_nowhere_a_half_answer_and_a_hang_are_failures_of_their_own_channels(
    database: Database,
) -> None:
    with (
        http_receiver() as good,
        http_receiver(Answer(status=500, body=b'{"half": ')) as broken,
        http_receiver(Answer(hang_up=True)) as silent,
        http_receiver(Answer(delay=30)) as hanging,
        smtp_receiver(refused={"gone@acme.example": "550 no such user"}) as post,
    ):
        quick = timedelta(milliseconds=300)
        simulator = simulator_with(
            database,
            nowhere=replace_name("nowhere", opened("nosuchservice://x/y", timeout=quick)),
            broken=replace_name("broken", opened(f"json://{broken.address}/", timeout=quick)),
            silent=replace_name("silent", opened(f"json://{silent.address}/", timeout=quick)),
            hanging=replace_name("hanging", opened(f"json://{hanging.address}/", timeout=quick)),
            partly=replace_name("partly", opened(_to_two(post), timeout=timedelta(seconds=5))),
            good=replace_name("good", opened(f"json://{good.address}/", timeout=timedelta(seconds=5))),
        )
        simulator.list_connections(connection(token_status="expired", expires_at=NOW - HOUR))
        states = {row["channel"]: row for row in simulator.rows("delivery_log")}
        assert states.pop("good")["state"] == "delivered"
        assert {row["state"] for row in states.values()} == {"pending"}
        assert {row["attempts"] for row in states.values()} == {1}
        assert all(row["error"] for row in states.values())
        assert len(good.requests) == 1
        for _ in range(8):
            simulator.advance(timedelta(hours=4), step=timedelta(hours=2))
        about_it = [row for row in simulator.rows("delivery_log") if row["incident_id"] == 1]
        assert {"failed", "delivered"} == {row["state"] for row in about_it}
        assert max(row["attempts"] for row in about_it) < 30
        assert len([mail for mail in post.mails if "expired" in str(mail.message["Subject"])]) == 1
        assert len([each for each in good.requests if "token" in each.json()["title"]]) == 1


def _to_two(post: SmtpReceiver) -> str:
    return f"mailto://{post.address}?from=monitor@acme.example&to=ops@acme.example,gone@acme.example"


def replace_name(name: str, channel: Any) -> Any:
    channel.name = name
    return channel
