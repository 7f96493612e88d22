"""Dice that can be thrown in any order: a number for each (call, attempt, question), from a hash and not from a row.

So two candidates meet the same luck in the same call, however many attempts either of them makes before. Their
difference is then a difference of the candidates (common random numbers). The hash is SplitMix64 (Steele and others,
2014).
"""

from __future__ import annotations

__all__ = ["Dice"]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mixed(x: int) -> int:
    x = (x + _GOLDEN) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class Dice:
    """Numbers above 0 and below 1, the same for the same `seed`, replication and question."""

    __slots__ = ("_base",)

    def __init__(self, seed: int, replication: int = 0) -> None:
        self._base = _mixed(_mixed(seed & _MASK) ^ replication)

    def throw(self, call: int, attempt: int = 0, question: int = 0) -> float:
        """The number for a question (0 to 255) about an attempt of a call."""
        return ((_mixed(self._base ^ _mixed(call << 24 | attempt << 8 | question)) >> 11) + 0.5) * 2.0**-53

    def seed(self, question: int) -> int:
        """A seed for dice of another kind."""
        return _mixed(self._base ^ question) >> 1
