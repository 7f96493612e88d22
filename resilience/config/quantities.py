"""Numbers that are written with their unit: times (``250ms``), shares (``50%``) and quantiles (``p95``)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ConfigError
from ..units import duration, percent, quantile
from .document import Node
from .problems import Problems
from .scalars import number
from .shape import refuse

__all__ = ["Duration", "Percent", "Percentile"]


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
        pattern = r"^\s*[0-9]+(\.[0-9]+)?(ms|s|m|h)\s*$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}]}


class Percent(_Quantity):
    words = "a share, such as 50% or 0.5"
    parse = staticmethod(percent)

    def _value(self, node: Node) -> float | None:
        value = number(node)
        if value is not None:
            return float(value) if 0 <= value <= 1 else None
        return super()._value(node)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        pattern = r"^\s*0*(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%\s*$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0, "maximum": 1}]}


class Percentile(_Quantity):
    """It stays text: where it may stand, a number would mean something else."""

    words = "a quantile, such as p95"
    parse = staticmethod(quantile)

    def read(self, node: Node, problems: Problems) -> Any:
        return super().read(node, problems) if self._value(node) is None else node.text.strip()

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\s*p(?!0+(\.0+)?\s*$)[0-9]{1,2}(\.[0-9]+)?\s*$"}
