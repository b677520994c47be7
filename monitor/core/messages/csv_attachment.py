"""The incidents of one message as a table for a spreadsheet, if there are too many to read."""

import csv
import io
from collections.abc import Iterable

from monitor.core.messages.message import Attachment
from monitor.core.messages.render import Item
from monitor.core.text import one_line

COLUMNS = (
    *("reason", "severity", "account", "managed_user_id", "managed_user", "platform", "platform_id"),
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
# A spreadsheet runs a cell that begins with one of these.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_attachment(items: Iterable[Item]) -> Attachment:
    """List items as CSV, worst first as they are given: UTF-8, a row each, no cell a formula."""
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for item in items:
        incident, seen, target = item.incident, item.connection, item.target
        times = (incident.deadline_at, incident.opened_at, incident.resolved_at)
        row = (
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
            *(moment.isoformat() if moment else None for moment in times),
            incident.id,
        )
        table.writerow([escape_cell(cell) for cell in row])
    return Attachment(name="incidents.csv", content=written.getvalue().encode("utf-8-sig"), mime="text/csv")


def escape_cell(value: object) -> str:
    """Write a cell that no spreadsheet runs: an apostrophe makes a formula plain text."""
    text = "" if value is None else one_line(str(value), 1000)
    return f"'{text}" if text.startswith(_FORMULA) else text
