"""A YAML file as nodes that know where they stand, built from libyaml's events and typed by nobody yet.

YAML's own typing is the trap: `no` is False, `010` is 8, `12:30:45` is 45045, and the last of two equal keys wins, all
in silence. So nothing is typed here. A scalar keeps its text; the field that it is meant for decides what it may be
(`resilience.config.shapes`). Aliases, anchors, tags and merge keys are refused: 332 bytes of them make three million
nodes. Depth is checked on the events, since the C composer overflows its stack on a hundred thousand brackets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import ConfigError
from .environment import PREFIXES, Environment
from .problems import InvalidConfig, Problem, Problems

__all__ = ["MOST_BYTES", "TOO_LARGE", "Document", "Node", "Source", "parsed", "short", "whole"]

MOST_BYTES = 256 * 1024
TOO_LARGE = f"is larger than {MOST_BYTES // 1024} kB; split it"
_LONGEST_PATH = 200
_NULLS = ("", "~", "null", "Null", "NULL")


class Document:
    """The ways in: a file, or text with a name for the errors."""

    @staticmethod
    def load(
        path: str | os.PathLike[str],
        *,
        env: Environment | None = None,
        prefixes: Sequence[str] = PREFIXES,
        problems: Problems | None = None,
        text: str | None = None,
    ) -> Node:
        """The root node of a file and what it includes, at most 256 kB of text in all.

        `text` stands in for what the file itself holds, which is then not opened. Raises `ConfigError` (see `parse`),
        also if a file cannot be read.
        """
        from .include import read_with_includes

        own = Problems()
        root = read_with_includes(path, env or Environment(prefixes), own if problems is None else problems, text)
        own.finish()
        return root

    @staticmethod
    def parse(
        text: str,
        name: str = "<text>",
        *,
        env: Environment | None = None,
        prefixes: Sequence[str] = PREFIXES,
        problems: Problems | None = None,
    ) -> Node:
        """The root node of a text.

        Raises `ConfigError` with all that is wrong with the text as such: syntax, size, depth, duplicate keys, aliases,
        tags, references to the environment. Given `problems`, it puts there what need not end the reading (a value that
        cannot be used is then a *broken* node, which `convert` passes over); bad syntax is raised all the same.
        """
        own = Problems()
        root = parsed(text, Source(name, env or Environment(prefixes)), own if problems is None else problems)
        own.finish()
        return root


def parsed(text: str, source: Source, problems: Problems) -> Node:
    """The root node of a text of at most 256 kB. Raises `InvalidConfig` for what ends the reading (see `parse`)."""
    from .parser import read

    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise whole(source.name, TOO_LARGE, "size")
    return read(text, source, problems)


def whole(name: str, text: str, rule: str, at: tuple[int, int] = (1, 1)) -> InvalidConfig:
    """An error about a text as a whole."""
    return InvalidConfig([Problem(name, *at, "$", text, rule)])


class Source:
    """Where nodes come from: a file's name, and the environment that some of its values came from.

    `preset` is true of what ships with this package. `files` are the paths of all files that were read with it, itself
    first. `values` counts what was read of them all, because the bound is one for a whole configuration.
    """

    __slots__ = ("env", "files", "name", "preset", "values")

    def __init__(self, name: str, env: Environment, *, preset: bool = False, values: int = 0) -> None:
        self.name = name
        self.env = env
        self.files: tuple[str, ...] = ()
        self.preset = preset
        self.values = values


class Node:
    """A mapping, a sequence or a scalar of the file.

    `kind` says which; `line` and `col` count from 1. A scalar has its `text` as written (or from the environment) and
    `style`: ``"plain"``, ``"quoted"`` (block text too) or ``"env"``. `key_at` is the position of the key before it.
    `broken` is the problem that makes it useless (an alias, say); such nodes exist only while problems are collected.
    """

    __slots__ = (
        "_entries", "_items", "_label", "_parent", "broken", "col", "key_at", "kind", "line", "source", "style", "text",
        "written",
    )  # fmt: skip

    def __init__(self, source: Source, kind: str, line: int, col: int, parent: Node | None, label: str) -> None:
        self.source = source
        self.kind = kind
        self.line, self.col = line, col
        self.key_at = (line, col)
        self.text = self.written = self.style = ""
        self.broken: Problem | None = None
        self._parent = parent
        self._label = label
        self._entries: dict[str, Node] = {}
        self._items: list[Node] = []

    # -- what is in it ----------------------------------------------------------------------------------------

    def get(self, key: str) -> Node | None:
        """The value of a key of a mapping; None where there is no such key (or this is no mapping)."""
        return self._entries.get(key)

    def items(self) -> Iterator[tuple[str, Node]]:
        """Keys and values of a mapping, in the order of the file."""
        return iter(self._entries.items())

    def keys(self) -> list[str]:
        """The keys of a mapping, in the order of the file."""
        return list(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Node]:
        """The elements of a sequence."""
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items) or len(self._entries)

    def __bool__(self) -> bool:
        return True

    @property
    def is_null(self) -> bool:
        """Whether this is YAML's null, or a key with nothing after it."""
        return self.kind == "scalar" and self.style == "plain" and self.text in _NULLS

    # -- where it stands, and what to say about it ------------------------------------------------------------

    @property
    def path(self) -> str:
        """``pipelines.market[0].retry``; ``$`` for the root. Made when asked for: a hostile file has long ones."""
        parts: list[str] = []
        node: Node | None = self
        while node is not None:
            parts.append(node._label)
            node = node._parent
        path = "".join(reversed(parts)).removeprefix(".") or "$"
        return path if len(path) <= _LONGEST_PATH else f"{path[:60]}...{path[-130:]}"

    @property
    def found(self) -> str:
        """What stands here, in words for an error. Never a value from the environment."""
        if self.kind == "mapping":
            return "a mapping" if self._entries else "an empty mapping"
        if self.kind == "sequence":
            return "a list" if self._items else "an empty list"
        if self.style == "env":
            return f"the value of {self.written}"
        if self.is_null:
            return "nothing"
        return repr(short(self.text)) + (" in quotes" if self.style == "quoted" else "")

    def problem(self, text: str, rule: str = "value", *, at_key: bool = False) -> Problem:
        """A problem at this place; `at_key` points at the key instead of the value."""
        line, col = self.key_at if at_key else (self.line, self.col)
        return Problem(self.source.name, line, col, self.path, self.source.env.scrub(text), rule)

    def error(self, text: str, rule: str = "value", *, at_key: bool = False) -> ConfigError:
        """The same as an error to raise."""
        return InvalidConfig([self.problem(text, rule, at_key=at_key)])

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path} at {self.source.name}:{self.line}:{self.col}>"

    # -- building ---------------------------------------------------------------------------------------------

    def put(self, key: str, node: Node) -> None:
        """Add an entry to a mapping."""
        self._entries[key] = node

    def append(self, node: Node) -> None:
        """Add an element to a sequence."""
        self._items.append(node)

    def taken(self, key: str) -> Node | None:
        """Remove an entry of a mapping and return it; None where there is none."""
        return self._entries.pop(key, None)

    def remade(self, kind: str) -> Node:
        """An empty container in the place of this node: what is made of it is told at its position."""
        node = Node(self.source, kind, self.line, self.col, self._parent, self._label)
        node.key_at = self.key_at
        return node


def short(text: Any, most: int = 60) -> str:
    """A text from a user on one line of bounded length, with nothing in it that a terminal would obey."""
    text = text if isinstance(text, str) else repr(text)
    text = text if len(text) <= most else text[: most - 3] + "..."
    return text if text.isprintable() else repr(text)[1:-1]
