"""The name of the program on this machine, for commands that people copy."""

import shlex
import shutil
import sys
from pathlib import Path

NAME = "postpost-monitor"


def program(called: str | None = None) -> str:
    """
    Return the program as people can type it here: its path if the shell wouldn't find it.

    Args:
        called: the name it was started with; by default this process's.
    """
    path = Path(called or sys.argv[0]).absolute()
    if path.name != NAME or shutil.which(NAME) == str(path):
        return NAME
    return shlex.quote(str(path))
