"""
The log: one line for each event, as JSON or for people, without secrets and terminal escapes.

The monitor's own lines and, from WARNING up, those of libraries take the same path.
"""

import logging
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, MutableMapping
from io import TextIOWrapper
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import Processor

from monitor.clock import utc_now
from monitor.core.text import wire_time

HIDDEN = "***"
SHORTEST_SECRET = 4
MAX_DEPTH = 6

_API_KEY = re.compile(r"sk_[A-Za-z0-9]+_[A-Za-z0-9]+\.[A-Za-z0-9]+")
_WORD = re.compile(r"[A-Za-z0-9_~.-]{6,}")
# At lower levels they quote URLs and bodies.
_LIBRARIES = ("apprise", "urllib3", "apscheduler", "alembic", "sqlalchemy")

# The prefix from which journald reads a line's level, and which it removes. See sd-daemon(3).
_PRIORITIES = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}

_pattern = _API_KEY
_hidden_words: set[str] = set()
_global_context: dict[str, object] = {}


def set_secrets(secrets: Iterable[str]) -> None:
    """
    Set what ``scrub`` and the log hide, besides everything that looks like an API key.

    Texts of fewer than four characters are not hidden, because the log would become unreadable.
    """
    global _pattern  # noqa: PLW0603 - one process has one log
    # The common pattern finds keys of the usual shape, so ten thousand of them need no alternative each.
    odd = {text for text in secrets if len(text) >= SHORTEST_SECRET and not _API_KEY.fullmatch(text)}
    forms = sorted({form for text in odd for form in _forms(text)}, key=len, reverse=True)
    _pattern = re.compile("|".join([_API_KEY.pattern, *map(re.escape, forms)]))


def redact_links(links: Iterable[str]) -> None:
    """
    Hide links in the log, by their unguessable part. There may be thousands.

    An alternative for each in the pattern would make every line slow, so words are looked up instead.
    """
    for link in links:
        words = _WORD.findall(link.partition("://")[2].partition("/")[2])
        tokens = [word for word in words if re.search("[0-9]", word)] or sorted(words, key=len)[-1:]
        _hidden_words.update(tokens)


def scrub(text: str) -> str:
    """Replace every known secret in a text, also its URL-encoded form."""
    text = _pattern.sub(HIDDEN, text)
    if not _hidden_words:
        return text
    return _WORD.sub(lambda match: HIDDEN if match[0] in _hidden_words else match[0], text)


def bind_global(**keys: object) -> None:
    """Add these keys to every line of the process; None removes one."""
    for key, value in keys.items():
        if value is None:
            _global_context.pop(key, None)
        else:
            _global_context[key] = value


def configure_logs(
    *,
    format: Literal["auto", "json", "console"],  # noqa: A002 - the configuration's own word
    level: str,
    secrets: Iterable[str],
    stream: TextIO,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """
    Send every line to ``stream``. The newest call counts.

    Args:
        format: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        level: the lowest level that is written: debug, info, warning or error.
        environ: ``JOURNAL_STREAM`` shows whether journald reads the stream, as in systemd.exec(5).
    """
    set_secrets(secrets)
    least = logging.getLevelNamesMapping()[level.upper()]
    is_terminal = _is_terminal(stream)
    console = structlog.dev.ConsoleRenderer(
        colors=is_terminal, sort_keys=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
    )
    is_console = format == "console" or (format == "auto" and is_terminal)
    render = (_printable, console) if is_console else (structlog.processors.JSONRenderer(),)
    formatter = structlog.stdlib.ProcessorFormatter
    common: list[Processor] = [
        structlog.processors.add_log_level,
        _order_keys,
        structlog.processors.format_exc_info,
        _scrubbed,
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *common, formatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: logging.getLogger("monitor"),
        # Loggers created before this call, at import, must use it too.
        cache_logger_on_first_use=False,
    )
    handler = _Handler(stream, _PRIORITIES if _is_journal(stream, environ) else {})
    handler.setFormatter(
        formatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *common],
            processors=[formatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, _Handler)] + [handler]
    root.setLevel(max(logging.WARNING, least))
    logging.getLogger("monitor").setLevel(least)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, least))


class _Handler(logging.StreamHandler[TextIO]):
    """Write whole lines. A closed stream must not stop the daemon."""

    def __init__(self, stream: TextIO, priorities: Mapping[str, str]) -> None:
        super().__init__(stream)
        self._priorities = priorities
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def format(self, record: logging.LogRecord) -> str:
        try:
            text = super().format(record)
        except (TypeError, ValueError, KeyError):  # a library's arguments don't fit its message
            record.args = ()
            text = super().format(record)
        return textwrap.indent(text, self._priorities.get(record.levelname, ""), lambda line: True)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        """Broken, full or closed: there is no other place to report it."""


def _forms(secret: str) -> set[str]:
    """Return every form of a secret: as it is, in a URL, in a quoted text."""
    encoded = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    encoded |= {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in encoded}
    return encoded | {secret, repr(secret)[1:-1]}


def _order_keys(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put time, level and event first."""
    first = {
        "timestamp": wire_time(utc_now()),
        "level": line.pop("level", ""),
        "event": line.pop("event", ""),
    }
    return {**first, **line, **_global_context}


def _scrubbed(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {scrub(str(key)): _clean(value) for key, value in line.items()}


def _clean(value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {scrub(str(key)): _clean(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_clean(inner, depth + 1) for inner in value]
    return scrub(value if isinstance(value, str) else _safe_repr(value))


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - whatever an object does when asked for its name, the line is written
        return f"<{type(value).__name__}>"


def _printable(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what could control a terminal or look like another line or key."""
    trace = str(line.pop("exception", ""))
    shown = {
        _escaped(key): _escaped(value) if isinstance(value, str) else value for key, value in line.items()
    }
    if trace:
        shown["exception"] = "\n".join(f"    {_escaped(each)}" for each in trace.splitlines())
    return shown


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
