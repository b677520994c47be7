"""What a stretch of work costs this process: seconds, CPU, memory, bytes written to files."""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Run: TypeAlias = dict[str, float]
"""``polls``, ``seconds``, ``cpu_seconds``, ``bytes_written``, ``resident_mib`` of one stretch."""


@contextmanager
def measured(polls: int) -> Iterator[Run]:
    """Measure what the block does; the run is filled in when it ends."""
    run: Run = {"polls": polls}
    written, before, began = bytes_written(), resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    yield run
    run["seconds"] = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    run["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run["bytes_written"] = bytes_written() - written
    run["resident_mib"] = after.ru_maxrss / 1024


def bytes_written() -> int:
    """Tell how many bytes this process has written to files; a disk rounds each commit up to its blocks."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    return 0


def report(run: Run) -> None:
    """Print a run for who started this process."""
    print(json.dumps(run))
