"""Two arms that take turns, compared so that what else the machine does cancels out.

A round is one window of each arm, a moment apart, so a busy machine disturbs both alike. The 99th percentile is of all
windows of an arm together; how far its ratio may be off is found by drawing whole rounds anew (a bootstrap of blocks,
since what lies within a window hangs together).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Ratio", "percentile", "ratio"]

_DRAWS = 400


class Ratio(NamedTuple):
    """An arm over the base; from `low` to `high` in 95 of 100 drawings."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:5.2f} x  [{self.low:.2f} .. {self.high:.2f}]"


def percentile(windows: Sequence[Sequence[float]], share: float = 0.99) -> float:
    """Of all samples together."""
    ordered = sorted(value for window in windows for value in window)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(base: Sequence[Sequence[float]], arm: Sequence[Sequence[float]], share: float = 0.99, seed: int = 4) -> Ratio:
    """How many times the base's percentile the arm's is. Both have one window a round, in the same order."""
    dice, rounds = random.Random(seed), list(range(len(base)))
    found = []
    for _ in range(_DRAWS):
        drawn = dice.choices(rounds, k=len(rounds))
        below = percentile([base[i] for i in drawn], share)
        found.append(percentile([arm[i] for i in drawn], share) / below if below else float("nan"))
    found.sort()
    value = percentile(arm, share) / (percentile(base, share) or float("nan"))
    return Ratio(value, found[int(0.025 * _DRAWS)], found[int(0.975 * _DRAWS)])
