"""
Every failure of a call as a `Failure`: what happened, and what the operator can do.

The text stays the same as long as the cause does. It has no port, no request id and no object address, and never
what was sent.
"""

import http.client
import os
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from urllib3 import exceptions as urllib3

from monitor.core.model import Failure, Outcome, RuleName
from monitor.core.text import one_line

_BASE_URL = "check base_url and the network between this machine and the API"


class OversizedError(Exception):
    """
    An answer was longer than the monitor reads.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class ClosedError(Exception):
    """The pool was closed, because the monitor is stopping."""


def bad_answer(error: str, *, status: int | None = None, remedy: str = _BASE_URL) -> Failure:
    """Return the failure of an unusable answer."""
    return Failure(
        outcome=Outcome.BAD_ANSWER, rule=RuleName.BAD_ANSWER, error=error, remedy=remedy, http_status=status
    )


def from_exceptions(errors: Sequence[BaseException], *, host: str, seconds: float) -> Failure:
    """
    Return the failure of a call without a complete answer.

    Args:
        errors: the library's error, then what led to it; see `error_chain`.
        host: of the URL, for the text.
        seconds: the time that one call has.
    """
    for cause in _CAUSES:
        for each in errors:
            if isinstance(each, cause.kinds) and cause.applies(each):
                text = cause.error.format(host=host, seconds=f"{seconds:g}", detail=cause.detail(each))
                return Failure(
                    outcome=cause.outcome,
                    rule=cause.rule,
                    error=text,
                    remedy=cause.remedy,
                    may_be_received=cause.may_be_received,
                    is_clock_suspect=cause.is_clock_suspect,
                )
    return Failure(
        outcome=Outcome.NETWORK_ERROR,
        rule=RuleName.API_UNREACHABLE,
        error=f"{host}: the request failed ({type(errors[0]).__name__})",
        remedy=_BASE_URL,
        may_be_received=True,
    )


def normalize_text(text: str, limit: int) -> str:
    """
    Return outside text for a failure: one line, without parts that vary between answers.

    A word with a digit may be a request id, a port or a time.
    """
    words = one_line(text, 10 * limit).split()
    return one_line(" ".join("#" if any(c.isdigit() for c in word) else word for word in words), limit)


def error_chain(error: BaseException | None, handled: BaseException | None) -> list[BaseException]:
    """
    List an error and what led to it.

    Args:
        handled: what the caller was handling already, which isn't a cause.
    """
    errors: list[BaseException] = []
    while error is not None and error is not handled:
        errors.append(error)
        error = error.__cause__ or error.__context__
    return errors


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    """A reason for a missing answer. ``detail`` picks the stable part of an error."""

    kinds: tuple[type[BaseException], ...]
    error: str
    remedy: str
    outcome: Outcome = Outcome.NETWORK_ERROR
    rule: RuleName = RuleName.API_UNREACHABLE
    is_clock_suspect: bool = False
    detail: Callable[[Any], str] = lambda error: ""
    applies: Callable[[Any], bool] = lambda error: True
    may_be_received: bool = False


# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_OUTSIDE_ITS_TIME = frozenset({9, 10})
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


def _tunnel_status(error: Any) -> str:
    found = _TUNNEL.match(str(error))
    return found[1] if found else ""


# The first row that matches any error of the chain counts, so specific rows come first.
_CAUSES = (
    _Cause(
        kinds=(ClosedError,),
        error="{host}: not requested, because the monitor is stopping",
        remedy="",
    ),
    _Cause(
        kinds=(TimeoutError, urllib3.TimeoutError),
        # The library reports every failed connection as a timeout.
        applies=lambda error: not isinstance(error, urllib3.NewConnectionError),
        outcome=Outcome.TIMEOUT,
        error="{host}: no complete answer within {seconds} s",
        may_be_received=True,
        remedy="check the network or raise polling.timeout, if it lasts",
    ),
    _Cause(
        kinds=(ssl.SSLCertVerificationError,),
        applies=lambda error: error.verify_code in _OUTSIDE_ITS_TIME,
        is_clock_suspect=True,
        error="{host}: its TLS certificate is not valid now by this machine's clock: {detail}",
        remedy="check this machine's clock first: turn on time synchronization (NTP)",
        detail=lambda error: str(error.verify_message).partition(",")[0].rstrip("."),
    ),
    _Cause(
        kinds=(ssl.SSLCertVerificationError,),
        error="{host}: its TLS certificate was not accepted: {detail}",
        remedy="check base_url and this machine's clock, and name the CA of a proxy that inspects TLS in "
        "REQUESTS_CA_BUNDLE",
        detail=lambda error: str(error.verify_message).partition(",")[0].rstrip("."),
    ),
    _Cause(
        kinds=(ssl.SSLError,),
        error="{host}: the TLS handshake failed: {detail}",
        remedy="check that base_url names an https port and that no proxy interferes",
        detail=lambda error: str(error.reason or "no reason given").lower().replace("_", " "),
    ),
    _Cause(
        kinds=(OSError,),
        applies=lambda error: _tunnel_status(error) == "407",
        error="the proxy requires a user name and a password",
        remedy="put them in the proxy's URL: http://user:password@host:port",
    ),
    _Cause(
        kinds=(OSError,),
        applies=lambda error: bool(_tunnel_status(error)),
        error="the proxy would not connect to {host}: {detail}",
        remedy="let the proxy connect there, or name the host in NO_PROXY",
        detail=_tunnel_status,
    ),
    _Cause(
        kinds=(urllib3.ProxyError,),
        error="the proxy could not be reached",
        remedy="check HTTPS_PROXY and the proxy itself, or name the API's host in NO_PROXY",
    ),
    _Cause(
        kinds=(socket.gaierror, urllib3.NameResolutionError),
        error="{host}: the name could not be resolved",
        remedy="check this machine's DNS and network, and base_url",
    ),
    _Cause(
        kinds=(urllib3.LocationValueError, UnicodeError),
        error="{host}: not a host name",
        remedy="check base_url and the URL of the proxy",
    ),
    _Cause(
        kinds=(ConnectionRefusedError,),
        error="{host}: the connection was refused",
        remedy="check base_url, if it lasts",
    ),
    _Cause(
        kinds=(OSError,),
        applies=lambda error: error.errno is not None and not isinstance(error, ConnectionError),
        error="{host}: {detail}",
        remedy="check this machine's network and firewall",
        detail=lambda error: os.strerror(error.errno),
    ),
    _Cause(
        kinds=(OversizedError,),
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error="the answer is longer than {detail} MiB, the limit of the monitor",
        may_be_received=True,
        remedy="raise polling.max_answer if there are so many connections; else check base_url",
        detail=lambda error: f"{error.limit / 2**20:g}",
    ),
    _Cause(
        kinds=(urllib3.IncompleteRead, urllib3.InvalidChunkLength, http.client.IncompleteRead),
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error="the answer ended before it was complete",
        may_be_received=True,
        remedy=_BASE_URL,
    ),
    _Cause(
        kinds=(urllib3.DecodeError,),
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error="the answer could not be decompressed",
        may_be_received=True,
        remedy=_BASE_URL,
    ),
    _Cause(
        kinds=(ConnectionError,),
        error="{host}: the connection was closed before an answer arrived",
        may_be_received=True,
        remedy="",
    ),
    _Cause(
        kinds=(http.client.HTTPException, urllib3.InvalidHeader, urllib3.HeaderParsingError),
        outcome=Outcome.BAD_ANSWER,
        rule=RuleName.BAD_ANSWER,
        error="the answer is not valid HTTP",
        may_be_received=True,
        remedy=_BASE_URL,
    ),
)
