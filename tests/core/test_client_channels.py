"""Channels that tell clients: whom they reach, how often, and in which words."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.messages.client import render_for_client
from monitor.core.messages.render import Item
from monitor.core.messages.samples import sample_client_items
from monitor.core.model import Reason, Resolution, RuleName, Severity, Subject, Target
from monitor.core.routing.client_channels import ClientUrl, client_url, is_for_clients, throttled_until
from tests.factories import DAY, HOUR, NOW

MAIL = ClientUrl(template="mailto://u:p@host/?to={managed_user.username}&from=me@host")
HOOK = ClientUrl(template="json://host/{managed_user.id}/{managed_user.username}")
LINK = "https://app.postpost.dev/connections/0123456789abcdef"


def client(username: str | None = "client@example.com") -> Target:
    return Target(id=1, account="agency", managed_user_id="a" * 24, managed_user="North", username=username)


def item(**given: Any) -> Item:
    (sample,) = sample_client_items("agency", NOW, with_link=True)
    incident = replace(sample.incident, **given)
    return replace(sample, incident=incident, reasons=frozenset({Reason.OPENED}))


@pytest.mark.parametrize(
    "address",
    ["a@b.co", "first.last+tag@sub.example.com", "o'brien@example.com", "x@xn--bcher-kva.example"],
)
def test_a_mail_address_is_put_into_the_url_percent_encoded(address: str) -> None:
    url = MAIL.render("a" * 24, address)
    assert url is not None
    to = url.partition("to=")[2].partition("&")[0]
    assert unquote(to) == address
    assert not set(to) & set("@+ ")


@pytest.mark.parametrize(
    "address",
    [
        *(
            None,
            "",
            "acme",
            "@acme",
            "a@b",
            "a@@b.co",
            "a@b..co",
            "a b@c.de",
            "a@b.co,c@d.ef",
            "a@b.co&to=x@y.zz",
        ),
        *(
            "a@b.co\r\nBcc: x@y.zz",
            "<a@b.co>",
            "a@-b.co",
            "ä@b.co",
            "a@b.co ",
            f"{'a' * 300}@b.co",
            '"a,b"@c.de',
        ),
    ],
)
def test_what_is_no_plausible_address_reaches_nobody(address: str | None) -> None:
    assert MAIL.render("a" * 24, address) is None
    assert not MAIL.can_reach(client(address))


@pytest.mark.parametrize(("length", "is_plausible"), [(254, True), (255, False)])
def test_an_address_is_at_most_as_long_as_mail_allows(length: int, is_plausible: bool) -> None:
    address = "a@" + ("b" * 60 + ".") * 4 + "c"
    address = "a" * (length - len(address)) + address
    assert len(address) == length
    assert MAIL.can_reach(client(address)) is is_plausible


@given(st.text(max_size=60))
def test_nothing_that_a_user_calls_itself_leaves_its_place_in_a_url(username: str) -> None:
    filled = HOOK.render("a" * 24, username)
    if filled is not None:
        assert filled.count("/") == HOOK.template.count("/")
        assert not set(filled) & set(" ?#&\r\n\\")


def test_a_url_without_a_place_for_a_user_is_for_nobody_in_particular() -> None:
    assert client_url("mailto://u:p@host/?to=me@host") is None
    assert repr(MAIL) == "ClientUrl(***)"
    for place in ("{managed_user.username}", "{managed_user.id}"):
        url = f"https://example.com/{place}"
        assert client_url(url) == ClientUrl(template=url)


def test_a_client_is_told_of_its_own_connections_alone() -> None:
    about = item().incident
    assert is_for_clients(about, client())
    assert not is_for_clients(about, Target(id=1, account="agency"))
    assert not is_for_clients(about, None)
    assert not is_for_clients(replace(about, subject=Subject(account="agency", target_id=1)), client())


@pytest.mark.parametrize(
    ("told_ago", "notified", "now_worst", "waits"),
    [
        (None, None, Severity.NOTICE, False),
        (HOUR, Severity.WARNING, Severity.WARNING, True),
        (timedelta(), Severity.WARNING, Severity.WARNING, True),
        (HOUR, Severity.WARNING, Severity.CRITICAL, False),
        (HOUR, Severity.CRITICAL, Severity.WARNING, True),
        (HOUR, None, Severity.NOTICE, False),  # it was told that all is well
        (DAY, Severity.CRITICAL, Severity.NOTICE, False),
        (-HOUR, Severity.CRITICAL, Severity.NOTICE, False),  # the clock was set back
    ],
)
def test_a_client_is_told_once_a_day_unless_it_got_worse(
    told_ago: timedelta | None, notified: Severity | None, now_worst: Severity, waits: bool
) -> None:
    told_at = None if told_ago is None else NOW - told_ago
    until = throttled_until([item(severity=now_worst)], NOW, notified_at=told_at, notified=notified)
    assert until == (told_at + DAY if waits and told_at else None)


def test_good_news_waits_its_turn() -> None:
    over = item(resolved_at=NOW, resolution=Resolution.RECOVERED)
    assert throttled_until([over], NOW, notified_at=NOW - HOUR, notified=Severity.NOTICE) == NOW + DAY - HOUR


def test_the_message_says_what_to_do_where_and_by_when_in_words_for_a_client() -> None:
    message = render_for_client([item()], now=NOW, key="k1")
    assert message is not None
    assert message.title == "Please reconnect your Instagram account"
    assert message.body.startswith("Hello North Bakery,")
    assert '"Your Brand"' in message.body
    assert "by 25 Feb, 08:00 UTC. After that, we can't publish to it." in message.body
    assert LINK in message.body
    assert message.body.endswith("\n\nReference: k1")
    for word in ("incident", "token", "API", "agency", "managed user", "critical", "WARNING"):
        assert word not in message.body + message.title


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ("token expires soon", "Our permission to publish to it ends soon."),
        ("token has expired", "We can't publish to it anymore."),
        (
            "token has expired before its date, 2026-02-25 08:00 UTC",
            "We can't publish to it anymore.",
        ),
    ],
)
def test_a_client_is_told_no_date_that_the_incident_does_not_go_by(summary: str, said: str) -> None:
    message = render_for_client([item(summary=summary, deadline_at=None)], now=NOW, key="k1")
    assert message is not None
    assert f'Please reconnect your Instagram account "Your Brand". {said}' in message.body
    assert "2026" not in message.body
    assert " by " not in message.body


def test_without_a_link_the_client_is_sent_to_whoever_manages_its_posts() -> None:
    message = render_for_client([replace(item(), reconnect_url="")], now=NOW, key="k1")
    assert message is not None
    assert "http" not in message.body
    assert "ask your usual contact for your reconnect link" in message.body


def test_a_client_hears_nothing_of_what_it_has_disconnected() -> None:
    gone = item(resolved_at=NOW, resolution=Resolution.REMOVED)
    assert render_for_client([gone], now=NOW, key="k1") is None


def test_content_that_was_refused_asks_for_no_reconnect() -> None:
    refused = item(
        rule=RuleName.PUBLISH_ERROR,
        summary="publishing failed at 2026-02-22 19:00 UTC: Invalid image format",
        remedy="correct the post and publish it again",
    )
    message = render_for_client([refused], now=NOW, key="k1")
    assert message is not None
    assert "reconnect" not in message.title + message.body
    assert "Invalid image format" in message.body


def test_hostile_names_are_harmless_in_a_clients_message() -> None:
    sample = item()
    assert sample.connection
    assert sample.target
    hostile = "<b>@everyone</b>\r\nBcc: x [a](https://evil.example)"
    seen = replace(sample.connection, display_name=hostile)
    message = render_for_client(
        [replace(sample, connection=seen, target=replace(sample.target, managed_user=hostile))],
        now=NOW,
        key="k",
    )
    assert message is not None
    assert "@everyone" not in message.body
    assert "https://evil" not in message.body
    assert "\r" not in message.body
    assert hostile not in message.title
