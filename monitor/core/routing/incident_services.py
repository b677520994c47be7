"""Recognize incident services by URL, without loading Apprise."""

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

EVENTS = "events"
INCIDENT = "incident"

# By the scheme of the channel's URL.
SERVICES: Mapping[str, str] = MappingProxyType(
    {
        "alertmanager": "alertmanager",
        "alertmanagers": "alertmanager",
        "firehydrant": "firehydrant",
        "goalert": "goalert",
        "goalerts": "goalert",
        "ilert": "ilert",
        "incidentio": "incidentio",
        "opsgenie": "opsgenie",
        "pagerduty": "pagerduty",
        "pagertree": "pagertree",
        "signl4": "signl4",
        "splunk": "splunk",
        "squadcast": "squadcast",
        "victorops": "splunk",
    }
)
# These take text, and events only with ``?events=incident``.
ON_REQUEST: Mapping[str, str] = MappingProxyType({"json": "json", "jsons": "json"})
# Apprise also accepts the web addresses that the services hand out.
HOSTS: Mapping[str, str] = MappingProxyType(
    {
        "alert.victorops.com": "splunk",
        "api.eu.squadcast.com": "squadcast",
        "api.incident.io": "incidentio",
        "api.squadcast.com": "squadcast",
        "signals.firehydrant.com": "firehydrant",
    }
)


def incident_service(url: str) -> str | None:
    """Return the incident service of a channel's URL; None if the channel takes text."""
    url = url.strip()
    scheme = url.partition("://")[0].lower()
    if scheme in {"http", "https"}:
        try:
            return HOSTS.get(urlsplit(url).hostname or "")
        except ValueError:
            return None
    if scheme in ON_REQUEST and events_wanted(url) == INCIDENT:
        return ON_REQUEST[scheme]
    return SERVICES.get(scheme)


def events_wanted(url: str) -> str | None:
    """Return the ``events=`` value of a channel's URL; None if it has none."""
    query = url.partition("?")[2]
    return next(iter(parse_qs(query, keep_blank_values=True).get(EVENTS, ())), None)
