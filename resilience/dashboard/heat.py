"""The latency heatmap of many calls.

A call that was kept with probability p counts 1/p times, since the tail keeps every slow one and few of the fast.
"""

from __future__ import annotations

import heapq
import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from .pacing import Stride
from .query import bounds, column
from .rows import epoch_ms
from .summary import Trace, number, outcome_of, text

__all__ = ["heatmap", "percentile"]


class _Timed(msgspec.Struct, frozen=True, order=True, gc=False):
    at: int  # when it began, nanoseconds
    ms: float
    weight: float
    outcome: str
    trace_id: str


def heatmap(
    traces: Iterable[Trace],
    op: str = "",
    since: float | None = None,
    until: float | None = None,
    bins: int = 60,
    rows: int = 40,
    stride: Stride = iter,
) -> dict[str, Any]:
    """Calls by when they began (`bins` columns) and how long they took (at most `rows` rows, log-spaced).

    `counts[column][row]` and the percentiles are of calls, estimated from those kept; `dots` are traces to look at:
    of each column the slowest three, and two that did not end well.
    """
    calls = list(_timed(stride(traces), op, since, until))
    if not calls:
        return {"t": [], "ms": [], "counts": [], "dots": [], "p50": [], "p99": []}
    bins = min(max(bins, 1), 500)
    begins = min(call.at for call in calls) if since is None else int(bounds(since, until)[0])
    ends = max(call.at for call in calls) if until is None else int(bounds(since, until)[1])
    edges = _edges([call.ms for call in calls], min(max(rows, 1), 100))
    columns: list[list[_Timed]] = [[] for _ in range(bins)]
    for call in stride(calls):
        columns[column(call.at, begins, ends, bins)].append(call)
    return {
        "t": [epoch_ms(begins + (ends - begins) * column // bins) for column in range(bins)],
        "ms": edges,
        "counts": [_counted(column, edges) for column in stride(columns)],
        "dots": [dot for column in stride(columns) for dot in _dots(column)],
        "p50": [percentile(column, 0.50) for column in stride(columns)],
        "p99": [percentile(column, 0.99) for column in stride(columns)],
    }


def _timed(traces: Iterable[Trace], op: str, since: float | None, until: float | None) -> Iterator[_Timed]:
    """The calls of this operation; without one, the call of each trace."""
    first, last = bounds(since, until)
    for trace in traces:
        if not op:  # what is asked most often, and of all traces: from what is known of them
            span = trace.principal
            if trace.calls and span is not None and first <= span.start_ns <= last:
                summary = trace.summary
                ms = (span.end_ns - span.start_ns) / 1e6
                yield _Timed(span.start_ns, ms, summary.weight, summary.outcome, trace.trace_id)
            continue
        for span in trace.calls:
            if first <= span.start_ns <= last and text(span, "resilience.op") == op:
                probability = number(span, "resilience.sampling.probability", 1.0)
                weight = 1 / probability if 0 < probability <= 1 else 1.0
                ms = (span.end_ns - span.start_ns) / 1e6
                yield _Timed(span.start_ns, ms, weight, outcome_of(span), trace.trace_id)


def _edges(ms: Sequence[float], rows: int) -> list[float]:
    """Upper edges in equal steps of the logarithm, from the fastest call to the slowest."""
    low, high = max(min(ms), 0.001), max(*ms, 0.001)
    if high <= low * 1.001:
        return [high]
    ratio = (high / low) ** (1 / rows)
    return [*(low * ratio**row for row in range(1, rows)), high]


def _counted(column: Sequence[_Timed], edges: Sequence[float]) -> list[int]:
    counts = [0.0] * len(edges)
    for call in column:
        counts[min(bisect_left(edges, call.ms), len(counts) - 1)] += call.weight
    return [round(count) for count in counts]


def _dots(column: Sequence[_Timed]) -> list[dict[str, Any]]:
    slowest = heapq.nlargest(3, column, key=lambda call: (call.ms, call.trace_id))
    bad = heapq.nlargest(2, (c for c in column if c.outcome != "ok" and c not in slowest), key=lambda call: call.ms)
    return [
        {"at": epoch_ms(call.at), "ms": call.ms, "trace_id": call.trace_id, "outcome": call.outcome}
        for call in sorted((*slowest, *bad))
    ]


def percentile(calls: Sequence[_Timed], share: float) -> float | None:
    """The time within which this share of the calls ended, in milliseconds; None if there are none."""
    if not calls:
        return None
    ordered = sorted(calls, key=lambda call: call.ms)
    wanted = share * math.fsum(call.weight for call in ordered)
    reached = itertools.accumulate(call.weight for call in ordered)
    return next(
        (call.ms for call, sum_ in zip(ordered, reached, strict=True) if sum_ >= wanted * (1 - 1e-9)), ordered[-1].ms
    )
