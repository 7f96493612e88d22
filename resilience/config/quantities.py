"""Numbers with their unit: times (``250ms``), rates (``600/5s``), shares (``50%``), and quantiles (``p95``).

Each shape has, as a pattern for the JSON Schema, exactly the spellings that `resilience.units` reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ..errors import ConfigError
from ..units import duration, percent, quantile
from .bounds import Bounds
from .decimals import at_most, below
from .document import Node
from .problems import Problems
from .scalars import Text, number
from .shape import refuse

__all__ = ["Duration", "Pace", "Percent", "Percentile", "bounded"]

_DECIMAL = r"[0-9]{1,18}(\.[0-9]{1,18})?"
_NOT_ZERO = r"(?=[0-9.]*[1-9])"
_AT_LEAST_ONE = r"(?=[0-9]*[1-9])"
_TIME = rf"{_DECIMAL}(ms|s|m|h)\s*$"
_ANY_TIME = rf"^\s*{_TIME}"


def _share(bounds: Bounds) -> str:
    """The percentages that a share within these bounds can be written as."""
    wanted = f"(?={at_most(_per_cent(1.0 if bounds.most is None else bounds.most))}%)"
    if bounds.above is not None and bounds.above >= 0:
        wanted += f"(?!{at_most(_per_cent(bounds.above))}%)"
    if bounds.least is not None and bounds.least > 0:
        wanted += f"(?!{below(_per_cent(bounds.least))}%)"
    return rf"^\s*{wanted}[0-9]{{1,18}}(\.[0-9]{{1,12}})?%\s*$"


def _per_cent(share: float) -> Decimal:
    return Decimal(repr(share)).scaleb(2)


_ANY_SHARE = _share(Bounds(None, None, None))


def bounded(pattern: str, bounds: Bounds) -> str:
    """The pattern of a quantity, of which only those are left that are within the bounds.

    Times are only asked whether they may be zero: no policy bounds them otherwise but by one another.
    """
    if pattern == _ANY_TIME and not bounds.zero:
        return rf"^\s*{_NOT_ZERO}{_TIME}"
    return _share(bounds) if pattern == _ANY_SHARE else pattern


class _Quantity:
    """A number that is written with its unit."""

    words = ""
    parse: Callable[[str], float]

    def _value(self, node: Node) -> float | None:
        if node.kind != "scalar":
            return None
        try:
            value = type(self).parse(node.text)
        except ConfigError:
            return None
        return value if math.isfinite(value) else None

    def takes(self, node: Node) -> bool:
        return self._value(node) is not None

    def read(self, node: Node, problems: Problems) -> Any:
        value = self._value(node)
        return refuse(node, self.words, problems, rule="unit") if value is None else value


class Duration(_Quantity):
    """Seconds. Only zero needs no unit: a bare 10 may be meant as milliseconds, and that mistake costs money."""

    words = "a time with its unit (ms, s, m, h), such as 250ms or 10s"
    parse = staticmethod(duration)

    def _value(self, node: Node) -> float | None:
        return 0.0 if number(node) == 0 else super()._value(node)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": _ANY_TIME}, {"const": 0}]}


class Percent(_Quantity):
    words = "a share, such as 50% or 0.5"
    parse = staticmethod(percent)

    def _value(self, node: Node) -> float | None:
        value = number(node)
        if value is not None:
            return float(value) if 0 <= value <= 1 else None
        return super()._value(node)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        number = {"type": "number", "minimum": 0, "maximum": 1}
        return {"anyOf": [{"type": "string", "pattern": _ANY_SHARE}, number]}


class Percentile(_Quantity):
    """It stays text: where it may stand, a number would mean something else."""

    words = "a quantile, such as p95"
    parse = staticmethod(quantile)

    def read(self, node: Node, problems: Problems) -> Any:
        return super().read(node, problems) if self._value(node) is None else node.text.strip()

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^\s*p{_NOT_ZERO}[0-9]{{1,2}}(\.[0-9]{{1,12}})?\s*$"}


class Pace(Text):
    """``600/5s``. The policy itself reads it, and wants room for one whole call; here it is a text."""

    words = "calls in a time, such as 600/5s or 10/s"

    def read(self, node: Node, problems: Problems) -> Any:
        return node.text if self.takes(node) else refuse(node, self.words, problems, rule="unit")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        window = rf"({_NOT_ZERO}([0-9]{{1,18}}(\.[0-9]{{1,18}})?|\.[0-9]{{1,18}}))?"
        return {"type": "string", "pattern": rf"^\s*{_AT_LEAST_ONE}{_DECIMAL} */ *{window} *(ms|s|m|h)\s*$"}
