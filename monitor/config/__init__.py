"""
The configuration: read once, checked whole, never changed afterwards.

``document``
    A YAML file as a plain tree, ``${NAME}`` replaced.
``values``, ``places``, ``secret``
    What single values may be: durations and names, addresses, secrets and where they come from.
``routes``, ``rules``, ``upkeep``, ``web``, ``workspaces``, ``model``
    The tree itself.
``complaints``, ``load``
    One line for whatever is wrong; the way from a file or the bare environment to a ``Config``.
"""

from monitor.config.load import find_config, load_config, parse_config
from monitor.config.maintenance import ConnectionTests, Profile
from monitor.config.model import Account, Channel, Config, Database, Heartbeat, Log, Polling, Retention
from monitor.config.routes import Digest, Match, QuietHours, Route, Template
from monitor.config.rules import (
    AccessDenied,
    ApiKeyRejected,
    ApiUnreachable,
    BadAnswer,
    ConnectionRemoved,
    ConnectionTestFailed,
    PublishError,
    RenewalOverdue,
    Rule,
    TokenExpiry,
)
from monitor.config.values import format_duration, parse_duration
from monitor.config.web import Web

__all__ = [
    "AccessDenied",
    "Account",
    "ApiKeyRejected",
    "ApiUnreachable",
    "BadAnswer",
    "Channel",
    "Config",
    "ConnectionRemoved",
    "ConnectionTestFailed",
    "ConnectionTests",
    "Database",
    "Digest",
    "Heartbeat",
    "Log",
    "Match",
    "Polling",
    "Profile",
    "PublishError",
    "QuietHours",
    "RenewalOverdue",
    "Retention",
    "Route",
    "Rule",
    "Template",
    "TokenExpiry",
    "Web",
    "find_config",
    "format_duration",
    "load_config",
    "parse_config",
    "parse_duration",
]
