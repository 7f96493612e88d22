"""Numbers with their unit: times (``250ms``), rates (``600/5s``), shares (``50%``), and quantiles (``p95``).

Each shape has, as a pattern for the JSON Schema, exactly the spellings that `resilience.units` reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from ..units import duration, percent, quantile
from .document import Node
from .problems import Problems
from .scalars import Text, number
from .shape import refuse

__all__ = ["WITHOUT_ZERO", "Duration", "Pace", "Percent", "Percentile"]

_DECIMAL = r"[0-9]{1,18}(\.[0-9]{1,18})?"
_NOT_ZERO = r"(?=[0-9.]*[1-9])"
_AT_LEAST_ONE = r"(?=[0-9]*[1-9])"
_TIME = rf"{_DECIMAL}(ms|s|m|h)\s*$"
_SHARE = r"(0{0,15}100(\.0{1,18})?|0{0,16}[0-9]{1,2}(\.[0-9]{1,18})?)%\s*$"

WITHOUT_ZERO = {rf"^\s*{pattern}": rf"^\s*{_NOT_ZERO}{pattern}" for pattern in (_TIME, _SHARE)}
"""The patterns that take a zero, each with one that does not."""


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
        return {"anyOf": [{"type": "string", "pattern": rf"^\s*{_TIME}"}, {"const": 0}]}


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
        return {"anyOf": [{"type": "string", "pattern": rf"^\s*{_SHARE}"}, number]}


class Percentile(_Quantity):
    """It stays text: where it may stand, a number would mean something else."""

    words = "a quantile, such as p95"
    parse = staticmethod(quantile)

    def read(self, node: Node, problems: Problems) -> Any:
        return super().read(node, problems) if self._value(node) is None else node.text.strip()

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^\s*p{_NOT_ZERO}[0-9]{{1,2}}(\.[0-9]{{1,18}})?\s*$"}


class Pace(Text):
    """``600/5s``. The policy itself reads it, and wants room for one whole call; here it is a text."""

    words = "calls in a time, such as 600/5s or 10/s"

    def read(self, node: Node, problems: Problems) -> Any:
        return node.text if self.takes(node) else refuse(node, self.words, problems, rule="unit")

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        window = rf"({_NOT_ZERO}([0-9]{{1,18}}(\.[0-9]{{1,18}})?|\.[0-9]{{1,18}}))?"
        return {"type": "string", "pattern": rf"^\s*{_AT_LEAST_ONE}{_DECIMAL} */ *{window} *(ms|s|m|h)\s*$"}
