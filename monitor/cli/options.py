"""Options that several commands take."""

from contextlib import suppress
from datetime import UTC, datetime

import click

from monitor.clock import utc_now
from monitor.core.text import format_time

account_option = click.option("--account", metavar="NAME", help="Only this account.")
as_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print an array of objects with times in ISO 8601, or [] if there is no history yet.",
)
author_option = click.option("--author", required=True, metavar="WHO", help="Your name.")
comment_option = click.option(
    "--comment", required=True, metavar="WHY", help="The reason. Kept in the history."
)


class Moment(click.ParamType[datetime]):
    """
    A time in ISO 8601, or a duration from now.

    Args:
        is_future: the duration is added to now, and the time must be still to come; else it is subtracted.
    """

    name = "when"

    def __init__(self, *, is_future: bool) -> None:
        self._is_future = is_future

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse the value."""
        from monitor.config.values import parse_duration

        if isinstance(value, datetime):
            return value
        now = utc_now()
        with suppress(ValueError, OverflowError):
            duration = parse_duration(value)
            return now + duration if self._is_future else now - duration
        try:
            moment = datetime.fromisoformat(value)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            example = "2h" if self._is_future else "30d"
            self.fail(
                f"found {value[:40]!r}, want a duration such as {example} or a time such as 2026-02-22T20:00Z"
            )
        if self._is_future and moment <= now:
            self.fail(f"{format_time(moment)} is in the past; want a future time")
        return moment


since_option = click.option(
    "--since", type=Moment(is_future=False), metavar="WHEN", help="A time, or a duration such as 30d."
)
