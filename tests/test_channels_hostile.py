"""
Whatever a client's name, a platform's error or a channel's template holds, nothing in what is sent acts.

Looked at is what leaves: bodies as requests would have sent them, and mails as a server got them.
"""

import html
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from monitor.channels import open_channels
from monitor.channels.channel import Channel
from monitor.channels.templates import compile_template
from monitor.core.messages.events import events_of
from monitor.core.messages.message import Message
from monitor.core.messages.render import render, sort_for_message
from monitor.core.messages.samples import sample_items
from monitor.core.model import PublishError, Severity, Target
from monitor.core.text import sanitize
from monitor.errors import DeliveryError
from tests.factories import NOW, connection
from tests.incident_services import KINDS, standing
from tests.receivers import SmtpReceiver, smtp_receiver
from tests.recorded_wire import RecordedWire, raw_body, recorded_wire, strings_in, texts_of
from tests.test_channels import Settings

DASHBOARD = "https://app.postpost.dev"
# In every title and in every body, so that they are found in whatever a service makes of them.
MARK = "Northbakery"
ZERO_WIDTH_SPACE = "\u200b"

# What some service or other acts on, in what it finally shows.
LIVE = re.compile(
    r"@(?=[^\s\u200b])|<(?=[!@#/?:a-zA-Z])|\](?=\()|:(?=//)|```|&(?=#|[0-9a-z]{1,32};)|\bwww(?=\.)",
    re.IGNORECASE,
)
UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)

SERVICES = {
    "apprise": "apprise://acme.example/token",
    "discord": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "discord markdown": "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?format=markdown",
    "form": "form://acme.example",
    "google chat": "gchat://workspace/key/token",
    "gotify": "gotify://acme.example/token",
    "json": "json://acme.example",
    "json html": "json://acme.example?format=html",
    "json markdown": "json://acme.example?format=markdown",
    "mailgun": "mailgun://monitor@acme.example/apikey/ops@acme.example",
    "matrix": "matrixs://monitor:secret@acme.example/%23ops",
    "matrix hookshot": "matrixs://token@acme.example/?mode=hookshot",
    "mattermost": "mmost://acme.example/token12345",
    "ntfy": "ntfy://acme.example/topic",
    "ntfy markdown": "ntfy://acme.example/topic?format=markdown",
    "pushover": "pover://uuuuuuuuuuuuuuuuuuuuuuuuuuuuuu@tttttttttttttttttttttttttttttt",
    "rocket.chat": "rocket://web/hook@acme.example/#ops",
    "ses": "ses://monitor@acme.example/AKIAIOSFODNN7EXAMPLE/secret/us-east-1/ops@acme.example",
    "signal": "signal://acme.example:8080/+15551234567/+15557654321",
    "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
    "slack bot": "slack://xoxb-1234-1234-abcdefABCDEF/#ops",
    "slack markdown": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?format=markdown",
    "slack workflow": "https://hooks.slack.com/workflows/T05XXXX/Ft07XXXX/012345/Yabc",
    "teams": "workflows://acme.example:443/643A4A/signature",
    "telegram": "tgram://123456789:abcdefg_hijklmnop/12315544",
    "telegram markdown": "tgram://123456789:abcdefg_hijklmnop/12315544?format=markdown",
    "webex": "wxteams://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "xml": "xml://acme.example",
    "zulip": "zulip://monitor@acme/abcdefghijklmnopqrstuvwxyz012345/ops",
}
MAIL = "mailto://{address}?from=monitor@acme.example&to=ops@acme.example"

# How each of them reads what it is given; the others show text as it is.
READERS: dict[str, "Callable[[str], str]"] = {}

