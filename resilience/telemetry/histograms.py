"""Histograms in plain fields: the coarse one that OpenTelemetry's conventions ask for, and a fine one for percentiles.

The fine one's cells end at every bound of the coarse one, so the coarse counts are sums of the fine: one record serves
a scrape and the dashboard alike, and the two cannot disagree.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

__all__ = ["BOUNDS", "CELLS", "FINE", "Durations", "Example", "Histogram", "quantiles"]

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper edges in seconds, inclusive: those that OpenTelemetry's conventions ask of http.client.request.duration."""
_STEPS = 8  # of the fine one, a power of two: one step is 9 %
_LEAST, _MOST = -15, 8  # powers of two, in seconds: from 30 us to four minutes
FINE = tuple(sorted({*BOUNDS, *(2.0 ** (_LEAST + i / _STEPS) for i in range(1, (_MOST - _LEAST) * _STEPS))}))
"""Upper edges in seconds, inclusive, of the fine one. What is shorter than the first counts there."""
CELLS = len(FINE) + 1
_HALF = 2.0 ** (0.5 / _STEPS)
_AMID = [1000 * FINE[0] / _HALF, *(1000 * (a * b) ** 0.5 for a, b in pairwise(FINE)), 1000 * FINE[-1] * _HALF]
_ENDS = [0, *(bisect_left(FINE, bound) + 1 for bound in BOUNDS), CELLS]  # of the coarse buckets, among the cells


class Example(NamedTuple):
    """A call whose trace was kept: how long it took (s), the ids of its span (hex), when it ended (unix time, s)."""

    seconds: float
    trace_id: str
    span_id: str
    at: float


class Histogram:
    """How often something took how long. `cells` has one number a bucket, the last for all above the last edge."""

    __slots__ = ("cells", "examples", "sum")
    EDGES = BOUNDS

    def __init__(self) -> None:
        self.cells = [0] * (len(self.EDGES) + 1)
        self.sum = 0.0
        self.examples: dict[int, Example] = {}

    def record(self, seconds: float) -> None:
        self.cells[bisect_left(self.EDGES, seconds)] += 1
        self.sum += seconds

    def show(self, example: Example) -> None:
        """Keep the last example of each bucket of `BOUNDS`."""
        self.examples[bisect_left(BOUNDS, example.seconds)] = example

    @property
    def counts(self) -> list[int]:
        """By the buckets of `BOUNDS`, one more for what lies above."""
        return list(self.cells)

    @property
    def count(self) -> int:
        return sum(self.cells)

    def quantile(self, q: float) -> float | None:
        """An estimate in seconds, linear within a bucket as Prometheus does it; None where nothing was recorded.

        What lies above the last bound is told as the last bound.
        """
        counts = self.counts
        rank = q * sum(counts)
        if not any(counts):
            return None
        low = below = 0.0
        for bound, count in zip(BOUNDS, counts, strict=False):
            if count and below + count >= rank:
                return low + (bound - low) * (rank - below) / count
            low, below = bound, below + count
        return BOUNDS[-1]


class Durations(Histogram):
    """The fine one: `cells` end at the edges of `FINE`."""

    __slots__ = ()
    EDGES = FINE

    @property
    def counts(self) -> list[int]:
        cells = self.cells
        return [sum(cells[start:end]) for start, end in pairwise(_ENDS)]


def quantiles(cells: Sequence[float], *which: float) -> list[float | None]:
    """Milliseconds, from the cells of a fine histogram; None where it is empty. Each is within 5 % of a sample."""
    below = list(accumulate(cells))
    if not below or below[-1] <= 0:
        return [None] * len(which)
    return [_AMID[min(bisect_left(below, q * below[-1] - 1e-9), CELLS - 1)] for q in which]
