"""When is a call slow? A running estimate of the 99th percentile per operation, in two numbers and no memory of calls.

Each observation moves the estimate a little: up by 0.99 steps when the call took longer, down by 0.01 steps otherwise,
so that it rests where one call in a hundred is longer (stochastic approximation, Robbins and Monro 1951). Steps are
relative to the estimate, which makes microseconds and minutes alike.
"""

from __future__ import annotations

__all__ = ["Slowness"]

_QUANTILE = 0.99
_STEP = 0.1
_UP = 1 + _STEP * _QUANTILE
_DOWN = 1 - _STEP * (1 - _QUANTILE)
_MARGIN = 1.25  # calls that all take the same time scatter about the estimate: none of them is slow
_WARM_UP = 100
_LEAST = 1e-6  # seconds
_MOST_OPERATIONS = 1024


class Slowness:
    """Tells which clean calls are slow: from `limit` seconds on, or by operation where `limit` is None."""

    __slots__ = ("_by_op", "_limit")

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._by_op: dict[str, _Estimate] = {}

    def slow(self, op: str, seconds: float) -> bool:
        """Whether this call of `op` was slow; it is remembered in the estimate. The first hundred never are."""
        if self._limit is not None:
            return seconds >= self._limit
        estimate = self._by_op.get(op)
        if estimate is None:
            if len(self._by_op) >= _MOST_OPERATIONS:  # names made per call: rather begin again than grow
                self._by_op.clear()
            estimate = self._by_op[op] = _Estimate()
        at = estimate.at
        if seconds <= at:
            if at > _LEAST and estimate.warming == 0:
                estimate.at = at * _DOWN
        elif estimate.warming == 0:
            estimate.at = at * _UP
            return seconds > at * _MARGIN
        else:
            estimate.at = seconds
        if estimate.warming:
            estimate.warming -= 1
        return False


class _Estimate:
    """The percentile of one operation, in seconds, and how many calls it has yet to see before it says anything."""

    __slots__ = ("at", "warming")

    def __init__(self) -> None:
        self.at = _LEAST
        self.warming = _WARM_UP
