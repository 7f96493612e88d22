"""What lists and mappings look like in the file, and where one of several things may stand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .document import Node
from .problems import Problems
from .scalars import Flag, Null, Number, Text, Unspeakable, Whole
from .shape import BROKEN, Shape, nearest, read, refuse

__all__ = ["Keys", "ListOf", "MappingOf", "OneOf", "Plain"]

_NAMED = re.compile(r"\w+: (\w+)")


class ListOf:
    def __init__(self, element: Shape, make: Callable[[list[Any]], Any] = tuple, *, least: int = 0) -> None:
        self._element = element
        self._make = make
        self._least = least
        self.words = f"a list of {element.words}"

    def takes(self, node: Node) -> bool:
        return node.kind == "sequence"

    def read(self, node: Node, problems: Problems) -> Any:
        if node.kind != "sequence":
            return refuse(node, self.words, problems)
        values = [read(self._element, child, problems) for child in node]
        return BROKEN if any(value is BROKEN for value in values) else self._make(values)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": self._element.schema(defs)}
        return {**schema, "minItems": self._least} if self._least else schema


class MappingOf:
    def __init__(self, element: Shape) -> None:
        self._element = element
        self.words = f"a mapping of names to {element.words}"

    def takes(self, node: Node) -> bool:
        return node.kind == "mapping"

    def read(self, node: Node, problems: Problems) -> Any:
        if node.kind != "mapping":
            return refuse(node, self.words, problems)
        values = {key: read(self._element, child, problems) for key, child in node.items()}
        return BROKEN if any(value is BROKEN for value in values.values()) else values

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": self._element.schema(defs)}


class Keys:
    """A mapping with known keys. `one`: exactly one of them stands there (``wait: {expo: {...}}``)."""

    def __init__(self, shapes: Mapping[str, Shape], required: Sequence[str] = (), *, one: bool = False) -> None:
        self.shapes = shapes
        self.required = required
        self._one = one
        self.words = f"a mapping of {'one of ' if one else ''}{', '.join(shapes)}" if shapes else "an empty mapping"

    def takes(self, node: Node) -> bool:
        return node.kind == "mapping"

    def read(self, node: Node, problems: Problems) -> Any:
        if node.kind != "mapping":
            return refuse(node, self.words, problems)
        values: dict[str, Any] = {}
        for key, child in node.items():
            values[key] = self._read(key, child, problems)
        for key in self.required:
            if key not in values:
                problems.add(node.problem(f"the key {key} is missing", "missing-key"))
                values[key] = BROKEN
        if self._one and len(node) != 1:
            return refuse(node, self.words, problems)
        return BROKEN if any(value is BROKEN for value in values.values()) else values

    def _read(self, key: str, child: Node, problems: Problems) -> Any:
        shape = self.shapes.get(key)
        if shape is not None:
            return read(shape, child, problems)
        allowed = list(self.shapes)
        text = f"unknown key{nearest(key, allowed)} (allowed: {', '.join(allowed) or 'none'})"
        problems.add(child.problem(text, "unknown-key", at_key=True))
        return BROKEN

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
        schema["properties"] = {key: shape.schema(defs) for key, shape in self.shapes.items()}
        if self.required:
            schema["required"] = list(self.required)
        if self._one:
            schema["minProperties"] = schema["maxProperties"] = 1
        return schema


class OneOf:
    """Alternatives. Where one of them looks meant, its own error is told; else all that is allowed."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self.shapes = shapes
        others = [shape for shape in shapes if not isinstance(shape, Null)]
        self.main = others[0] if len(others) == 1 else None
        self.words = " or ".join(dict.fromkeys(shape.words for shape in shapes))

    def takes(self, node: Node) -> bool:
        return any(shape.takes(node) for shape in self.shapes)

    def read(self, node: Node, problems: Problems) -> Any:
        fitting = [shape for shape in self.shapes if shape.takes(node)]
        if fitting:
            return max(fitting, key=lambda shape: _known(shape, node)).read(node, problems)  # the first of equals
        return self.main.read(node, problems) if self.main else refuse(node, self.words, problems)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [shape.schema(defs) for shape in self.shapes if not isinstance(shape, Unspeakable)]}


def _known(shape: Shape, node: Node) -> int:
    """How many keys of a mapping the shape knows: what tells one dataclass from another."""
    keys = getattr(shape, "keys", None)
    if node.kind != "mapping" or keys is None:
        return 0
    return sum(key in keys.shapes for key, _ in node.items())


class Plain:
    """Any data. A plain word that one YAML reads as text and another as something else must be put in quotes."""

    words = "plain data"

    def takes(self, node: Node) -> bool:
        return True

    def read(self, node: Node, problems: Problems) -> Any:
        if node.kind == "sequence":
            return ListOf(self, list).read(node, problems)
        if node.kind == "mapping":
            return MappingOf(self).read(node, problems)
        for shape in (Null(), Flag(), Whole(), Number()):
            if node.style != "env" and shape.takes(node):
                return shape.read(node, problems)
        if node.style == "plain" and (not Text().takes(node) or _resolves(node.text)):
            text = f"found {node.found}, which YAML's versions read differently; quote it if it is text, {_OR_ELSE}"
            problems.add(node.problem(text, "ambiguous"))
            return BROKEN
        return node.text

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {}


_OR_ELSE = "else write true, false or plain digits"


def _resolves(text: str) -> bool:
    """Whether YAML 1.1 reads this plain word as anything but text."""
    import yaml

    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    return any(regexp.match(text) for _, regexp in (*resolvers.get(text[:1], ()), *resolvers.get(None, ())))
