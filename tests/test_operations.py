"""The operator's handbook names every line that the log may have, and all that can go wrong."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.core.model import Outcome
from monitor.storage.database import _REMEDIES
from monitor.storage.integrity import _INVARIANTS

ROOT = Path(__file__).parent.parent
HANDBOOK = (ROOT / "docs" / "operations.md").read_text()
SHOWN = {"info", "warning", "error", "exception", "critical"}


def logged(source: Path) -> Iterator[str]:
    """Find the names of the lines that a module logs, from ``info`` up; of a made name, what is fixed."""
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[name, *_]) if (
                level in SHOWN
            ):
                match name:
                    case ast.Constant(value=str(text)):
                        yield f"`{text}`"
                    case ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]):
                        yield f"`{text}"
                    case _:
                        pytest.fail(f"{source}:{node.lineno}: the handbook can't name this line")


def test_every_line_of_the_log_is_in_the_handbook() -> None:
    modules = [path for path in (ROOT / "monitor").rglob("*.py") if "sandbox" not in path.parts]
    names = {name for module in modules for name in logged(module)}
    assert len(names) > 20
    assert {name for name in names if name not in HANDBOOK} == set()


def test_every_outcome_of_a_poll_is_in_the_handbook() -> None:
    assert [outcome for outcome in Outcome if f"| `{outcome}` |" not in HANDBOOK] == []


def test_what_a_database_may_say_is_in_the_handbook() -> None:
    table = HANDBOOK.partition("### What the database says")[2].partition("###")[0].lower()
    assert [words for words in _REMEDIES if words not in table] == []


def test_what_a_look_at_the_invariants_may_find_is_in_the_handbook() -> None:
    table = HANDBOOK.partition("### What `db check` finds")[2].partition("###")[0]
    assert [said for said in _INVARIANTS if said.partition(":")[0] not in table] == []
