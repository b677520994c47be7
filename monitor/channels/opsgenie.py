"""
Opsgenie, over its own API.

Apprise's plugin turns a notice into a note, which sends nothing if there is no alert, and closes an alert only
by a request id that it remembers in memory (Apprise 2.3, November 2026). What the plugin's URL says is read by
the plugin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from monitor.channels.http_call import Caller, HttpClient, json_object
from monitor.channels.incident_channel import IncidentChannel
from monitor.channels.services import open_service
from monitor.core.messages import events
from monitor.core.messages.events import Event
from monitor.core.model import Reason, Severity
from monitor.errors import DeliveryError

PRIORITIES: Mapping[Severity, str] = MappingProxyType(
    {Severity.CRITICAL: "P1", Severity.WARNING: "P3", Severity.NOTICE: "P4"}
)
# What its documentation allows (Alert API, 2026).
MESSAGE_LENGTH = 130
DESCRIPTION_LENGTH = 15000

SOURCE = "postpost-monitor"
# An open alert of the same alias is counted up, and only a higher priority is taken from a new request.
_CHANGES = frozenset({Reason.ESCALATED, Reason.UPDATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """What the URL of the channel says."""

    api: str
    caller: Caller
    fixed: Mapping[str, Any]
    details: Mapping[str, str]
    user: Mapping[str, str]


class OpsgenieChannel(IncidentChannel):
    """
    Alerts of Opsgenie, each known by its alias.

    Opsgenie answers a request before it carries it out, so this doesn't depend on an existing alert. Changes
    follow a request that creates the alert, in case somebody closed it.
    """

    takes_acknowledgements = True

    def __init__(
        self, *, name: str, service: str, url: str, allow_reconnect_links: bool, http: HttpClient | None
    ) -> None:
        super().__init__(name=name, service=service, allow_reconnect_links=allow_reconnect_links)
        self._url = url
        self._http = http

    def send_event(self, event: Event) -> None:
        if event.is_over:
            self._act("close", event)
        elif event.reason is Reason.ACKNOWLEDGED:
            self._act("acknowledge", event)
        else:
            self._create(event)

    def _create(self, event: Event) -> None:
        to = self._address
        message, description = events.title(event, MESSAGE_LENGTH), events.text(event)[:DESCRIPTION_LENGTH]
        priority = PRIORITIES[event.incident.severity]
        alert = {
            "message": message,
            "alias": event.key,
            "description": description,
            "details": {**to.details, **events.details(event)},
            "priority": priority,
            "source": SOURCE,
            **to.user,
            **to.fixed,
        }
        self._call("POST", to.api, alert)
        if event.reason not in _CHANGES:
            return
        for name, value in (("priority", priority), ("message", message), ("description", description)):
            self._call("PUT", self._alert(event, name), {name: value})

    def _act(self, action: str, event: Event) -> None:
        note = events.title(event)
        self._call("POST", self._alert(event, action), {"source": SOURCE, "note": note, **self._address.user})

    def _alert(self, event: Event, action: str) -> str:
        return f"{self._address.api}/{event.key}/{action}?identifierType=alias"

    def _call(self, method: str, url: str, document: Mapping[str, Any]) -> None:
        response = self._address.caller.call(method, url, document)
        if not json_object(response.body).get("requestId"):
            raise DeliveryError(
                f"{self.service}: HTTP {response.status}, but the response says that it was not accepted"
            )

    @cached_property
    def _address(self) -> _Address:
        opened = open_service(self._url)
        if opened is None:
            raise DeliveryError("Apprise can't use the channel's URL", permanent=True)
        from apprise.plugins.opsgenie import OPSGENIE_API_LOOKUP

        known = vars(opened[0])
        fixed = {
            "responders": known["targets"],
            "tags": list(known["_NotifyOpsgenie__tags"]),
            "entity": known["entity"],
        }
        return _Address(
            api=OPSGENIE_API_LOOKUP[known["region_name"]],
            caller=Caller(
                service=self.service,
                http=self._http,
                headers={"Authorization": f"GenieKey {known['apikey']}"},
            ),
            fixed={name: value for name, value in fixed.items() if value},
            details=known["details"],
            user={"user": opened[0].user} if opened[0].user else {},
        )
