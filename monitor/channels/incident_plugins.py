"""Incident services whose Apprise plugins have a key: one table of what to set on the plugin for each event."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from monitor.channels.apprise_channel import AppriseChannel
from monitor.channels.http_call import Caller, HttpClient, json_object
from monitor.channels.incident_channel import IncidentChannel
from monitor.channels.services import open_service
from monitor.core.messages import events
from monitor.core.messages.events import Event
from monitor.core.messages.message import Message
from monitor.core.model import Reason, Severity
from monitor.errors import DeliveryError

if TYPE_CHECKING:
    from apprise import NotifyBase

# PagerDuty takes 1,024 characters as the summary of an alert.
SUMMARY_LENGTH = 1000


def _by_severity(critical: str, warning: str, notice: str) -> Mapping[Severity, str]:
    return MappingProxyType({Severity.CRITICAL: critical, Severity.WARNING: warning, Severity.NOTICE: notice})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """
    How to pass an event to one of Apprise's plugins. Names are those of its attributes.

    Args:
        key: the attribute for the key.
        trigger: the action that opens an incident, or updates the one of the same key; by severity if it says
            that.
        resolve: the action that ends it. Every plugin of this table has one.
        acknowledge: the action that acknowledges it; None if the plugin has none.
        severity: the attribute for the severity; None if the service has none and reads it in the details.
        severities: the service's names of severities.
        details: the attribute for a mapping of details; None if there is none and the text has them.
        link: the attribute for the address that people open; None if there is none.
        fixed: attributes with a fixed value, whatever the URL says.
        answers: a field of a successful answer, and its value.
        is_one_line: whether the body is the title of the incident, and the details are all there is beside it.
    """

    key: str
    trigger: str | Mapping[Severity, str]
    resolve: str
    acknowledge: str | None = None
    severity: str | None = None
    severities: Mapping[Severity, str] = field(default_factory=dict)
    details: str | None = None
    link: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    answers: tuple[str, str] | None = None
    is_one_line: bool = False

    def values(self, event: Event) -> dict[str, Any]:
        """Return the attributes of the plugin for an event, except the details."""
        values = {self.key: event.key, "action": self._action(event), **self.fixed}
        if self.severity:
            values[self.severity] = self.severities[event.incident.severity]
        if self.link and event.dashboard_url:
            values[self.link] = event.dashboard_url
        return values

    def refuses(self, body: bytes) -> bool:
        """Return whether a successful answer reports an error."""
        answer = json_object(body)
        if answer.get("error") or answer.get("errors") or answer.get("success") is False:
            return True
        return bool(self.answers and answer.get(self.answers[0], self.answers[1]) != self.answers[1])

    def _action(self, event: Event) -> str:
        if event.is_over:
            return self.resolve
        if event.reason is Reason.ACKNOWLEDGED and self.acknowledge:
            return self.acknowledge
        return self.trigger if isinstance(self.trigger, str) else self.trigger[event.incident.severity]


# Read in the plugins of Apprise 2.2 and 2.3, November 2026.
PLUGINS: Mapping[str, Plugin] = MappingProxyType(
    {
        "firehydrant": Plugin(
            key="dedup",
            trigger="trigger",
            resolve="resolve",
            severity="level",
            severities=_by_severity("fatal", "warn", "info"),
            details="annotations",
            link="click",
        ),
        "goalert": Plugin(key="dedup", trigger="trigger", resolve="close", details="meta"),
        "ilert": Plugin(
            key="dedup",
            trigger="trigger",
            resolve="resolve",
            acknowledge="acknowledge",
            severity="priority",
            severities=_by_severity("high", "low", "low"),
            details="labels",
            link="click",
        ),
        "incidentio": Plugin(
            key="dedup", trigger="trigger", resolve="resolve", details="metadata", link="click"
        ),
        "pagerduty": Plugin(
            key="dedup",
            trigger="trigger",
            resolve="resolve",  # to acknowledge, the service can; the plugin can't: see ``PagerDutyChannel``
            severity="severity",
            severities=_by_severity("critical", "warning", "info"),
            details="details",
            link="click",
            fixed=MappingProxyType({"include_image": False}),
            answers=("status", "success"),
            is_one_line=True,
        ),
        "pagertree": Plugin(
            key="thirdparty",
            trigger="create",
            resolve="resolve",
            acknowledge="acknowledge",
            severity="urgency",
            severities=_by_severity("critical", "medium", "low"),
            details="meta_extras",
        ),
        "signl4": Plugin(
            key="external_id",
            trigger="trigger",
            resolve="resolve",
            acknowledge="acknowledge",
            fixed=MappingProxyType({"status": None}),  # one of the URL would stand above the action
        ),
        "splunk": Plugin(
            key="entity_id",
            trigger=_by_severity("critical", "warning", "info"),
            resolve="recovery",
            acknowledge="acknowledgement",
            answers=("result", "success"),
        ),
        "squadcast": Plugin(
            key="dedup",
            trigger="trigger",
            resolve="resolve",
            severity="priority",
            severities=_by_severity("P1", "P3", "P4"),
            details="tags_map",
        ),
    }
)


class PluginChannel(IncidentChannel):
    """A service that is reached through its Apprise plugin, which is set up for each event."""

    def __init__(
        self, *, name: str, service: str, url: str, allow_reconnect_links: bool, timeout: timedelta
    ) -> None:
        super().__init__(name=name, service=service, allow_reconnect_links=allow_reconnect_links)
        self._plugin = PLUGINS[service]
        self.takes_acknowledgements = self._plugin.acknowledge is not None
        self._given: dict[str, str] | None = None
        self._channel = AppriseChannel(
            name=name,
            url=url,
            allow_reconnect_links=allow_reconnect_links,
            timeout=timeout,
            refuses=self._plugin.refuses,
        )

    def send_event(self, event: Event) -> None:
        title = events.title(event, SUMMARY_LENGTH) if self._plugin.is_one_line else events.title(event)
        message = Message(
            title="" if self._plugin.is_one_line else title,
            body=title if self._plugin.is_one_line else events.text(event),
            severity=None if event.is_over else event.incident.severity,
            key=event.message_key,
            links=tuple(filter(None, (event.dashboard_url, event.reconnect_url))),
            url=event.dashboard_url,
        )
        self._channel.send(message, prepare=lambda service: self._set_up(service, event))

    def _set_up(self, service: "NotifyBase", event: Event) -> None:
        values = self._plugin.values(event)
        if name := self._plugin.details:
            if self._given is None:
                self._given = dict(vars(service)[name])  # what the URL says stays
            values[name] = {**self._given, **events.details(event)}
        vars(service).update(values)


class PagerDutyChannel(PluginChannel):
    """PagerDuty: through Apprise, but for what its plugin doesn't know."""

    def __init__(
        self,
        *,
        name: str,
        service: str,
        url: str,
        allow_reconnect_links: bool,
        timeout: timedelta,
        http: HttpClient | None,
    ) -> None:
        super().__init__(
            name=name, service=service, url=url, allow_reconnect_links=allow_reconnect_links, timeout=timeout
        )
        self.takes_acknowledgements = True
        self._url = url
        self._caller = Caller(service=service, http=http, headers={})

    def send_event(self, event: Event) -> None:
        if event.reason is Reason.ACKNOWLEDGED:
            self._acknowledge(event)
        else:
            super().send_event(event)

    def _acknowledge(self, event: Event) -> None:
        opened = open_service(self._url)
        if opened is None:
            raise DeliveryError("Apprise can't use the channel's URL", permanent=True)
        from apprise.plugins.pagerduty import PAGERDUTY_API_LOOKUP

        known = vars(opened[0])
        document = {
            "routing_key": known["integration_key"],
            "event_action": "acknowledge",
            "dedup_key": event.key,
        }
        response = self._caller.call("POST", PAGERDUTY_API_LOOKUP[known["region_name"]], document)
        if self._plugin.refuses(response.body):
            raise DeliveryError(
                f"{self.service}: HTTP {response.status}, but the response says that it was not accepted"
            )