HOSTILE = (
    "<!channel> <!here> <@U123> <#C1> <!subteam^S1> @everyone @here @all <@&42> "
    "<script>alert(1)</script> <img src=x onerror=alert(1)> <a href='https://evil.example'>x</a> "
    "[click](https://evil.example/x) ![i](http://evil.example/i.png) <https://evil.example|Login> "
    "tg://resolve?domain=evil javascript://%0aalert(1) &lt;!channel&gt; &#60;script&#62; ```block``` "
    "www.evil.example **bold** __under__ ~~gone~~ ||spoiler|| `code` # head\n# head\n> quote\n- item\n1. item\n---\n"
    "\r\nBcc: victim@acme.example\r\n\r\nsecond body\x00\x1b[31mred\x1b]8;;https://evil.example\x07 "
    "\u202eesrever\u2066\u200f\u2028\u2029 \\u003c!channel> \\n ${HOME} %(x)s {0} {{app_body}} "
    f"{DASHBOARD}.evil.example {DASHBOARD}@evil.example <{DASHBOARD}|Login> [x]({DASHBOARD})"
)
LONG_HOSTILE = HOSTILE * (100_000 // len(HOSTILE) + 1)
PIECES = [
    *(
        "@everyone",
        "@here",
        "<!channel>",
        "<@U1>",
        "<@&42>",
        "<#C1>",
        "<:a:1>",
        "<t:1>",
        "</",
        "<a href=x>",
        "<b>",
    ),
    *(
        "](",
        "[x](https://evil.example)",
        "[x]",
        "://",
        "https://evil.example",
        "www.evil.example",
        "&lt;",
        "&#60;",
    ),
    *(
        "```",
        "`",
        "*",
        "**",
        "_",
        "__",
        "~~",
        "||",
        "|",
        "#",
        ">",
        "-",
        "1.",
        "\\",
        "\\\\",
        "\n",
        "\r\n",
        "\t",
        " ",
    ),
    *(
        "a",
        "b c",
        "é",
        "投稿",
        "🎉",
        "\u200b",
        "\u202e",
        "\x1b[31m",
        "\x00",
        "\ud800",
        "{{app_title}}",
        "${X}",
        "'",
    ),
    *(DASHBOARD, f"{DASHBOARD}/", '"', "(", ")", "!", ":", "/", "&", ";", "=", "+", "."),
]
hostile = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
TEMPLATES = [
    ("{{ items[0].name }}", "{{ items[0].last_error }}"),
    ("{{ items[0].name|replace('\u200b', '') }}", "{{ items[0].last_error|replace('\u200b', '') }}"),
    ("{{ items[0].name|upper }}<!here>", "<b>{{ items[0].name|e }}</b>\n{{ items[0].last_error|urlize }}"),
    (
        "[{{ items[0].name }}]({{ items[0].dashboard_url }})",
        "{{ items[0].last_error }}{{ items[0].dashboard_url }}",
    ),
    (
        "@{{ items[0].username }}",
        "*{{ items[0].username }}* ](\n{{ items[0].last_error|replace(' ', '\n') }}",
    ),
    ("https://{{ items[0].name }}", "See https://{{ items[0].last_error }} or http://evil.example/{{ key }}"),
    (None, None),
]

once_for_all_examples = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedWire]:
    with recorded_wire(monkeypatch) as wire:
        yield wire


@pytest.fixture
def mail_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmtpReceiver]:
    monkeypatch.setattr("apprise.url.URLBase.throttle", lambda *args, **rest: None)
    with smtp_receiver() as receiver:
        yield receiver


def channel(url: str) -> Channel:
    return open_channels([Settings(url=url)], timeout=timedelta(seconds=30))["ops"]


def message(outside: str, *, title: str = "") -> Message:
    body = (
        f"CRITICAL: publishing failed for {MARK}.\nDetail: {outside}\n\n"
        f"To do: reconnect at {DASHBOARD}\n\nIncident 7 · message k"
    )
    return Message(
        title=f"CRITICAL: {title} {MARK}" if title else f"CRITICAL: publishing failed ({MARK})",
        body=body,
        severity=Severity.CRITICAL,
        key="k",
        links=(DASHBOARD,),
        url=DASHBOARD,
    )


def templated(name: str, error: str, title: str | None, body: str | None) -> Message:
    """A message as the outbox would write it for a channel with a template, about a client of that name."""
    (item, *_) = sample_items("agency", NOW, DASHBOARD)
    seen = connection(
        display_name=f"{MARK}{name}",
        username=f"{MARK}{name}",
        last_error=PublishError(message=f"{MARK} {error}", occurred_at=NOW),
    )
    items = sort_for_message([replace(item, connection=seen)])
    written = render(items, now=NOW, key="k")
    assert written
    words = compile_template("ops", title=title, body=body, now=NOW)
    return words.apply(written, items, NOW)


