"""
A YAML file as a plain tree of mappings, lists and scalars.

YAML can do more than a configuration needs. A duplicate key silently wins, ``20:00`` is the number 1200, ``no``
is false, and ten lines of aliases can expand to a billion nodes. This module refuses all of that.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from monitor.config.errors import Path as KeyPath
from monitor.config.errors import key_path, shown_key
from monitor.config.files import read_file
from monitor.errors import ConfigError

Tree: TypeAlias = "Mapping[str, Tree] | list[Tree] | str | int | float | bool | None"

MAX_BYTES = 1024 * 1024
MAX_ALIASES = 100
MAX_NODES = 200_000
MAX_DEPTH = 32
# To parse more lines, values of flow lists and brackets than this takes seconds. It is 20,000 managed users.
MAX_SEPARATORS = 40_000
MAX_BRACKETS_IN_A_ROW = 100

_VARIABLE = re.compile(r"\$\$|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Loader(yaml.SafeLoader):
    """A safe YAML loader: no duplicate keys, few aliases, and only true and false are booleans."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name; the plain scalars below replace YAML 1.1's
    aliases = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                raise _with_place(self.peek_event(), f"more than {MAX_ALIASES} aliases")  # type: ignore[no-untyped-call]  # PyYAML's
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise _with_place(key, "a key must be plain text")
            if key.value in seen:
                raise _with_place(key, f"the key {shown_key(key.value)} is given twice")
            seen.add(key.value)
        return node

    def flatten_mapping(self, node: MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_NODES:
            raise _with_place(node, "too many merged values")


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+", "-+0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), list(_first))


def read_document(path: Path) -> Mapping[str, Tree]:
    """
    Read a configuration file.

    Raises:
        ConfigError: it can't be read, isn't UTF-8, isn't YAML (with line and column), or isn't a mapping.
    """
    source = shown_key(str(path), limit=200)
    try:
        body, _ = read_file(path, max_bytes=MAX_BYTES)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{source}: can't be read: {reason}; want a readable YAML file") from None
    if len(body) > MAX_BYTES:
        raise ConfigError(f"{source}: is larger than 1 MiB; want a configuration file")
    tree, problem = _parse(body)
    if problem:
        raise ConfigError(f"{source}: {problem}")
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else "a list" if isinstance(tree, list) else "a single value"
        raise ConfigError(f"{source}: found {found}, want a mapping with the key 'accounts'")
    return tree


def expand(tree: Tree, environ: Mapping[str, str]) -> Tree:
    """
    Replace ``${NAME}`` in every string from the environment and ``$$`` by ``$``.

    Raises:
        ConfigError: a name isn't set, or the tree has values that a configuration can't have. The message lacks
            the file's name.
    """
    return _Expansion(environ).expand(tree, ())


class _Expansion:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.nodes = 0

    def expand(self, tree: Tree, path: KeyPath) -> Tree:
        self.nodes += 1
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{key_path(path[:4])}: nested too deeply")
        if self.nodes > MAX_NODES:
            raise ConfigError(f"{key_path(path[:4])}: too many values, want at most {MAX_NODES} in one file")
        match tree:
            case str():
                return _VARIABLE.sub(lambda match: self._value(match, path), tree)
            case None | bool() | int() | float():
                return tree
            case list():
                return [self.expand(item, (*path, index)) for index, item in enumerate(tree)]
            case Mapping():
                return dict(self._items(tree, path))
            case _:
                raise ConfigError(f"{key_path(path)}: found a {type(tree).__name__}, want plain text")

    def _items(self, tree: Mapping[Any, Tree], path: KeyPath) -> Iterator[tuple[str, Tree]]:
        for key, value in tree.items():
            if not isinstance(key, str):
                place = f"{key_path(path)}: " if path else ""
                raise ConfigError(f"{place}a key is {type(key).__name__}, want text (put it in quotes)")
            yield key, self.expand(value, (*path, key))

    def _value(self, match: re.Match[str], path: KeyPath) -> str:
        if match[0] == "$$":
            return "$"
        if not _NAME.fullmatch(match[1]):
            raise ConfigError(
                f"{key_path(path)}: want ${{NAME}} with the name of a variable ($$ is a plain $)"
            )
        if match[1] not in self.environ:
            raise ConfigError(
                f"{key_path(path)}: the environment variable {match[1]} is not set; "
                f"set it, or write $$ for a plain $"
            )
        return self.environ[match[1]]


def _parse(body: bytes) -> tuple[object, str]:
    """Return the document, or an error of our own: the library's errors quote the file."""
    try:
        text = body.decode("utf-8-sig")
        if sum(map(text.count, "\n,[{")) > MAX_SEPARATORS:
            return (
                None,
                f"too many values: want at most {MAX_SEPARATORS} lines, commas and brackets in one file",
            )
        if re.search(rf"(?:[\[{{]\s*){{{MAX_BRACKETS_IN_A_ROW}}}", text):
            return None, "nested too deeply"
        return yaml.load(text, Loader=_Loader), ""  # noqa: S506 - derives from SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = _without_quotes(error.problem or error.context or "isn't YAML")
        if mark and _is_indented_by_tab(text, mark.line):
            problem = "a tab in the indentation; want spaces"
        return None, where + problem
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        return None, f"line {line}: isn't UTF-8; want a YAML file in UTF-8"
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return None, f"line {line}: a control character, which YAML doesn't allow"
    except RecursionError:
        return None, "nested too deeply"
    except (yaml.YAMLError, ValueError, TypeError):
        return None, "isn't YAML"


def _is_indented_by_tab(text: str, line: int) -> bool:
    return any(re.match(r" *\t", written) for written in text.split("\n")[line : line + 1])


def _without_quotes(problem: str) -> str:
    """Drop what PyYAML quotes, because it could be an unquoted password that starts with ``*`` or ``!``."""
    problem = (
        problem if problem.startswith("the key ") else re.sub(r"(['\"])(?!<[a-z ]+>').{2,}\1", "…", problem)
    )
    return " ".join(problem.split())


def _with_place(where: Any, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=where.start_mark)
