"""The tests search the same examples every time, and whoever explores searches others."""

import subprocess
import sys
from pathlib import Path

from hypothesis import settings

PROPERTY = """
from hypothesis import given, strategies as st

@given(st.integers())
def test_a_property(value):
    print("tried", value)
"""


def tried(folder: Path, *options: str) -> list[str]:
    """Run one property in a process of its own, with the settings of these tests, and give what it tried."""
    (folder / "conftest.py").write_text("from tests.conftest import *  # noqa: F403\n")
    (folder / "test_property.py").write_text(PROPERTY)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", *options]
    done = subprocess.run(
        [*command, str(folder)], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    return [line for line in done.stdout.splitlines() if "tried" in line]


def test_the_same_examples_are_tried_every_time(tmp_path: Path) -> None:
    assert settings().derandomize
    first, second = tried(tmp_path), tried(tmp_path)
    assert first == second
    assert len(first) == 100


def test_who_explores_tries_other_examples_each_time(tmp_path: Path) -> None:
    first, second = (tried(tmp_path, "--hypothesis-profile", "explore") for _ in range(2))
    assert first != second
    assert len(first) == len(second) == 2000
