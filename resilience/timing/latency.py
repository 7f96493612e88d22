"""Latency as it was lately: a histogram that forgets, for timeouts and hedges that follow what they measure.

Steps of 10 % from 10 us to about 1,000 s, in the manner of HdrHistogram and DDSketch (Masson and others, 2019): a
quantile is within 5 % of the sample it stands for, whatever the distribution, in bounded memory. The window is cut into
four generations, the oldest of which goes when a new one begins.

The surprising part is that a quantile is None until it means something: see `Latency.quantile`. No clock: methods are
told the time, in seconds of any clock; one that begins anew (another event loop) makes everything as old as now.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import accumulate
from operator import add
from typing import Any

__all__ = ["Latency", "step_above"]

_LEAST = 1e-5  # seconds; what is shorter counts as this
_STEP = 1.1  # and a reported value lies in the middle of a step: at most 1.1 ** 0.5 - 1 = 4.9 % from any in it
_STEPS = 194
_BOUNDS: list[float] = [_LEAST * _STEP**i for i in range(_STEPS)]
_VALUES: list[float] = [_LEAST, *(bound * _STEP**0.5 for bound in _BOUNDS)]
_GENERATIONS = 4
_FEWEST = 10


def step_above(seconds: float) -> float:
    """The next end of a step, at most 10 % above: so that what follows a quantile takes few distinct values."""
    return _BOUNDS[min(bisect_left(_BOUNDS, seconds), _STEPS - 1)]


class Latency:
    """How long things took in the last `window` seconds.

    What is older than the window is always forgotten; what is younger than three quarters of it never is.
    """

    __slots__ = ("_begun", "_current", "_earlier", "_ends", "_past", "_span")

    def __init__(self, window: float = 60.0) -> None:
        self._span = window / _GENERATIONS
        self._begun = self._ends = math.inf  # of the current generation
        self._current = [0] * (_STEPS + 1)
        self._past: list[list[int]] = []  # the generations before it, the oldest first
        self._earlier = self._current.copy()  # the sum of those

    def add(self, seconds: float, now: float) -> None:
        """One more sample. For the hot path: no allocation, about 150 ns."""
        if not self._begun <= now < self._ends:
            self._turn(now)
        self._current[bisect_right(_BOUNDS, seconds)] += 1

    @property
    def count(self) -> int:
        """How many samples are remembered."""
        return sum(self._earlier) + sum(self._current)

    def quantile(self, q: float, now: float | None = None) -> float | None:
        """The latency, in seconds, that a share `q` of the samples did not exceed; forgets first, if told the time.

        None until it means something: there are at least ten samples, and enough that one is expected on either side
        of the quantile (10 for the median, 20 for 0.95, 100 for 0.99, 1,000 for 0.999; never for 0 and 1).
        About 15 us: ask when the answer may have changed, not at every call.
        """
        if now is not None and not self._begun <= now < self._ends:
            self._turn(now)
        below: list[int] = list(accumulate(map(add, self._earlier, self._current)))
        count = below[-1]
        if count < _FEWEST or count * min(q, 1.0 - q) < 1.0 - 1e-9:
            return None
        return _VALUES[bisect_left(below, q * count - 1e-9)]

    def status(self) -> dict[str, Any]:
        """Samples, and three quantiles in seconds, each None until it means something."""
        quantiles = {f"p{100 * q:.0f}": self.quantile(q) for q in (0.5, 0.95, 0.99)}
        return {"samples": self.count, **quantiles}

    def _turn(self, now: float) -> None:
        """Begin a new generation, and let go of what has become too old."""
        if now < self._begun:  # the first sample, or the clock began anew: how old the others are, nobody knows
            self._current = list(map(add, self._earlier, self._current))
            self._past.clear()
            self._begun = now
        else:
            passed = min((now - self._begun) // self._span, _GENERATIONS)
            self._begun = now - (now - self._begun) % self._span
            for _ in range(int(passed)):
                self._past.append(self._current)
                self._current = [0] * (_STEPS + 1)
            del self._past[: -(_GENERATIONS - 1)]
        self._ends = self._begun + self._span
        self._earlier = list(map(sum, zip(*self._past, strict=True))) or [0] * (_STEPS + 1)
