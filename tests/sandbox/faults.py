"""How an answer goes wrong on its way: what a test or a curious person can ask for."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from threading import Lock
from typing import Self

import msgspec
from starlette.responses import Response


class Drop(StrEnum):
    """How a connection ends without an answer."""

    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    What is done to an answer. What isn't given stays as the API would have it, so a fault of nothing but
    ``delay_seconds`` is a slow good answer.

    Args:
        status: instead of the true one.
        body: instead of the true one, as it is sent.
        headers: sent besides the true ones, or instead of those of the same name.
        delay_seconds: silence before the first byte.
        drip_seconds: a pause before each byte of the body.
        drip_headers: the status line and the headers drip as well.
        cut_after: bytes of the body after which the connection ends, though Content-Length promised all.
        pad_to: bytes the body is filled up to with blanks, which JSON doesn't mind.
        gzip: the body is compressed, whatever the client accepts; with ``pad_to``, a bomb.
        drop: the connection ends without an answer.
        times: how many requests it strikes; None for all until it is cleared.
        key: strikes only requests with this API key.
        user: strikes only requests for this managed user.
        path: strikes only requests whose path begins so.
    """

    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0
    drip_seconds: float | None = None
    drip_headers: bool = False
    cut_after: int | None = None
    pad_to: int | None = None
    gzip: bool = False
    drop: Drop | None = None
    times: int | None = None
    key: str | None = field(default=None, repr=False)
    user: str | None = None
    path: str = ""

    @classmethod
    def error(cls, status: int, message: str) -> Self:
        """Answer with an error of the vendor's form."""
        return cls(status=status, body=msgspec.json.encode({"error": message}))

    @classmethod
    def redirect(cls, url: str) -> Self:
        """Send the client elsewhere."""
        return cls(status=302, headers={"Location": url})

    @property
    def needs_the_wire(self) -> bool:
        """Whether no HTTP library would send this of its own accord."""
        return self.drop is not None or self.drip_seconds is not None or self.cut_after is not None

    def applies_to(self, path: str, key: str, user: str) -> bool:
        """Return whether a request is one of those meant."""
        return path.startswith(self.path) and self.key in (None, key) and self.user in (None, user)

    def alter(self, answer: Response) -> Response:
        """Make the answer that is to be sent of the true one."""
        body = bytes(answer.body) if self.body is None else self.body
        if self.pad_to is not None:
            body = body.ljust(self.pad_to)
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        if self.gzip:
            body = gzip.compress(body)
            headers["content-encoding"] = "gzip"
        headers.update({name.lower(): value for name, value in self.headers.items()})
        return Response(body, self.status or answer.status_code, headers)


class Faults:
    """The faults that are set, in order: of those that strike a request the first is taken."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._set: list[Fault] = []

    def set(self, *faults: Fault) -> None:
        """Set these faults instead of those that are set."""
        with self._lock:
            self._set = list(faults)

    def add(self, fault: Fault) -> None:
        """Set one more."""
        with self._lock:
            self._set.append(fault)

    def clear(self) -> None:
        """Let all be well again."""
        self.set()

    def current(self) -> tuple[Fault, ...]:
        """Return what is set, ``times`` counted down."""
        with self._lock:
            return tuple(self._set)

    def next_for(self, path: str, key: str, user: str) -> Fault | None:
        """Find the fault that strikes a request, and count it."""
        with self._lock:
            for place, fault in enumerate(self._set):
                if fault.applies_to(path, key, user):
                    if fault.times is not None and fault.times <= 1:
                        del self._set[place]
                    elif fault.times is not None:
                        self._set[place] = replace(fault, times=fault.times - 1)
                    return fault
        return None
