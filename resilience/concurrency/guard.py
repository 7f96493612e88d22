"""A guard against drift: does more concurrency still buy throughput, or does it only wait?

An algorithm that knows latency alone drifts: a queue that lasts becomes its idea of normal. The guard looks at what the
limit itself did. By Little's law, calls in flight = throughput x round trip; so of any growth in concurrency one share
became throughput and the rest became waiting, and the two slopes, on logarithms, add up to 1. One rolling regression of
the round trip on the calls in flight therefore tells both.

(The idea of correlating concurrency with latency and throughput is that of failsafe-go's adaptive limiter. Little:
"A Proof for the Queuing Formula L = lambda W", 1961.)
"""

from __future__ import annotations

import math

__all__ = ["Guard"]

_KEPT = 0.9  # of what is known, with every window: a memory of about ten
_ENOUGH = 4.0  # windows, as far as they are remembered, before it says anything
_HALF = 0.5  # of the growth only waits; and the least correlation at which a slope is believed


class Guard:
    """Told only windows in which the limit was reached: there the limit is the cause, and the round trip the effect."""

    __slots__ = ("_weight", "_x", "_xx", "_xy", "_y", "_yy")

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = self._yy = 0.0

    def add(self, in_flight: float, rtt: float) -> None:
        """A window with this many calls in flight and this mean round trip, both above 0."""
        x, y = math.log(in_flight), math.log(rtt)
        self._weight = self._weight * _KEPT + 1
        dx, dy = x - self._x, y - self._y
        self._x += dx / self._weight
        self._y += dy / self._weight
        self._xx = self._xx * _KEPT + dx * (x - self._x)
        self._xy = self._xy * _KEPT + dx * (y - self._y)
        self._yy = self._yy * _KEPT + dy * (y - self._y)

    @property
    def waits(self) -> bool:
        """Whether more than half of what is added to the concurrency only waits, as far as anybody can tell."""
        believed = self._xy > _HALF * math.sqrt(self._xx * self._yy)
        return self._weight > _ENOUGH and believed and self._xy > _HALF * self._xx
