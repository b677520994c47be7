"""
Count what Apprise really sent, and record the answers.

Some of Apprise's plugins report success without a request, for example without recipients. Their success proves
nothing, so this module counts what was sent: answered HTTP requests, mails that a server accepted, and
recipients that a plugin reports as served.
"""

import smtplib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, wraps
from types import MappingProxyType
from typing import Any

BODY_READ = 64 * 1024

# Services whose traffic can't be counted, and why the plugin's own result is enough or all there is.
UNCOUNTED: Mapping[str, str] = MappingProxyType(
    {
        "blink1": "a light on this machine",
        "dbus": "a call to this machine's desktop, which answers",
        "gio": "a call to this machine's desktop, which answers",
        "glib": "a call to this machine's desktop, which answers",
        "gnome": "a call to this machine's desktop, which answers",
        "growl": "a protocol of its own, in a library of its own, which waits for the answer",
        "kde": "a call to this machine's desktop, which answers",
        "macosx": "a program on this machine, whose exit status counts",
        "qt": "a call to this machine's desktop, which answers",
        "rsyslog": "a datagram, which nobody answers",
        "syslog": "a call to this machine's log, which nobody answers",
        "windows": "a call to this machine's desktop",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """
    One HTTP answer to one request of a plugin. Its text may repeat what was sent, so its repr hides it.

    Args:
        body: the first 64 KiB.
        retry_after: how long the service asks the monitor to wait.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after: timedelta | None = None


@dataclass(slots=True)
class Traffic:
    """
    What was sent during one attempt.

    Attributes:
        answers: answers to HTTP requests, in order.
        mails: mails that a server accepted for at least one recipient.
        served: recipients that the plugin reported as served.
    """

    answers: list[Answer] = field(default_factory=list)
    mails: int = 0
    served: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sent."""
        return not (self.answers or self.mails or self.served)


_traffic: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


@contextmanager
def counting() -> Iterator[Traffic]:
    """Count what this thread sends while the block runs."""
    _watch()
    traffic = Traffic()
    token = _traffic.set(traffic)
    try:
        yield traffic
    finally:
        _traffic.reset(token)


def count_served() -> None:
    """Count a recipient that a plugin reports as served."""
    if traffic := _traffic.get():
        traffic.served += 1


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return how long a service asks the monitor to wait; None if it doesn't say so in seconds."""
    value = headers.get("Retry-After", "").strip()
    return timedelta(seconds=int(value)) if value.isascii() and value.isdigit() and len(value) < 7 else None


@cache
def _watch() -> None:
    """
    Intercept every request and every mail of this process.

    Each plugin calls ``requests.post`` or creates its own session, so this is the only place they share. Threads
    that don't count aren't affected. The monitor's own requests use no session.
    """
    import requests

    for owner, name, note in (
        (requests.Session, "send", _note_answer),
        (smtplib.SMTP, "sendmail", _note_mail),
    ):
        setattr(owner, name, _observed(getattr(owner, name), note))


def _observed(method: Callable[..., Any], note: Callable[[Traffic, Any, Mapping[str, Any]], None]) -> Any:
    @wraps(method)
    def observed(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        if traffic := _traffic.get():
            note(traffic, result, kwargs)
        return result

    return observed


def _note_answer(traffic: Traffic, response: Any, kwargs: Mapping[str, Any]) -> None:
    # Reading a stream here would consume it before the plugin reads it.
    body = b"" if kwargs.get("stream") else response.content[:BODY_READ]
    wait = retry_after(response.headers)
    traffic.answers.append(Answer(status=response.status_code, body=body, retry_after=wait))


def _note_mail(traffic: Traffic, refused: Any, kwargs: Mapping[str, Any]) -> None:
    traffic.mails += 1
