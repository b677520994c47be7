"""One name for a connection, wherever one is shown: its display name, else its handle, else its id."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.channels.templates import template_variables
from monitor.clock import utc_now
from monitor.core.messages.client import render_for_client
from monitor.core.messages.csv_attachment import csv_attachment
from monitor.core.messages.render import render, sort_for_message
from monitor.core.messages.samples import sample_client_items
from monitor.sandbox.profiles import SocialProfile
from monitor.storage.database import Database
from monitor.web.status_page import render_page
from tests.cli.conftest import CliEnvironment
from tests.factories import NOW, connection

TELEGRAM = "telegram--1001234567890"
# What the API says of a connection, and what people call it.
NAMES: dict[str, tuple[dict[str, str | None], str]] = {
    "display name": ({"username": None, "displayName": "Private Channel"}, "Private Channel"),
    "handle": ({"username": "@northbakery", "displayName": None}, "@northbakery"),
    "id": ({"username": None, "displayName": None}, TELEGRAM),
    "empty texts": ({"username": "", "displayName": ""}, TELEGRAM),
}
VIEWS = ("connections", "transitions", "incidents")


@pytest.fixture(params=NAMES)
def named(
    cli_env: CliEnvironment, request: pytest.FixtureRequest, empty_database_url: str
) -> tuple[CliEnvironment, str]:
    """Give a place that has polled an expired Telegram channel, and the name that people call it by."""
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    said, name = NAMES[request.param]
    profile = SocialProfile(platform_id=TELEGRAM, username="x", expires_at=utc_now() + timedelta(days=60))
    cli_env.fake_service.add_connection(replace(profile, overrides=dict(said)))
    for removed in ("twitter-123456789", "instagram-17841412345678", "linkedin-Tz9W5i6ZYG"):
        cli_env.fake_service.remove_connection(removed)
    cli_env.run("poll")
    cli_env.fake_service.expire(TELEGRAM)
    cli_env.run("poll")
    return cli_env, name


def test_every_table_has_the_same_name_for_a_connection(named: tuple[CliEnvironment, str]) -> None:
    cli_env, name = named
    for command in ("status", "history", "incidents"):
        shown = cli_env.run(command).out
        assert name in shown, command
        assert name == TELEGRAM or TELEGRAM not in shown, command


def test_every_view_and_every_export_has_the_same_name_for_a_connection(
    named: tuple[CliEnvironment, str],
) -> None:
    cli_env, name = named
    for command in ("status", "history", "incidents"):
        assert {row["name"] for row in cli_env.run(command, "--json").json()} == {name}, command
    for view in VIEWS:
        rows = list(csv.DictReader(io.StringIO(cli_env.run("export", view).out)))
        assert {row["name"].removeprefix("'") for row in rows} == {name}, view


def test_a_message_and_the_page_have_the_same_name_for_a_connection(
    named: tuple[CliEnvironment, str],
) -> None:
    cli_env, name = named
    (notified,) = [
        request.json() for request in cli_env.receiver.requests if "expired" in request.json()["title"]
    ]
    visible = notified["message"].replace("\u200b", "").replace("@", "")
    assert f"\nConnection: {name.removeprefix('@')} on Telegram, account agency.\n" in visible
    url = cli_env.tree["database"]["url"].replace("postgresql:", "postgresql+psycopg:")
    database = Database(url)
    try:
        with database.read() as store:
            shown = render_page(store, utc_now(), every={"agency": timedelta(minutes=15)})
    finally:
        database.close()
    assert f"Telegram {name}" in shown
    assert name == TELEGRAM or TELEGRAM not in shown


@pytest.mark.parametrize("said", NAMES)
def test_every_kind_of_message_has_the_same_name_for_a_connection(said: str) -> None:
    given, name = NAMES[said]
    seen = connection(
        platform_id=TELEGRAM, username=given["username"] or "", display_name=given["displayName"] or None
    )
    items = [replace(each, connection=seen) for each in sample_client_items("agency", NOW, with_link=False)]
    (row,) = csv.DictReader(io.StringIO(csv_attachment(sort_for_message(items)).content.decode("utf-8-sig")))
    assert row["name"].removeprefix("'") == name
    for write in (render, render_for_client):
        message = write(items, now=NOW, key="k")
        assert message
        visible = message.body.replace("\u200b", "")
        assert name in visible
        assert name == TELEGRAM or TELEGRAM not in json.dumps(message.body)
        assert template_variables(message, items, NOW)["items"][0]["name"].replace("\u200b", "") == name
