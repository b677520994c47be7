"""What each kind of channel shows: colors, titles that lead somewhere, line breaks, and mail as it should be."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitor.channels import open_channels
from monitor.channels.channel import Channel
from monitor.channels.client_channel import ClientChannel
from monitor.core.messages.message import Attachment, Message
from monitor.core.messages.render import render
from monitor.core.messages.samples import sample_items
from monitor.core.model import Severity, Target
from tests.factories import NOW, connection
from tests.receivers import SmtpReceiver, smtp_receiver
from tests.recorded_wire import RecordedWire, raw_body, recorded_wire
from tests.test_channels import Settings
from tests.test_channels_hostile import DASHBOARD, SERVICES, as_markdown, texts_sent

FILE = Attachment(name="incidents.csv", content=b"a,b\r\n", mime="text/csv")
COLORS = {
    Severity.CRITICAL: "#A32037",
    Severity.WARNING: "#CACF29",
    Severity.NOTICE: "#3AA3E3",
    None: "#3AA337",
}


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


def message(**values: Any) -> Message:
    usual = {
        "title": "CRITICAL: Instagram: the token has expired (R&D)",
        "body": f"North Bakery on Instagram\nTo do: reconnect at {DASHBOARD}\n\nIncident 7 · message k",
        "severity": Severity.CRITICAL,
        "key": "k",
        "links": (DASHBOARD,),
        "url": DASHBOARD,
        "threads": ("incident-7-x",),
    }
    return Message(**usual | values)


def sent(wire: RecordedWire, number: int = 0) -> Any:
    return json.loads(raw_body(wire.sent[number]))


# Cards


@pytest.mark.parametrize("severity", COLORS)
def test_discord_shows_a_color_and_a_title_that_leads_to_the_dashboard(
    severity: Severity | None, wire: RecordedWire
) -> None:
    channel(SERVICES["discord"]).send(message(severity=severity))
    payload = sent(wire)
    (embed,) = payload["embeds"]
    assert (payload["content"], payload["allowed_mentions"]) == ("", {"parse": []})
    assert embed["title"] == "CRITICAL: Instagram: the token has expired (R&D)"
    assert embed["url"] == DASHBOARD
    assert embed["color"] == int(COLORS[severity][1:], 16)
    assert embed["description"] == message().body


@pytest.mark.parametrize("severity", COLORS)
@pytest.mark.parametrize("service", ["slack", "slack bot", "slack markdown"])
def test_slack_shows_a_color_and_a_title_that_leads_to_the_dashboard(
    service: str, severity: Severity | None, wire: RecordedWire
) -> None:
    channel(SERVICES[service]).send(message(severity=severity))
    (attachment,) = sent(wire)["attachments"]
    title = "CRITICAL: Instagram: the token has expired (R&amp;D)"
    assert (attachment["title"], attachment["fallback"]) == (title, title)
    assert (attachment["title_link"], attachment["color"]) == (DASHBOARD, COLORS[severity])
    assert attachment["text"] == message().body
    assert attachment["mrkdwn_in"] == []


@pytest.mark.parametrize("service", ["discord", "slack", "teams"])
def test_a_title_that_leads_nowhere_is_no_link(service: str, wire: RecordedWire) -> None:
    channel(SERVICES[service]).send(message(url=""))
    assert not re.search(r'"(url|title_link|actions)"', raw_body(wire.sent[0]).decode())


@pytest.mark.parametrize("severity", COLORS)
def test_teams_shows_a_color_a_button_and_every_line_as_a_line(
    severity: Severity | None, wire: RecordedWire
) -> None:
    channel(SERVICES["teams"]).send(message(severity=severity))
    card = sent(wire)["attachments"][0]["content"]
    title, *paragraphs = card["body"]
    colors = {
        Severity.CRITICAL: "Attention",
        Severity.WARNING: "Warning",
        Severity.NOTICE: "Accent",
        None: "Good",
    }
    assert (title["text"], title["color"]) == (message().title, colors[severity])
    assert all(block["wrap"] for block in card["body"])
    assert [block["text"] for block in paragraphs] == [
        f"North Bakery on Instagram\n\nTo do: reconnect at [{DASHBOARD}]({DASHBOARD})",
        "Incident 7 · message k",
    ]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open", "url": DASHBOARD}]


def test_teams_shows_a_hundred_and_twenty_connections(wire: RecordedWire) -> None:
    (item, *_) = sample_items("agency", NOW, DASHBOARD)
    about = [
        connection(
            platform_id=f"instagram-{n}", display_name=f"North_Bakery {n}", username=f"@north.bakery_{n}"
        )
        for n in range(120)
    ]
    items = [
        replace(
            item,
            connection=each,
            incident=replace(
                item.incident, id=n + 1, subject=replace(item.incident.subject, platform_id=each.platform_id)
            ),
        )
        for n, each in enumerate(about)
    ]
    one = channel(SERVICES["teams"])
    written = render(items, now=NOW, key="0a1b2c3d4e", limit=one.body_limit)
    assert written
    one.send(written)
    card = sent(wire)["attachments"][0]["content"]
    lines = "\n\n".join(as_markdown(block["text"]) for block in card["body"]).split("\n\n")
    notified = [re.search(r"^WARNING: Instagram .* \((North_Bakery \d+)\): ", line) for line in lines]
    assert {found[1] for found in notified if found} == {f"North_Bakery {n}" for n in range(120)}
    assert len(raw_body(wire.sent[0])) <= 26_000


def test_discord_mentions_whom_the_url_of_the_channel_names_and_nobody_else(wire: RecordedWire) -> None:
    channel(f"{SERVICES['discord']}?ping=@here,<@123>,<@%26456>").send(message(body="<@789> @everyone"))
    payload = sent(wire)
    assert payload["allowed_mentions"] == {"parse": ["everyone"], "users": ["123"], "roles": ["456"]}
    assert set(payload["content"].split()) == {"👉", "@here", "<@123>", "<@&456>"}
    assert payload["embeds"][0]["description"] == "<\u200b@\u200b789> @\u200beveryone"


def test_a_file_comes_after_the_card_and_mentions_nobody(wire: RecordedWire) -> None:
    channel(SERVICES["discord"]).send(message(attachment=FILE))
    assert sent(wire)["embeds"][0]["title"] == message().title
    assert FILE.content in raw_body(wire.sent[1])
    assert b'"allowed_mentions": {"parse": []}' in raw_body(wire.sent[1])
    assert len(wire.sent) == 2


@pytest.mark.parametrize("service", ["discord", "slack", "teams"])
def test_a_template_of_the_channels_url_is_kept(service: str, wire: RecordedWire, tmp_path: Any) -> None:
    template = tmp_path / "template.json"
    template.write_text(
        '{"type": "message", "content": "{{app_title}}", "blocks": [{"type": "x", "text": "{{app_title}}"}], '
        '"attachments": [{"contentType": "x", "text": "{{app_title}}"}]}'
    )
    channel(f"{SERVICES[service]}?template={template}").send(message(title="<!here> *x*"))
    assert "here" in raw_body(wire.sent[0]).decode()
    assert "<!here" not in raw_body(wire.sent[0]).decode()
    assert "color" not in raw_body(wire.sent[0]).decode()


# Text


def test_telegram_keeps_blank_lines(wire: RecordedWire) -> None:
    channel(SERVICES["telegram"]).send(message())
    title = "<b>CRITICAL: Instagram: the token has expired (R&amp;D)</b>"
    assert sent(wire)["text"].replace("\r\n", "\n") == f"{title}\n\n{message().body}"
    assert sent(wire)["parse_mode"] == "HTML"


def test_matrix_gets_the_message_formatted_and_plain(wire: RecordedWire) -> None:
    channel(SERVICES["matrix"]).send(message())
    (event,) = [
        each for request in wire.sent if "msgtype" in (each := json.loads(raw_body(request) or b"{}") or {})
    ]
    assert event["format"] == "org.matrix.custom.html"
    assert event["formatted_body"] == (
        "<p><strong>CRITICAL: Instagram: the token has expired (R&amp;D)</strong></p>\n"
        f'<p>North Bakery on Instagram<br>\nTo do: reconnect at <a href="{DASHBOARD}">{DASHBOARD}</a></p>\n'
        "<p>Incident 7 · message k</p>"
    )
    assert event["body"] == f"{message().title}\n\n{message().body}"


def test_a_notification_of_ntfy_leads_to_the_dashboard(wire: RecordedWire) -> None:
    one = channel(SERVICES["ntfy"])
    one.send(message())
    one.send(message(url="", key="k2"))
    channel(f"{SERVICES['ntfy']}?click=https://acme.example/runbook").send(message())
    clicks = [request.headers.get("X-Click") for request in wire.sent]
    assert clicks == [DASHBOARD, None, "https://acme.example/runbook"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_address_of_the_dashboard_can_be_followed(service: str, wire: RecordedWire) -> None:
    channel(SERVICES[service]).send(message())
    whole = re.compile(rf"(^|[\s(\">]){re.escape(DASHBOARD)}($|[\s)\"<])")
    assert any(whole.search(text) for text in texts_sent(service, wire))


# Mail


def mail_of(server: SmtpReceiver, more: str = "", **values: Any) -> Any:
    url = f"mailto://{server.address}?from=Monitor%20<monitor@acme.example>&to=ops@acme.example{more}"
    channel(url).send(message(**values))
    return server.mails[-1]


def test_a_mail_has_a_plain_and_an_html_part_with_the_same_words(mail_server: SmtpReceiver) -> None:
    mail = mail_of(mail_server)
    plain, page = mail.text().replace("\r\n", "\n"), mail.text("html").replace("\r\n", "\n")
    assert plain == f"{message().body}\n"
    assert "North Bakery on Instagram<br>" in page
    assert f'To do: reconnect at <a href="{DASHBOARD}">{DASHBOARD}</a></p>' in page
    assert f'<a href="{DASHBOARD}" style="color: inherit;">CRITICAL: Instagram' in page
    assert "#A32037" in page
    assert [part.get_content_type() for part in mail.message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    ("sender", "origin", "shown"),
    [
        ("", "robot@acme.example", "postpost-monitor <robot@acme.example>"),
        ("Harbour Agency", "robot@acme.example", "Harbour Agency <robot@acme.example>"),
        ("Harbour Agency", "Bea%20<robot@acme.example>", "Bea <robot@acme.example>"),
    ],
    ids=["nobody is named", "the sender is named", "the URL names somebody"],
)
def test_a_mail_to_a_client_comes_from_the_sender_unless_its_url_names_somebody(
    mail_server: SmtpReceiver, sender: str, origin: str, shown: str
) -> None:
    url = f"mailto://{mail_server.address}?from={origin}&to={{managed_user.username}}"
    clients = open_channels([Settings(url=url)], sender=sender, timeout=timedelta(seconds=30))["ops"]
    assert isinstance(clients, ClientChannel)
    user = Target(id=1, account="agency", managed_user_id="a" * 24, username="client@example.com")
    client = clients.for_target(user)
    assert client
    client.send(message())
    assert (mail_server.mails[-1].message["From"], mail_server.mails[-1].message["To"]) == (
        shown,
        "client@example.com",
    )


def test_a_mail_says_that_it_is_automatic_and_what_it_is_about(mail_server: SmtpReceiver) -> None:
    headers = mail_of(mail_server, threads=("incident-7-x", "incident-9-y")).message
    assert headers["Auto-Submitted"] == "auto-generated"
    assert headers["References"].split() == [
        "<incident-7-x@postpost-monitor>",
        "<incident-9-y@postpost-monitor>",
    ]
    assert headers["Message-ID"] == "<message-k@acme.example>"
    assert (headers["From"], headers["To"]) == ("Monitor <monitor@acme.example>", "ops@acme.example")
    assert headers["Date"]


def test_mails_about_the_same_incident_refer_to_the_same(mail_server: SmtpReceiver) -> None:
    (item, *_) = sample_items("agency", NOW, DASHBOARD)
    one = channel(f"mailto://{mail_server.address}?from=monitor@acme.example&to=ops@acme.example")
    for now, key in ((NOW, "k1"), (NOW + timedelta(days=1), "k2")):
        written = render([item], now=now, key=key)
        assert written
        one.send(written)
    first, second = (mail.message["References"] for mail in mail_server.mails)
    assert first == second
    other = render([replace(item, incident=replace(item.incident, id=2))], now=NOW, key="k3")
    assert other
    one.send(other)
    assert mail_server.mails[-1].message["References"] != first


def test_a_mail_about_no_incident_refers_to_nothing(mail_server: SmtpReceiver) -> None:
    one = channel(f"mailto://{mail_server.address}?from=monitor@acme.example&to=ops@acme.example")
    one.send(message())
    one.send(message(threads=(), key="k2"))
    assert mail_server.mails[-1].message["References"] is None


def test_a_mail_goes_to_all_that_its_url_names(mail_server: SmtpReceiver) -> None:
    more = ",b@acme.example&cc=c@acme.example&bcc=d@acme.example&reply=r@acme.example&%2BX-Team=ops"
    mail_of(mail_server, more)
    assert [mail.recipients for mail in mail_server.mails] == [
        ("ops@acme.example", "c@acme.example", "d@acme.example"),
        ("b@acme.example", "c@acme.example", "d@acme.example"),
    ]
    for mail in mail_server.mails:
        headers = mail.message
        assert (headers["Cc"], headers["Bcc"], headers["Reply-To"]) == (
            "c@acme.example",
            None,
            "r@acme.example",
        )
        assert headers["X-Team"] == "ops"


def test_a_mail_carries_its_file_beside_both_parts(mail_server: SmtpReceiver) -> None:
    mail = mail_of(mail_server, attachment=FILE)
    (part,) = mail.message.iter_attachments()
    assert (part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) == (
        "incidents.csv",
        "text/csv",
        FILE.content,
    )
    assert "North Bakery" in mail.text()
    assert "North Bakery" in mail.text("html")


def test_every_line_of_a_mail_is_short_and_ascii(mail_server: SmtpReceiver) -> None:
    mail = mail_of(mail_server, title="Überfällig: " + "投" * 90, body="é" * 3000)
    assert mail.content.isascii()
    assert max(map(len, mail.content.splitlines())) <= 998
    assert mail.message["Subject"] == "Überfällig: " + "投" * 90
    assert mail.text().strip() == "é" * 3000


def test_a_mail_service_over_http_says_so_too(wire: RecordedWire) -> None:
    channel(SERVICES["mailgun"]).send(message())
    body = raw_body(wire.sent[0]).decode()
    assert "h%3AAuto-Submitted=auto-generated" in body
    assert "h%3AReferences=%3Cincident-7-x%40postpost-monitor%3E" in body
