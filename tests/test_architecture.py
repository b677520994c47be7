"""What may import what, and what the package's own map shows."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import monitor

PACKAGE = Path(monitor.__file__).parent
CONFIGURATION = PACKAGE.parent / "pyproject.toml"
MODULES = sorted(PACKAGE.rglob("*.py"))


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


def module_imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import from the package, lazy ones and those for types included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


BY_NAME = {name_of(path): path for path in MODULES}


def test_no_module_passes_on_names_of_another() -> None:
    taken = {
        name: {imported for module, imported in module_imports_of(path) if module in BY_NAME}
        for name, path in BY_NAME.items()
    }
    passed_on = {
        f"{name_of(path)} imports {imported} from {module}"
        for path in (*MODULES, *sorted((PACKAGE.parent / "tests").rglob("*.py")))
        for module, imported in module_imports_of(path)
        if imported in taken.get(module, ()) and f"{module}.{imported}" not in BY_NAME
    }
    assert set() == passed_on


def test_no_two_files_import_each_other_by_any_way_round() -> None:
    needed = {
        name: {
            inner if (inner := f"{module}.{imported}") in BY_NAME else module
            for module, imported in module_imports_of(path)
        }
        & BY_NAME.keys()
        for name, path in BY_NAME.items()
    }
    try:
        TopologicalSorter(needed).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


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


def stores_in(tree: ast.AST) -> set[str]:
    """Name the variables of a module that hold a store: those of a transaction, and parameters that are one."""
    opened = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name)
        and isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr in {"begin", "read"}
    }
    given = {
        node.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) and node.annotation and "Store" in ast.unparse(node.annotation)
    }
    return opened | given


OUTSIDE_STORAGE = [path for path in MODULES if PACKAGE / "storage" not in path.parents]


@pytest.mark.parametrize("path", OUTSIDE_STORAGE, ids=name_of)
def test_the_connection_of_a_store_never_leaves_storage(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stores = stores_in(tree)
    used = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "connection"
        and isinstance(node.value, ast.Name)
        and node.value.id in stores
    ]
    assert used == []


def test_the_map_shows_every_module_and_no_other() -> None:
    drawn = set(re.findall(r"``(\w+)``", monitor.__doc__ or ""))
    built = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))} - {
        "__init__",
        "__main__",
        "__pycache__",
    }
    assert built == drawn


def packages_in(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def test_the_design_draws_the_folders_that_exist() -> None:
    design = (CONFIGURATION.parent / "docs" / "design.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^( *)(\w+)/ ", design.partition("## Layout")[2].partition("\n## ")[0], re.MULTILINE)
    top = {name for indent, name in drawn if not indent}
    assert all((CONFIGURATION.parent / name).is_dir() for name in top)
    assert {name for indent, name in drawn if len(indent) == 2} == packages_in(PACKAGE)
    assert {name for indent, name in drawn if len(indent) == 4} == packages_in(PACKAGE / "core")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no docstring"


def parameters_of(node: ast.ClassDef | ast.FunctionDef) -> set[str]:
    """Return what a docstring may explain: the parameters of a function, the fields or parameters of a class."""
    if isinstance(node, ast.FunctionDef):
        arguments = node.args
        return {each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)} | {
            each.arg for each in (arguments.vararg, arguments.kwarg) if each
        }
    fields = {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    return fields.union(
        *(
            parameters_of(each)
            for each in node.body
            if isinstance(each, ast.FunctionDef) and each.name == "__init__"
        )
    )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_explain_parameters_that_exist(path: Path) -> None:
    stale = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        _, found, explained = (ast.get_docstring(node) or "").partition("\nArgs:\n")
        if found:
            explained = re.split(r"\n(?=\S)", explained)[0]
            names = re.findall(r"^    (\w+(?:, \w+)*):", explained, re.MULTILINE)
            wanted = {name for listed in names for name in listed.split(", ")}
            stale += [f"{node.name}: {name}" for name in wanted - parameters_of(node)]
    assert [] == stale
