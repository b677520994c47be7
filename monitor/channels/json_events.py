"""Events as JSON documents, for your own programs: ``json://host/path?events=incident``."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from monitor.channels.apprise_channel import KEY_HEADER
from monitor.channels.http_call import Caller, HttpClient
from monitor.channels.incident_channel import IncidentChannel
from monitor.channels.services import open_service
from monitor.core.messages import events
from monitor.core.messages.events import Event
from monitor.errors import ConfigError, DeliveryError


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The parts of a channel's URL. Both may contain secrets."""

    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Address(***)"


def parse_url(url: str) -> Address:
    """
    Read the URL as Apprise does: ``+NAME=`` is a header, ``-NAME=`` a parameter of the address, user and
    password sign in.

    Raises:
        ConfigError: the URL is wrong, or asks for something unsupported. The text shows nothing of it.
    """
    opened = open_service(url)
    if opened is None:
        raise ConfigError(
            "want json://[user:password@]host[:port][/path]?events=incident, or jsons:// for TLS"
        )
    known: Mapping[str, Any] = vars(opened[0])
    if known["method"] != "POST" or known["payload_extras"]:
        raise ConfigError(
            "the event is posted as docs/events.schema.json has it; leave method= and :NAME= out"
        )
    if not opened[0].verify_certificate:
        raise ConfigError(
            "certificates are always verified; leave verify= out, and name your own CA in REQUESTS_CA_BUNDLE"
        )
    headers = dict(known["headers"])
    if opened[0].user:
        pair = f"{opened[0].user}:{opened[0].password or ''}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    scheme = "https" if opened[0].secure else "http"
    port = f":{opened[0].port}" if opened[0].port else ""
    query = f"?{urlencode(known['params'])}" if known["params"] else ""
    return Address(url=f"{scheme}://{opened[0].host}{port}{known['fullpath'] or '/'}{query}", headers=headers)


class JsonChannel(IncidentChannel):
    """A program that takes events as JSON documents. Any 2xx answer is a success."""

    takes_acknowledgements = True

    def __init__(
        self, *, name: str, service: str, url: str, allow_reconnect_links: bool, http: HttpClient | None
    ) -> None:
        super().__init__(name=name, service=service, allow_reconnect_links=allow_reconnect_links)
        self._url = url
        self._http = http

    def send_event(self, event: Event) -> None:
        caller = Caller(service=self.service, http=self._http, headers=self._address.headers)
        document = events.document(event)
        caller.call("POST", self._address.url, document, {KEY_HEADER: event.message_key})

    @cached_property
    def _address(self) -> Address:
        try:
            return parse_url(self._url)
        except ConfigError as error:
            raise DeliveryError(str(error), permanent=True) from None
