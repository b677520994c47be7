"""What an event says, and when there is one."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from monitor.core.messages import events
from monitor.core.messages.events import Event, event_again, event_key, events_of, reasons_of
from monitor.core.messages.render import Item
from monitor.core.messages.samples import trial_events
from monitor.core.model import Cause, Incident, Reason, Resolution, RuleName, Severity, Subject, Target
from monitor.core.routing.incident_services import HOSTS, SERVICES, events_wanted, incident_service
from tests.factories import DAY, HOUR, NOW, connection, error

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "events.schema.json").read_text(encoding="utf-8"))
conforms = fastjsonschema.compile(SCHEMA)

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL
SEEN = connection(expires_at=NOW + 2 * DAY, last_error=error(), last_successful_post_at=NOW - DAY)
USER = Target(id=1, account="agency", managed_user_id="507f", managed_user="North Bakery")


def incident(**given: Any) -> Incident:
    ordinary: dict[str, Any] = {
        "id": 12,
        "rule": RuleName.TOKEN_EXPIRY,
        "subject": Subject(account="agency", target_id=1, platform_id=SEEN.platform_id),
        "severity": WARNING,
        "max_severity": WARNING,
        "summary": "token expires at 2026-02-24 20:00 UTC",
        "opened_at": NOW - HOUR,
        "deadline_at": NOW + 2 * DAY,
    }
    return Incident(**ordinary | given)


def item(about: Incident | None = None, **given: Any) -> Item:
    ordinary: dict[str, Any] = {
        "incident": about or incident(),
        "reasons": frozenset({Reason.OPENED}),
        "target": USER,
        "connection": SEEN,
        "dashboard_url": "https://app.postpost.dev",
    }
    return Item(**ordinary | given)


def event(about: Incident | None = None, **given: Any) -> Event:
    (first, *_) = events_of(item(about, **given), installation="f00", message_key="m1", now=NOW)
    return first


OVER = incident(resolved_at=NOW, resolution=Resolution.RECOVERED)
REPLACED = incident(resolved_at=NOW, resolution=Resolution.SUPERSEDED)
ACKNOWLEDGED = incident(acknowledged_at=NOW, acknowledged_by="mia")


@pytest.mark.parametrize(
    ("known", "reasons"),
    [
        pytest.param(item(), ["opened"], id="never told"),
        pytest.param(item(last_severity=WARNING, reasons=frozenset()), [], id="told"),
        pytest.param(
            item(last_severity=WARNING, reasons=frozenset({Reason.UPDATED})), ["updated"], id="other words"
        ),
        pytest.param(item(last_severity=NOTICE, reasons=frozenset()), ["escalated"], id="worse than told"),
        pytest.param(
            item(last_severity=CRITICAL, reasons=frozenset({Reason.ESCALATED})), ["updated"], id="milder"
        ),
        pytest.param(
            item(last_severity=WARNING, reasons=frozenset({Reason.ESCALATED})), [], id="worse for a while"
        ),
        pytest.param(
            item(last_severity=WARNING, reasons=frozenset({Reason.REMINDER})), ["reminder"], id="reminded"
        ),
        pytest.param(
            item(ACKNOWLEDGED, last_severity=WARNING, reasons=frozenset({Reason.REMINDER})),
            [],
            id="reminded, acknowledged",
        ),
        pytest.param(
            item(ACKNOWLEDGED, last_severity=WARNING, reasons=frozenset({Reason.ACKNOWLEDGED})),
            ["acknowledged"],
            id="acknowledged",
        ),
        pytest.param(
            item(last_severity=WARNING, reasons=frozenset({Reason.ACKNOWLEDGED})),
            [],
            id="acknowledged no more",
        ),
        pytest.param(
            item(ACKNOWLEDGED, reasons=frozenset({Reason.OPENED, Reason.ACKNOWLEDGED})),
            ["opened", "acknowledged"],
            id="acknowledged before it was told",
        ),
        pytest.param(item(OVER, last_severity=WARNING), ["resolved"], id="over"),
        pytest.param(item(OVER), [], id="over before it was told"),
        pytest.param(item(OVER, may_be_out=True), ["resolved"], id="over, and the trigger may be out"),
        pytest.param(item(OVER, last_was_resolved=True), [], id="told that it is over"),
        pytest.param(item(REPLACED, last_severity=WARNING), ["resolved"], id="superseded"),
        pytest.param(
            item(OVER, last_severity=WARNING, reopened=True), ["resolved"], id="back as another one"
        ),
        pytest.param(
            item(OVER, last_severity=WARNING, silenced=True), ["resolved"], id="told, then silenced"
        ),
        pytest.param(item(OVER, silenced=True), [], id="silenced from the first"),
    ],
)
def test_an_event_is_the_difference_between_what_was_told_and_what_is_true(
    known: Item, reasons: list[str]
) -> None:
    assert reasons == list(reasons_of(known))


def test_the_key_is_the_same_whatever_happens_and_of_no_other_incident() -> None:
    notified = item(last_severity=WARNING)
    happens = (
        item(),
        item(last_severity=NOTICE),
        item(ACKNOWLEDGED, last_severity=WARNING, reasons=frozenset({Reason.ACKNOWLEDGED})),
        item(OVER, last_severity=WARNING),
    )
    made = [events_of(each, installation="f00", message_key="m1", now=NOW)[0] for each in happens]
    again = event_again(notified, installation="f00", now=NOW)
    assert {"f00-12"} == {each.key for each in (*made, again)}
    assert "f00-1" != event_key("f00", 12) != event_key("f0", 12)
    assert ["m1-opened", "m1-escalated", "m1-acknowledged", "m1-resolved"] == [
        each.message_key for each in made
    ]


def test_a_title_says_what_whose_and_by_when() -> None:
    assert "LinkedIn @\u200bjohndoe (North Bakery): token expires in 2 days" == events.title(event())
    assert "LinkedIn @\u200bjohndoe (North Bakery): token is valid again" == events.title(
        event(OVER, last_severity=WARNING)
    )
    about = Subject(account="agency")
    refused = incident(rule=RuleName.API_KEY_REJECTED, subject=about, summary="the API key is not valid")
    assert "Account agency: API key rejected" == events.title(event(refused, connection=None, target=None))
    failing = incident(rule=RuleName.CHANNEL_FAILING, subject=Subject(channel="ops"), summary="it fails")
    assert "Channel ops: messages are not delivered" == events.title(
        event(failing, connection=None, target=None)
    )
    skewed = incident(rule=RuleName.CLOCK_SKEW, subject=Subject(base_url="https://api.postpost.dev"))
    assert "API api.postpost.dev: clocks differ" == events.title(event(skewed, connection=None, target=None))


def test_text_from_outside_is_one_line_that_mentions_nobody() -> None:
    wild = connection(display_name="@everyone\n<!channel> https://evil.example", expires_at=NOW + DAY)
    title = events.title(event(connection=wild))
    assert "\n" not in title
    assert not [active for active in ("@everyone", "<!channel", "https://") if active in title]
    assert len(events.title(event(connection=connection(display_name="x" * 900)), 130)) <= 130


def test_the_text_says_what_to_do_and_where() -> None:
    text = events.text(event(incident(cause=Cause.PERMISSION)))
    assert (
        "What to do: reconnect this account at https://app.postpost.dev and grant all that it asks for"
        in text
    )
    assert "Last successful post: 21 Feb, 20:00 UTC." in text
    assert text.endswith("Incident 12.")
    assert "What to do: put a valid key in" in events.text(
        event(incident(remedy="put a valid key in"), connection=None)
    )
    assert "What to do" not in events.text(event(OVER, last_severity=WARNING))
    assert "https://own.example" in events.text(event(reconnect_url="https://own.example"))
    page = "https://tokens.example.com/incidents/12"
    assert events.text(event(incident_url=page)).endswith(f"\nIncident 12: {page}")


def test_the_text_says_first_what_happens_if_nobody_acts() -> None:
    assert events.text(event()).splitlines()[1:3] == [
        "Access expires in 2 days (24 Feb, 20:00 UTC). Posts to this account will fail after that.",
        "Open since 22 Feb, 19:00 UTC.",
    ]
    over = replace(OVER, opened_at=NOW - 3 * HOUR)
    assert events.text(event(over, last_severity=WARNING)).splitlines()[1] == (
        "The token is valid again. The problem lasted 3 hours."
    )


def test_details_hold_what_is_known_and_nothing_else() -> None:
    found = events.details(event())
    assert ("12", "token_expiry", "warning", "agency", "North Bakery") == tuple(
        found[name] for name in ("incident", "rule", "severity", "account", "managed_user")
    )
    assert not {"reconnect_url", "acknowledged_by", "resolution"} & found.keys()
    assert all(isinstance(value, str) and value for value in found.values())
    assert "what_to_do" not in events.details(event(OVER, last_severity=WARNING))


# The published document


DOCUMENTS = {
    "opened": event(),
    "escalated": event(incident(severity=CRITICAL), last_severity=WARNING),
    "updated": event(last_severity=WARNING, reasons=frozenset({Reason.UPDATED})),
    "reminder": event(last_severity=WARNING, reasons=frozenset({Reason.REMINDER})),
    "acknowledged": event(ACKNOWLEDGED, last_severity=WARNING, reasons=frozenset({Reason.ACKNOWLEDGED})),
    "resolved": event(OVER, last_severity=WARNING),
    "about an account": event(
        incident(subject=Subject(account="agency")), connection=None, target=None, dashboard_url=""
    ),
    "about a channel": event(
        incident(rule=RuleName.CHANNEL_FAILING, subject=Subject(channel="ops")), connection=None, target=None
    ),
    "with the page of the incident": event(incident_url="https://tokens.example.com/incidents/12"),
    "with a link": event(reconnect_url="https://app.postpost.dev/connections/abc"),
    "without dates": event(connection=connection(expires_at=None, display_name=None)),
    "another word of the API": event(connection=connection(token_status="revoked")),
    "a trial": trial_events("ops", "abc", NOW)[0],
    "the end of a trial": trial_events("ops", "abc", NOW)[1],
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_document_conforms_to_the_published_schema(name: str) -> None:
    document = json.loads(json.dumps(events.document(DOCUMENTS[name])))
    conforms(document)
    assert (1, DOCUMENTS[name].reason.value) == (document["version"], document["event"])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"event": "test"},
        {"key": ""},
        {"at": "yesterday"},
        {"incident": None},
        {"connection": {}},
        {"surprise": 1},
        {"reconnect": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_schema_refuses_what_is_no_event(change: dict[str, Any]) -> None:
    document = json.loads(json.dumps({**events.document(event()), **change}))
    with pytest.raises(fastjsonschema.JsonSchemaException):
        conforms(document)


def test_the_schema_knows_the_closed_sets_and_every_field_of_a_document() -> None:
    properties = SCHEMA["properties"]
    sent = {"opened", "escalated", "updated", "reminder", "acknowledged", "resolved"}
    assert sent == set(properties["event"]["enum"]) == set(Reason) - {Reason.DIGEST, Reason.TEST}
    about = properties["incident"]["properties"]
    assert list(Severity) == about["severity"]["enum"]
    assert {*Resolution, None} == set(about["resolution"]["enum"])
    document = events.document(event())
    assert document.keys() == properties.keys() == set(SCHEMA["required"])
    for name in ("incident", "reconnect", "links"):
        assert (
            document[name].keys()
            == properties[name]["properties"].keys()
            == set(properties[name]["required"])
        )
    (described,) = (each for each in properties["connection"]["anyOf"] if each["type"] == "object")
    assert document["connection"].keys() == described["properties"].keys() == set(described["required"])


# Which URLs lead to a service with incidents


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("pagerduty://key@token", "pagerduty"),
        ("PagerDuty://key@token", "pagerduty"),
        ("alertmanagers://host/prefix", "alertmanager"),
        ("json://host/path?events=incident", "json"),
        ("jsons://host?a=b&events=incident", "json"),
        ("json://host/path", None),
        ("json://host/path?events=other", None),
        ("slack://a/b/c?events=incident", None),
        ("https://alert.victorops.com/integrations/generic/20131114/alert/key/route", "splunk"),
        ("https://api.incident.io/v2/alert_events/http/01ABC?token=x", "incidentio"),
        ("https://hooks.slack.com/services/a/b/c", None),
        ("https://[broken", None),
        ("nonsense", None),
        ("json://host?note=what?&events=incident", "json"),
        ("json://host?events=incident&note=what?", "json"),
        ("json://host?events=digest&events=incident", None),
        ("http://API.squadcast.com/x", "squadcast"),
    ],
)
def test_a_url_tells_whether_its_service_has_incidents(url: str, service: str | None) -> None:
    assert service == incident_service(url)


def test_what_a_url_asks_for_is_read_from_its_query() -> None:
    assert [None, "incident", ""] == [
        events_wanted(url) for url in ("json://h", "json://h?events=incident", "json://h?events=")
    ]


def test_an_expired_moment_is_told_from_the_time_of_the_event() -> None:
    late = events_of(item(), installation="f00", message_key="m", now=NOW + 2 * DAY + timedelta(hours=3))[0]
    assert "expired 3 hours ago" in events.title(late)


def test_the_services_of_addresses_are_those_of_schemes() -> None:
    assert set(HOSTS.values()) <= set(SERVICES.values())
