"""Reading a Prometheus range query from a file: histograms of how long attempts took, by operation.

The file is what ``/api/v1/query_range`` answers for ``resilience_attempt_duration_seconds_bucket``. A histogram knows
in which bucket a quantile lies and no more: what comes of it are intervals, never points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from ..errors import ConfigError
from ..estimates import share
from .traces import bytes_of, head_of

__all__ = ["Histogram", "is_range", "read_range"]

METRIC = "resilience_attempt_duration_seconds_bucket"
_ANSWERED = ("", "ok", "rejected")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Of one operation of one pipeline: how many attempts took at most each of `bounds` seconds (the last is infinite).

    `answered` are those that an answer ended, `cut` how many none did.
    """

    pipeline: str
    op: str
    bounds: Sequence[float]
    answered: Sequence[float]
    cut: float

    @property
    def count(self) -> float:
        return (self.answered[-1] if self.answered else 0.0) + self.cut

    def bucket(self, q: float, confidence: float = 0.95) -> tuple[float, float, float] | None:
        """(value's lower edge, its upper edge, upper edge at the interval's end) of a quantile, in seconds.

        The share that is answered within each bound is a binomial share, with its interval. None where the quantile
        lies beyond the last finite bound, or among attempts that were never answered.
        """
        below = 0.0
        found: tuple[float, float] | None = None
        for bound, within in zip(self.bounds, self.answered, strict=True):
            if math.isinf(bound):
                break
            seen = share(within, self.count, confidence)
            if found is None and seen.value >= q:
                found = below, bound
            if found is not None and seen.low >= q:
                return found[0], found[1], bound
            below = bound
        return None


def is_range(path: str) -> bool:
    """Is this file an answer of Prometheus?"""
    head = head_of(path, 4096).lstrip()
    return head.startswith(b"{") and (b'"resultType"' in head or b'"status"' in head) and b"resourceSpans" not in head


def read_range(path: str) -> list[Histogram]:
    """The histograms in a file, by pipeline and operation. Raises `ConfigError`, one line that names the file."""
    try:
        answer = msgspec.json.decode(bytes_of(path))
        rows = answer["data"]["result"]
        if answer.get("status") != "success" or answer["data"]["resultType"] != "matrix":
            raise ConfigError(f"{path}: is no successful range query (query_range, resultType matrix)")
        sums: dict[tuple[str, str], dict[bool, dict[float, float]]] = {}
        for row in rows:
            _add(row["metric"], row["values"], sums)
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{path}: is no range query of Prometheus as JSON ({type(error).__name__}: {error})"
        ) from None
    if not sums:
        raise ConfigError(f"{path}: holds no series of {METRIC}; query that one, with all its labels")
    return [_histogram(key, sums[key]) for key in sorted(sums)]


def _add(
    metric: Mapping[str, str],
    values: Sequence[Sequence[Any]],
    sums: dict[tuple[str, str], dict[bool, dict[float, float]]],
) -> None:
    if metric.get("__name__", METRIC) != METRIC:
        return
    answered = metric.get("resilience_outcome", "") in _ANSWERED
    if metric.get("resilience_outcome") == "refused":  # by ourselves: nobody was asked
        return
    key = (metric.get("resilience_pipeline", ""), metric["resilience_op"])
    buckets = sums.setdefault(key, {}).setdefault(answered, {})
    bound = float(metric["le"])
    buckets[bound] = buckets.get(bound, 0.0) + _grown([float(value) for _, value in values])


def _grown(values: Sequence[float]) -> float:
    """How far a counter went in the range. Where it falls, the process was started anew, and it began at zero."""
    grown = 0.0
    for before, after in pairwise(values):
        grown += after - before if after >= before else after
    return grown


def _histogram(key: tuple[str, str], sums: Mapping[bool, Mapping[float, float]]) -> Histogram:
    answered = sums.get(True, {})
    bounds = sorted(answered)
    cut = max(sums.get(False, {0.0: 0.0}).values())
    return Histogram(*key, bounds, [answered[bound] for bound in bounds], cut)
