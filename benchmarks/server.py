"""A server that is never the bottleneck: one process, one answer, kept alive, optionally slow."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta

CONNECTIONS = 8


def answer(connections: int = CONNECTIONS) -> bytes:
    """Make the body of an ordinary answer: about 450 bytes a connection."""
    now = datetime.now(UTC).replace(microsecond=0)
    platforms = ("instagram", "linkedin", "facebook", "youtube", "tiktok", "threads", "twitter", "pinterest")
    listed = [
        {
            "platformId": f"{platforms[i % len(platforms)]}-1784140000{i:04}",
            "username": f"account{i}",
            "displayName": f"Account Number {i} of Some Brand",
            "profileImageUrl": f"https://images.example/{'x' * 120}/{i}.jpg",
            "profileUrl": f"https://social.example/account{i}",
            "accessTokenExpiresAt": f"{(now + timedelta(days=30 + i)).isoformat()[:19]}.000Z",
            "tokenStatus": "valid",
            "tokenExpiresIn": f"{30 + i}d 0h",
            "lastSuccessfulPost": f"{(now - timedelta(hours=i)).isoformat()[:19]}.000Z",
            "lastError": None,
        }
        for i in range(connections)
    ]
    return json.dumps({"success": True, "connections": listed}).encode()


def users(count: int) -> bytes:
    """Make the list of a workspace's managed users."""
    listed = [
        {
            "_id": f"{i:024x}",
            "username": f"client{i}@example.com",
            "displayName": f"Client Number {i}",
            "role": "managed",
            "dailyPostsLeft": 50,
            "connectionsPageUrl": f"https://app.example/connections/{i:032x}",
            "connectionsPageTokenExpiresAt": "2099-01-01T00:00:00.000Z",
        }
        for i in range(count)
    ]
    return json.dumps({"users": listed}).encode()


def _response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


async def serve(latency_seconds: float, managed_users: int) -> None:
    """Serve on a free port of the loopback, print it, and run until standard input closes."""
    connections, workspace = _response(answer()), _response(users(managed_users))
    loop = asyncio.get_running_loop()

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.seen = b""

        def data_received(self, data: bytes) -> None:
            self.seen += data
            while (end := self.seen.find(b"\r\n\r\n")) >= 0:
                response = workspace if b"/workspace/" in self.seen[:60] else connections
                self.seen = self.seen[end + 4 :]
                if latency_seconds:
                    loop.call_later(latency_seconds, self._answer, response)
                else:
                    self._answer(response)

        def _answer(self, response: bytes) -> None:
            if isinstance(self.transport, asyncio.Transport) and not self.transport.is_closing():
                self.transport.write(response)

    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    given = [*sys.argv[1:], "0", "0"][:2]
    asyncio.run(serve(float(given[0]), int(given[1])))
