"""Why a message was not taken, read from what Apprise says, in words that hold no secret."""

import logging
import re
from collections.abc import Iterable
from datetime import timedelta

from monitor.channels.apprise_log import LogLine
from monitor.errors import DeliveryError

# The channel, or the right to use it, is gone. Others pass: even a 400 may come from a service in trouble.
_PERMANENT_STATUSES = frozenset({401, 403, 404, 410})
# These may say when to come again.
BUSY = frozenset({429, 503})

_HTTP_STATUS = re.compile(r"\berror=([1-5]\d\d)\b")
_SMTP_REFUSED = re.compile(r"^SMTP recipient .+ was refused: ([45]\d\d) ")
_SMTP_STATUS = re.compile(r"\(([45]\d\d), b['\"]")
_RETRY_AFTER = re.compile(r"\"retry_after\"\s*:\s*(\d{1,6}(?:\.\d{1,6})?)")

# What requests, smtplib and the system say of a broken exchange; whether the message may have arrived.
_ERROR_PATTERNS: tuple[tuple[re.Pattern[str], str, bool], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), reason, uncertain)
    for pattern, reason, uncertain in (
        (r"certificate.verify.failed|\bSSLError\b|\bSSL:", "the TLS certificate was not accepted", False),
        (r"name resolution|NameResolutionError|getaddrinfo|name or service not known",
         "the host name can't be resolved", False),
        (r"connection refused", "the connection was refused", False),
        (r"connect timeout|ConnectTimeout|no route to host|network is unreachable",
         "the host can't be reached", False),
        (r"ProxyError|tunnel connection failed", "the proxy refused the connection", False),
        (r"timed out", "no response in time", True),
        (r"reset by peer|RemoteDisconnected|connection aborted|unexpectedly closed|incomplete.?read",
         "the connection was closed", True),
    )
)  # fmt: skip


def delivery_error(service: str, lines: Iterable[LogLine]) -> DeliveryError:
    """
    Explain a failed attempt.

    Args:
        service: what the channel is called in a table.
        lines: what Apprise logged at DEBUG and above. Payloads are among them, so that only lines of known
            kinds are read, and nothing of them is quoted but numbers.
    """
    lines = list(lines)
    warnings = [line.text for line in lines if line.level >= logging.WARNING]
    details = [line.text for line in lines if line.level < logging.INFO]
    exceptions = [text for text in details if text.startswith("Socket Exception: ")]
    for text in warnings:
        if found := _HTTP_STATUS.search(text):
            answers = (text for text in details if text.startswith("Response Details:"))
            waits = [float(asked[1]) for text in answers if (asked := _RETRY_AFTER.search(text))]
            wait = timedelta(seconds=waits[0]) if waits else None
            return http_refusal(service, int(found[1]), wait=wait)
        if found := _SMTP_REFUSED.match(text):
            return _smtp_error(service, int(found[1]))
    for text in exceptions:
        if found := _SMTP_STATUS.search(text):
            return _smtp_error(service, int(found[1]))
        for pattern, reason, uncertain in _ERROR_PATTERNS:
            if pattern.search(text):
                return DeliveryError(f"{service}: {reason}", uncertain=uncertain)
    if exceptions or any("onnection error" in text for text in warnings):
        return DeliveryError(f"{service}: the connection failed")
    if any(text.endswith("raised an exception.") for text in warnings):
        return DeliveryError(f"{service}: the Apprise plugin failed")
    return DeliveryError(f"{service}: the message was not accepted")


def http_refusal(service: str, status: int, *, wait: timedelta | None = None) -> DeliveryError:
    """
    Explain an HTTP answer that was no success.

    Args:
        wait: how long the service asks the monitor to wait; it counts if the service is busy or failing.
    """
    if 200 <= status < 300:
        return DeliveryError(f"{service}: HTTP {status}, but the message was not accepted")
    if 300 <= status < 400:
        return DeliveryError(f"{service}: HTTP {status}, a redirect, which is not followed")
    return DeliveryError(
        f"{service}: HTTP {status}",
        permanent=status in _PERMANENT_STATUSES,
        retry_after=wait if status in BUSY else None,
    )


def _smtp_error(service: str, status: int) -> DeliveryError:
    return DeliveryError(f"{service}: SMTP {status}", permanent=status >= 500)
