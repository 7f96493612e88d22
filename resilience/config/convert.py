"""From a node of the file to a dataclass: strict, with every problem told at once.

The dataclass is the schema. Its annotations say what may stand where (`resilience.config.shapes`), its own
``__post_init__`` checks what numbers make sense, and both speak with the position in the file.
"""

from __future__ import annotations

from typing import Any, TypeVar

from .document import Node
from .problems import Problems
from .shape import read
from .shapes import shape_of

__all__ = ["convert"]

T = TypeVar("T")


def convert(node: Node, kind: type[T]) -> T:
    """The node as an instance of a dataclass, or of any type that a dataclass's field may have.

    Fields: `bool`, `int`, `float`, `str`, `Literal`, `Enum`, `Decimal`, `Mapping[str, X]`, `Sequence[X]`, dataclasses,
    unions of these, `Seconds` (``250ms``), `Share` (``50%``), and classes with a ``from_config(text)``. Raises
    `ConfigError` with all problems beneath the node.
    """
    hint: Any = kind
    problems = Problems()
    value: T = read(shape_of(hint), node, problems)
    problems.finish()
    return value
