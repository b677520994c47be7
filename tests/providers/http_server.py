"""Servers on loopback that stand in for the API, a proxy, and what may be found instead of them."""

import json
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came in, header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """One connection. Answers are written at once: headers and body in two packets cost 40 ms each."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = 10
    server: "StandIn"

    def setup(self) -> None:
        self.server.connections += 1
        self.server.open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.server.open.discard(self.request)
        super().finish()

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(
            Request(method=self.command, path=self.path, headers=headers, body=self.rfile.read(length))
        )
        self.server.answer(self)

    def do_POST(self) -> None:
        self.do_GET()

    def do_CONNECT(self) -> None:
        """Be a proxy: join the two ends until one of them has had enough."""
        self.do_GET()
        if not self.server.tunnels:
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self.wfile.flush()
            self.close_connection = True
            while True:
                for end in select.select([self.connection, there], [], [], 10)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    (there if end is self.connection else self.connection).sendall(data)

    def say(self, body: Any, *, status: int = 200, **headers: str) -> None:
        """Answer completely; what isn't bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, now, and close afterwards."""
        self.close_connection = True
        self.wfile.write(data)
        self.wfile.flush()

    def drip(self, head: bytes, drop: bytes) -> None:
        """Send ``head``, then ``drop`` again and again until nobody listens, or for far too long."""
        self.raw(head)
        until = time.monotonic() + 5
        while time.monotonic() < until and not self.server.stopping.wait(0.03):
            self.raw(drop)

    def reset(self) -> None:
        """Close the connection the rude way."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.server.shutdown_request(self.connection)

    def log_message(self, *args: object) -> None:
        pass


class StandIn(ThreadingHTTPServer):
    """A server that says what the test wants said, and remembers what it was asked."""

    daemon_threads = False  # so that closing the server waits for what its threads still do
    request_queue_size = 64

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if context:
            # The handshake belongs to the connection's thread, not to the one that accepts.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"
        self.requests: list[Request] = []
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.tunnels = False
        self.stopping = threading.Event()
        self.answer: Callable[[Handler], None] = lambda handler: handler.say({"connections": []})
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.server_port}"

    def says(self, body: Any, *, status: int = 200, **headers: str) -> None:
        """Give the same answer to everybody from now on."""
        self.answer = lambda handler: handler.say(body, status=status, **headers)

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        for connection in self.open.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what many tests are about."""


class Authority:
    """A CA of our own, and servers' certificates signed by it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bundle = folder / "ca.pem"
        constraints = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]
        self._make("ca", "Test CA", constraints, [])

    def server_context(self, name: str, valid: tuple[str, str] | None = None) -> ssl.SSLContext:
        """
        Make a TLS context for a server that may call itself ``name``.

        Args:
            valid: from when until when its certificate is, as ``YYYYMMDDHHMMSSZ``; by default now and for two days.
        """
        signed = ["-CA", str(self.bundle), "-CAkey", str(self._folder / "ca.key")]
        extensions = [f"subjectAltName=DNS:{name}", "basicConstraints=critical,CA:FALSE"]
        self._make(name, name, extensions, signed)
        if valid:
            self._sign_again(name, *valid)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        return context

    def _sign_again(self, name: str, starts: str, ends: str) -> None:
        """Put a certificate of these days in place of another."""
        made, config = self._folder / f"{name}.pem", self._folder / "ca.cnf"
        (self._folder / "index.txt").write_text("")
        config.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={self._folder}/index.txt\nnew_certs_dir={self._folder}\n"
            "rand_serial=yes\npolicy=p\ndefault_md=sha256\nunique_subject=no\ncopy_extensions=copy\n"
            "[p]\ncommonName=supplied\n"
        )
        request = self._folder / f"{name}.csr"
        asked = ["openssl", "req", "-new", "-key", str(made.with_suffix(".key")), "-subj", f"/CN={name}"]
        asked += ["-addext", f"subjectAltName=DNS:{name}", "-out", str(request)]
        signed = ["openssl", "ca", "-batch", "-notext", "-config", str(config), "-in", str(request)]
        signed += ["-out", str(made), "-startdate", starts, "-enddate", ends]
        signed += ["-cert", str(self.bundle), "-keyfile", str(self._folder / "ca.key")]
        for command in (asked, signed):
            subprocess.run(command, check=True, capture_output=True)

    def _make(self, name: str, subject: str, extensions: list[str], more: list[str]) -> None:
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={subject}"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-keyout", str(self._folder / f"{name}.key"), "-out", str(self._folder / f"{name}.pem")]
        command += [part for extension in extensions for part in ("-addext", extension)]
        subprocess.run(command + more, check=True, capture_output=True)
