"""
A server that is never the bottleneck: nginx with a static answer where it is installed, else a loop of our own.

nginx can't be made slow, so with latency it is always the loop.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """
    Where a server answers.

    Args:
        kind: what serves.
        environ: what a client needs in its environment to trust it.
        process: that of our own says with a line of output that a request has come, the first one and the
            first after SIGUSR1.
    """

    url: str
    kind: str
    environ: dict[str, str]
    process: subprocess.Popen[str]


@contextmanager
def serving(
    *, latency_ms: float = 0, users: int = 0, tls: bool = False, own: bool = False
) -> Iterator[Served]:
    """
    Run a server on the loopback in a process of its own.

    Args:
        users: how many managed users its workspace has.
        own: the loop of our own in any case: it says when the first request comes.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)  # the workers of nginx are nobody
        environ = {**os.environ, "NO_PROXY": "127.0.0.1,localhost"}
        if tls:
            _make_certificate(folder)
            environ["REQUESTS_CA_BUNDLE"] = str(folder / "ca.pem")
        nginx = None if latency_ms or own else shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if nginx:
            port = free_port()
            _configure_nginx(folder, port, users, tls=tls)
            command = [nginx, "-c", str(folder / "nginx.conf"), "-p", made, "-e", "stderr"]
        else:
            port = 0
            command = [sys.executable, "-m", "benchmarks.server", str(latency_ms / 1000), str(users)]
            command += [str(folder / "server.pem")] if tls else []
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin and process.stdout
        try:
            if nginx:
                _wait_for(port)
            else:
                port = int(process.stdout.readline())
            scheme = "https" if tls else "http"
            kind = "nginx" if nginx else "asyncio"
            yield Served(url=f"{scheme}://127.0.0.1:{port}", kind=kind, environ=environ, process=process)
        finally:
            process.terminate()
            process.wait(10)
            process.stdin.close()
            process.stdout.close()


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


def workspace(count: int) -> bytes:
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


def _configure_nginx(folder: Path, port: int, users: int, *, tls: bool) -> None:
    for path, body in (("platform-connections", answer()), ("workspace/users", workspace(users))):
        file = folder / "api" / "v1" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    certificate = (
        f"ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;" if tls else ""
    )
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {folder}/nginx.pid; worker_processes 1;
        events {{ worker_connections 2048; }}
        http {{
            access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
            client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            default_type application/json;
            server {{ listen 127.0.0.1:{port}{" ssl" if tls else ""}; root {folder}; {certificate} }}
        }}
        """
    )


def _make_certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=benchmark"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "server.pem").write_bytes((folder / "key.pem").read_bytes() + (folder / "ca.pem").read_bytes())


def free_port() -> int:
    """Find a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError("nginx did not start")


def _response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


async def serve(latency_seconds: float, managed_users: int, certificate: str) -> None:
    """Serve on a free port of the loopback, print it, and run until somebody ends the process."""
    connections, users = _response(answer()), _response(workspace(managed_users))
    loop = asyncio.get_running_loop()
    was_asked = False

    def forget() -> None:
        nonlocal was_asked
        was_asked = False

    loop.add_signal_handler(signal.SIGUSR1, forget)

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.seen = b""

        def data_received(self, data: bytes) -> None:
            nonlocal was_asked
            if not was_asked:
                was_asked = True
                print("asked", flush=True)
            self.seen += data
            while (end := self.seen.find(b"\r\n\r\n")) >= 0:
                response = users if b"/workspace/" in self.seen[:60] else connections
                self.seen = self.seen[end + 4 :]
                if latency_seconds:
                    loop.call_later(latency_seconds, self._answer, response)
                else:
                    self._answer(response)

        def _answer(self, response: bytes) -> None:
            if isinstance(self.transport, asyncio.Transport) and not self.transport.is_closing():
                self.transport.write(response)

    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1024, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    given = [*sys.argv[1:], "0", "0", ""][:3]
    asyncio.run(serve(float(given[0]), int(given[1]), sys.argv[3] if len(sys.argv) > 3 else ""))
