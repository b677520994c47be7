"""All that one message tells of as a table that a spreadsheet opens: for when there are too many to read."""

import csv
import io
from collections.abc import Iterable

from monitor.core.messages.message import Attachment
from monitor.core.messages.render import Item
from monitor.core.text import one_line

COLUMNS = (
    *("news", "severity", "account", "managed_user_id", "managed_user", "platform", "platform_id"),
    *(
        "name",
        "username",
        "display_name",
        "rule",
        "summary",
        "deadline_at",
        "opened_at",
        "resolved_at",
        "incident_id",
    ),
)
# What a spreadsheet would take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_attachment(items: Iterable[Item]) -> Attachment:
    """List items as CSV, worst first as they are given: UTF-8, a row each, no cell a formula."""
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for item in items:
        table.writerow([escape_cell(cell) for cell in _row(item)])
    return Attachment(name="incidents.csv", content=written.getvalue().encode("utf-8-sig"), mime="text/csv")


def escape_cell(value: object) -> str:
    """Write a cell that no spreadsheet runs: a formula is only text behind an apostrophe."""
    text = "" if value is None else one_line(str(value), 1000)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(item: Item) -> tuple[object, ...]:
    incident, seen, target = item.incident, item.connection, item.target
    return (
        item.reason,
        incident.severity,
        incident.subject.account,
        target.managed_user_id if target else None,
        target.managed_user if target else None,
        seen.platform if seen else None,
        seen.platform_id if seen else None,
        seen.name if seen else None,
        seen.username if seen else None,
        seen.display_name if seen else None,
        incident.rule,
        incident.summary,
        *(at.isoformat() if at else None for at in (incident.deadline_at, incident.opened_at)),
        incident.resolved_at.isoformat() if incident.resolved_at else None,
        incident.id,
    )
