"""What a dataclass looks like in the file: a mapping of its fields, which the dataclass itself judges."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .bounds import Bounds, bounds_of, narrowed
from .containers import Keys, MappingOf, OneOf
from .document import Node, Source, short
from .environment import Environment
from .problems import Problems
from .quantities import Duration, bounded
from .shape import BROKEN, Shape

__all__ = ["Fields"]

_NAMED = re.compile(r"\w+: (\w+)")


class Fields:
    """A dataclass, from a mapping of its fields; `shapes` has those that a file may give."""

    def __init__(self, kind: Any, shapes: Mapping[str, Shape]) -> None:
        self.kind = kind
        self._fields = [item for item in dataclasses.fields(kind) if item.name in shapes]
        self.required = [item.name for item in self._fields if _required(item)]
        self.keys = Keys(shapes, self.required)
        self.words = self.keys.words

    def takes(self, node: Node) -> bool:
        return node.kind == "mapping"

    def read(self, node: Node, problems: Problems) -> Any:
        values = self.keys.read(node, problems)
        return BROKEN if values is BROKEN else self.make(node, values, problems)

    def make(self, node: Node, values: Mapping[str, Any], problems: Problems) -> Any:
        """The dataclass itself; what its own checks say is reported at the key that they name, else at the node."""
        try:
            return self.kind(**values)
        except (ValueError, TypeError, ArithmeticError) as error:
            text = short(node.source.env.scrub(str(error)), 400)  # first scrubbed, then cut
            cause = text if isinstance(error, ConfigError) else f"{self.kind.__name__} cannot be made of this: {text}"
            problems.add(_culprit(node, text).problem(cause))
            return BROKEN

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        name = self.kind.__name__
        if name not in defs:
            defs[name] = {}
            schema = self.keys.schema(defs)
            schema["description"] = (self.kind.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
            bounds = self._bounds()
            for item in self._fields:
                piece = narrowed(schema["properties"][item.name], bounds.get(item.name), bounded)
                default = _default(item, self.keys.shapes[item.name])
                schema["properties"][item.name] = piece if default is BROKEN else {**piece, "default": default}
            defs[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def _bounds(self) -> dict[str, Bounds]:
        shapes = self.keys.shapes
        required = [item.name for item in dataclasses.fields(self.kind) if _required(item)]
        samples = {name: _sample(shapes.get(name)) for name in required}
        tables = [name for name, shape in shapes.items() if isinstance(shape, MappingOf)]
        for also in [{}, *({name: _sample(shape)} for name, shape in shapes.items())]:  # some want one of several
            try:
                self.kind(**samples, **also)
            except (ValueError, TypeError):
                continue
            return bounds_of(self.kind, samples | also, shapes, tables)
        return {}


def _sample(shape: Shape | None) -> Any:
    """A value that a required field would take."""
    if shape is None:
        return list  # what lends
    for text in ("1/s", "1s", "1", "50%"):
        node = Node(Source("sample", Environment(())), "scalar", 1, 1, None, "")
        node.text, node.style = text, "plain"
        if shape.takes(node):
            return shape.read(node, Problems())
    return None


def _culprit(node: Node, text: str) -> Node:
    """The entry that an error means, as far as its text tells: it names the key, or quotes the value."""
    named = _NAMED.match(text)
    child = node.get(named[1]) if named else None
    if child is None:
        quoted = [child for _, child in node.items() if child.kind == "scalar" and repr(child.text) in text]
        child = quoted[0] if len(quoted) == 1 else None
    return child or node


def _required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _default(item: dataclasses.Field[Any], shape: Shape) -> Any:
    """The default as the file would spell it; BROKEN if there is none, or none that YAML can say."""
    value = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)) and math.isfinite(value):
        timed = isinstance(shape, Duration) or (isinstance(shape, OneOf) and isinstance(shape.main, Duration))
        return f"{value:g}s" if timed and value else value
    return value if isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()) else BROKEN
