"""What some tests need of the machine: missing, they are skipped; where every test must run, they fail."""

import os
import shutil

import pytest


def needs(there: object, what: str) -> None:
    """Go on only where something is there."""
    if not there:
        if os.environ.get("POSTPOST_MONITOR_TESTS_MUST_RUN"):
            pytest.fail(f"{what} is missing here")
        pytest.skip(f"{what} is missing here")


def needs_program(name: str, package: str) -> str:
    """Give the path of a program, or go on as ``needs`` does."""
    found = shutil.which(name)
    needs(found, f"{name} (apt install {package})")
    return found or name


# For a scenario that takes long and whose point is what is decided, not how it is stored. The random lives, the tests
# of storage and most scenarios run on both databases.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
