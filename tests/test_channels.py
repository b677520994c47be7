"""Channels against real receivers: what arrives, and what every kind of failure becomes."""

import base64
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import NoReturn

import pytest

from monitor.channels import check_url, describe, open_channels
from monitor.channels.apprise_log import LogLine
from monitor.channels.channel import Channel
from monitor.channels.delivery_errors import delivery_error
from monitor.core.messages.message import Attachment, Message
from monitor.core.model import Severity
from monitor.errors import ConfigError, DeliveryError
from tests.receivers import Answer, http_receiver, smtp_receiver

SECRET = "s3cr3tT0kenXYZ"
LINK = "https://app.postpost.dev/a_b?x=1&y=2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    name: str = "ops"
    url: str
    allow_reconnect_links: bool = False
    time_zone: tzinfo = UTC


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    # Apprise leaves 5.5 seconds between two mails to one server.
    check_url("any", "mailto://127.0.0.1?from=a@acme.example")  # loads it as the channels do
    from apprise.plugins.email.base import NotifyEmail

    monkeypatch.setattr(NotifyEmail, "request_rate_per_sec", 0)


@pytest.fixture
def closed_address() -> Iterator[str]:
    """An address where nothing listens, and nothing else can start to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def channel(url: str, *, timeout: float = 20) -> Channel:
    return open_channels([Settings(url=url)], timeout=timedelta(seconds=timeout))["ops"]


def message(
    *,
    title: str = "CRITICAL: the token has expired (agency)",
    body: str = "Acme & Co <\u200bb>\nTo do: reconnect at https://app.postpost.dev/a_b?x=1&y=2\n\nIncident 7",
    severity: Severity | None = Severity.CRITICAL,
    key: str = "k1",
    attachment: Attachment | None = None,
) -> Message:
    return Message(title=title, body=body, severity=severity, key=key, links=(LINK,), attachment=attachment)


def mail_url(address: str, more: str = "") -> str:
    return f"mailto://{address}?from=monitor@acme.example&to=ops@acme.example{more}"


def failure(one: Channel, what: Message | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        one.send(what or message())
    return caught.value


# What arrives


def test_a_message_arrives_over_http_as_it_was_written() -> None:
    with http_receiver() as receiver:
        channel(f"json://{receiver.address}/hook").send(message())
    (request,) = receiver.requests
    sent = request.json()
    assert (sent["title"], sent["message"], sent["type"]) == (message().title, message().body, "failure")
    assert request.headers["x-idempotency-key"] == "k1"


def test_a_message_arrives_by_mail_as_text_and_as_html() -> None:
    with smtp_receiver() as receiver:
        channel(mail_url(receiver.address)).send(message(title="Überfällig"))
    (mail,) = receiver.mails
    assert mail.recipients == ("ops@acme.example",)
    assert mail.message["Subject"] == "Überfällig"
    assert mail.message["X-Idempotency-Key"] == "k1"
    assert mail.message.get_content_type() == "multipart/alternative"
    assert mail.text().replace("\r\n", "\n").rstrip("\n") == message().body
    assert "Acme &amp; Co" in mail.text("html")


@pytest.mark.parametrize(
    ("severity", "kind"),
    [
        (Severity.CRITICAL, "failure"),
        (Severity.WARNING, "warning"),
        (Severity.NOTICE, "info"),
        (None, "success"),
    ],
)
def test_the_severity_becomes_the_kind_that_services_color(severity: Severity | None, kind: str) -> None:
    with http_receiver() as receiver:
        channel(f"json://{receiver.address}").send(message(severity=severity))
    assert receiver.requests[0].json()["type"] == kind


def test_an_attachment_travels_where_the_service_takes_files() -> None:
    file = Attachment(name="connections.csv", content=b"a,b\n1,2\n", mime="text/csv")
    with http_receiver() as web, smtp_receiver() as post:
        channel(f"json://{web.address}").send(message(attachment=file))
        channel(mail_url(post.address)).send(message(attachment=file))
        channel(f"gotify://{web.address}/token").send(message(attachment=file))
    (sent,) = web.requests[0].json()["attachments"]
    assert (sent["filename"], sent["mimetype"]) == ("connections.csv", "text/csv")
    assert base64.b64decode(sent["base64"]) == file.content
    (part,) = post.mails[0].message.iter_attachments()
    assert (part.get_filename(), part.get_content_type()) == ("connections.csv", "text/csv")
    assert web.requests[1].json()["message"] == message().body


def test_backslashes_emoji_names_and_variables_in_a_body_are_left_alone() -> None:
    body = "C:\\new \\u0041 ${HOME} :smile: R&D 100%"
    with http_receiver() as receiver:
        channel(f"json://{receiver.address}?emojis=yes").send(message(body=body))
    assert receiver.requests[0].json()["message"] == body


# What failures become


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_channel_that_is_gone_is_a_permanent_failure(status: int) -> None:
    with http_receiver(Answer(status=status)) as receiver:
        error = failure(channel(f"json://{receiver.address}"))
    assert (str(error), error.permanent, error.uncertain) == (f"json: HTTP {status}", True, False)


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500, 502, 503])
def test_other_refusals_may_pass(status: int) -> None:
    with http_receiver(Answer(status=status)) as receiver:
        error = failure(channel(f"json://{receiver.address}"))
    assert (str(error), error.permanent, error.uncertain) == (f"json: HTTP {status}", False, False)


def test_the_wait_that_a_busy_service_asks_for_is_told() -> None:
    with http_receiver(Answer(status=429, body=b'{"message": "slow", "retry_after": 64.57}')) as receiver:
        error = failure(channel(f"json://{receiver.address}"))
    assert error.retry_after == timedelta(seconds=64.57)


def test_a_refused_connection_is_told_apart(closed_address: str) -> None:
    web, post = failure(channel(f"json://{closed_address}")), failure(channel(mail_url(closed_address)))
    assert [str(web), str(post)] == ["json: the connection was refused", "mailto: the connection was refused"]
    assert not (web.permanent or web.uncertain or post.permanent or post.uncertain)


def test_a_redirect_is_not_followed_even_if_the_url_asks_for_it() -> None:
    with http_receiver() as elsewhere:
        moved = Answer(status=307, headers={"Location": f"http://{elsewhere.address}/"})
        with http_receiver(moved) as receiver:
            error = failure(channel(f"json://{receiver.address}?redirect=yes&+X-Token={SECRET}"))
        assert str(error) == "json: HTTP 307, a redirect, which is not followed"
        assert elsewhere.requests == []


def test_a_url_can_not_make_a_failure_count_as_success_nor_repeat_itself() -> None:
    with http_receiver(Answer(status=500)) as receiver:
        failure(channel(f"json://{receiver.address}?optional=yes&retry=3&wait=0"))
    assert len(receiver.requests) == 1


def test_a_connection_that_breaks_off_leaves_it_open_whether_the_message_arrived() -> None:
    with http_receiver(Answer(hang_up=True)) as receiver:
        error = failure(channel(f"json://{receiver.address}"))
    assert (str(error), error.uncertain) == ("json: the connection was closed", True)


@pytest.mark.parametrize("answer", [Answer(delay=60), Answer(drip=0.05)], ids=["hanging", "dripping"])
def test_a_service_that_takes_its_time_does_not_get_more_than_is_given(answer: Answer) -> None:
    with http_receiver(answer) as receiver:
        started_at = time.monotonic()
        error = failure(channel(f"json://{receiver.address}", timeout=0.5))
        assert time.monotonic() - started_at < 10
    assert (str(error), error.uncertain, error.permanent) == ("no response within 0.5 s", True, False)


def test_a_read_timeout_of_the_url_is_kept_and_leaves_it_open_whether_the_message_arrived() -> None:
    with http_receiver(Answer(delay=60)) as receiver:
        error = failure(channel(f"json://{receiver.address}?rto=0.2"))
    assert (str(error), error.uncertain) == ("json: no response in time", True)


@pytest.mark.parametrize(("answer", "permanent"), [("550 no such user", True), ("451 try later", False)])
def test_a_refused_recipient_is_told_by_its_code(answer: str, permanent: bool) -> None:
    with smtp_receiver(refused={"ops@acme.example": answer}) as receiver:
        error = failure(channel(mail_url(receiver.address)))
    assert (str(error), error.permanent) == (f"mailto: SMTP {answer[:3]}", permanent)
    assert receiver.mails == []


def test_refused_content_and_refused_copies_are_told_by_their_code() -> None:
    with smtp_receiver(refused_data="554 looks like spam") as receiver:
        assert str(failure(channel(mail_url(receiver.address)))) == "mailto: SMTP 554"
    with smtp_receiver(refused={"bad@acme.example": "550 no such user"}) as receiver:
        assert str(failure(channel(mail_url(receiver.address, "&cc=bad@acme.example")))) == "mailto: SMTP 550"


def test_a_url_that_is_no_url_fails_for_good() -> None:
    error = failure(channel(f"nosuch://{SECRET}@host"))
    assert (str(error), error.permanent) == ("Apprise can't use the channel's URL", True)


def test_an_error_inside_apprise_is_told_by_its_kind_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise

    def broken(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise ValueError(f"can't send to json://{SECRET}")

    one = channel("json://127.0.0.1:1")
    monkeypatch.setattr(apprise.Apprise, "notify", broken)
    error = failure(one)
    assert str(error) == "Apprise failed: ValueError"
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("line", "notified"),
    [
        ("HTTPSConnectionPool(host='h', port=443): certificate verify failed: unable to get local issuer",
         "json: the TLS certificate was not accepted"),
        ("Failed to resolve 'h' ([Errno -2] Name or service not known)", "json: the host name can't be resolved"),
        ("Connection to h timed out. (connect timeout=4.0)", "json: the host can't be reached"),
        ("(535, b'5.7.8 Bad credentials')", "json: SMTP 535"),
        ("something new", "json: the connection failed"),
    ],
)  # fmt: skip
def test_a_failed_exchange_is_told_in_words(line: str, notified: str) -> None:
    assert (
        str(delivery_error("json", [LogLine(level=logging.DEBUG, text=f"Socket Exception: {line}")]))
        == notified
    )


def test_a_payload_can_not_pass_for_a_reason() -> None:
    payload = LogLine(
        level=logging.DEBUG, text='JSON Payload: {"message": "error=401 (550, b\'x\') connection refused"}'
    )
    error = delivery_error(
        "json", [payload, LogLine(level=logging.WARNING, text="Failed to send: error=500.")]
    )
    assert (str(error), error.permanent) == ("json: HTTP 500", False)
    assert str(delivery_error("json", [payload])) == "json: the message was not accepted"


# Sending again


def test_a_retry_spares_the_recipients_that_took_the_message() -> None:
    with smtp_receiver(refused={"bad@acme.example": "451 try later"}) as receiver:
        one = channel(mail_url(receiver.address, ",bad@acme.example"))
        failure(one)
        failure(one)
        assert [mail.recipients for mail in receiver.mails] == [("ops@acme.example",)]
        receiver.refused.clear()
        one.send(message())
        assert [mail.recipients for mail in receiver.mails[1:]] == [("bad@acme.example",)]


def test_the_same_message_is_sent_anew_once_it_went_through() -> None:
    with http_receiver() as receiver:
        one = channel(f"json://{receiver.address}")
        one.send(message())
        one.send(message())
    assert len(receiver.requests) == 2


def test_a_message_that_arrived_after_its_time_is_not_sent_again() -> None:
    with http_receiver(Answer(delay=1)) as receiver:
        one = channel(f"json://{receiver.address}", timeout=0.3)
        assert failure(one).uncertain
        one = _patient(one)
        one.send(message())
        assert len(receiver.requests) == 1
        receiver.answer = Answer()
        one.send(message(key="k2"))
    assert len(receiver.requests) == 2


def _patient(one: Channel) -> Channel:
    """Wait for the thread that the channel gave up on."""
    for thread in threading.enumerate():
        if thread.name == f"channel {one.name}":
            thread.join(20)
    return one


def test_a_channel_that_hangs_takes_nothing_new_and_keeps_no_other_from_sending() -> None:
    with http_receiver(Answer(drip=0.05)) as stuck, http_receiver() as well:
        short = timedelta(seconds=0.2)
        names = [f"stuck{i}" for i in range(8)]
        channels = open_channels(
            [Settings(name=n, url=f"json://{stuck.address}") for n in names], timeout=short
        )
        other = channel(f"json://{well.address}")
        for name in names:
            assert failure(channels[name]).uncertain
        again = failure(channels["stuck0"], message(key="k2"))
        assert (str(again), again.uncertain) == ("the previous message is still being sent", False)
        other.send(message())
        assert len(well.requests) == 1
        assert len(stuck.requests) == 8


def test_a_channel_that_hangs_says_so_at_once_the_next_time() -> None:
    with http_receiver(Answer(delay=60)) as receiver:
        one = channel(f"json://{receiver.address}", timeout=1)
        assert failure(one).uncertain
        started_at = time.monotonic()
        failure(one)
        assert time.monotonic() - started_at < 0.8


def test_a_hanging_service_does_not_keep_the_process_from_ending() -> None:
    program = """
