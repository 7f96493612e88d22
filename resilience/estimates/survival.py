"""How long an answer takes, from attempts of which some were cut off: the estimate of Kaplan and Meier (1958).

An attempt that timed out after a second did not take a second: it took longer, nobody knows how long. To count it as a
second, or to leave it out, makes a target look faster than it is. The estimate uses it for as long as it was seen.

The surprising part is what cannot be known: beyond the share that was ever answered there is no quantile, and none is
made up. Attempts may carry weights (one over the chance of having been kept), since tail sampling keeps the slow ones.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from statistics import NormalDist
from typing import NamedTuple

from .intervals import quantile_ranks

__all__ = ["Curve", "Sample"]


class Sample(NamedTuple):
    """One attempt: the seconds for which it was seen, whether an answer ended it, and how many it stands for."""

    seconds: float
    answered: bool
    weight: float = 1.0


class Curve:
    """The share of attempts that are answered within any time.

    `count` attempts were seen, of which `answers` were answered and `cut` were not.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        # At one moment answers come before cuts: what is cut at a second had not been answered within that second.
        ordered = sorted(samples, key=lambda sample: (sample.seconds, not sample.answered))
        self._ordered = ordered
        self.count = len(ordered)
        self.answers = sum(sample.answered for sample in ordered)
        self.cut = self.count - self.answers
        self._even = all(sample.weight == ordered[0].weight for sample in ordered)
        self._times: list[float] = []
        self._below: list[float] = []  # the share answered by each of those times
        self._errors: list[float] = []  # and the standard error of that share
        self._estimate()

    def _estimate(self) -> None:
        left = sum(sample.weight for sample in self._ordered)
        survive, noise = 1.0, 0.0
        position = 0
        while position < self.count and left > 0:
            at = self._ordered[position].seconds
            ended = cut = squares = 0.0
            while position < self.count and self._ordered[position].seconds == at:
                sample = self._ordered[position]
                if sample.answered:
                    ended += sample.weight
                    squares += sample.weight**2
                else:
                    cut += sample.weight
                position += 1
            if ended > 0:
                rest = max(left - ended, 0.0)
                # Greenwood's formula, with the squares of the weights where the count would stand.
                noise += squares / (left * rest) if rest > 1e-9 * left else 0.0
                survive *= rest / left if rest > 1e-9 * left else 0.0
                self._times.append(at)
                self._below.append(1.0 - survive)
                self._errors.append(survive * math.sqrt(noise))
            left -= ended + cut

    @property
    def answered(self) -> float:
        """The share that is answered as far as anybody has waited: no quantile beyond it is known."""
        return self._below[-1] if self._below else 0.0

    @property
    def longest(self) -> float:
        """The slowest answer that was seen, in seconds; 0 without any."""
        return self._times[-1] if self._times else 0.0

    def within(self, seconds: float) -> float:
        """The share that is answered within so many seconds."""
        position = bisect_right(self._times, seconds)
        return self._below[position - 1] if position else 0.0

    def quantile(self, q: float) -> float | None:
        """The time within which a share `q` is answered; None beyond the share that was ever answered."""
        position = bisect_left(self._below, q - 1e-12)
        return self._times[position] if position < len(self._times) else None

    def interval(self, q: float, confidence: float = 0.95) -> tuple[float, float, str] | None:
        """Bounds of that quantile, and how they were found; None where one of them is not known."""
        exact = self._exact(q, confidence)
        if exact is not None:
            return exact
        z = NormalDist().inv_cdf((1.0 + confidence) / 2)
        low = high = None
        for at, below, error in zip(self._times, self._below, self._errors, strict=True):
            if low is None and below + z * error >= q:
                low = at
            if below - z * error >= q and error > 0:
                high = at
                break
        if low is None or high is None:
            return None
        return low, high, "Kaplan-Meier, Greenwood's errors"

    def _exact(self, q: float, confidence: float) -> tuple[float, float, str] | None:
        """By order statistics: where no weights differ, and nothing was cut off below the upper bound."""
        ranks = quantile_ranks(self.count, q, confidence) if self._even and self.count else None
        if ranks is None or not all(sample.answered for sample in self._ordered[: ranks[1]]):
            return None
        return self._ordered[ranks[0] - 1].seconds, self._ordered[ranks[1] - 1].seconds, "order statistics"
