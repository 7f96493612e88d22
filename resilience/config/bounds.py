"""Which numbers a setting takes: asked of the dataclass itself, so that the bounds are written down once.

A dataclass that is made with a number that is none (NaN) refuses it, and its refusal (`OutOfBounds`) tells the bounds.
Where a bound is another setting's value (`most` of at least `least`), it moves when that setting does; then only what
holds whatever the other says is kept. No JSON Schema could say more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..units import OutOfBounds

__all__ = ["Bounds", "bounds_of", "narrowed"]

_NO_NUMBER = math.nan
_SMALL, _LARGE = 1e-9, 10**9


class Bounds(NamedTuple):
    """None where there is no such bound."""

    above: float | None
    least: float | None
    most: float | None

    @property
    def zero(self) -> bool:
        """Whether zero is within."""
        return (self.above is None or self.above < 0) and (self.least is None or self.least <= 0)


def bounds_of(kind: Any, samples: Mapping[str, Any], names: Iterable[str], tables: Iterable[str]) -> dict[str, Bounds]:
    """The bounds of those fields that `kind` bounds; `tables` are those whose values, by name, are the numbers.

    `samples` has a good value for each required field.
    """
    tables = set(tables)
    names = list(names)
    probes = {name: {"x": _NO_NUMBER} if name in tables else _NO_NUMBER for name in names}
    first = {name: _asked(kind, samples, name, probes[name]) for name in names}
    found: dict[str, Bounds] = {}
    for name, bounds in first.items():
        if bounds is not None:
            others = [(other, own) for other, own in first.items() if own and other != name and other not in tables]
            found[name] = _whatever(kind, samples, name, probes[name], bounds, others)
    return found


def _whatever(
    kind: Any, samples: Mapping[str, Any], name: str, probe: Any, bounds: Bounds, others: list[tuple[str, Bounds]]
) -> Bounds:
    """What is left of the bounds when each other setting is as small, and as large, as it may be."""
    seen = [bounds]
    for other, own in others:
        low = own.least if own.least is not None else (own.above or 0) + _SMALL
        for value in (low, _LARGE if own.most is None else own.most):
            asked = _asked(kind, {**samples, other: value}, name, probe)
            if asked is not None:
                seen.append(asked)
    most = {each.most for each in seen}
    return Bounds(
        _lowest(each.above for each in seen),
        _lowest(each.least for each in seen),
        most.pop() if len(most) == 1 else None,
    )


def _asked(kind: Any, samples: Mapping[str, Any], name: str, probe: Any) -> Bounds | None:
    try:
        kind(**{**samples, name: probe})
    except OutOfBounds as refusal:
        return Bounds(*refusal.bounds) if refusal.name.partition("[")[0] == name else None
    except (ValueError, TypeError, AttributeError):  # it is no number that belongs here
        return None
    return None


def _lowest(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else min(value for value in known if value is not None)


def narrowed(piece: dict[str, Any], bounds: Bounds | None, bounded: Callable[[str, Bounds], str]) -> dict[str, Any]:
    """A piece of JSON Schema within the bounds. `bounded` makes of a pattern one that holds to them as well."""
    if bounds is None:
        return piece
    if piece.get("type") in ("integer", "number"):
        marks = {"exclusiveMinimum": bounds.above, "minimum": bounds.least, "maximum": bounds.most}
        made = {**piece, **{mark: value for mark, value in marks.items() if value is not None}}
        return {key: value for key, value in made.items() if key != "minimum" or bounds.above is None}
    made = dict(piece)
    if "anyOf" in piece:
        made["anyOf"] = [
            narrowed(each, bounds, bounded) for each in piece["anyOf"] if bounds.zero or each != {"const": 0}
        ]
    if "pattern" in piece:
        made["pattern"] = bounded(piece["pattern"], bounds)
    for key in ("items", "additionalProperties"):
        if isinstance(piece.get(key), dict):
            made[key] = narrowed(piece[key], bounds, bounded)
    if "properties" in piece:
        made["properties"] = {name: narrowed(each, bounds, bounded) for name, each in piece["properties"].items()}
    return made
