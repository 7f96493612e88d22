"""What a shape is: the meaning of one place in the file, known from the field's annotation, never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Protocol

from .document import Node
from .problems import Problems

__all__ = ["BROKEN", "Shape", "nearest", "read", "refuse"]

BROKEN: Any = type("Broken", (), {"__repr__": lambda self: "BROKEN"})()
"""What a shape returns after it has reported a problem."""


class Shape(Protocol):
    """What may stand in one place of the file."""

    @property
    def words(self) -> str:
        """What is allowed, for an error: "a whole number"."""

    def takes(self, node: Node) -> bool:
        """Whether the node looks meant for this shape, if there are others."""

    def read(self, node: Node, problems: Problems) -> Any:
        """The value, or `BROKEN` after the problem was added."""

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        """The same as JSON Schema; larger parts go into `defs`."""


def refuse(node: Node, words: str, problems: Problems, hint: str = "", rule: str = "type") -> Any:
    """Report that something else was found than what is allowed."""
    problems.add(node.problem(f"found {node.found}, must be {words}{hint}", rule))
    return BROKEN


def nearest(word: str, allowed: Sequence[str]) -> str:
    """``; did you mean retry?`` or nothing."""
    spelled = {name.lower().replace("-", "_"): name for name in reversed(allowed)}
    close = get_close_matches(word.lower().replace("-", "_")[:40], spelled, 1)
    return f"; did you mean {spelled[close[0]]}?" if close else ""


def read(shape: Shape, node: Node, problems: Problems) -> Any:
    """The value of a node, or `BROKEN` after what makes it useless was added."""
    if node.broken is None:
        return shape.read(node, problems)
    problems.add(node.broken)
    return BROKEN
