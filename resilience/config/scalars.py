"""What one scalar may be: a shape per kind of value, which reads it strictly and can say in words what it takes.

A shape is asked for by a field's annotation, never guessed from the text. Where YAML 1.1 and 1.2 disagree about a plain
word, nothing is reinterpreted: a number's and a flag's shape refuse `010`, `1e3` and `no`; a text's shape takes `no` as
the word that it is, and refuses what YAML 1.2 reads as a number, a flag or null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .document import Node
from .problems import Problems
from .shape import BROKEN, nearest, refuse

__all__ = [
    "Choice",
    "Flag",
    "Identifier",
    "Null",
    "Number",
    "Text",
    "Unspeakable",
    "Whole",
    "Word",
    "number",
]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
_DIGITS = re.compile(r"-?[1-9][0-9]{18,}(\.[0-9]*)?")
_ODD_NUMBER = re.compile(r"[-+]?[0-9.][0-9_,.]*(?:[eE][-+]?[0-9]+)?|0[xob][0-9a-fA-F_]+")
_NOT_TEXT = re.compile(
    r"|~|null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


def number(node: Node) -> int | float | None:
    """The number that a plain scalar writes in plain digits, None for anything else."""
    if node.kind != "scalar" or node.style == "quoted":
        return None
    match = _NUMBER.fullmatch(node.text)
    if match is None:
        return None
    return float(node.text) if match[1] else int(node.text)


def _digits(node: Node) -> str:
    if node.kind != "scalar" or node.style != "plain" or _ODD_NUMBER.fullmatch(node.text) is None:
        return ""
    if _DIGITS.fullmatch(node.text):
        return "; at most 18 digits"
    return "; write it in plain digits (no leading zero, exponent, underscore, or +)"


class Null:
    words = "null"

    def takes(self, node: Node) -> bool:
        return node.is_null

    def read(self, node: Node, problems: Problems) -> Any:
        return None if node.is_null else refuse(node, self.words, problems)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "null"}


class Flag:
    words = "true or false"

    def takes(self, node: Node) -> bool:
        return node.kind == "scalar" and node.style != "quoted" and node.text in ("true", "false")

    def read(self, node: Node, problems: Problems) -> Any:
        return node.text == "true" if self.takes(node) else refuse(node, self.words, problems)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "boolean"}


class Whole:
    words = "a whole number"

    def takes(self, node: Node) -> bool:
        return isinstance(number(node), int)

    def read(self, node: Node, problems: Problems) -> Any:
        value = number(node)
        return value if isinstance(value, int) else refuse(node, self.words, problems, _digits(node))

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "integer"}


class Number:
    words = "a number"

    def takes(self, node: Node) -> bool:
        return number(node) is not None

    def read(self, node: Node, problems: Problems) -> Any:
        value = number(node)
        return refuse(node, self.words, problems, _digits(node)) if value is None else float(value)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "number"}


class Text:
    words = "text"

    def takes(self, node: Node) -> bool:
        return node.kind == "scalar" and (node.style != "plain" or _NOT_TEXT.fullmatch(node.text) is None)

    def read(self, node: Node, problems: Problems) -> Any:
        if self.takes(node):
            return node.text
        unquoted = node.kind == "scalar" and not node.is_null
        return refuse(node, self.words, problems, "; put it in quotes if it is meant as text" if unquoted else "")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string"}


class Word(Text):
    """A text that is not empty. The dataclass itself refuses an empty one."""

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class Identifier(Text):
    """A name as Python has them, of an exception type say. The policy itself refuses what cannot be one."""

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[^\W\d]\w*$"}


_SPELLED = {"None": "null", "True": "true", "False": "false"}


class Choice:
    """One of a few words (or numbers, flags, null) that an annotation's `Literal` lists."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self._texts = [value for value in values if isinstance(value, str)]

    @property
    def words(self) -> str:
        return "one of " + ", ".join(_SPELLED.get(repr(value), str(value)) for value in self._values)

    def _value(self, node: Node) -> Any:
        if Text().takes(node) and node.text in self._texts:
            return node.text
        for shape in (Null(), Flag(), Whole()):
            if shape.takes(node):
                value = shape.read(node, Problems())
                if any(value is v or (type(value) is type(v) and value == v) for v in self._values):
                    return value
        return BROKEN

    def takes(self, node: Node) -> bool:
        return self._value(node) is not BROKEN

    def read(self, node: Node, problems: Problems) -> Any:
        value = self._value(node)
        if value is not BROKEN:
            return value
        guess = "" if node.style == "env" else nearest(node.text, self._texts)
        return refuse(node, self.words, problems, guess, "choice")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"enum": list(self._values)}


class Unspeakable:
    """A function, a type or an object: what only Python code can say."""

    words = "something that only Python code can set (a function or an object); leave it out here"

    def takes(self, node: Node) -> bool:
        return False

    def read(self, node: Node, problems: Problems) -> Any:
        problems.add(node.problem(f"found {node.found}, but this is {self.words}", "python-only"))
        return BROKEN

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"not": {}}
