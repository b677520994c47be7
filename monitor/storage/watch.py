"""One daemon a SQLite file: whoever watches it holds a lock beside it, which ends with the process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

from monitor.errors import StorageError

# Somebody who only looks whether there is a daemon holds the lock for a moment.
TRIES, PAUSE_SECONDS = 5, 0.1


@contextmanager
def watching(file: Path) -> Iterator[None]:
    """
    Keep a file for one daemon.

    Raises:
        StorageError: another daemon has it.
        OSError: the lock can't be made.
    """
    handle = _opened(file)
    try:
        if not any(_taken(handle, tries) for tries in range(TRIES)):
            raise StorageError(
                f"{file} is watched by another daemon already (process {_name(handle)}); end that one, "
                "or give this one a database of its own"
            )
        os.truncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def watcher_of(file: Path) -> str | None:
    """Name the process, if another than this one, that watches a file; raises OSError where that can't be told."""
    if not _lock_of(file).exists():
        return None
    with closing(os.fdopen(_opened(file), "rb")) as lock:
        if _taken(lock.fileno()):
            return None
        name = _name(lock.fileno())
        return None if name == str(os.getpid()) else name


def _lock_of(file: Path) -> Path:
    return Path(f"{file}.daemon")


def _opened(file: Path) -> int:
    return os.open(_lock_of(file), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _taken(handle: int, tries: int = 0) -> bool:
    if tries:
        Event().wait(PAUSE_SECONDS)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _name(handle: int) -> str:
    return os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
