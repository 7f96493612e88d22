"""The list of traces, and what every question about many traces needs: which of them, in which time.

`query`, `failures`, `heat` and `differences` are pure functions of the traces that a store holds (``store.traces()``);
their answers are the JSON objects of the dashboard's interface. `since` and `until` are milliseconds since 1970.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterable
from typing import Any

from .analysis import sentence
from .filters import FilterError, parse
from .pacing import Stride
from .summary import Trace

__all__ = ["FilterError", "bounds", "column", "describe", "listing", "within"]

MOST_LISTED = 1_000
_LATEST = 1e13  # milliseconds: the year 2286


def listing(
    traces: Iterable[Trace],
    q: str = "",
    since: float | None = None,
    until: float | None = None,
    limit: int = 100,
    before: str | None = None,
    stride: Stride = iter,
) -> dict[str, Any]:
    """The `limit` newest traces that fit the filter, beginning at the cursor `before`. Raises `FilterError`."""
    began = time.perf_counter()
    found = within(stride(traces), q, since, until)
    matched = len(found)
    if before:
        cursor = _cursor(before)
        found = [entry for entry in found if entry[:2] < cursor]
    page = heapq.nlargest(min(max(limit, 1), MOST_LISTED), stride(found))  # ids differ: traces are never compared
    more = len(found) > len(page)
    return {
        "traces": [describe(trace) for *_, trace in stride(page)],
        "next": f"{page[-1][0]}-{page[-1][1]}" if more else None,
        "matched": matched,
        "took_ms": (time.perf_counter() - began) * 1000,
    }


def describe(trace: Trace) -> dict[str, Any]:
    """The summary of a trace as JSON, with a sentence even if its call brought none."""
    summary = trace.summary
    return summary.to_json("" if summary.why else sentence(trace))


def within(traces: Iterable[Trace], q: str, since: float | None, until: float | None) -> list[tuple[int, str, Trace]]:
    """When it began, its id, and the trace itself, of those that fit."""
    fits = parse(q) if q.strip() else None
    first, last = bounds(since, until)
    return [
        (start, trace.trace_id, trace)
        for trace in traces
        if first <= (start := trace.summary.start_ns) <= last and (fits is None or fits(trace))
    ]


def bounds(since: float | None, until: float | None) -> tuple[float, float]:
    """From when to when, in nanoseconds, both included."""
    for name, value in (("since", since), ("until", until)):
        if value is not None and not abs(value) < _LATEST:
            raise FilterError(f"`{name}` is no time in milliseconds since 1970")
    first = -math.inf if since is None else round(since * 1_000) * 1_000
    last = math.inf if until is None else round(until * 1_000) * 1_000 + 999
    return first, last


def _cursor(said: str) -> tuple[int, str]:
    start, _, trace_id = said.partition("-")
    if not (start.isascii() and start.isdigit() and len(start) < 20):
        raise FilterError("`before` is no cursor of an earlier answer")
    return int(start), trace_id


def column(at: int, begins: int, ends: int, columns: int) -> int:
    """Into which of equal columns from `begins` to `ends` a time falls."""
    width = ends - begins
    return 0 if width <= 0 else min(max((at - begins) * columns // width, 0), columns - 1)
