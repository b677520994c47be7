"""Capture what Apprise logs, and keep it from all other handlers."""

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
    """Collect what Apprise logs in this thread. The list fills while the block runs."""
    suppress_log()  # a later log configuration may have changed the levels
    lines: list[LogLine] = []
    token = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(token)


def suppress_log() -> None:
    """
    Keep what Apprise and urllib3 log away from every handler, at every level.

    Apprise logs payloads and partly masked URLs at DEBUG, and whole URLs if it can't parse them. urllib3 logs
    paths, which contain the secrets of webhooks, at DEBUG and in a WARNING about malformed headers. The reason
    of a failure is only in Apprise's DEBUG lines, so they are collected first.
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
