"""How the program is called on this machine, for commands that people copy."""

import shlex
import shutil
import sys
from pathlib import Path

NAME = "postpost-monitor"


def program(called: str | None = None) -> str:
    """
    Name the program as it can be typed here: by its path where the shell wouldn't find it.

    Args:
        called: what it was started as; by default this process's.
    """
    path = Path(called or sys.argv[0]).absolute()
    if path.name != NAME or shutil.which(NAME) == str(path):
        return NAME
    return shlex.quote(str(path))
