"""One daemon for each SQLite file: the daemon holds a lock file, which ends with the process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import IO

from monitor.errors import StorageError

# A process that only checks for a daemon holds the lock for a moment.
MAX_TRIES, PAUSE_SECONDS = 5, 0.1
# A link in place of the lock could lead to any file of the daemon's user, and the lock is written to.
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
# The files that this process locks. The number in the lock isn't enough, because both processes of two
# containers may be number 1.
_held_here: set[Path] = set()


@contextmanager
def daemon_lock(file: Path) -> Iterator[None]:
    """
    Lock a file for one daemon.

    Raises:
        StorageError: another daemon has it.
        OSError: the lock can't be created.
    """
    with closing(_opened(file)) as lock:
        left = MAX_TRIES
        while not _acquired(lock):
            left -= 1
            if not left:
                raise StorageError(
                    f"{file} is watched by another daemon already (process {_owner(lock)}); end that one, "
                    "or give this one a database of its own"
                )
            Event().wait(PAUSE_SECONDS)
        os.truncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), str(os.getpid()).encode(), 0)
        _held_here.add(file)
        try:
            yield
        finally:
            _held_here.discard(file)


def lock_owner(file: Path) -> str | None:
    """Return the other process that locks a file, if any; raises OSError if that can't be determined."""
    if file in _held_here or not _lock_file(file).exists():
        return None
    with closing(_opened(file)) as lock:
        return None if _acquired(lock) else _owner(lock)


def _lock_file(file: Path) -> Path:
    return Path(f"{file}.daemon")


def _opened(file: Path) -> IO[bytes]:
    return os.fdopen(os.open(_lock_file(file), _LOCK_FLAGS, 0o600), "rb")


def _acquired(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _owner(lock: IO[bytes]) -> str:
    return os.pread(lock.fileno(), 20, 0).decode("ascii", "replace").strip() or "unknown"
