"""Errors of many traces, grouped by cause."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from .pacing import Stride
from .query import bounds
from .rows import Span, epoch_ms
from .summary import Trace, error_of, text

__all__ = ["error_of_call_around", "errors"]

_SPARK = 30  # columns of a sparkline
_MOST_GROUPS = 500
_Key: TypeAlias = tuple[str, str, str, str]  # the fields of a cause


class _Cause(msgspec.Struct, frozen=True, order=True, gc=False):
    what: str  # "call" or "attempt"
    error_type: str
    op: str
    service: str


class _Failures(msgspec.Struct, frozen=True, gc=False):
    """When something in a trace failed by one cause, the earliest first.

    The garbage collector looks at none of its parts: there are tens of thousands, and they stay.
    """

    cause: _Cause
    times: array[int]
    trace_id: str


def errors(
    traces: Iterable[Trace], since: float | None = None, until: float | None = None, stride: Stride = iter
) -> dict[str, Any]:
    """Failed calls, and failed attempts, by cause, operation and service, with what happened when.

    Calls first, the most frequent first. Attempts count whether their call went well in the end or not: a loser that
    was cancelled has no cause, and so is not among them.
    """
    groups: dict[_Cause, _Group] = {}
    first, last = bounds(since, until)
    for trace in stride(traces):
        for failures in _failed(trace):
            times = failures.times
            if times[0] < first or times[-1] > last:
                times = array("q", [at for at in times if first <= at <= last])
                if not times:
                    continue
            group = groups.get(failures.cause)
            if group is None:
                group = groups[failures.cause] = _Group()
            group.times.append(times)
            group.count += len(times)
            if times[0] < group.first:
                group.first = times[0]
            if times[-1] >= group.newest[0]:
                group.newest = max(group.newest, (times[-1], failures.trace_id))
    if not groups:
        return {"groups": []}
    begins = min(group.first for group in groups.values()) if since is None else int(first)
    ends = max(group.newest[0] for group in groups.values()) if until is None else int(last)
    edges = [begins - (begins - ends) * column // _SPARK for column in range(1, _SPARK)] if ends > begins else []
    largest = sorted(groups.items(), key=lambda item: (item[0].what == "attempt", -item[1].count, item[0]))
    return {"groups": [group.shown(cause, edges, stride) for cause, group in stride(largest[:_MOST_GROUPS])]}


class _Group:
    """What failed by one cause."""

    __slots__ = ("count", "first", "newest", "times")

    def __init__(self) -> None:
        self.times: list[array[int]] = []  # one a trace
        self.count = 0
        self.first = 2**63
        self.newest = -1, ""  # and the trace in which

    def shown(self, cause: _Cause, edges: Sequence[int], stride: Stride) -> dict[str, Any]:
        """As JSON; `edges` are where the second and later columns of the sparkline begin."""
        spark = [0] * _SPARK
        for times in stride(self.times):
            column = bisect_right(edges, times[0])
            if bisect_right(edges, times[-1], column) == column:
                spark[column] += len(times)
            else:
                for at in times:
                    spark[bisect_right(edges, at)] += 1
        return {
            "what": cause.what,
            "error_type": cause.error_type,
            "op": cause.op,
            "service": cause.service,
            "count": self.count,
            "first": epoch_ms(self.first),
            "last": epoch_ms(self.newest[0]),
            "spark": spark,
            "example": self.newest[1],
        }


def _failed(trace: Trace) -> tuple[_Failures, ...]:
    """The failures in a trace by cause; worked out when first asked for after a change, as its summary is."""
    found, count = trace.failures, len(trace.spans)
    if found is None or found[0] != count:
        times: dict[_Key, list[int]] = {}
        if trace.attempts and trace.errors:
            _add_attempts(times, trace)
        _add_calls(times, trace)
        made = tuple([_Failures(_Cause(*key), array("q", sorted(ats)), trace.trace_id) for key, ats in times.items()])
        found = trace.failures = (count, made)
    return found[1]


def _add_attempts(times: dict[_Key, list[int]], trace: Trace) -> None:
    """Those that failed. Written out what `error_of` and `is_attempt` do: most spans of most kept traces are such."""
    for span in list(trace.spans.values()):
        said = span.attributes
        cause = said.get("error.type")
        if type(cause) is not str or not cause:
            cause = error_of(span)
        if cause and "resilience.attempt.number" in said and not span.is_call:
            key = "attempt", cause, text(span, "resilience.op") or span.name, span.service
            known = times.get(key)
            if known is None:
                times[key] = [span.start_ns]
            else:
                known.append(span.start_ns)


def _add_calls(times: dict[_Key, list[int]], trace: Trace) -> None:
    """Those that failed, but for one inside a call that failed by the same cause.

    Of a trace without a call of ours, its first span.
    """
    calls = trace.calls
    if not calls and trace.principal is not None and not trace.principal.is_attempt:
        calls = (trace.principal,)
    for call in calls:
        cause = error_of(call)
        if cause and (not trace.calls or error_of_call_around(trace, call) != cause):
            key = "call", cause, text(call, "resilience.op") or call.name, call.service
            times.setdefault(key, []).append(call.start_ns)


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
