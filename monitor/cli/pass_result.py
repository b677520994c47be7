"""The result of one pass, and how its failures are printed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from monitor.cli.tables import print_line
from monitor.core.text import one_line

if TYPE_CHECKING:
    from monitor.storage.recording import PollRecord


@dataclass(slots=True, kw_only=True)
class PassResult:
    """
    The result of one pass.

    Args:
        recorded: the polls that were recorded.
        failures: why a target couldn't be polled, a line each.
        delivered, undelivered: messages.
    """

    recorded: "list[PollRecord]" = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    delivered: int = 0
    undelivered: int = 0


def print_failures(done: PassResult) -> None:
    """Print why targets couldn't be polled."""
    for failure in done.failures:
        print_line(f"not polled: {one_line(failure, 500)}")
