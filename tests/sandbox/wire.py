"""Below HTTP: whole answers in one packet, and broken ones as no HTTP library would send them."""

import asyncio
import http
import socket
import struct
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.sandbox.faults import Drop, Fault


class OnePacketProtocol(H11Protocol):
    """
    Uvicorn's own protocol on a transport that gathers what is written in one turn of the loop.

    Uvicorn writes headers and body apart, which costs every client a second wake-up. The transport is also
    lent to the application, as ``scope["state"]["transport"]``, for answers that break the rules.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the gathering transport in place of the socket's."""
        assert isinstance(transport, asyncio.Transport)
        gathering = _GatheringTransport(transport, self.loop)
        self.app_state = {**self.app_state, "transport": gathering}
        super().connection_made(gathering)


class _GatheringTransport(asyncio.Transport):
    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._gathered: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(bytes(data))

    def flush(self) -> None:
        data = b"".join(self._gathered)
        self._gathered.clear()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._gathered.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()


class FaultyResponse(Response):
    """A true answer that a fault strikes when it is sent."""

    def __init__(self, answer: Response, fault: Fault) -> None:
        altered = fault.alter(answer)
        super().__init__(altered.body, altered.status_code, dict(altered.headers))
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that leaves meanwhile, or a server that stops, ends it at once."""
        gone = asyncio.create_task(_left(receive))
        try:
            if await _waited(gone, self._fault.delay_seconds):
                if not self._fault.needs_the_wire:
                    await super().__call__(scope, receive, send)
                    return
                await self._send_broken(scope["state"]["transport"], gone)
            # An application that returned before the connection ended would get an answer made for it.
            await gone
        finally:
            gone.cancel()

    async def _send_broken(self, transport: _GatheringTransport, gone: "asyncio.Task[None]") -> None:
        fault = self._fault
        if fault.drop is Drop.RESET:
            # Closing a socket that lingers for no time at all sends RST in place of FIN.
            lingering = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            transport.abort()
        elif fault.drop is Drop.CLOSE:
            transport.close()
        else:
            body = bytes(self.body)[: fault.cut_after]
            head = self._head()
            for byte in _dripping(head, fault.drip_headers) + _dripping(body, fault.drip_seconds is not None):
                if len(byte) == 1 and not await _waited(gone, fault.drip_seconds or 0):
                    return
                transport.write(byte)
            transport.close()

    def _head(self) -> bytes:
        reason = http.HTTPStatus(self.status_code).phrase
        lines = [f"HTTP/1.1 {self.status_code} {reason}".encode()]
        lines += [name + b": " + value for name, value in self.raw_headers]
        return b"\r\n".join([*lines, b"connection: close", b"", b""])


def _dripping(data: bytes, drips: bool) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))] if drips else [data]


async def _left(receive: Receive) -> None:
    """Wait until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _waited(gone: "asyncio.Task[None]", seconds: float) -> bool:
    """Wait this long; false as soon as the client leaves."""
    if seconds:
        await asyncio.wait({gone}, timeout=seconds)
    return not gone.done()