import sys
from datetime import timedelta
from monitor.channels import open_channels
from monitor.core.messages.message import Message
from monitor.errors import DeliveryError
from tests.test_channels import Settings
one = open_channels([Settings(url=sys.argv[1])], timeout=timedelta(seconds=2))["ops"]
try:
    one.send(Message(title="t", body="b", severity=None, key="k"))
except DeliveryError as error:
    print(error)
"""
    with http_receiver(Answer(drip=0.1)) as receiver:
        done = subprocess.run(
            [sys.executable, "-c", program, f"json://{receiver.address}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "no response within 2 s\n", "")


def test_several_threads_may_use_several_channels_at_once() -> None:
    with http_receiver() as receiver:
        channels = open_channels(
            [Settings(name=f"c{i}", url=f"json://{receiver.address}/{i}") for i in range(4)]
        )
        threads = [
            threading.Thread(target=lambda one=one: [one.send(message(key=str(i))) for i in range(5)])
            for one in channels.values()
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(receiver.requests) == 40


# What a channel says of itself


LIMITS: Mapping[str, tuple[str, int | None, int, bool]] = {
    "slack webhook": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", 35000, 250, False),
    "slack bot": ("slack://xoxb-1234-1234-abcdefABCDEF/#ops", 35000, 250, True),
    "discord": ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", 4096, 250, True),
    "telegram": ("tgram://123456789:abcdefg_hijklmnop/12315544", 2922, 0, True),
    "ntfy": ("ntfy://127.0.0.1/topic", 1848, 200, True),
    "mail": ("mailto://127.0.0.1?from=a@acme.example&to=b@acme.example", 32768, 250, True),
    "json": ("json://127.0.0.1", 32768, 250, True),
    "teams": ("workflows://acme.example:443/643A4A/signature", 24000, 250, False),
}  # fmt: skip


@pytest.mark.parametrize("service", LIMITS)
def test_a_channel_tells_how_much_it_takes(service: str) -> None:
    url, body, title, files = LIMITS[service]
    one = channel(url)
    assert (one.body_limit, one.title_limit, one.takes_attachments) == (body, title, files)


@pytest.mark.parametrize(("letter", "at_least"), [("e", 3900), ("é", 2300), ("語", 3400)])
def test_a_body_that_is_too_long_is_cut_at_the_end_of_a_line_and_sent_once(
    letter: str, at_least: int
) -> None:
    body = "\n".join(f"{i:04d} " + letter * 40 for i in range(200))
    with http_receiver() as receiver:
        channel(f"ntfy://{receiver.address}/topic").send(message(body=body))
    (request,) = receiver.requests
    sent = request.json()["message"]
    assert at_least < len(sent.encode()) <= 4096
    *lines, last = sent.split("\n")
    assert last == "…"
    assert lines == body.split("\n")[: len(lines)]


def test_a_title_is_one_line_and_no_longer_than_the_service_takes() -> None:
    with http_receiver() as receiver:
        channel(f"json://{receiver.address}").send(message(title="a\r\nBcc: x@acme.example " + "b" * 400))
    title = receiver.requests[0].json()["title"]
    assert title.startswith("a Bcc: x@\u200bacme.example bb")
    assert len(title) == 200


def test_describing_a_channel_tells_the_service_alone() -> None:
    assert describe(channel(f"slack://T1JJ3T3L2/A1BRTD4JD/{SECRET}abcdefghij")) == "slack"
    assert (
        describe(channel(f"https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/{SECRET}abcdefghij"))
        == "slack"
    )
    assert describe(channel(f"nosuch://{SECRET}")) == "unknown"


# The configuration, and secrets


BAD_URLS = [
    "", "   ", SECRET, f"nosuch://{SECRET}@host", f"slack://T1JJ3T3L2/{SECRET}", f"json://user:{SECRET}@",
    f"tgram://{SECRET}", f"mailto://user:{SECRET}@",     f"json://127.0.0.1/{SECRET}, json://127.0.0.1/b",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_leads_nowhere_is_refused_without_showing_it(
    url: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ConfigError, match="channel ops: ") as caught:
        check_url("ops", url)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capsys.readouterr())
    assert SECRET not in shown


@pytest.mark.parametrize("url", [url for url, *_ in LIMITS.values()])
def test_a_good_url_is_accepted(url: str) -> None:
    check_url("ops", url)


def test_opening_channels_loads_nothing() -> None:
    program = (
        "import sys; from monitor.channels import open_channels; from tests.test_channels import Settings\n"
        "open_channels([Settings(url='json://127.0.0.1')]); print('apprise' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("answer", [Answer(), Answer(status=500), Answer(hang_up=True)])
def test_nothing_of_the_url_is_ever_shown(
    answer: Answer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with http_receiver(answer) as receiver:
        one = channel(f"json://user:{SECRET}@{receiver.address}/{SECRET}?+X-Token={SECRET}")
        shown = f"{one!r} {one} {describe(one)}"
        try:
            one.send(message())
        except DeliveryError as error:
            shown += "".join(traceback.format_exception(error)) + repr(error)
        assert SECRET in receiver.requests[0].path
    assert SECRET not in shown + caplog.text + "".join(capsys.readouterr())
    assert receiver.address not in shown + caplog.text
