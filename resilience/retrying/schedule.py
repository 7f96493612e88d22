"""How long to wait: backoff's generators for the growth, our jitters for the spread.

backoff (2.2.1) gives `expo`, `fibo`, `constant` and `runtime`, and a protocol that any generator can follow: it is
primed with one ``send(None)``, then takes the last error or result and yields the next wait in seconds. backoff's own
jitters draw from the global random source; ours have the same ``f(value)`` shape and draw from the pipeline's.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from types import GeneratorType
from typing import Any, Literal, TypeAlias, Union, get_args

from ..errors import ConfigError
from ..units import check

__all__ = ["Jitter", "Next", "Wait", "check_wait", "schedule", "steady"]

WaitGenerator: TypeAlias = Generator[Any, Any, None]
_Named: TypeAlias = Literal["none", "full", "equal", "additive", "decorrelated"]
Wait: TypeAlias = Union[float, Mapping[str, Mapping[str, Any]], Callable[[], WaitGenerator], WaitGenerator]  # noqa: UP007
Jitter: TypeAlias = Union[_Named, Callable[[float], float], None]  # noqa: UP007
Next: TypeAlias = Callable[[Any], float | None]

_FIELDS = {
    "expo": {"base", "factor", "max_value"},
    "fibo": {"max_value"},
    "constant": {"interval"},
    "runtime": {"value"},
}
_JITTERS = get_args(_Named)


def check_wait(owner: str, wait: Wait, jitter: Jitter, place: str = "wait") -> None:
    """Raise `ConfigError` unless both can be used. Imports nothing: configuration is checked before first use."""
    if isinstance(wait, Mapping):
        _check_named(owner, wait, place)
    elif not callable(wait) and not isinstance(wait, GeneratorType):
        check(owner, place, wait, least=0)
    if not (jitter is None or callable(jitter) or jitter in _JITTERS):
        raise ConfigError(f"{owner}: jitter is {jitter!r}, must be one of {', '.join(_JITTERS)}, or a function")


def _check_named(owner: str, wait: Mapping[str, Mapping[str, Any]], place: str) -> None:
    if len(wait) != 1 or next(iter(wait)) not in _FIELDS:
        raise ConfigError(f"{owner}: {place} is {dict(wait)!r}, must name one of {', '.join(_FIELDS)}")
    name, fields = next(iter(wait.items()))
    unknown = set(fields) - _FIELDS[name]
    if unknown:
        allowed = ", ".join(sorted(_FIELDS[name]))
        raise ConfigError(f"{owner}: {place}.{name} has no {', '.join(sorted(unknown))}; it takes {allowed}")
    if name == "runtime":
        if not callable(fields.get("value")):
            raise ConfigError(f"{owner}: {place}.runtime needs value, a function of the error or result")
        return
    for field, value in fields.items():
        if field == "interval" and isinstance(value, (list, tuple)):
            for item in value:
                check(owner, f"{place}.constant.interval", item, least=0)
        elif value is not None:
            check(owner, f"{place}.{name}.{field}", value, least=0)


def schedule(wait: Wait, jitter: Jitter, cap: float, rng: random.Random) -> Next:
    """The waits of one call: a function of the last error or result that gives seconds, None when they have run out.

    `cap` bounds the sum of growth and jitter.
    """
    if wait == 0 and jitter in _OF_NOTHING_NOTHING:
        return _no_wait
    grow = _growth(wait, cap)
    spread = jitter if callable(jitter) else _SPREADS[jitter or "none"](rng, cap)

    def next_wait(sent: Any) -> float | None:
        value = grow(sent)
        if value is None:
            return None
        value = spread(value)
        if value <= 0.0:
            return 0.0
        return value if value < cap else cap

    return next_wait


def _no_wait(sent: Any) -> float:
    return 0.0


def steady(wait: Wait, jitter: Jitter) -> bool:
    """Whether one schedule serves all calls: it gives a number, and its jitter remembers nothing."""
    return isinstance(wait, (int, float)) and jitter != "decorrelated"


def _growth(wait: Wait, cap: float) -> Next:
    if isinstance(wait, Mapping):
        return _drive(_named(wait, cap), cap)
    if isinstance(wait, GeneratorType):
        return _shared(wait, cap)
    if callable(wait):
        return _drive(wait(), cap)
    seconds = float(wait)  # type: ignore[arg-type]  # what remains is a number
    return lambda sent: seconds


def _named(wait: Mapping[str, Mapping[str, Any]], cap: float) -> WaitGenerator:
    import backoff

    ((name, fields),) = wait.items()
    if "max_value" in _FIELDS[name]:
        fields = {"max_value": cap, **fields}  # unbounded, expo overflows at its 1024th value
    generator: WaitGenerator = getattr(backoff, name)(**fields)
    return generator


def _drive(generator: WaitGenerator, cap: float) -> Next:
    """Follow the protocol; a plain generator that yields its first wait at once is understood as well."""
    try:
        held = [generator.send(None)]
    except StopIteration:  # not a single wait
        return lambda sent: None

    def next_wait(sent: Any) -> float | None:
        if held and held[0] is not None:
            return float(held.pop())
        held.clear()
        try:
            return float(generator.send(sent))
        except StopIteration:
            return None
        except OverflowError:
            return cap

    return next_wait


_seen: dict[int, tuple[WaitGenerator, Next, list[float | None]]] = {}


def _shared(generator: WaitGenerator, cap: float) -> Next:
    """A generator *object* can run only once: its values are remembered, and every call begins with the first."""
    if id(generator) not in _seen:
        _seen[id(generator)] = (generator, _drive(generator, cap), [])
    _, drive, values = _seen[id(generator)]
    if getattr(generator, "__name__", "") == "runtime":  # depends on what is sent, and remembers nothing
        return drive
    position = -1

    def next_wait(sent: Any) -> float | None:
        nonlocal position
        position += 1
        if position == len(values):
            values.append(drive(sent))
        return values[position]

    return next_wait


def _none(rng: random.Random, cap: float) -> Callable[[float], float]:
    return lambda value: value


def _full(rng: random.Random, cap: float) -> Callable[[float], float]:
    return lambda value: rng.uniform(0, value)


def _equal(rng: random.Random, cap: float) -> Callable[[float], float]:
    return lambda value: value / 2 + rng.uniform(0, value / 2)


def _additive(rng: random.Random, cap: float) -> Callable[[float], float]:
    return lambda value: value + rng.random()


def _decorrelated(rng: random.Random, cap: float) -> Callable[[float], float]:
    """AWS, "Exponential Backoff And Jitter": between the base and three times the last wait."""
    base = last = 0.0

    def spread(value: float) -> float:
        nonlocal base, last
        if base <= 0.0:  # the first wait, or nothing but waits of nothing so far
            base = last = value
        last = min(cap, rng.uniform(base, max(base, last * 3)))
        return last

    return spread


_OF_NOTHING_NOTHING = (None, "none", "full", "equal")  # the jitters that spread a wait of nothing to nothing
_SPREADS: dict[str, Callable[[random.Random, float], Callable[[float], float]]] = {
    "none": _none,
    "full": _full,
    "equal": _equal,
    "additive": _additive,
    "decorrelated": _decorrelated,
}
