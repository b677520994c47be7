"""The house as it was drawn: what may import what, what the map shows, and which words are not used."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import monitor

PACKAGE = Path(monitor.__file__).parent
CONFIGURATION = PACKAGE.parent / "pyproject.toml"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Words that say nothing of what a thing is for; one that says "service" hides what it serves.
EMPTY_WORDS = {"event", "manager", "handler", "service", "util", "helper", "observation"}
# Apprise calls what a URL leads to a service, and so does everybody who reads its documentation.
THE_WORD_OF_OTHERS = {"monitor.channels.services"}
MOST_LINES = 350
# The words of the whole house, and its whole schema, each in one place.
LONG_FOR_A_REASON = {"monitor.core.model", "monitor.storage.tables"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports by dots"
            yield node.module or ""


def words_of(name: str) -> set[str]:
    """Split a name in either writing into its words, in the singular."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return {word.lower().removesuffix("s") for word in words}


def test_the_contracts_hold() -> None:
    # A process of its own: in this one it would switch off every logger that exists already.
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(
        [*lint, "--config", str(CONFIGURATION), "--no-cache"],
        cwd=CONFIGURATION.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=name_of)
def test_core_imports_the_standard_library_and_itself_alone(path: Path) -> None:
    for name in imports_of(path):
        assert name.startswith("monitor.core") or name.partition(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=name_of)
def test_core_asks_no_clock_rolls_no_dice_and_touches_nothing(path: Path) -> None:
    outside = {
        "logging",
        "os",
        "pathlib",
        "random",
        "secrets",
        "socket",
        "subprocess",
        "threading",
        "time",
    }
    assert not outside & {name.partition(".")[0] for name in imports_of(path)}
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert not called & {"now", "utcnow", "today", "open", "print", "input"}


def test_the_map_shows_every_room_and_no_other() -> None:
    drawn = set(re.findall(r"``(\w+)``", monitor.__doc__ or ""))
    built = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))} - {
        "__init__",
        "__main__",
        "__pycache__",
    }
    assert built == drawn


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_say_what_a_thing_is_for(path: Path) -> None:
    if name_of(path) not in THE_WORD_OF_OTHERS:
        assert not words_of(name_of(path).replace(".", "_")) & EMPTY_WORDS
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            assert not words_of(node.name) & EMPTY_WORDS, node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for_and_fits_on_a_few_pages(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    if name_of(path) not in LONG_FOR_A_REASON:
        assert len(text.splitlines()) <= MOST_LINES


def test_words_are_told_apart_in_either_writing() -> None:
    assert words_of("EventManager_http_HTTPServices") == {"event", "manager", "http", "service"}
