"""What a platform may say must not act: payloads as they leave for each service, outside text in them."""

import html
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from monitor.channels import Channel, Message, check_url, open_channels
from monitor.core.model import Severity
from monitor.core.text import harmless
from monitor.errors import DeliveryError
from tests.receivers import SmtpReceiver, smtp_receiver

DASHBOARD = "https://app.postpost.dev"

# Each must not come out live; a harmless text may still hold the words.
HOSTILE = (
    "<!channel> <!here> <@U123> <#C1> <!subteam^S1> @everyone @here @all <@&42> "
    "<script>alert(1)</script> <img src=x onerror=alert(1)> <a href='https://evil.example'>x</a> "
    "[click](https://evil.example/x) ![i](http://evil.example/i.png) <https://evil.example|Login> "
    "tg://resolve?domain=evil javascript://%0aalert(1) &lt;!channel&gt; &#60;script&#62; ```block``` "
    "\r\nBcc: victim@acme.example\r\n\r\nsecond body\x00\x1b[31mred\x1b]8;;https://evil.example\x07 "
    "\u202eesrever\u2066\u200f\u2028\u2029 \\u003c!channel> \\n ${HOME} %(x)s {0}"
)
LONG_HOSTILE = HOSTILE * (100_000 // len(HOSTILE) + 1)

# What services act on, in what they finally show.
LIVE = re.compile(
    r"<!(?:channel|here|everyone|subteam)|<[@#]|@(?:everyone|here|all|channel|U123|&)|\]\((?:https?|tg)|"
    r"<(?:script|img|a)\b|<https?:|(?:tg|javascript)://|https?://evil|```block|victim@acme|&lt;!|&#60;",
    re.IGNORECASE,
)
UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)

SERVICES = {
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "slack bot": "slack://xoxb-1234-1234-abcdefABCDEF/#ops",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "telegram": "tgram://123456789:abcdefg_hijklmnop/12315544",
    "telegram markdown": "tgram://123456789:abcdefg_hijklmnop/12315544?format=markdown",
    "google chat": "gchat://workspace/key/token",
    "teams": "workflows://acme.example:443/643A4A/signature",
    "mattermost": "mmost://acme.example/token12345",
    "rocket.chat": "rocket://web/hook@acme.example/#ops",
    "ntfy": "ntfy://acme.example/topic",
    "gotify": "gotify://acme.example/token",
    "json": "json://acme.example",
    "form": "form://acme.example",
    "xml": "xml://acme.example",
    "pushover": "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@tttttttttttttttttttttttttttttt",
}
# These show markup made of < and &, so that Apprise escapes it for them.
ESCAPING = frozenset({"slack", "slack bot", "telegram", "xml", "google chat"})


