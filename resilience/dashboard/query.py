"""Questions about many traces: the list, errors grouped by cause, the latency heatmap, what is different about some.

Pure functions of the traces that a store holds (``store.traces()``); the answers are the JSON objects of the
dashboard's interface. `since` and `until` are milliseconds since 1970. A call that was kept with probability p
counts 1/p times where a distribution is wanted, since the tail keeps every slow one and few of the fast.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from .analysis import sentence
from .filters import FilterError, parse
from .rows import Span, epoch_ms
from .summary import Trace, error_of, number, outcome_of, text

__all__ = ["FilterError", "bubble", "compare", "errors", "heatmap", "listing"]

MOST_LISTED = 1_000
_SPARK = 30  # columns of a sparkline
_SAMPLE = 500  # traces of either side whose attributes are compared
_MOST_GROUPS = 500
_MOST_ROWS = 100
_LATEST = 1e13  # milliseconds: the year 2286


# ------------------------------------------------------------------------------------------------------- the list


def listing(
    traces: Iterable[Trace],
    q: str = "",
    since: float | None = None,
    until: float | None = None,
    limit: int = 100,
    before: str | None = None,
) -> dict[str, Any]:
    """The `limit` newest traces that fit the filter, beginning at the cursor `before`. Raises `FilterError`."""
    began = time.perf_counter()
    found = _within(traces, q, since, until)
    matched = len(found)
    if before:
        cursor = _cursor(before)
        found = [entry for entry in found if entry[:2] < cursor]
    page = heapq.nlargest(min(max(limit, 1), MOST_LISTED), found, key=lambda entry: entry[:2])
    more = len(found) > len(page)
    return {
        "traces": [describe(trace) for *_, trace in page],
        "next": f"{page[-1][0]}-{page[-1][1]}" if more else None,
        "matched": matched,
        "took_ms": (time.perf_counter() - began) * 1000,
    }


def describe(trace: Trace) -> dict[str, Any]:
    """The summary of a trace as JSON, with a sentence even if its call brought none."""
    summary = trace.summary
    return summary.to_json("" if summary.why else sentence(trace))


def _within(traces: Iterable[Trace], q: str, since: float | None, until: float | None) -> list[tuple[int, str, Trace]]:
    """When it began, its id, and the trace itself, of those that fit."""
    fits = parse(q) if q.strip() else None
    first, last = _bounds(since, until)
    return [
        (start, trace.trace_id, trace)
        for trace in traces
        if first <= (start := trace.summary.start_ns) <= last and (fits is None or fits(trace))
    ]


def _bounds(since: float | None, until: float | None) -> tuple[float, float]:
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


# ------------------------------------------------------------------------------------------------------- errors


class _Cause(NamedTuple):
    what: str  # "call" or "attempt"
    error_type: str
    op: str
    service: str


class _Failure(NamedTuple):
    at: int
    trace_id: str


_Failed: TypeAlias = tuple[tuple[_Cause, _Failure], ...]


def errors(traces: Iterable[Trace], since: float | None = None, until: float | None = None) -> dict[str, Any]:
    """Failed calls, and failed attempts, by cause, operation and service, with what happened when.

    Calls first, the most frequent first. Attempts count whether their call went well in the end or not: a loser that
    was cancelled has no cause, and so is not among them.
    """
    groups: dict[_Cause, list[_Failure]] = {}
    first, last = _bounds(since, until)
    for trace in traces:
        for cause, failure in _failed(trace):
            if first <= failure.at <= last:
                groups.setdefault(cause, []).append(failure)
    times = [failure.at for failures in groups.values() for failure in failures]
    if not times:
        return {"groups": []}
    begins = min(times) if since is None else int(first)
    ends = max(times) if until is None else int(last)
    largest = sorted(groups.items(), key=lambda item: (item[0].what == "attempt", -len(item[1]), item[0]))
    largest = largest[:_MOST_GROUPS]
    return {"groups": [_group(key, failures, begins, ends) for key, failures in largest]}


def _failed(trace: Trace) -> _Failed:
    """The failures in a trace by cause; worked out when first asked for after a change, as its summary is."""
    found, count = trace.failures, len(trace.spans)
    if found is None or found[0] != count:
        made = tuple(
            (
                _Cause(what, error_of(span), text(span, "resilience.op") or span.name, span.service),
                _Failure(span.start_ns, trace.trace_id),
            )
            for what, span in _failures(trace)
        )
        found = trace.failures = (count, made)
    return found[1]


def _failures(trace: Trace) -> Iterator[tuple[str, Span]]:
    """Attempts that failed; calls that did, but for those inside a call that failed by the same cause.

    Of a trace without a call of ours, its first span.
    """
    if trace.attempts and trace.errors:
        for span in list(trace.spans.values()):
            if span.is_attempt and error_of(span):
                yield "attempt", span
    if not trace.calls:
        if trace.principal is not None and not trace.principal.is_attempt and error_of(trace.principal):
            yield "call", trace.principal
        return
    for call in trace.calls:
        cause = error_of(call)
        if cause and error_of_call_around(trace, call) != cause:
            yield "call", call


def error_of_call_around(trace: Trace, span: Span) -> str:
    """The cause by which the nearest call around this span failed, "" if there is none or it went well."""
    seen = {span.span_id}
    above = trace.spans.get(span.parent_id)
    while above is not None and above.span_id not in seen:
        if above.is_call:
            return error_of(above)
        seen.add(above.span_id)
        above = trace.spans.get(above.parent_id)
    return ""


def _group(key: _Cause, failures: list[_Failure], begins: int, ends: int) -> dict[str, Any]:
    what, error_type, op, service = key
    spark = [0] * _SPARK
    for failure in failures:
        spark[_column(failure.at, begins, ends, _SPARK)] += 1
    newest = max(failures)
    return {
        "what": what,
        "error_type": error_type,
        "op": op,
        "service": service,
        "count": len(failures),
        "first": epoch_ms(min(failures).at),
        "last": epoch_ms(newest.at),
        "spark": spark,
        "example": newest.trace_id,
    }


def _column(at: int, begins: int, ends: int, columns: int) -> int:
    """Into which of equal columns from `begins` to `ends` a time falls."""
    width = ends - begins
    return 0 if width <= 0 else min(max((at - begins) * columns // width, 0), columns - 1)


# ------------------------------------------------------------------------------------------------------ heatmap


class _Timed(NamedTuple):
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
) -> dict[str, Any]:
    """Calls by when they began (`bins` columns) and how long they took (at most `rows` rows, log-spaced).

    `counts[column][row]` and the percentiles are of calls, estimated from those kept; `dots` are traces to look at:
    of each column the slowest three, and two that did not end well.
    """
    calls = list(_timed(traces, op, since, until))
    if not calls:
        return {"t": [], "ms": [], "counts": [], "dots": [], "p50": [], "p99": []}
    bins = min(max(bins, 1), 500)
    begins = min(call.at for call in calls) if since is None else int(_bounds(since, until)[0])
    ends = max(call.at for call in calls) if until is None else int(_bounds(since, until)[1])
    edges = _edges([call.ms for call in calls], min(max(rows, 1), 100))
    columns: list[list[_Timed]] = [[] for _ in range(bins)]
    for call in calls:
        columns[_column(call.at, begins, ends, bins)].append(call)
    return {
        "t": [epoch_ms(begins + (ends - begins) * column // bins) for column in range(bins)],
        "ms": edges,
        "counts": [_counted(column, edges) for column in columns],
        "dots": [dot for column in columns for dot in _dots(column)],
        "p50": [percentile(column, 0.50) for column in columns],
        "p99": [percentile(column, 0.99) for column in columns],
    }


def _timed(traces: Iterable[Trace], op: str, since: float | None, until: float | None) -> Iterator[_Timed]:
    """The calls of this operation; without one, the call of each trace."""
    first, last = _bounds(since, until)
    for trace in traces:
        for span in trace.calls if op else (trace.principal,):
            if span is None or not span.is_call or not first <= span.start_ns <= last:
                continue
            if op and text(span, "resilience.op") != op:
                continue
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
    low = edges[0]
    step = math.log(edges[-1] / low) / (len(edges) - 1) if len(edges) > 1 else 1.0
    for call in column:
        row = 0 if call.ms <= low else math.ceil(math.log(call.ms / low) / step - 1e-9)
        counts[min(row, len(counts) - 1)] += call.weight
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


# ------------------------------------------------------------------------------------------- what is different


def bubble(traces: Iterable[Trace], q: str, since: float | None = None, until: float | None = None) -> dict[str, Any]:
    """Which values of which attributes are more, or less, frequent among the traces that fit than among the others.

    The newest 500 of either side are compared. Numbers with a fraction (times) are left out: hardly two are equal.
    """
    every = _within(traces, "", since, until)
    fits = parse(q)
    selected: list[Trace] = []
    others: list[Trace] = []
    for entry in sorted(every, key=lambda entry: entry[:2], reverse=True):
        (selected if fits(entry[2]) else others).append(entry[2])
    mine, theirs = _shares(selected[:_SAMPLE]), _shares(others[:_SAMPLE])
    found: list[dict[str, Any]] = [
        {
            "key": key,
            "value": value,
            "selected_share": mine.get((key, value), 0.0),
            "other_share": theirs.get((key, value), 0.0),
            "difference": mine.get((key, value), 0.0) - theirs.get((key, value), 0.0),
        }
        for key, value in mine.keys() | theirs.keys()
    ]
    found = [row for row in found if row["difference"]]
    found.sort(key=lambda row: (-abs(row["difference"]), row["key"], row["value"]))
    return {"selected": len(selected), "others": len(others), "attributes": found[:_MOST_ROWS]}


def _shares(traces: Sequence[Trace]) -> dict[tuple[str, str], float]:
    counts: Counter[tuple[str, str]] = Counter()
    for trace in traces:
        pairs = {("service", trace.summary.service), ("instance", trace.summary.instance)}
        for span in list(trace.spans.values()):
            pairs.update(
                (key, str(value)) for key, value in span.attributes.items() if not isinstance(value, (float, list))
            )
        counts.update(pairs)
    return {pair: count / len(traces) for pair, count in counts.items()}


# ------------------------------------------------------------------------------------------------------ compare


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Two analysed traces (`analysis.analyse`) side by side: what differs, and where the time went in each."""
    facts_a, facts_b = _facts(a), _facts(b)
    keys = sorted(facts_a.keys() | facts_b.keys(), key=_in_order)
    differences = [
        {"key": key, "a": facts_a.get(key), "b": facts_b.get(key)}
        for key in keys
        if facts_a.get(key) != facts_b.get(key)
    ]
    names = sorted(a["shares"].keys() | b["shares"].keys())
    shares = [{"name": name, "a": a["shares"].get(name, 0.0), "b": b["shares"].get(name, 0.0)} for name in names]
    return {"a": a, "b": b, "differences": differences[: 4 * _MOST_ROWS], "shares": shares}


def _facts(trace: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the call and of each attempt, by a name that is the same in both traces."""
    left_out = ("trace_id", "start", "why", "waits")
    facts = {f"call {key}": value for key, value in trace["summary"].items() if key not in left_out}
    for span in trace["spans"]:
        if span["role"] == "attempt" and span["call"] == trace["call"]:
            prefix = f"attempt {span['number']} "
            facts[prefix + "duration_ms"] = span["duration_ms"]
        elif span["span_id"] == trace["call"]:
            prefix = "call "
        else:
            continue
        facts |= {prefix + key: value for key, value in span["attributes"].items()}
    return facts


def _in_order(key: str) -> tuple[int, int, str]:
    """The call first, then its attempts by number."""
    who, _, rest = key.partition(" ")
    digits = rest.partition(" ")[0]
    return (0, 0, key) if who == "call" else (1, int(digits) if digits.isdigit() else 0, key)
