"""Alertmanager, over its API v2."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from monitor.channels.http_call import Caller, HttpClient, json_object
from monitor.channels.incident_channel import IncidentChannel
from monitor.core.messages import events
from monitor.core.messages.events import Event, wire_time
from monitor.core.model import Severity
from monitor.errors import ConfigError, DeliveryError

PORT = 9093
# Alertmanager resolves what it isn't sent again by then; every minute it is.
LIFETIME = timedelta(minutes=5)
AT_ONCE = 200

SEVERITIES: Mapping[Severity, str] = MappingProxyType(
    {Severity.CRITICAL: "critical", Severity.WARNING: "warning", Severity.NOTICE: "info"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """
    What a channel's URL says.

    Args:
        api: where alerts are posted to.
        headers: they hold the password.
    """

    api: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Address(***)"


def parse_url(url: str) -> Address:
    """
    Read ``alertmanager://[user:password@]host[:9093][/prefix]``; ``alertmanagers://`` is over TLS.

    Raises:
        ConfigError: it is written in another way. The text shows nothing of it.
    """
    try:
        parts = urlsplit(url.strip())
        port = PORT if parts.port is None else parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or not port or parts.fragment or parts.query not in {"", "events=incident"}:
        raise ConfigError(
            "want alertmanager://[user:password@]host[:9093][/prefix], or alertmanagers:// for TLS, and no options"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    scheme = "https" if parts.scheme.lower() == "alertmanagers" else "http"
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    prefix = parts.path.rstrip("/")
    return Address(api=f"{scheme}://{host}:{port}{prefix}/api/v2/alerts", headers=headers)


class AlertmanagerChannel(IncidentChannel):
    """
    Alerts of Alertmanager, each known by its labels.

    The severity is one of the labels, since that is what its routes match by. To Alertmanager another severity is
    another alert: the one before ends in the same request. The label ``incident`` is the same for all of them.
    """

    is_forgetful = True

    def __init__(
        self, *, name: str, service: str, url: str, allow_reconnect_links: bool, http: HttpClient | None
    ) -> None:
        super().__init__(name=name, service=service, allow_reconnect_links=allow_reconnect_links)
        self._url = url
        self._http = http
        # What is sent again must not overtake the end of an incident.
        self._turn = Lock()

    def send_event(self, event: Event) -> None:
        with self._turn:
            self._post([*_ended(event), _alert(event)])

    def refresh(self, load: Callable[[], Sequence[Event]]) -> int:
        with self._turn:
            alerts = [_alert(event) for event in load()]
            for start in range(0, len(alerts), AT_ONCE):
                self._post(alerts[start : start + AT_ONCE])
        return len(alerts)

    def _post(self, alerts: Sequence[Mapping[str, Any]]) -> None:
        caller = Caller(service=self.service, http=self._http, headers=self._address.headers)
        response = caller.call("POST", self._address.api, alerts)
        if json_object(response.body).get("status") == "error":
            raise DeliveryError(
                f"{self.service}: HTTP {response.status}, but the response says that it was not accepted"
            )

    @cached_property
    def _address(self) -> Address:
        try:
            return parse_url(self._url)
        except ConfigError as error:
            raise DeliveryError(str(error), permanent=True) from None


def _ended(event: Event) -> Iterator[Mapping[str, Any]]:
    """Return the end of the alert with the previous severity, if it differs."""
    if event.last_severity and event.last_severity is not event.incident.severity:
        before = replace(event.incident, severity=event.last_severity)
        yield _alert(replace(event, incident=before), is_over=True)


def _alert(event: Event, *, is_over: bool = False) -> Mapping[str, Any]:
    is_over = is_over or event.is_over
    return {
        "labels": _labels(event),
        "annotations": _annotations(event),
        # It must not begin after its end, should the clock have been set back.
        "startsAt": wire_time(min(event.incident.opened_at, event.at)),
        "endsAt": wire_time(event.at if is_over else event.at + LIFETIME),
    }


def _labels(event: Event) -> Mapping[str, str]:
    """Return the labels that stay the same while the incident is open: ids, not names that people change."""
    return {
        "alertname": event.incident.rule.value,
        "severity": SEVERITIES[event.incident.severity],
        "incident": event.key,
        **events.identity(event),
    }


def _annotations(event: Event) -> Mapping[str, str]:
    labels = _labels(event)
    known = {name: value for name, value in events.details(event).items() if name not in labels}
    return {"summary": events.title(event), "description": events.text(event), **known}
