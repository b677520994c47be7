"""Services with incidents of their own on the wire: what they are sent, and what becomes of each of their answers."""

import base64
import inspect
import json
import logging
import smtplib
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from monitor.channels import check_url, describe, open_channels
from monitor.channels.alertmanager import parse_url
from monitor.channels.channel import Channel
from monitor.channels.incident_channel import IncidentChannel
from monitor.channels.incident_plugins import PLUGINS
from monitor.channels.opsgenie import PRIORITIES
from monitor.channels.services import open_service
from monitor.channels.wire import UNCOUNTED, counting
from monitor.core.messages.events import Event, events_of
from monitor.core.messages.message import Message
from monitor.core.messages.render import Item
from monitor.core.model import Incident, Reason, Resolution, RuleName, Severity, Subject, Target
from monitor.core.routing.incident_services import HOSTS, SERVICES, incident_service
from monitor.errors import ConfigError, DeliveryError
from tests.factories import DAY, HOUR, NOW, connection
from tests.incident_services import KINDS, RealHttp, Settings, Standing, answer, standing
from tests.receivers import Answer, http_receiver, smtp_receiver

SECRET = "s3cr3tT0kenXYZ"
GUARDED = ("opsgenie", "alertmanager", "json")
CRITICAL, WARNING, NOTICE = Severity.CRITICAL, Severity.WARNING, Severity.NOTICE


