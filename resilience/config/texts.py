"""Texts that mean more than their letters: those of a certain look, and those that a type makes something of."""

from __future__ import annotations

from typing import Any

from .document import Node, short
from .problems import Problems
from .scalars import Text
from .shape import Shape, refuse

__all__ = ["Converted", "Spelled"]


class Spelled:
    """Text of a certain look, which only the schema asks for: what reads the text knows better what is wrong."""

    def __init__(self, shape: Shape, pattern: str) -> None:
        self._shape = shape
        self._pattern = pattern
        self.words = shape.words

    def takes(self, node: Node) -> bool:
        return self._shape.takes(node)

    def read(self, node: Node, problems: Problems) -> Any:
        return self._shape.read(node, problems)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {**self._shape.schema(defs), "pattern": self._pattern}


class Converted:
    """A text that a type makes something of: msgspec's own (Decimal, Enum, datetime), or one with a `from_config`.

    ``from_config(text)`` is a class method that raises `ValueError` in words for the user; a number or a flag is no
    text to it, unless in quotes.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self.words = f"text for {getattr(kind, '__name__', kind)}"

    def takes(self, node: Node) -> bool:
        return node.kind == "scalar" and not node.is_null

    def read(self, node: Node, problems: Problems) -> Any:
        if not self.takes(node):
            return refuse(node, self.words, problems)
        from_config = getattr(self._kind, "from_config", None)
        if from_config is not None and not Text().takes(node):
            return Text().read(node, problems)
        try:
            if from_config is not None:
                return from_config(node.text)
            import msgspec

            return msgspec.convert(node.text, self._kind, strict=False)
        except (ValueError, TypeError) as error:
            cause = short(node.source.env.scrub(str(error)), 200)
            return refuse(node, self.words, problems, f": {cause}")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        if getattr(self._kind, "from_config", None) is not None:
            return {"type": "string"}
        import msgspec

        (schema,), parts = msgspec.json.schema_components((self._kind,), ref_template="#/$defs/{name}")
        defs.update(parts)
        return dict(schema)
