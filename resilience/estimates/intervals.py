"""Intervals: of a share (Clopper and Pearson), of a quantile (order statistics), of a mean (Student's t).

The surprising part is `prediction`: where *one* further run will lie is wider than where the mean of all runs lies, by
that run's own noise. Who compares a forecast with one afternoon needs the former.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from .beta import beta_quantile, incomplete_beta, student_quantile

__all__ = ["Interval", "few", "prediction", "quantile_ranks", "share"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with bounds on either side; `low` <= `value` <= `high`."""

    value: float
    low: float
    high: float

    def widened(self, low: float, high: float) -> Interval:
        """The same value, within the wider of both bounds."""
        return Interval(self.value, min(self.low, low), max(self.high, high))


def share(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """A share that was seen as `successes` of `trials`, after Clopper and Pearson (1934): never too narrow.

    Neither need be whole: with weights, give the effective number of trials. Without trials nothing is known.
    """
    if trials <= 0:
        return Interval(0.0, 0.0, 1.0)
    successes = min(max(successes, 0.0), trials)
    left = (1.0 - confidence) / 2
    failures = trials - successes
    low = 0.0 if successes <= 0 else beta_quantile(left, successes, failures + 1)
    high = 1.0 if failures <= 0 else beta_quantile(1.0 - left, successes + 1, failures)
    value = successes / trials
    return Interval(value, min(low, value), max(high, value))


def quantile_ranks(count: int, q: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """Between which of `count` ordered samples (from 1) the quantile `q` lies, whatever the distribution.

    The r-th smallest is at most the quantile with the chance that a binomial count reaches r (David and Nagaraja, Order
    Statistics, 7.1). None where there are too few samples for a bound on both sides.
    """
    left = (1.0 - confidence) / 2
    low = _last(count, q, lambda tail: tail >= 1.0 - left)
    high = _last(count, q, lambda tail: tail > left) + 1
    return None if low < 1 or high > count else (low, high)


def _last(count: int, q: float, holds: Callable[[float], bool]) -> int:
    """The last rank r (0 to count) for which P(binomial >= r), which falls with r, satisfies a condition."""
    least, most = 0, count
    while least < most:
        middle = (least + most + 1) // 2
        if holds(incomplete_beta(middle, count - middle + 1, q)):
            least = middle
        else:
            most = middle - 1
    return least


def few(q: float, confidence: float = 0.95) -> int:
    """The fewest samples from which the quantile `q` has a bound on both sides."""
    left = (1.0 - confidence) / 2
    return math.ceil(max(math.log(left) / math.log(q), math.log(left) / math.log1p(-q)))


def prediction(values: Sequence[float], confidence: float = 0.95) -> tuple[Interval, Interval]:
    """The mean of independent runs with its interval, and the interval for one further run.

    Student's t in both; the second is no narrower than the runs that were seen. Raises `ValueError` for fewer than two.
    """
    mean = fmean(values)
    count = len(values)
    reach = student_quantile((1.0 + confidence) / 2, count - 1) * stdev(values)
    near, far = reach / math.sqrt(count), reach * math.sqrt(1.0 + 1.0 / count)
    one = Interval(mean, mean - far, mean + far)
    return Interval(mean, mean - near, mean + near), one.widened(min(values), max(values))
