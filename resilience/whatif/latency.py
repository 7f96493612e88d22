"""How long an answer takes while nothing is wrong: a number, a lognormal, percentiles, or samples."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import NormalDist

from ..errors import ConfigError
from ..units import Seconds, check, quantile

__all__ = ["Draw", "Latency", "drawn"]

Draw = Callable[[float], float]
"""From a number between 0 and 1 to seconds: the inverse of the distribution function."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Latency:
    """One of three: `median` and `sigma` of a lognormal; `percentiles` (``{p50: 80ms, p99: 400ms}``, two at least,
    a lognormal between and beyond each two); `samples`, one of which is drawn.
    """

    median: Seconds | None = None
    sigma: float | None = None
    percentiles: Mapping[str, Seconds] = field(default_factory=dict)
    samples: Sequence[Seconds] = ()

    def __post_init__(self) -> None:
        ways = [self.median is not None or self.sigma is not None, bool(self.percentiles), bool(self.samples)]
        if sum(ways) != 1:
            raise ConfigError("Latency: give median and sigma, or percentiles, or samples, and only one of these")
        if ways[0]:
            check("Latency", "median", self.median, above=0)
            check("Latency", "sigma", self.sigma, least=0)
        for name, seconds in self.percentiles.items():
            check("Latency", f"percentiles[{name!r}]", seconds, above=0)
        points = sorted((quantile(name), seconds) for name, seconds in self.percentiles.items())
        if len(points) == 1:
            raise ConfigError("Latency: percentiles has one, must have two at least, or write the one as a number")
        if any(later <= earlier for (_, earlier), (_, later) in pairwise(points)):
            raise ConfigError("Latency: percentiles must grow: a higher one takes longer")
        for seconds in self.samples:
            check("Latency", "samples", seconds, least=0)


def drawn(latency: float | Latency) -> Draw:
    """The function that draws from it."""
    if not isinstance(latency, Latency):
        return lambda u: latency
    if latency.samples:
        ordered = sorted(latency.samples)
        count = len(ordered)
        return lambda u: ordered[int(u * count)]
    if latency.median is not None and latency.sigma is not None:
        middle, sigma = math.log(latency.median), latency.sigma
        return lambda u: math.exp(middle + sigma * _NORMAL.inv_cdf(u))
    return _through(sorted((quantile(name), seconds) for name, seconds in latency.percentiles.items()))


def _through(points: Sequence[tuple[float, float]]) -> Draw:
    """Through percentiles: straight lines between (normal score, log seconds), the outer ones drawn on."""
    scores = [_NORMAL.inv_cdf(q) for q, _ in points]
    logs = [math.log(seconds) for _, seconds in points]
    slopes = [(logs[i + 1] - logs[i]) / (scores[i + 1] - scores[i]) for i in range(len(points) - 1)]

    def draw(u: float) -> float:
        score = _NORMAL.inv_cdf(u)
        at = min(max(bisect_right(scores, score) - 1, 0), len(slopes) - 1)
        return math.exp(logs[at] + slopes[at] * (score - scores[at]))

    return draw
