"""Errors of many traces, grouped by cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from .pacing import Stride
from .query import bounds, column
from .rows import Span, epoch_ms
from .summary import Trace, error_of, text

__all__ = ["error_of_call_around", "errors"]

_SPARK = 30  # columns of a sparkline
_MOST_GROUPS = 500


class _Cause(NamedTuple):
    what: str  # "call" or "attempt"
    error_type: str
    op: str
    service: str


class _Failure(NamedTuple):
    at: int
    trace_id: str


_Failed: TypeAlias = tuple[tuple[_Cause, _Failure], ...]


def errors(
    traces: Iterable[Trace], since: float | None = None, until: float | None = None, stride: Stride = iter
) -> dict[str, Any]:
    """Failed calls, and failed attempts, by cause, operation and service, with what happened when.

    Calls first, the most frequent first. Attempts count whether their call went well in the end or not: a loser that
    was cancelled has no cause, and so is not among them.
    """
    groups: dict[_Cause, list[_Failure]] = {}
    first, last = bounds(since, until)
    for trace in stride(traces):
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
    return {"groups": [_group(key, failures, begins, ends) for key, failures in stride(largest)]}


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
        spark[column(failure.at, begins, ends, _SPARK)] += 1
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
