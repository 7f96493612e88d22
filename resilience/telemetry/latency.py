"""When is a call slow? A running estimate of the 99th percentile per operation, in one number and no memory of calls.

Each observation moves the estimate a little: up by 0.99 steps when the call took longer, down by 0.01 steps otherwise,
so that it rests where one call in a hundred is longer (stochastic approximation, Robbins and Monro 1951). Steps are
relative to the estimate, which makes microseconds and minutes alike.

The many small steps down are taken in strides: one call in 64, drawn by lot, takes 64 of them. The others cost a look
into a table.
"""

from __future__ import annotations

__all__ = ["STRIDE", "Slowness"]

STRIDE = 64
"""One call in so many that were not slow is to be passed to `Slowness.settle`."""
_QUANTILE = 0.99
_STEP = 0.1
_UP = 1 + _STEP * _QUANTILE
_DOWN = (1 - _STEP * (1 - _QUANTILE)) ** STRIDE
_MARGIN = 1.25  # calls that all take the same time scatter about the estimate: none of them is slow
_WARM_UP = 100
_LEAST = 1e-6  # seconds
_MOST_OPERATIONS = 1024


class Slowness:
    """Tells which clean calls are slow: from `limit` seconds on, or by operation where `limit` is None.

    A call that took longer than ``over.get(op, 0.0)`` may be slow, and `slow` tells; any other is not.
    """

    __slots__ = ("_limit", "_warming", "over")

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._warming: dict[str, tuple[int, float]] = {}  # calls still to come, the longest so far
        self.over: dict[str, float] = {}

    def observe(self, op: str, seconds: float, lot: float) -> bool:
        """Whether this call of `op` was slow; it is remembered in the estimate. `lot` is drawn from 0 to 1."""
        if seconds > self.over.get(op, 0.0):
            return self.slow(op, seconds)
        if lot * STRIDE >= STRIDE - 1:
            self.settle(op)
        return False

    def slow(self, op: str, seconds: float) -> bool:
        """The same for a call that took longer than ``over.get(op, 0.0)``. The first hundred are never slow."""
        if self._limit is not None:
            return seconds >= self._limit
        at = self.over.get(op)
        if at is None:
            self._warm_up(op, seconds)
            return False
        if seconds <= at:
            return False
        self.over[op] = at * _UP
        return seconds > at * _MARGIN

    def settle(self, op: str) -> None:
        """Take the steps down for `STRIDE` calls of `op` that were not slow."""
        at = self.over.get(op, 0.0)
        if at > _LEAST:
            self.over[op] = at * _DOWN

    def _warm_up(self, op: str, seconds: float) -> None:
        if len(self._warming) + len(self.over) >= _MOST_OPERATIONS:  # names made per call: rather begin again than grow
            self._warming.clear()
            self.over.clear()
        left, most = self._warming.pop(op, (_WARM_UP, _LEAST))
        most = max(most, seconds)
        if left > 1:
            self._warming[op] = left - 1, most
        else:
            self.over[op] = most
