"""What may stand in a place of the file, made from the annotation of the field that it is meant for.

`shape_of` is the only road from Python types to YAML, and both the reading and the JSON Schema walk it; so there is no
second schema that could disagree. An alternative that YAML cannot say (a function, an exception class) drops out of its
union.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import decimal
import enum
import functools
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..matching import On
from ..retrying.schedule import Wait
from ..units import Spelling, Unit
from .containers import Keys, ListOf, MappingOf, OneOf, Plain
from .fields import Fields
from .quantities import Duration, Pace, Percent, Percentile
from .scalars import Choice, Flag, Identifier, Null, Number, Text, Unspeakable, Whole, Word
from .shape import Shape
from .texts import Converted, Spelled

__all__ = ["fields_of", "shape_of"]

_SCALARS: dict[Any, Shape] = {
    bool: Flag(),
    int: Whole(),
    float: Number(),
    str: Text(),
    type(None): Null(),
    Any: Plain(),
    object: Plain(),
}
_QUANTITIES: dict[str, Shape] = {
    "seconds": Duration(),
    "share": Percent(),
    "quantile": Percentile(),
    "rate": Pace(),
    "name": Word(),
    "identifier": Identifier(),
}
_TIME = Duration()
_WAIT = OneOf(
    (
        _TIME,
        Keys(
            {
                "expo": Keys({"base": Number(), "factor": OneOf((Number(), _TIME)), "max_value": _TIME}),
                "fibo": Keys({"max_value": _TIME}),
                "constant": Keys({"interval": OneOf((_TIME, ListOf(_TIME)))}),
            },
            one=True,
        ),
    )
)
"""`resilience.schedule.Wait` takes any mapping, so its keys stand here. `factor` is a multiplier, and may be a time."""

_ON = OneOf((Identifier(), ListOf(Identifier(), least=1), Null()))
"""`resilience.matching.On`, without the types and predicates of Python code."""


@functools.cache
def shape_of(hint: Any) -> Shape:
    """The shape that a type annotation asks for; `Unspeakable` for what YAML has no words for."""
    if hint == Wait:
        return _WAIT
    if hint == Wait | None:
        return OneOf((*_WAIT.shapes, Null()))
    if hint == On:
        return _ON
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        unit = next((mark.name for mark in args[1:] if isinstance(mark, Unit)), "")
        shape = _QUANTITIES.get(unit) or shape_of(args[0])
        pattern = next((mark.pattern for mark in args[1:] if isinstance(mark, Spelling)), None)
        return shape if pattern is None else Spelled(shape, pattern)
    if origin in (Union, types.UnionType):
        return _union([shape_of(arg) for arg in args])
    if origin is Literal:
        return Choice(args)
    if origin in (collections.abc.Mapping, dict) and args[:1] == (str,):
        return MappingOf(shape_of(args[1]))
    if origin in (collections.abc.Sequence, list) or (origin is tuple and args[1:] == (...,)):
        return ListOf(shape_of(args[0]), list if origin is list else tuple)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return fields_of(hint)
    if isinstance(hint, type) and (hasattr(hint, "from_config") or issubclass(hint, (enum.Enum, decimal.Decimal))):
        return Converted(hint)
    return Unspeakable()


@functools.cache
def fields_of(kind: Any, without: tuple[str, ...] = ()) -> Fields:
    """The shape of a dataclass. `without` names fields that never come from a file."""
    hints = get_type_hints(kind, include_extras=True)
    names = [item.name for item in dataclasses.fields(kind) if item.init and item.name not in without]
    return Fields(kind, {name: shape_of(hints[name]) for name in names})


def _union(shapes: Sequence[Shape]) -> Shape:
    spoken = [shape for shape in shapes if not isinstance(shape, Unspeakable)]
    if all(isinstance(shape, Null) for shape in spoken):
        spoken.append(Unspeakable())
    return spoken[0] if len(spoken) == 1 else OneOf(spoken)
