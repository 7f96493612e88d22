"""Three algorithms that find a limit of concurrency: AIMD, Vegas, Gradient.

Each is told the mean round trip of a window of calls, or that a call was dropped, and gives the new limit, exact and
without bounds. They differ in what they take for a sign of too much: AIMD nothing but a drop, Vegas a queue in front of
the target, estimated from the latency without one, and Gradient a latency above its own long average. At a drop all of
them give up a tenth.

After Netflix's concurrency-limits (AIMDLimit, VegasLimit, Gradient2Limit), which has them from TCP: V. Jacobson,
"Congestion Avoidance and Control" (1988); L. Brakmo, L. Peterson, "TCP Vegas: End to End Congestion Avoidance on a
Global Internet" (1995).
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

__all__ = ["ALGORITHMS", "Aimd", "Algorithm", "Gradient", "Name", "Vegas"]

Name = Literal["aimd", "gradient", "vegas"]

_KEPT_AT_A_DROP = 0.9


class Algorithm(Protocol):
    """What finds a limit. `base` is the round trip without a queue as it believes, in seconds, 0 while unknown."""

    base: float

    def window(self, limit: float, rtt: float) -> float:
        """The limit after a window of calls whose mean round trip was `rtt` seconds, above 0."""
        ...

    def drop(self, limit: float) -> float:
        """The limit after a call that was dropped."""
        ...


class Aimd:
    """Additive increase, multiplicative decrease: one more after each window, a tenth less at a drop."""

    base = 0.0

    def window(self, limit: float, rtt: float) -> float:
        return limit + 1

    def drop(self, limit: float) -> float:
        return limit * _KEPT_AT_A_DROP


class Vegas(Aimd):
    """Keeps a few calls, and not many, in the target's queue: ``limit * (1 - base / rtt)`` of them wait there.

    A few is 3 to 6 steps, and a step is the limit's decimal logarithm, at least 1; with less than one step in the queue
    the limit rises by 6. `base` follows the round trip down at once and up slowly. (The best one ever seen, as in TCP,
    is luck where service times vary, and out of date once the target has become slower.)
    """

    _SMOOTHING, _FALL, _RISE = 0.3, 0.1, 0.02

    _recent: float  # the round trip, smoothed

    def window(self, limit: float, rtt: float) -> float:
        if not self.base:
            self.base = self._recent = rtt
        self._recent += self._SMOOTHING * (rtt - self._recent)
        self.base += (self._FALL if self._recent < self.base else self._RISE) * (self._recent - self.base)
        queued = limit * (1 - self.base / self._recent)
        step = max(1.0, math.log10(limit))
        if queued <= step:
            return limit + 6 * step
        if queued < 3 * step:
            return limit + step
        return limit - step if queued > 6 * step else limit


class Gradient(Aimd):
    """Follows the ratio of the long average of the round trip to the present one, and leaves room for a short queue.

    The queue is the limit's square root. A round trip up to half above the average is taken for noise. One window moves
    the limit by a fifth of what it asks for, and asks for half at the least.
    """

    _SMOOTHING, _TOLERANCE, _LEAST = 0.2, 1.5, 0.5
    _MEMORY = 100  # windows in the long average
    _TOO_LONG, _FORGET = 2.0, 0.95  # an average so far above the present is of an overload that is over

    def __init__(self) -> None:
        self._windows = 0

    def window(self, limit: float, rtt: float) -> float:
        self._windows = min(self._windows + 1, self._MEMORY)
        self.base += (rtt - self.base) / self._windows
        if self.base > self._TOO_LONG * rtt:
            self.base *= self._FORGET
        gradient = max(self._LEAST, min(1.0, self._TOLERANCE * self.base / rtt))
        return limit + self._SMOOTHING * (limit * gradient + math.sqrt(limit) - limit)


ALGORITHMS: dict[Name, type[Algorithm]] = {"aimd": Aimd, "gradient": Gradient, "vegas": Vegas}
