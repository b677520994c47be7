"""The daemon's connections to PostgreSQL freeze, while new ones work: a failover behind one address."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from tests.drills.drill_postgres import PORT, Server, server
from tests.drills.scene import scene

__all__ = ["server"]  # the fixture

# The time within which a daemon that can't go on must have ended.
AT_MOST = 190.0


class Proxy:
    """Forward connections to the server, until those that are open are frozen: acknowledged, and never answered."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._lines: list[socket.socket] = []
        self._frozen: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._frozen.update(self._lines)

    def close(self) -> None:
        for line in [self._listening, *self._lines]:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", PORT))
                self._lines += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source in self._frozen:
                    continue
                sink.sendall(data)
            if source not in self._frozen:
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def dropped_packets(ports: list[int]) -> Iterator[None]:
    """Have the packets of some clients of the server vanish, in both directions."""
    rules = [
        ["INPUT", "-i", "lo", "-p", "tcp", first, str(PORT), second, str(port), "-j", "DROP"]
        for port in ports
        for first, second in (("--dport", "--sport"), ("--sport", "--dport"))
    ]
    with ExitStack() as undo:
        for rule in rules:
            subprocess.run(["iptables", "-I", *rule], check=True)
            undo.callback(subprocess.run, ["iptables", "-D", *rule], check=True)
        yield


def test_connections_whose_packets_vanish_are_replaced(tmp_path: Path, server: Server) -> None:
    with scene(tmp_path, server.url, connections=10) as place, place.daemon() as process:
        process.wait_for("daemon.started")
        place.end_next()
        place.wait_until_told()
        clients = place.rows("SELECT client_port FROM pg_stat_activity WHERE client_port > 0")
        with dropped_packets([row["client_port"] for row in clients]):
            place.end_next()
            place.wait_until_told(within=90)
            assert process.process.poll() is None
            place.stop(process)
        assert place.wrong() == []


def test_a_daemon_that_can_only_wait_dumps_its_threads_and_ends(tmp_path: Path, server: Server) -> None:
    proxy = Proxy()
    url = make_url(server.url).set(port=proxy.port).render_as_string(hide_password=False)
    try:
        with scene(tmp_path, url, connections=10) as place:
            with place.daemon() as process:
                process.wait_for("daemon.started")
                place.end_next()
                place.wait_until_told()
                proxy.freeze()
                place.end_next()
                assert process.process.wait(AT_MOST) == 1
                assert process.lines("component.stalled")
                process.end()
                assert "most recent call first" in process.text
            with place.daemon() as process:
                place.wait_until_told()
                place.stop(process)
            assert place.wrong() == []
    finally:
        proxy.close()
