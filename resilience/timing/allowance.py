"""How long an operation is granted, from how long it took: a quantile of its latency times a factor, within bounds.

What the first calls are granted, before the quantile means something, is the *cold start* value, and again after a
pause that is longer than the window.

The surprising part is what a call that timed out counts as: the time that it was granted. It took at least that, so
the observation is censored, and to leave it out would make the estimate collapse: only the fast ones would be seen, and
each cut would justify the next. Counted as granted it makes room: where too many are cut, the quantile reaches what was
granted, the granted time grows above it, and so on up to the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..units import Seconds, Share, check
from .latency import Latency, step_above

__all__ = ["Adaptive", "Allowance"]


@dataclass(frozen=True, slots=True)
class Adaptive:
    """`factor` times the latency's `quantile` over the last `window` seconds, from `floor` to `ceiling`.

    In steps of 10 %, rounded up. With no `ceiling` it is the cold start value: then it can only shorten. An operation
    that is called too seldom for its quantile to mean something (100 times a window for 0.99) keeps that value.
    """

    quantile: Share = 0.99
    factor: float = 2.0
    floor: Seconds = 0.5
    ceiling: Seconds | None = None
    window: Seconds = 60.0

    def __post_init__(self) -> None:
        check("Adaptive", "quantile", self.quantile, above=0, most=0.999)
        check("Adaptive", "factor", self.factor, least=1)
        check("Adaptive", "floor", self.floor, above=0)
        if self.ceiling is not None:
            check("Adaptive", "ceiling", self.ceiling, least=self.floor)
        check("Adaptive", "window", self.window, above=0)

    def suits(self, owner: str, name: str, cold: float) -> None:
        """Raise `ConfigError` unless a cold start value lies within the bounds."""
        if cold < self.floor:
            raise ConfigError(f"{owner}: {name} is {cold:g}, below adaptive.floor, which is {self.floor:g}")
        if self.ceiling is not None and cold > self.ceiling:
            raise ConfigError(f"{owner}: {name} is {cold:g}, above adaptive.ceiling, which is {self.ceiling:g}")


class Allowance:
    """What one operation is granted: `seconds` as of the last revision, and the `latency` that it follows."""

    __slots__ = ("_ceiling", "_cold", "_rules", "latency", "seconds")

    def __init__(self, rules: Adaptive, cold: float) -> None:
        self.become(rules, cold)
        self.latency = Latency(rules.window)
        self.seconds = cold

    def become(self, rules: Adaptive, cold: float) -> None:
        """Follow other rules, of the same window, from the next revision on."""
        self._rules = rules
        self._cold = cold
        self._ceiling = cold if rules.ceiling is None else rules.ceiling

    def revise(self, now: float) -> float:
        """What is granted from now on, in seconds."""
        rules = self._rules
        measured = self.latency.quantile(rules.quantile, now)
        if measured is None:
            self.seconds = self._cold
        else:
            self.seconds = min(max(step_above(measured * rules.factor), rules.floor), self._ceiling)
        return self.seconds

    def status(self) -> dict[str, Any]:
        """The seconds that are granted, and on how many samples they rest."""
        return {"seconds": self.seconds, "samples": self.latency.count}
