"""
The log: one line a happening, JSON or for people, in which no secret and no terminal escape survives.

Everything goes the same way: the monitor's own lines and, from WARNING up, what libraries say.
"""

import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import Processor

from monitor.clock import utc_now

HIDDEN = "***"
SHORTEST_SECRET = 4
MAX_DEPTH = 6

_API_KEY = re.compile(r"sk_[A-Za-z0-9]+_[A-Za-z0-9]+\.[A-Za-z0-9]+")
_WORD = re.compile(r"[A-Za-z0-9_~.-]{6,}")
# Said at a finer level they quote URLs and bodies.
_LIBRARIES = ("apprise", "urllib3", "apscheduler", "alembic", "sqlalchemy")

# What journald takes a line's level from, at its beginning; it doesn't keep it there. See sd-daemon(3).
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
_COLORS = {"warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_PLAIN = "\x1b[0m"

_pattern = _API_KEY
_hidden_words: set[str] = set()
_global_context: dict[str, object] = {}


def set_secrets(secrets: Iterable[str]) -> None:
    """
    Say what ``scrub`` and the log hide from now on, besides everything that looks like an API key.

    Texts of fewer than four characters are left alone: hiding them would leave nothing to read.
    """
    global _pattern  # noqa: PLW0603 - one process has one log
    # Ten thousand keys of the usual shape need no alternative each: the common pattern finds them.
    odd = {text for text in secrets if len(text) >= SHORTEST_SECRET and not _API_KEY.fullmatch(text)}
    forms = sorted({form for text in odd for form in _forms(text)}, key=len, reverse=True)
    _pattern = re.compile("|".join([_API_KEY.pattern, *map(re.escape, forms)]))


def redact_links(links: Iterable[str]) -> None:
    """
    Hide links from now on, by what of them nobody could guess, however many thousands there are.

    An alternative of the pattern for each would make every line slow; words are looked up instead.
    """
    for link in links:
        words = _WORD.findall(link.partition("://")[2].partition("/")[2])
        tokens = [word for word in words if re.search("[0-9]", word)] or sorted(words, key=len)[-1:]
        _hidden_words.update(tokens)


def scrub(text: str) -> str:
    """Replace every known secret in a text, also where it is written as part of a URL."""
    text = _pattern.sub(HIDDEN, text)
    if not _hidden_words:
        return text
    return _WORD.sub(lambda match: HIDDEN if match[0] in _hidden_words else match[0], text)


def bind_global(**keys: object) -> None:
    """Have every line of the process carry these keys from now on; None takes one away."""
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
    Send every line to ``stream``. May be called again; the newest call counts.

    Args:
        format: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        level: the least that is written: debug, info, warning or error.
        environ: ``JOURNAL_STREAM`` tells whether journald reads the stream, as systemd.exec(5) has it.
    """
    set_secrets(secrets)
    least = logging.getLevelNamesMapping()[level.upper()]
    on_terminal = _is_terminal(stream)
    console = format == "console" or (format == "auto" and on_terminal)
    tail: list[Processor] = [_order_keys, structlog.processors.format_exc_info, _scrubbed]
    render = _for_people(on_terminal) if console else structlog.processors.JSONRenderer()
    tail.append(_for_journal(render) if _is_journal(stream, environ) else render)
    sink = _Sink(stream)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        context_class=dict,
        logger_factory=lambda *_: sink,
        # Loggers made before this call, at import, must find their way here.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, StdlibHandler)]
    root.addHandler(StdlibHandler(sink, tail))
    root.setLevel(max(logging.WARNING, least))
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(logging.WARNING, least))


class _Sink:
    """Writes whole lines; a stream that is gone must not take the daemon with it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lock = threading.Lock()

    def msg(self, line: str) -> None:
        # Broken, full or closed: there is nowhere left to say so.
        with self.lock, suppress(OSError, ValueError):
            self.stream.write(self._encodable(line) + "\n")
            self.stream.flush()

    def _encodable(self, line: str) -> str:
        encoding = self.stream.encoding or "utf-8"
        return line if line.isascii() else line.encode(encoding, "backslashreplace").decode(encoding)

    debug = info = warning = error = critical = msg


class StdlibHandler(logging.Handler):
    """Takes what libraries log through the standard library."""

    def __init__(self, sink: _Sink, processors: list[Processor]) -> None:
        super().__init__()
        self.sink = sink
        self.processors = processors

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        line: Any = {"event": message, "level": record.levelname.lower(), "logger": record.name}
        if record.exc_info:
            line["exc_info"] = record.exc_info
        for process in self.processors:
            line = process(None, record.levelname.lower(), line)
        self.sink.msg(line)


def _forms(secret: str) -> set[str]:
    """Every way a secret may be written: as it is, in a URL, in a quoted text."""
    encoded = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    encoded |= {re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form) for form in encoded}
    return encoded | {secret, repr(secret)[1:-1]}


def _order_keys(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Begin with when, how bad and what."""
    at = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    first = {"timestamp": at, "level": line.pop("level", ""), "event": line.pop("event", "")}
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


def _for_people(colors: bool) -> Processor:
    """Write a line in which no value can steer a terminal or look like another line or key."""

    def render(_: object, __: str, line: MutableMapping[str, Any]) -> str:
        at, level, event = (_escaped(str(line.pop(key))) for key in ("timestamp", "level", "event"))
        trace = str(line.pop("exception", "")).splitlines()
        padded = f"{level:8}"
        words = [at, f"{_COLORS.get(level, '')}{padded}{_PLAIN}" if colors else padded, event]
        words += [f"{_escaped(key)}={_quoted(value)}" for key, value in line.items()]
        return "\n".join([" ".join(words), *(f"    {_escaped(text)}" for text in trace)])

    return render


def _for_journal(render: Processor) -> Processor:
    """Begin each line with its level, so that ``journalctl --priority`` knows what it is asked for."""

    def rendered(logger: Any, name: str, line: MutableMapping[str, Any]) -> str:
        priority = _PRIORITIES.get(str(line.get("level")), _PRIORITIES["info"])
        return "\n".join(priority + each for each in str(render(logger, name, line)).split("\n"))

    return rendered


def _quoted(value: object) -> str:
    if isinstance(value, str) and value and value.isprintable() and not set(value) & set(" ='\""):
        return value
    return repr(value)


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
