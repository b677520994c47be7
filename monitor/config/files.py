"""Read files that a configuration names, without ever waiting for them."""

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, *, max_bytes: int) -> tuple[bytes, int]:
    """
    Read the beginning of an ordinary file. Follows symbolic links, because Kubernetes mounts secrets through them.

    A pipe or a device would block, and a reloading daemon would stop reacting to signals.

    Returns:
        At most ``max_bytes`` + 1 bytes, so that the caller can tell a file that is too large, and the
        permission bits of the file.

    Raises:
        OSError: the file can't be read, or it is a pipe, a device, a socket or a directory.
        ValueError: the path contains a null byte.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device; write its content to a file and name that")
        return file.read(max_bytes + 1), stat.S_IMODE(mode)
