"""A channel's own words: sandboxed, tried beforehand, and never at the price of a message."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from jinja2 import Template
from structlog.testing import capture_logs

from monitor.channels.templates import (
    _ENVIRONMENT,
    VARIABLES,
    MessageTemplate,
    compile_template,
    template_variables,
)
from monitor.core.messages.render import render, sort_for_message
from monitor.core.messages.samples import sample_items
from monitor.core.routing.routes import Route
from monitor.errors import ConfigError
from monitor.storage.database import Database
from tests.factories import NOW, connection
from tests.fakes import FakeChannel
from tests.simulator import Simulator

ITEMS = sort_for_message(sample_items("agency", NOW, "https://app.postpost.dev"))
DEAD = connection(token_status="expired", expires_at=NOW - timedelta(hours=1))


def words(body: str | None = None, title: str | None = None) -> MessageTemplate:
    return compile_template("ops", title=title, body=body, now=NOW)


@pytest.mark.parametrize(
    "fails_later",
    [
        "{% if items|length == 1 and items[0].severity == 'critical' %}{{ items[7].name }}{% endif %}x",
        "{{ (1 // (items[0].rule != 'token_expiry' or items[0].opened_at != now)) if items else 1 }}",
        "{% for n in range(items[0].name|length * 900000) %}x{% endfor %}",
    ],
)
def test_a_template_that_fails_at_run_time_costs_nobody_the_message(
    database: Database, fails_later: str
) -> None:
    simulator = Simulator(
        database,
        routes=(Route(channels=("ops", "plain"), group_wait=timedelta()),),
        channels={"ops": FakeChannel(), "plain": FakeChannel(name="plain")},
        templates={"ops": MessageTemplate(channel="ops", body=_unchecked(fails_later))},
    )
    with capture_logs() as lines:
        simulator.list_connections(DEAD)
    [notified], [plain] = simulator.sent, simulator.channels["plain"].sent
    assert notified.body.partition("message ")[0] == plain.body.partition("message ")[0]
    assert ["ops"] == [line["channel"] for line in lines if line["event"] == "template.failed"]


def _unchecked(body: str) -> Template:
    return _ENVIRONMENT.from_string(body)


def test_own_words_are_sent_with_the_key_of_the_message(database: Database) -> None:
    mine = words(
        "{% for each in items %}{{ each.name }}: {{ each.description }}{% endfor %}", "{{ severity|upper }}!"
    )
    simulator = Simulator(database, templates={"ops": mine})
    simulator.list_connections(DEAD)
    [notified] = simulator.sent
    assert notified.title == "CRITICAL!"
    assert notified.body.startswith("John Doe: Access expired 1 hour ago")
    assert notified.body.endswith(f"\n\nmessage {notified.key}")


def test_however_long_own_words_are_the_key_stays(database: Database) -> None:
    simulator = Simulator(
        database,
        channels={"ops": FakeChannel(body_limit=300)},
        templates={"ops": words("{{ 'long ' * 9000 }}")},
    )
    simulator.list_connections(DEAD)
    [notified] = simulator.sent
    assert len(notified.body) <= 300
    assert notified.body.endswith(f"message {notified.key}")


@pytest.mark.parametrize(
    ("body", "words_of_it"),
    [
        ("{{ items", "body: line 1"),
        ("\n\n{% endfor %}", "body: line 3"),
        ("{{ nope }}", "'nope'"),
        ("{% if severity == 'x' %}{{ nope }}{% endif %}", "'nope'"),
        ("{{ items[0].nope }}", "nope"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ items.append(1) }}", "unsafe"),
        ("{% include 'x' %}", "no loader"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ title|nofilter }}", "nofilter"),
    ],
)
def test_a_template_that_cannot_work_is_refused_in_one_line(body: str, words_of_it: str) -> None:
    with pytest.raises(ConfigError) as refused:
        words(body)
    assert words_of_it in str(refused.value)
    assert "\n" not in str(refused.value)


def test_outside_text_is_harmless_before_a_template_sees_it() -> None:
    item = replace(
        ITEMS[0], connection=connection(display_name="<!channel>\r\n[x](https://evil)", username="@all")
    )
    message = render([item], now=NOW, key="k")
    assert message
    [seen] = template_variables(message, [item], NOW)["items"]
    assert "<!" not in seen["name"]
    assert "](" not in seen["name"]
    assert "\n" not in seen["name"]
    assert "@all" not in seen["username"]


def test_times_and_durations_are_written_for_the_readers_of_the_channel() -> None:
    template = words("{{ items[0].opened_at|time }} for {{ items[0].open_for|duration }}{{ none|time }}")
    message = render(ITEMS[:1], now=NOW, key="k")
    assert message
    written = template.apply(message, ITEMS[:1], NOW, time_zone=ZoneInfo("Asia/Tokyo"))
    assert written.body.splitlines()[0] == "23 Feb, 04:59 Tokyo for 1 minute"


@pytest.mark.parametrize(
    ("body", "links"),
    [
        ("See https://acme.example/runbook.", ["https://acme.example/runbook"]),
        ("See https://acme.example/runbook", ["https://acme.example/runbook"]),
        ("{% if items %}https://acme.example/a b{% endif %}", ["https://acme.example/a"]),
        ("https://acme.example/{{ key }}", []),
        ("https://{{ items[0].name }}", []),
        ("{{ items[0].dashboard_url }}/{{ key }}", []),
        ("nothing", []),
    ],
)
def test_addresses_that_a_template_writes_out_can_be_followed(body: str, links: list[str]) -> None:
    message = render(ITEMS, now=NOW, key="k")
    assert message
    notified = words(body).apply(message, ITEMS, NOW)
    assert notified.links == (*message.links, *links)


def test_every_variable_is_documented_and_every_documented_one_is_there() -> None:
    text = (Path(__file__).parent.parent / "docs" / "alerting.md").read_text()
    table = text[text.index("| variable | is |") :].split("\n\n")[0]
    documented = set(re.findall(r"`([a-z_.]+)`", "\n".join(row.split("|")[1] for row in table.splitlines())))
    message = render(ITEMS, now=NOW, key="k")
    assert message
    given = template_variables(message, ITEMS, NOW)
    assert documented == {*VARIABLES, *(f".{name}" for name in given["items"][0])}
    assert set(VARIABLES) == set(given)
