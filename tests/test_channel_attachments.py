"""A file travels with a message whatever way a service takes it, and nothing of it stays behind."""

import stat
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from email import message_from_string
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import requests

from monitor.channels import open_channels
from monitor.channels.channel import Channel
from monitor.core.messages.message import Attachment, Message
from monitor.core.model import Severity
from monitor.errors import DeliveryError
from tests.receivers import smtp_receiver
from tests.recorded_wire import RecordedWire, raw_body, recorded_wire

CONTENT = "severity,name\r\ncritical,Bäckerei\r\n".encode()
FILE = Attachment(name="incidents.csv", content=CONTENT, mime="text/csv")
MESSAGE = Message(title="t", body="b", severity=Severity.CRITICAL, key="k", attachment=FILE)

URLS = {
    "apprise": "apprise://acme.example/token",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "form": "form://acme.example",
    "mailgun": "mailgun://monitor@acme.example/apikey/ops@acme.example",
    "matrix": "matrixs://monitor:secret@acme.example/%23ops",
    "slack bot": "slack://xoxb-1234-1234-abcdefABCDEF/#ops",
    "telegram": "tgram://123456789:abcdefg_hijklmnop/12315544",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    url: str
    name: str = "ops"
    allow_reconnect_links: bool = False
    time_zone: tzinfo = UTC


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedWire]:
    with recorded_wire(monkeypatch) as wire:
        yield wire


@pytest.fixture(autouse=True)
def own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def channel(url: str) -> Channel:
    return open_channels([Settings(url=url)], timeout=timedelta(seconds=30))["ops"]


@pytest.mark.parametrize("service", URLS)
def test_a_file_arrives_at_the_first_attempt(service: str, wire: RecordedWire, own_directory: Path) -> None:
    one = channel(URLS[service])
    assert one.takes_attachments
    one.send(MESSAGE)
    assert any(CONTENT in body for body in wire.bodies)
    assert list(own_directory.iterdir()) == []


def test_a_file_arrives_through_amazons_mail(wire: RecordedWire, own_directory: Path) -> None:
    channel("ses://monitor@acme.example/AKIAIOSFODNN7EXAMPLE/secret/us-east-1/ops@acme.example").send(MESSAGE)
    (request,) = wire.sent
    mail = message_from_string(b64decode(parse_qs(raw_body(request).decode())["RawMessage.Data"][0]).decode())
    (part,) = (part for part in mail.walk() if part.get_filename())
    assert (part.get_filename(), part.get_payload(decode=True)) == ("incidents.csv", CONTENT)
    assert list(own_directory.iterdir()) == []


def test_a_file_arrives_by_mail(own_directory: Path) -> None:
    with smtp_receiver() as receiver:
        channel(f"mailto://{receiver.address}?from=monitor@acme.example&to=ops@acme.example").send(MESSAGE)
    (part,) = receiver.mails[0].message.iter_attachments()
    assert part.get_payload(decode=True) == CONTENT
    assert list(own_directory.iterdir()) == []


def test_nobody_else_may_read_the_file_while_it_is_sent(wire: RecordedWire, own_directory: Path) -> None:
    modes: list[int] = []
    wire.on_request = lambda request: modes.extend(
        stat.S_IMODE(path.stat().st_mode) for path in own_directory.rglob("*")
    )
    channel(URLS["form"]).send(MESSAGE)
    assert modes == [0o700, 0o600]


def test_a_channel_that_breaks_leaves_no_file(wire: RecordedWire, own_directory: Path) -> None:
    def break_off(request: requests.PreparedRequest) -> None:
        raise requests.ConnectionError("connection broke off")

    wire.on_request = break_off
    with pytest.raises(DeliveryError):
        channel(URLS["form"]).send(MESSAGE)
    assert list(own_directory.iterdir()) == []
