"""What Apprise says while it works: heard by the one who asked, and by nobody else."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that Apprise logged."""

    level: int
    text: str


_lines: ContextVar[list[LogLine] | None] = ContextVar("apprise_lines", default=None)


@contextmanager
def capture_log() -> Iterator[list[LogLine]]:
    """Gather what Apprise logs in this thread; the list fills while the block runs."""
    suppress_log()  # whoever set up the log anew since has set other levels
    lines: list[LogLine] = []
    token = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(token)


def suppress_log() -> None:
    """
    Keep what Apprise and urllib3 log away from every handler, whatever its level.

    Apprise writes payloads and half-masked URLs at DEBUG, and whole ones where it can't parse them; urllib3
    writes paths, where webhooks have their secret, at DEBUG and in a WARNING about malformed headers. The
    reason of a failure is found nowhere but in Apprise's DEBUG lines, so they are gathered before they end.
    """
    apprise = logging.getLogger("apprise")
    apprise.setLevel(logging.DEBUG)
    apprise.addFilter(_capture_record)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _capture_record(record: logging.LogRecord) -> bool:
    lines = _lines.get()
    if lines is not None:
        lines.append(LogLine(level=record.levelno, text=record.getMessage()))
    return False
