"""Quantities as people write them: ``250ms``, ``10s``, ``600/5s``, ``50%``, and marks that say which field is which.

A policy's field is a plain `float`; the mark in its annotation (`Seconds`, `Share`) tells the configuration loader
which spellings to accept, so there is no second schema.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from .errors import ConfigError

__all__ = [
    "Identifier",
    "Name",
    "OutOfBounds",
    "Quantile",
    "Rate",
    "Seconds",
    "Share",
    "Spelling",
    "Unit",
    "check",
    "duration",
    "percent",
    "quantile",
    "rate",
]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)(ms|s|m|h)", re.ASCII)
_RATE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) */ *(\d{0,18}(?:\.\d{1,18})?) *(ms|s|m|h)", re.ASCII)
_QUANTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,12})?)", re.ASCII)  # beyond 15 digits a float may become the next bound
_PERCENT = re.compile(r"(\d{1,18}(?:\.\d{1,12})?)%", re.ASCII)


@dataclass(frozen=True, slots=True)
class Unit:
    """A mark in a field's annotation: the quantity that the number stands for."""

    name: str


@dataclass(frozen=True, slots=True)
class Spelling:
    """A mark in the annotation of a text: a pattern that it has to match, for editors. Whoever takes it checks more."""

    pattern: str


Seconds = Annotated[float, Unit("seconds")]
Share = Annotated[float, Unit("share")]
Quantile = Annotated[str, Unit("quantile")]
Rate = Annotated[str, Unit("rate")]
Name = Annotated[str, Unit("name")]
"""A text that is not empty."""
Identifier = Annotated[str, Unit("identifier")]
"""A name as Python has them."""


class OutOfBounds(ConfigError):
    """A number that `check` refuses: the field's `name`, and the `bounds` (above, least, most) that it had to keep.

    Whoever describes configuration (a JSON Schema, say) learns them here instead of writing them down again.
    """

    def __init__(self, text: str, name: str, bounds: tuple[float | None, float | None, float | None]) -> None:
        super().__init__(text)
        self.name = name
        self.bounds = bounds

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.name, self.bounds)


def _seconds(number: str, unit: str) -> float:
    return float(number) / 1000 if unit == "ms" else float(number) * _UNITS[unit]  # 9 * 0.001 is not 0.009


def duration(text: str) -> float:
    """Seconds of ``250ms``, ``10s``, ``5m`` or ``1h``. Raises `ConfigError` for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is no duration: write a number and a unit (ms, s, m, h), for example 250ms or 10s")
    return _seconds(match[1], match[2])


def rate(text: str) -> tuple[float, float]:
    """(n, window in seconds) of ``600/5s``. Raises `ConfigError` for anything else."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{text!r} is no rate: write calls/window, for example 600/5s or 10/s")
    window = _seconds(match[2] or "1", match[3])
    count = float(match[1])
    if count <= 0 or window <= 0:
        raise ConfigError(f"{text!r} is no rate: both numbers must be above zero")
    return count, window


def _hundredth(number: str) -> float:
    return float(f"{number}e-2")  # rounded once: 99.9 / 100 is above 0.999


def percent(text: str) -> float:
    """0.5 of ``50%``. Raises `ConfigError` for anything else."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise ConfigError(f"{text!r} is no share: write a percentage from 0% to 100%, or a number from 0 to 1")
    return _hundredth(match[1])


def quantile(text: str) -> float:
    """0.95 of ``p95``. Raises `ConfigError` for anything else."""
    match = _QUANTILE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"{text!r} is no quantile: write p and a percentage between 0 and 100, for example p95")
    return _hundredth(match[1])


def check(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    whole: bool = False,
) -> None:
    """Raise `ConfigError` unless `value` is a finite number within the bounds (an integer if `whole`)."""
    wanted = "a whole number" if whole else "a number"
    if above is not None:
        wanted += f" above {above:g}"
    if least is not None:
        wanted += f" of at least {least:g}"
    if most is not None:
        wanted += f" and at most {most:g}"
    fits = (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (above is None or value > above)
        and (least is None or value >= least)
        and (most is None or value <= most)
    )
    if not fits:
        raise OutOfBounds(f"{owner}: {name} is {value!r}, must be {wanted}", name, (above, least, most))