# What satisfies every one of them, Slack's upload of files included.
ANSWER = {
    "ok": True,
    "result": {"message_id": 1},
    "upload_url": "https://files.slack.com/upload/v1/x",
    "file_id": "F1",
    "channel": "C1",
    "ts": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str = "ops"
    url: str
    private: bool = False


@dataclass(slots=True)
class Wire:
    """Stands where requests leaves for the network, keeps what would have gone out and answers success."""

    sent: list[requests.PreparedRequest] = field(default_factory=list)

    def send(self, adapter: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        self.sent.append(request)
        response = requests.Response()
        response.status_code = 200
        response.request = request
        response.url = request.url or ""
        is_webhook = "hooks.slack.com" in response.url
        response._content = b"ok" if is_webhook else json.dumps(ANSWER).encode()
        response.headers["Content-Type"] = "application/json"
        return response

    @property
    def body(self) -> str:
        """The one body that went out, as text: whatever encoding carried it is taken off."""
        (request,) = self.sent
        raw = request.body.decode() if isinstance(request.body, bytes) else str(request.body)
        kind = str(request.headers.get("Content-Type"))
        if "json" in kind or raw.startswith("{"):
            return "\n".join(_strings(json.loads(raw)))
        if "form-urlencoded" in kind:
            return "\n".join(requests.compat.unquote_plus(raw).split("&message="))
        return raw


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    check_url("any", SERVICES["json"])  # loads Apprise as the channels do
    recording = Wire()

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **rest: Any) -> requests.Response:
        return recording.send(adapter, request, **rest)

    monkeypatch.setattr(HTTPAdapter, "send", send)
    return recording


@pytest.fixture
def post() -> Iterator[SmtpReceiver]:
    with ExitStack() as stack:
        yield stack.enter_context(smtp_receiver())


def channel(url: str) -> Channel:
    return open_channels([Settings(url=url)], timeout=timedelta(seconds=30))["ops"]


def message(outside: str) -> Message:
    body = f"CRITICAL: publishing failed.\nDetail: {outside}\n\nTo do: reconnect at {DASHBOARD}\n\nIncident 7"
    return Message(
        title="CRITICAL: publishing failed (agency)", body=body, severity=Severity.CRITICAL, key="k"
    )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def _shown(text: str) -> str:
    """What a reader sees: escapes taken off."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", html.unescape(text))


@pytest.mark.parametrize("service", SERVICES)
def test_outside_text_acts_nowhere(service: str, wire: Wire) -> None:
    channel(SERVICES[service]).send(message(harmless(HOSTILE, 1000)))
    assert "publishing failed" in wire.body
    assert "evil.example" in wire.body.replace("\\", "")  # the words are there, their power isn't
    assert LIVE.findall(wire.body) == []
    assert UNPRINTABLE.findall(wire.body) == []
    if service in ESCAPING:
        assert (
            re.findall(r"<(?!/?b>|\u200b)", wire.body.partition("Detail")[2].partition("Incident")[0]) == []
        )


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_reader_sees_holds_nothing_that_a_copy_would_bring_to_life(service: str, wire: Wire) -> None:
    channel(SERVICES[service]).send(message(harmless(HOSTILE, 1000)))
    assert LIVE.findall(_shown(wire.body)) == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_address_of_the_dashboard_stays_readable(service: str, wire: Wire) -> None:
    channel(SERVICES[service]).send(message(harmless("Media upload failed")))
    assert f"reconnect at {DASHBOARD}\n" in _shown(wire.body).replace("\r", "")


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in {"teams", "rocket.chat"}])
def test_the_address_of_the_dashboard_can_be_followed(service: str, wire: Wire) -> None:
    channel(SERVICES[service]).send(message(harmless("Media upload failed")))
    assert DASHBOARD in wire.body


@pytest.mark.parametrize("service", SERVICES)
def test_a_hundred_thousand_hostile_characters_go_out_as_one_message_within_the_limit(
    service: str, wire: Wire
) -> None:
    one = channel(SERVICES[service])
    one.send(message(harmless(LONG_HOSTILE, 100_000)))
    assert len(wire.sent) == 1
    assert one.body_limit is not None
    most = 4096 if service == "ntfy" else one.body_limit * 4 // 3 + 600
    assert len(wire.body.encode() if service == "ntfy" else wire.body) <= most
    assert LIVE.findall(wire.body) == []
    assert UNPRINTABLE.findall(wire.body) == []


LIMITS: dict[str, tuple[int, Callable[[Any], str]]] = {
    "discord": (2000, lambda sent: str(sent["content"])),
    "telegram": (4096, lambda sent: str(sent["text"])),
    "telegram markdown": (4096, lambda sent: str(sent["text"])),
    "slack": (35000, lambda sent: str(sent["attachments"][0]["text"])),
    "mattermost": (4000, lambda sent: str(sent["text"])),
    "google chat": (4000, lambda sent: str(sent["text"])),
    "rocket.chat": (1000, lambda sent: str(sent["text"])),
}


@pytest.mark.parametrize("service", LIMITS)
@pytest.mark.parametrize("letter", ["a", "&", "_", "é", "\U0001d49c"])
def test_no_service_gets_more_than_it_takes_whatever_the_letters(
    service: str, letter: str, wire: Wire
) -> None:
    body = "\n".join(f"{i} " + letter * 60 for i in range(2000))
    sender = channel(SERVICES[service])
    sender.send(Message(title="CRITICAL: " + letter * 120, body=body, severity=None, key="k"))
    most, text = LIMITS[service]
    sent = text(json.loads(wire.sent[0].body or ""))
    assert most // 2 < len(sent) <= most
    assert sent.endswith("…")
    if service in ESCAPING:
        assert re.search(r"&(?!amp;)", sent) is None


def test_plain_mail_carries_outside_text_as_text(post: SmtpReceiver) -> None:
    url = f"mailto://{post.address}?from=monitor@acme.example&to=ops@acme.example"
    channel(url).send(message(harmless(HOSTILE, 1000)))
    (mail,) = post.mails
    assert mail.recipients == ("ops@acme.example",)
    assert mail.message["Bcc"] is None
    assert mail.message.get_content_type() == "text/plain"
    assert LIVE.findall(mail.text()) == []
    assert UNPRINTABLE.findall(mail.text().replace("\r\n", "\n")) == []
    assert f"reconnect at {DASHBOARD}\n" in mail.text().replace("\r\n", "\n")


def test_mail_in_html_carries_no_markup_from_outside(post: SmtpReceiver) -> None:
    url = f"mailto://{post.address}?from=monitor@acme.example&to=ops@acme.example&format=html"
    channel(url).send(message(harmless(HOSTILE, 1000)))
    (mail,) = post.mails
    assert set(re.findall(r"<[^>]*>", mail.text("html"))) <= {"<br/>", "<br />", "<br>"}
    assert LIVE.findall(mail.text("html")) == []
    assert LIVE.findall(mail.text()) == []
    assert DASHBOARD in mail.text("html")


def test_a_title_breaks_into_no_header(post: SmtpReceiver) -> None:
    url = f"mailto://{post.address}?from=monitor@acme.example&to=ops@acme.example"
    title = "x\r\nBcc: victim@acme.example\r\n\r\nbody\x1b[31m"
    channel(url).send(Message(title=title, body="b", severity=None, key="k"))
    (mail,) = post.mails
    assert mail.message["Subject"] == "x Bcc: victim@acme.example body[31m"
    assert mail.message["Bcc"] is None
    assert mail.recipients == ("ops@acme.example",)


def test_a_key_with_a_line_break_is_refused_rather_than_sent(wire: Wire) -> None:
    hostile = Message(title="t", body="b", severity=None, key="k\r\nX-Evil: 1")
    with pytest.raises(DeliveryError):
        channel(SERVICES["json"]).send(hostile)
    assert wire.sent == []