# Reading what was sent as its service does.


def as_html(text: str) -> str:
    """Read HTML: no tag but ours, and no address followed but ours."""
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    return reader.text


class _HtmlReader(HTMLParser):
    TAGS = frozenset({"p", "br", "a", "b", "strong", "html", "head", "meta", "title", "body", "div", "h1"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.TAGS
        assert {name for name, _ in attrs} <= {"href", "style", "lang", "charset"}
        assert dict(attrs).get("href", DASHBOARD) == DASHBOARD
        if tag == "br":
            self.text = self.text.rstrip("\n") + "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"p", "h1"}:
            self.text = self.text.rstrip("\n") + "\n\n"

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def as_telegram(text: str) -> str:
    """Read HTML in which line breaks are breaks."""
    assert set(re.findall(r"<[^>]*>", text)) <= {"<b>", "</b>"}
    return html.unescape(text.replace("<b>", "").replace("</b>", "")).replace("\r\n", "\n")


def as_markdown(text: str) -> str:
    """Read Markdown: nothing but paragraphs of text, and no address followed but ours."""
    shown = []
    for block in MarkdownIt("commonmark").enable("strikethrough").parse(text):
        assert block.type in {"paragraph_open", "paragraph_close", "inline"}, block
        for each in block.children or ():
            if each.type == "link_open":
                assert each.attrs == {"href": DASHBOARD}
            else:
                assert each.type in {"text", "text_special", "softbreak", "link_close"}, each
            shown.append("\n" if each.type == "softbreak" else each.content)
        shown.append("\n\n" if block.type == "paragraph_close" else "")
    return "".join(shown)


def as_slack(text: str) -> str:
    """Read what Slack does: no bracket of its markup is left."""
    assert "<" not in text
    assert ">" not in text
    assert re.search(r"&(?!amp;|lt;|gt;)", text) is None
    return html.unescape(text)


def as_chat(text: str) -> str:
    """Read what Google Chat does: no tag is left, and its marks are escaped."""
    assert "<" not in text
    assert re.search(r"(?<!\\)[*~`]", text) is None
    return re.sub(r"\\([*_~`])", r"\1", html.unescape(text))


def as_rocket(text: str) -> str:
    assert re.search(r"(?<!\\)[*~`]", text) is None
    return re.sub(r"\\([*_~`#\\])", r"\1", text)


READERS |= {
    "discord": as_markdown,
    "discord markdown": as_markdown,
    "json html": as_html,
    "json markdown": as_markdown,
    "mailgun": as_html,
    "mattermost": as_markdown,
    "ntfy markdown": as_markdown,
    "teams": as_markdown,
    "telegram": as_telegram,
    "telegram markdown": as_telegram,
    "webex": as_markdown,
    "ses": as_html,
    "slack": as_slack,
    "slack bot": as_slack,
    "slack markdown": as_slack,
    "slack workflow": as_slack,
    "google chat": as_chat,
    "rocket.chat": as_rocket,
}
# Their titles stand beside the text and are shown as they are.
PLAIN_TITLES = frozenset({"json html", "json markdown", "mailgun", "ntfy markdown", "ses"})


def sent_texts(service: str, wire: RecordedWire, mark: str = MARK) -> list[str]:
    """
    Read every text of a message in what was sent, in the way of its service.

    Args:
        mark: what is in the texts that are meant, in upper or lower case.
    """
    found = [_read_body(service, text) for text in texts_sent(service, wire) if mark.lower() in text.lower()]
    assert found
    return found


def _read_body(service: str, text: str) -> str:
    if service.startswith("matrix"):  # it gets the text twice
        return as_html(text) if text.startswith("<p>") or "<br/>" in text else text
    if service in PLAIN_TITLES and "\n" not in text and "<p>" not in text and "Incident" not in text:
        return text
    if service == "xml":
        return html.unescape(text.replace("\r\n", "\n"))
    return READERS.get(service, str)(text)


def texts_sent(service: str, wire: RecordedWire) -> Iterator[str]:
    """Give every text that went out, with the encodings taken off that carried it."""
    for request in wire.sent:
        if service == "ses":
            raw = b64decode(parse_qs(raw_body(request).decode())["RawMessage.Data"][0])
            mail = message_from_bytes(raw, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            assert set(mail.keys()) <= {
                *("Content-Type", "MIME-Version", "Content-Transfer-Encoding", "Subject", "From", "To", "Cc"),
                *("Date", "X-Application"),
            }
            yield str(mail["Subject"])
            yield mail.get_content()
        elif service == "xml":
            body = raw_body(request).decode()
            yield from re.findall(r"<(?:Subject|Message)>(.*?)</(?:Subject|Message)>", body, re.DOTALL)
        else:
            yield from texts_of(request)


def live_parts(text: str) -> list[str]:
    """Find what acts in a text as its reader sees it, our own links left out."""
    own = re.compile(rf"(?<!\w){re.escape(DASHBOARD)}(?=[.,;:!?)\]>\"']*(?:\s|$))")
    rest = own.sub("", text)
    return LIVE.findall(rest) + UNPRINTABLE.findall(rest)


# Names, errors and templates.


@pytest.mark.parametrize("service", SERVICES)
@once_for_all_examples
@given(name=hostile, error=hostile, template=st.sampled_from(TEMPLATES))
def test_nothing_from_outside_acts_in_what_is_sent(
    service: str, wire: RecordedWire, name: str, error: str, template: tuple[str | None, str | None]
) -> None:
    wire.sent.clear()
    channel(SERVICES[service]).send(templated(name, error, *template))
    assert [(text, live) for text in sent_texts(service, wire) if (live := live_parts(text))] == []


@pytest.mark.parametrize("service", SERVICES)
def test_the_worst_that_we_know_acts_nowhere_in_title_and_body(service: str, wire: RecordedWire) -> None:
    channel(SERVICES[service]).send(message(HOSTILE, title=HOSTILE))
    assert [(text, live) for text in sent_texts(service, wire) if (live := live_parts(text))] == []


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("outside", [HOSTILE, "@everyone", "</p><script>x</script>", "x\r\nBcc: a@b.example"])
def test_nothing_from_outside_acts_in_a_mail(
    mail_server: SmtpReceiver, outside: str, template: tuple[str | None, str | None]
) -> None:
    channel(MAIL.format(address=mail_server.address)).send(templated(outside, outside, *template))
    (mail,) = mail_server.mails
    assert mail.recipients == ("ops@acme.example",)
    assert mail.message["Bcc"] is None
    assert mail.message.defects == []
    texts = [str(mail.message["Subject"]), mail.text(), as_html(mail.text("html"))]
    assert [(text, live) for text in texts if (live := live_parts(text.replace("\r\n", "\n")))] == []


def test_a_name_as_title_wakes_nobody_on_discord(wire: RecordedWire) -> None:
    channel(SERVICES["discord"]).send(templated(" @everyone", "", "{{ items[0].name }}", None))
    payload = json.loads(raw_body(wire.sent[0]))
    assert payload["allowed_mentions"] == {"parse": []}
    assert payload["embeds"][0]["title"] == f"{MARK} @{ZERO_WIDTH_SPACE}everyone"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "json"])  # which gets data, not text
@pytest.mark.parametrize("outside", [HOSTILE, "@everyone", "<!here>", "https://evil.example"])
def test_nothing_from_outside_acts_in_an_event(
    kind: str, outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item, *_) = sample_items("agency", NOW, DASHBOARD)
    seen = connection(platform_id=f"linkedin-{outside}", display_name=f"{MARK}{outside}", username=outside)
    user = Target(id=1, account="agency", managed_user_id="507f", managed_user=f"{MARK}{outside}")
    known = replace(item, connection=seen, target=user)
    with standing(kind, monkeypatch) as there:
        for event in events_of(known, installation="f00", message_key="m1", now=NOW):
            there.channel.send_event(event)
        (request, *_) = there.receiver.requests
    sent = json.loads(request.body)
    if kind == "alertmanager":  # its labels are ids for programs, and stay as they are
        sent = [alert | {"labels": {}} for alert in sent]
    texts = [text for text in strings_in(sent) if "evil" in text or MARK in text]
    assert texts
    assert [(text, live) for text in texts if (live := live_parts(text))] == []


def test_a_key_with_a_line_break_is_refused_rather_than_sent(wire: RecordedWire) -> None:
    evil = Message(title="t", body="b", severity=None, key="k\r\nX-Evil: 1")
    with pytest.raises(DeliveryError):
        channel(SERVICES["json"]).send(evil)
    assert wire.sent == []


# However much there is of it.

LIMITS: dict[str, tuple[int, Callable[[Any], str]]] = {
    "discord": (4096, lambda sent: str(sent["embeds"][0]["description"])),
    "google chat": (4000, lambda sent: str(sent["text"])),
    "mattermost": (4000, lambda sent: str(sent["text"])),
    "rocket.chat": (1000, lambda sent: str(sent["text"])),
    "slack": (35000, lambda sent: str(sent["attachments"][0]["text"])),
    "telegram": (4096, lambda sent: str(sent["text"])),
}


@pytest.mark.parametrize("service", LIMITS)
@pytest.mark.parametrize("letter", ["a", "&", "_", "*", "é", "\U0001d49c"])
def test_no_service_gets_more_than_it_takes_whatever_the_letters(
    service: str, letter: str, wire: RecordedWire
) -> None:
    body = "\n".join(f"{i} " + letter * 60 for i in range(2000))
    title = "CRITICAL: " + letter * 120
    channel(SERVICES[service]).send(Message(title=title, body=body, severity=None, key="k"))
    most, text = LIMITS[service]
    sent = text(json.loads(raw_body(wire.sent[0])))
    assert most // 2 < len(sent) <= most
    assert sent.endswith("…")


@pytest.mark.parametrize("letter", ["a", "_", "*", "é", "\U0001d49c", "\n", "\n\n"])
def test_a_card_for_teams_is_as_large_as_microsoft_takes(letter: str, wire: RecordedWire) -> None:
    body = "\n".join(f"{i} " + letter * 60 for i in range(2000))
    channel(SERVICES["teams"]).send(Message(title="t", body=body, severity=None, key="k", url=DASHBOARD))
    size = len(json.dumps(json.loads(raw_body(wire.sent[0])), ensure_ascii=False).encode())
    assert size <= 26_000
    assert size > 13_000 or not letter.strip()  # blank lines take no room


@pytest.mark.parametrize("service", SERVICES)
def test_a_hundred_thousand_hostile_characters_go_out_as_one_message(
    service: str, wire: RecordedWire
) -> None:
    channel(SERVICES[service]).send(message(sanitize(LONG_HOSTILE, 100_000)))
    texts = sent_texts(service, wire)
    assert [live for text in texts if (live := live_parts(text))] == []
    assert len([text for text in texts if "publishing failed for" in text]) == (
        2 if "matrix" in service else 1
    )


# What is harmless stays as it is.

words = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "Sm", "Sc", "So"], exclude_characters="@")
    | st.sampled_from(" _*-.#&<>[]()~`|\\'\":;!/"),
    max_size=30,
)


@pytest.mark.parametrize("service", SERVICES)
@once_for_all_examples
@given(text=words.filter(lambda text: ZERO_WIDTH_SPACE not in sanitize(f"x {text} x")))
def test_harmless_text_arrives_as_it_is(service: str, wire: RecordedWire, text: str) -> None:
    text = " ".join(f"x {text} x".split())
    wire.sent.clear()
    channel(SERVICES[service]).send(message(text, title=text))
    shown = "\n".join(sent_texts(service, wire))
    assert f"Detail: {text}\n" in shown
    assert f"CRITICAL: {text} {MARK}" in shown
    assert ZERO_WIDTH_SPACE not in shown


@pytest.mark.parametrize("service", SERVICES)
def test_harmless_text_is_protected_once(service: str, wire: RecordedWire) -> None:
    text = sanitize(HOSTILE, 1000)
    channel(SERVICES[service]).send(message(text))
    assert ZERO_WIDTH_SPACE * 2 not in "".join(wire.texts)
    assert f"Detail: {text}\n" in "\n".join(sent_texts(service, wire))