def all_plugins() -> dict[str, Any]:
    """Load every plugin of Apprise, by its schemes."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # one for mail imports what Python 3.13 has no more
        from apprise.plugins import N_MGR

        return {schema: N_MGR[schema] for schema in N_MGR.schemas()}  # type: ignore[no-untyped-call]  # Apprise's


def item(severity: Severity = WARNING, **given: Any) -> Item:
    seen = connection(expires_at=NOW + 2 * DAY)
    incident = Incident(
        id=12,
        rule=RuleName.TOKEN_EXPIRY,
        subject=Subject(account="agency", target_id=1, platform_id=seen.platform_id),
        severity=severity,
        max_severity=severity,
        summary="token expires at 2026-02-24 20:00 UTC",
        opened_at=NOW - HOUR,
        deadline_at=NOW + 2 * DAY,
    )
    ordinary: dict[str, Any] = {
        "incident": incident,
        "reasons": frozenset({Reason.OPENED}),
        "target": Target(id=1, account="agency", managed_user_id="507f", managed_user="North Bakery"),
        "connection": seen,
        "dashboard_url": "https://app.postpost.dev",
    }
    return Item(**ordinary | given)


def event(severity: Severity = WARNING, **given: Any) -> Event:
    (first, *_) = events_of(item(severity, **given), installation="f00", message_key="m1", now=NOW)
    return first


def over(notified: Severity = WARNING) -> Event:
    known = item(last_severity=notified)
    ended = replace(known.incident, resolved_at=NOW, resolution=Resolution.RECOVERED)
    return events_of(replace(known, incident=ended), installation="f00", message_key="m2", now=NOW)[0]


def acknowledged() -> Event:
    known = item(last_severity=WARNING, reasons=frozenset({Reason.ACKNOWLEDGED}))
    held = replace(known.incident, acknowledged_at=NOW, acknowledged_by="mia")
    return events_of(replace(known, incident=held), installation="f00", message_key="m3", now=NOW)[0]


def refusal(there: Standing, what: Event | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        there.channel.send_event(what or event())
    return caught.value


# What arrives


def test_pagerduty_is_sent_a_summary_a_severity_a_link_and_details(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("pagerduty", monkeypatch) as there:
        there.channel.send_event(event(CRITICAL))
        there.channel.send_event(over())
        triggered, resolved = (request.json() for request in there.receiver.requests)
    payload = triggered["payload"]
    assert ("trigger", "f00-12", "critical") == (
        triggered["event_action"],
        triggered["dedup_key"],
        payload["severity"],
    )
    assert "LinkedIn @\u200bjohndoe (North Bakery): token expires in 2 days" in payload["summary"]
    assert [{"href": "https://app.postpost.dev"}] == triggered["links"]
    assert ("12", "North Bakery") == tuple(
        payload["custom_details"][name] for name in ("incident", "managed_user")
    )
    assert {"routing_key": "R" * 32, "event_action": "resolve", "dedup_key": "f00-12"} == resolved


@pytest.mark.parametrize(
    ("severity", "theirs"), [(CRITICAL, "critical"), (WARNING, "warning"), (NOTICE, "info")]
)
def test_pagerduty_knows_our_severities_by_its_own_words(
    severity: Severity, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing("pagerduty", monkeypatch) as there:
        there.channel.send_event(event(severity))
    assert {"f00-12": theirs} == there.service.open


@pytest.mark.parametrize(("severity", "theirs"), [(CRITICAL, "P1"), (WARNING, "P3"), (NOTICE, "P4")])
def test_opsgenie_knows_our_severities_by_its_priorities(
    severity: Severity, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing("opsgenie", monkeypatch) as there:
        there.channel.send_event(event(severity))
    assert {"f00-12": theirs} == there.service.open
    assert set(PRIORITIES) == set(Severity)


def test_opsgenie_is_sent_what_its_url_says_and_an_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("opsgenie", monkeypatch) as there:
        there.channel.send_event(event())
        there.channel.send_event(over())
        create, close = there.receiver.requests
    alert = create.json()
    assert ("f00-12", "P3", "postpost-monitor") == (alert["alias"], alert["priority"], alert["source"])
    assert [{"type": "team", "name": "team"}] == alert["responders"]
    assert "North Bakery" == alert["details"]["managed_user"]
    assert ("POST", "/v2/alerts/f00-12/close?identifierType=alias") == (close.method, close.path)


@pytest.mark.parametrize(("url", "host"), [
    ("opsgenie://key", "api.opsgenie.com"),
    ("opsgenie://key?region=eu", "api.eu.opsgenie.com"),
])  # fmt: skip
def test_opsgenie_is_asked_in_its_region(url: str, host: str) -> None:
    asked: list[str] = []

    class Listening:
        def call(self, method: str, url: str, *_: object, **__: object) -> NoReturn:
            asked.append(url)
            raise ConfigError("enough")

    channel = open_channels([Settings(url=url)], http=Listening())["pager"]
    assert isinstance(channel, IncidentChannel)
    with pytest.raises(DeliveryError):
        channel.send_event(event())
    assert [f"https://{host}/v2/alerts"] == asked


def test_an_open_alert_of_opsgenie_takes_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("opsgenie", monkeypatch) as there:
        there.channel.send_event(event(CRITICAL))
        there.channel.send_event(event(NOTICE, last_severity=CRITICAL, reasons=frozenset({Reason.UPDATED})))
    assert {"f00-12": "P4"} == there.service.open  # a request that makes one would have left P1
    assert ["POST", "POST", "PUT", "PUT", "PUT"] == [request.method for request in there.receiver.requests]


def test_alertmanager_is_sent_labels_that_stay_and_annotations_that_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with standing("alertmanager", monkeypatch) as there:
        there.channel.send_event(event())
        ((alert,),) = (request.json() for request in there.receiver.requests)
        (request,) = there.receiver.requests
    assert {
        "alertname": "token_expiry",
        "severity": "warning",
        "incident": "f00-12",
        "account": "agency",
        "managed_user_id": "507f",
        "platform": "linkedin",
        "platform_id": "linkedin-Tz9W5i6ZYG",
    } == alert["labels"]
    assert ("2026-02-22T19:00:00.000Z", "2026-02-22T20:05:00.000Z") == (alert["startsAt"], alert["endsAt"])
    assert "North Bakery" == alert["annotations"]["managed_user"]
    pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert "monitor:s3cretpassword" == pair


def test_labels_of_alertmanager_are_the_ids_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = connection(platform_id="mastodon-@jo@example.social")
    with standing("alertmanager", monkeypatch) as there:
        there.channel.send_event(event(connection=seen))
        ((alert,),) = (request.json() for request in there.receiver.requests)
    assert "mastodon-@jo@example.social" == alert["labels"]["platform_id"]


def test_json_is_posted_with_a_key_that_a_receiver_can_drop_duplicates_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with standing("json", monkeypatch) as there:
        there.channel.send_event(event())
        (request,) = there.receiver.requests
    assert ("POST", "/hook", "m1-opened") == (
        request.method,
        request.path,
        request.headers["x-idempotency-key"],
    )
    assert "application/json" == request.headers["content-type"]


def test_the_options_of_a_json_url_are_kept() -> None:
    with http_receiver(answer(200)) as receiver:
        http = RealHttp(receiver.address)
        url = f"json://user:{SECRET}@{receiver.address}/a/b?events=incident&+X-Token={SECRET}&-from=monitor"
        channel = open_channels([Settings(url=url)], http=http)["pager"]
        assert isinstance(channel, IncidentChannel)
        channel.send_event(event())
        http.close()
    (request,) = receiver.requests
    assert ("/a/b?from=monitor", SECRET) == (request.path, request.headers["x-token"])
    pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
    assert f"user:{SECRET}" == pair


def test_details_of_the_url_stay_and_those_of_one_event_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        KINDS, "pagerduty", replace(KINDS["pagerduty"], url=KINDS["pagerduty"].url + "?+team=emea")
    )
    with standing("pagerduty", monkeypatch) as there:
        there.channel.send_event(replace(event(), reconnect_url="https://own.example"))
        there.channel.send_event(event())
        first, second = (request.json()["payload"]["custom_details"] for request in there.receiver.requests)
    assert ("emea", "emea") == (first["team"], second["team"])
    assert "reconnect_url" in first
    assert "reconnect_url" not in second


def test_a_key_or_an_action_of_the_url_does_not_stand_above_the_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = "?dedup=mine&action=map&severity=error"
    monkeypatch.setitem(KINDS, "pagerduty", replace(KINDS["pagerduty"], url=KINDS["pagerduty"].url + options))
    with standing("pagerduty", monkeypatch) as there:
        there.channel.send_event(event(CRITICAL))
        there.channel.send_event(over())
    assert [("trigger", "critical"), ("resolve", None)] == there.service.story
    assert {"f00-12"} == there.service.keys


def test_a_status_of_the_url_does_not_stand_above_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        KINDS, "signl4", replace(KINDS["signl4"], url=KINDS["signl4"].url + "?status=resolved")
    )
    with standing("signl4", monkeypatch) as there:
        there.channel.send_event(event())
    assert ["f00-12"] == list(there.service.open)


SEVERITIES: dict[str, tuple[str, list[str]]] = {
    "firehydrant": ("level", ["FATAL", "WARN", "INFO"]),
    "ilert": ("priority", ["HIGH", "LOW", "LOW"]),
    "pagertree": ("urgency", ["critical", "medium", "low"]),
    "splunk": ("message_type", ["CRITICAL", "WARNING", "INFO"]),
    "squadcast": ("priority", ["P1", "P3", "P4"]),
}


@pytest.mark.parametrize("kind", SEVERITIES)
def test_a_service_knows_our_severities_by_its_own_words(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(kind, monkeypatch) as there:
        for severity in (CRITICAL, WARNING, NOTICE):
            there.channel.send_event(event(severity))
        name, theirs = SEVERITIES[kind]
        assert theirs == [request.json()[name] for request in there.receiver.requests]


@pytest.mark.parametrize("kind", ["incidentio", "goalert"])
def test_a_service_without_severities_reads_them_among_the_details(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing(kind, monkeypatch) as there:
        there.channel.send_event(event(CRITICAL))
        payload = there.receiver.requests[0].json()
    assert "critical" == payload["metadata" if kind == "incidentio" else "meta"]["severity"]


# The table, against the plugins


@pytest.mark.parametrize("service", PLUGINS)
def test_the_table_names_what_the_plugins_have(service: str) -> None:
    opened = open_service(KINDS[service].url.format(address="127.0.0.1:1"))
    assert opened
    row, known = PLUGINS[service], vars(opened[0])
    for name in (row.key, "action", row.severity, row.details, row.link, *row.fixed):
        assert name is None or name in known
    source = inspect.getsource(sys.modules[type(opened[0]).__module__])
    triggers = [row.trigger] if isinstance(row.trigger, str) else list(row.trigger.values())
    for action in (*triggers, row.resolve, row.acknowledge):
        assert action is None or f'"{action}"' in source


def test_every_scheme_and_address_of_a_service_is_known() -> None:
    everything = all_plugins()
    plugins = {SERVICES[schema]: everything[schema] for schema in SERVICES if schema in everything}
    assert {*SERVICES.values()} - plugins.keys() == {"alertmanager"}
    for service, plugin in plugins.items():
        own = {schema for schema, each in everything.items() if each is plugin}
        assert own <= SERVICES.keys()
        assert {SERVICES[schema] for schema in own} == {service}
        has_address = plugin.parse_native_url.__qualname__.startswith(plugin.__name__)
        assert has_address == (service in HOSTS.values())
    assert set(PLUGINS) == set(plugins) - {"opsgenie"}


HANDBOOK = (Path(__file__).parents[1] / "docs" / "alerting.md").read_text(encoding="utf-8")
NAMES = {
    "FireHydrant": "firehydrant", "GoAlert": "goalert", "ilert": "ilert", "incident.io": "incidentio",
    "PagerDuty": "pagerduty", "PagerTree": "pagertree", "SIGNL4": "signl4", "Splunk On-Call": "splunk",
    "Squadcast": "squadcast", "Opsgenie": "opsgenie", "Alertmanager": "alertmanager", "a program of yours": "json",
}  # fmt: skip


def test_the_handbook_has_every_service_with_its_words() -> None:
    table = HANDBOOK.partition("| service | channel URL |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = {cells[1]: cells for cells in ([cell.strip() for cell in line.split("|")] for line in table)}
    assert rows.keys() == NAMES.keys()
    for name, (_, _, url, _, severities, acknowledged, _) in rows.items():
        kind = NAMES[name]
        assert kind == incident_service(url.strip("`"))
        channel = open_channels([Settings(url=KINDS[kind].url.format(address="127.0.0.1"))])["pager"]
        assert isinstance(channel, IncidentChannel)
        assert acknowledged == ("yes" if channel.takes_acknowledgements else "no")
        row = PLUGINS.get(kind)
        words = row.severities if row and row.severity else row.trigger if row else {}
        if kind == "opsgenie":
            words = PRIORITIES
        if not isinstance(words, str) and words:
            shown = ", ".join(f"`{words[each]}`" for each in (CRITICAL, WARNING, NOTICE))
            assert shown == severities


def test_what_is_sent_again_does_not_overtake_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("alertmanager", monkeypatch) as there:
        ends = threading.Thread(target=there.channel.send_event, args=(over(),))

        def load() -> list[Event]:
            ends.start()
            assert [] == there.receiver.wait_for(1, timeout=0.3)  # the end has to wait for what was loaded
            return [event()]

        there.channel.refresh(load)
        ends.join(10)
    assert ["firing", "resolved"] == [what for what, _ in there.service.story]


# Answers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("given", "permanent"),
    [
        (answer(400, {"message": "no"}), False),
        (answer(401), True),
        (answer(404), True),
        (answer(500), False),
        (answer(503), False),
    ],
    ids=["400", "401", "404", "500", "503"],
)
def test_a_refusal_is_told_by_its_status(
    kind: str, given: Answer, permanent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing(kind, monkeypatch) as there:
        there.service.instead = given
        error = refusal(there)
    assert (f"{kind}: HTTP {given.status}", permanent, False) == (
        str(error),
        error.permanent,
        error.uncertain,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_busy_service_says_when_to_come_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(kind, monkeypatch) as there:
        there.service.instead = answer(429, {"message": "throttled"}, Retry_After="37")
        error = refusal(there)
    assert (f"{kind}: HTTP 429", timedelta(seconds=37), False) == (
        str(error),
        error.retry_after,
        error.permanent,
    )


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("pagerduty", answer(202, {"status": "invalid event", "message": "no", "errors": ["no"]})),
        ("pagerduty", answer(202, {"status": "throttle exceeded", "message": "later"})),
        ("opsgenie", answer(202, {"message": "Could not authenticate"})),
        ("opsgenie", answer(202, [])),
        ("opsgenie", answer(202)),
        ("alertmanager", answer(200, {"status": "error", "error": "no"})),
        ("splunk", answer(200, {"result": "failure", "message": "no"})),
        ("incidentio", answer(202, {"errors": [{"code": "no"}]})),
        ("ilert", answer(200, {"success": False})),
    ],
)
def test_a_yes_whose_body_says_no_is_a_no(kind: str, given: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(kind, monkeypatch) as there:
        there.service.instead = given
        error = refusal(there)
    assert f"{kind}: HTTP {given.status}, but the response says that it was not accepted" == str(error)
    assert not error.permanent


def test_an_event_whose_answer_said_no_is_sent_again_under_the_same_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with standing("pagerduty", monkeypatch) as there:
        there.service.instead = answer(202, {"status": "invalid event"})
        refusal(there)
        there.service.instead = None
        there.channel.send_event(event())
    assert {"f00-12": "warning"} == there.service.open


def test_an_acknowledgement_that_pagerduty_refuses_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("pagerduty", monkeypatch) as there:
        there.service.instead = answer(202, {"status": "invalid event"})
        assert "not accepted" in str(refusal(there, acknowledged()))
        there.service.instead = answer(429, Retry_After="5")
        assert timedelta(seconds=5) == refusal(there, acknowledged()).retry_after


@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_is_not_followed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as elsewhere, standing(kind, monkeypatch) as there:
        there.service.instead = answer(307, Location=f"http://{elsewhere.address}/")
        assert f"{kind}: HTTP 307, a redirect, which is not followed" == str(refusal(there))
        assert [] == elsewhere.requests


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_breaks_off_leaves_it_open_whether_it_arrived(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing(kind, monkeypatch) as there:
        there.service.instead = Answer(hang_up=True)
        assert refusal(there).uncertain


@pytest.mark.parametrize("kind", GUARDED)
def test_a_service_where_nothing_listens_was_surely_not_reached(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with standing(kind, monkeypatch) as there:
        http = RealHttp(there.receiver.address)
        url = KINDS[kind].url.format(address=there.receiver.address)
        channel = open_channels([Settings(url=url)], http=http)["pager"]
    assert isinstance(channel, IncidentChannel)
    with pytest.raises(DeliveryError) as caught:
        channel.send_event(event())
    http.close()
    assert (f"{kind}: the connection was refused", False) == (str(caught.value), caught.value.uncertain)


def test_an_event_that_half_arrived_is_sent_whole_again(monkeypatch: pytest.MonkeyPatch) -> None:
    escalated = event(CRITICAL, last_severity=WARNING)
    with standing("opsgenie", monkeypatch) as there:
        there.channel.send_event(event())
        taken: Callable[..., Answer] = there.service.take
        monkeypatch.setattr(
            there.service, "take", lambda request: answer(500) if request.method == "PUT" else taken(request)
        )
        assert "opsgenie: HTTP 500" == str(refusal(there, escalated))
        monkeypatch.undo()
        there.channel.send_event(escalated)
    assert {"f00-12": "P1"} == there.service.open


def test_an_answer_without_an_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("json", monkeypatch) as there:
        there.service.instead = Answer(body=b"x" * 200_000)
        assert refusal(there).uncertain


def test_text_is_refused_by_a_channel_that_takes_incidents(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing("pagerduty", monkeypatch) as there, pytest.raises(DeliveryError) as caught:
        there.channel.send(Message(title="t", body="b", severity=None, key="k"))
    assert caught.value.permanent
    assert [] == there.receiver.requests


def test_without_a_client_a_channel_can_be_described_and_not_sent_to() -> None:
    channel = open_channels([Settings(url="alertmanager://127.0.0.1")])["pager"]
    assert isinstance(channel, IncidentChannel)
    assert "alertmanager" == describe(channel)
    with pytest.raises(DeliveryError, match="nothing to send with"):
        channel.send_event(event())


# Secrets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "given", [answer(400, {"message": SECRET}), Answer(hang_up=True)], ids=["400", "broken"]
)
def test_nothing_of_the_url_is_ever_shown(
    kind: str,
    given: Answer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    with standing(kind, monkeypatch) as there:
        there.service.instead = given
        error = refusal(there)
        shown = f"{there.channel!r} {there.channel} {describe(there.channel)} {error!r}"
        shown += "".join(traceback.format_exception(error)) + caplog.text + "".join(capsys.readouterr())
    for secret in ("R" * 32, "apitoken", "opsgeniekey", "s3cretpassword", "webhook", "il1key", SECRET):
        assert secret not in shown.replace("webhookkey", "webhook")
    assert there.receiver.address not in shown


# URLs


@pytest.mark.parametrize(
    ("url", "api"),
    [
        ("alertmanager://host", "http://host:9093/api/v2/alerts"),
        ("alertmanagers://host", "https://host:9093/api/v2/alerts"),
        ("alertmanager://user:p%40ss@host:80/prefix/", "http://host:80/prefix/api/v2/alerts"),
        ("alertmanager://[::1]:9093/a/b", "http://[::1]:9093/a/b/api/v2/alerts"),
        ("alertmanagers://host?events=incident", "https://host:9093/api/v2/alerts"),
    ],
)
def test_an_alertmanager_is_found_by_its_url(url: str, api: str) -> None:
    assert api == parse_url(url).api
    assert "Basic dXNlcjpwQHNz" == parse_url("alertmanager://user:p%40ss@host").headers["Authorization"]


@pytest.mark.parametrize(
    "url",
    [
        "alertmanager://",
        f"alertmanager://host:{SECRET}",
        f"alertmanager://host?verify={SECRET}",
        f"alertmanager://host#{SECRET}",
        f"json://{SECRET}.example?events=incident&method=put",
        f"json://{SECRET}.example?events=incident&:title=t",
        f"jsons://{SECRET}.example?events=incident&verify=no",
        f"pagerduty://{SECRET}",
    ],
)
def test_a_url_that_asks_for_what_is_not_done_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^channel pager: ") as caught:
        check_url("pager", url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_url_is_accepted(kind: str) -> None:
    check_url("pager", KINDS[kind].url.format(address="127.0.0.1:8080"))


# A success that sent nothing


def plain(url: str) -> Channel:
    return open_channels([Settings(url=url)])["pager"]


def send(channel: Channel, key: str = "k1") -> None:
    channel.send(Message(title="t", body="b", severity=WARNING, key=key))


def test_a_plugin_that_sends_nothing_and_reports_success_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_url("any", "json://127.0.0.1")
    from apprise.plugins.custom_json import NotifyJSON

    def idle(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(NotifyJSON, "send", idle)
    with pytest.raises(DeliveryError) as caught:
        send(plain("json://127.0.0.1:1"))
    assert "json: Apprise reports success, but nothing was sent" == str(caught.value)
    assert not caught.value.permanent


def test_opsgenie_by_apprise_alone_would_have_failed_so() -> None:
    from monitor.channels.apprise_channel import AppriseChannel

    channel = AppriseChannel(
        name="ops",
        url="opsgenie://key?action=close&alias=a",
        allow_reconnect_links=False,
        timeout=timedelta(seconds=5),
    )
    with pytest.raises(DeliveryError, match="nothing was sent"):
        send(channel)


def test_what_goes_out_by_http_and_by_mail_is_counted() -> None:
    with http_receiver() as web, smtp_receiver() as post:
        send(plain(f"json://{web.address}"))
        host, port = post.address.split(":")
        send(plain(f"mailto://{host}:{port}?from=a@acme.example&to=b@acme.example"))
        assert (1, 1) == (len(web.requests), len(post.mails))


def test_counting_is_for_who_counts() -> None:
    import requests

    with http_receiver(answer(202, {"a": 1}, Retry_After="9")) as receiver, smtp_receiver() as post:
        host, port = post.address.split(":")

        def go_out() -> None:
            requests.get(f"http://{receiver.address}", timeout=5)
            with smtplib.SMTP(host, int(port)) as smtp:
                smtp.sendmail("a@acme.example", ["b@acme.example"], "text")

        with counting() as traffic:
            assert traffic.is_empty
            go_out()
        go_out()
    (found,) = traffic.answers
    assert (202, {"a": 1}, timedelta(seconds=9), 1) == (
        found.status,
        json.loads(found.body),
        found.retry_after,
        traffic.mails,
    )


def test_a_message_that_a_recipient_has_already_is_a_success_without_a_request() -> None:
    key = "0f8fad5b-d9cb-469f-a165-70867728950e"
    with http_receiver() as receiver:
        from monitor.channels.apprise_channel import AppriseChannel

        channel = AppriseChannel(
            name="ops",
            url=f"goalert://{receiver.address}/{key}",
            allow_reconnect_links=False,
            timeout=timedelta(seconds=20),
        )
        channel._accepted.start_message("k1")
        channel._accepted.mark_delivered(key)
        send(channel, "k1")
        assert [] == receiver.requests


def test_every_plugin_of_apprise_can_be_counted_or_says_why_not() -> None:
    uncounted = set()
    for schema, plugin in all_plugins().items():
        modules = {parent.__module__ for parent in plugin.__mro__ if parent.__module__ in sys.modules}
        own = {
            name for name in modules if name.startswith("apprise.plugins.") and name != "apprise.plugins.base"
        }
        # A package has its requests in another of its files.
        packages = {name.rsplit(".", 1)[0] for name in own} - {"apprise.plugins"}
        own |= {name for name in sys.modules if any(name.startswith(f"{each}.") for each in packages)}
        source = "".join(inspect.getsource(sys.modules[name]) for name in own)
        if not any(how in source for how in ("requests.", "smtplib.", ".mark_delivered(")):
            uncounted.add(schema)
    assert uncounted == UNCOUNTED.keys()
