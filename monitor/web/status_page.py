"""The status page: open incidents, then coming expiries, then everything."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import nsmallest
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from monitor import __version__
from monitor.core.messages.phrases import format_duration, platform_name
from monitor.core.model import DeliveryState, Severity
from monitor.core.text import format_time, one_line
from monitor.storage import pages, queries, stats, views
from monitor.storage.store import Store
from monitor.web.readiness import count_overdue

PROBLEMS = 100
EXPIRING = 20
ACCOUNTS = 200
CONNECTIONS = 300

_STYLE = files("monitor.web").joinpath("status.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The policy allows no scripts and no loading. It allows the one style sheet of the page by its hash.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    name: str
    targets: int
    overdue: int
    last_ok_at: datetime | None
    counts: Mapping[str, int]


def render_page(store: Store, now: datetime, *, every: Mapping[str, timedelta]) -> str:
    """
    Render the status page.

    Args:
        every: how often the targets of each account are polled.
    """
    found = stats.collect(store, now)
    rows = queries.rows(store, views.INCIDENTS, queries.is_open(), order_by=queries.AS_THEY_OPENED)
    problems = nsmallest(PROBLEMS, rows, key=lambda row: (-Severity(row["severity"]).rank, row["id"]))
    total = sum(found.connections.values())
    listed = views.CONNECTIONS.c.removed_at.is_(None)
    order = ("account", "managed_user", "platform", "platform_id")
    connections = pages.first_page(store, views.CONNECTIONS, listed, by=order, limit=CONNECTIONS)
    waiting = found.notifications.get(DeliveryState.PENDING, 0) + found.notifications.get(
        DeliveryState.SENDING, 0
    )
    text: str = _TEMPLATE.render(
        now=now,
        problems=problems,
        problems_total=sum(found.incidents.values()),
        expiring=stats.expiries(store, limit=EXPIRING, after=now),
        accounts=_accounts(found, count_overdue(found.due_at, every, now))[:ACCOUNTS],
        accounts_total=len(found.targets),
        connections=connections,
        connections_total=total,
        last_at=max(found.last_polled_at.values(), default=None),
        waiting=waiting,
        dead=found.notifications.get(DeliveryState.FAILED, 0),
        unsent_at=found.oldest_pending_at,
    )
    return text


def _accounts(found: stats.Stats, overdue: Mapping[str, int]) -> list[_Account]:
    counts: dict[str, Counter[str]] = {}
    for (account, _, status), count in found.connections.items():
        counts.setdefault(account, Counter())[status] += count
    return [
        _Account(
            name=name,
            targets=targets,
            overdue=overdue.get(name, 0),
            last_ok_at=found.last_ok_at.get(name),
            counts=counts.get(name, Counter()),
        )
        for name, targets in sorted(found.targets.items())
    ]


def _until(moment: datetime, now: datetime) -> str:
    return f"in {format_duration(moment - now)}" if moment > now else f"{format_duration(now - moment)} ago"


def _finalized(value: object) -> object:
    """Make text from outside safe on one line of the page."""
    if isinstance(value, Markup | int):
        return value
    return "" if value is None else one_line(str(value))


_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized
)
_ENVIRONMENT.filters |= {"until": _until, "at": format_time, "platform": platform_name}
_ENVIRONMENT.globals |= {"style": Markup(_STYLE), "version": __version__}  # noqa: S704 - our own file
_TEMPLATE = _ENVIRONMENT.from_string(files("monitor.web").joinpath("status.html").read_text("utf-8"))
