"""The state of every connection, for people."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, TypeAlias

from monitor.cli.live_table import MAX_ROWS, LiveTable
from monitor.cli.tables import STYLES, Cell, print_line, print_table, styled
from monitor.core.messages.phrases import format_duration, platform_name
from monitor.core.model import Severity
from monitor.core.text import format_time, one_line

if TYPE_CHECKING:
    from monitor.storage.store import Store

Row: TypeAlias = Mapping[Any, Any]
# The key of a connection in every view: account, managed user id, platform id.
Key: TypeAlias = tuple[str, str | None, str | None]

_HEADERS = (
    "account",
    "managed user",
    "platform",
    "name",
    "token",
    "expires",
    "last post",
    "last error",
    "incident",
)
# The statuses that need no action. Any other does, also an unknown one.
_AT_EASE = {"valid", "unknown"}


def key_of(row: Row) -> Key:
    """Return the key of the connection in a row of a view."""
    return row["account"], row["managed_user_id"], row["platform_id"]


def open_incidents(store: "Store") -> dict[Key, list[Row]]:
    """Load the open incidents, the worst of each connection first."""
    from monitor.storage import queries, views

    found: dict[Key, list[Row]] = {}
    rows = queries.rows(store, views.INCIDENTS, queries.is_open(), order_by=queries.AS_THEY_OPENED)
    for row in rows:
        found.setdefault(key_of(row), []).append(row)
    for each in found.values():
        each.sort(key=lambda row: -Severity(row["severity"]).rank)
    return found


def known_connections(
    store: "Store",
    incidents: Mapping[Key, list[Row]],
    *,
    account: str | None = None,
    platform: str | None = None,
    problems: bool = False,
    shared: bool = False,
) -> Iterator[Row]:
    """
    Yield all connections, including removed ones.

    Args:
        problems: only those with an open incident, or with a status other than valid and unknown.
        shared: only those whose profile is connected more than once, grouped.
    """
    from monitor.storage import queries, views

    wanted = queries.equals(views.CONNECTIONS, account=account, platform=platform)
    order = queries.SIDE_BY_SIDE if shared else ()
    wanted += [queries.is_shared()] if shared else []
    for row in queries.rows(store, views.CONNECTIONS, *wanted, order_by=order):
        if not problems or row["token_status"] not in _AT_EASE or key_of(row) in incidents:
            yield row


def print_connections(rows: Iterable[Row], incidents: Mapping[Key, list[Row]], now: datetime) -> None:
    """Print the listed connections as a table."""
    shown = [row for row in rows if row["removed_at"] is None]
    if shown:
        print_table(_HEADERS, (_cells(row, incidents.get(key_of(row), []), now) for row in shown))
    else:
        print_line("No connections.")


def print_sources(incidents: Mapping[Key, list[Row]], now: datetime, *, account: str | None = None) -> None:
    """Print the problems of accounts, one line each."""
    for line in _sources(incidents, now, account=account):
        print_line(line)


def live_table(
    store: "Store", now: datetime, *, account: str | None, platform: str | None, problems: bool, shared: bool
) -> LiveTable:
    """Load what ``status --watch`` shows, the worst connections first."""
    incidents = open_incidents(store)
    rows = known_connections(
        store, incidents, account=account, platform=platform, problems=problems, shared=shared
    )
    listed = [row for row in rows if row["removed_at"] is None]
    worst = nsmallest(MAX_ROWS, listed, key=lambda row: _sort_key(row, incidents.get(key_of(row), []), now))
    return LiveTable(
        headers=_HEADERS,
        rows=[_cells(row, incidents.get(key_of(row), []), now) for row in worst],
        total=len(listed),
        problems=sum(1 for row in listed if key_of(row) in incidents or row["token_status"] not in _AT_EASE),
        accounts=list(_sources(incidents, now, account=account)),
        read_at=now,
    )


def _sort_key(row: Row, incidents: list[Row], now: datetime) -> tuple[int, int, float]:
    """Order connections by incident, then status, then time left."""
    rank = Severity(incidents[0]["severity"]).rank if incidents else -1
    word = {"expired": 2, "expiring_soon": 1}.get(row["token_status"], 0)
    left = (row["expires_at"] - now).total_seconds() if row["expires_at"] else float("inf")
    return -rank, -word, left


def _sources(
    incidents: Mapping[Key, list[Row]], now: datetime, *, account: str | None = None
) -> Iterator[str]:
    for (name, _, platform_id), rows in incidents.items():
        if platform_id is None and account in {None, name}:
            for row in rows:
                since = format_duration(now - row["opened_at"])
                yield f"{row['severity'].upper()}: {one_line(who(row))}: {row['summary']} (for {since})"


def who(row: Row) -> str:
    """Return what a row of a view is about: a connection, else an account, else the monitor itself."""
    account = row["account"] or "the monitor"
    if user := row["managed_user"] or row["managed_user_id"]:
        account += f", user {user}"
    if row["platform_id"] is None:
        return account
    return f"{platform_name(row['platform'])} {row['name']} ({account})"


def _cells(row: Row, incidents: list[Row], now: datetime) -> list[Cell]:
    name, handle = row["name"], row["username"]
    worst = incidents[0] if incidents else None
    return [
        row["account"],
        row["managed_user"] or row["managed_user_id"] or "",
        platform_name(row["platform"]),
        f"{name} ({handle})" if handle and name != handle else name,
        styled(row["token_status"]),
        _expiry(row["expires_at"], row["token_status"], now),
        format_time(row["last_successful_post_at"]) if row["last_successful_post_at"] else "",
        row["last_error"] or "",
        (f"{worst['severity']} {worst['rule']}", STYLES[worst["severity"]]) if worst else "",
    ]


def _expiry(moment: datetime | None, status: str, now: datetime) -> Cell:
    if moment is None:
        return ""
    left = moment - now
    if left.total_seconds() > 0:
        return f"in {format_duration(left)} ({format_time(moment)})"
    # A passed date means nothing while the API calls the token valid.
    return f"{format_duration(-left)} ago ({format_time(moment)})", "" if status == "valid" else STYLES[
        "expired"
    ]
