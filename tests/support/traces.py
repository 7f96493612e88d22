"""Spans of invented calls for the tests of the dashboard."""

from __future__ import annotations

from typing import Any

from resilience.dashboard.rows import Span
from resilience.dashboard.summary import Trace

MS = 1_000_000
START = 1_700_000_000_000 * MS


def ids(number: int) -> str:
    return f"{number:032x}"


def span(
    trace: int = 1, number: int = 1, parent: int | None = None, begins: float = 0, ends: float = 1, **more: Any
) -> Span:
    """One span: times in milliseconds after `START`, everything else by the names of its fields."""
    fields: dict[str, Any] = {
        "name": "work",
        "kind": "internal",
        "status": "unset",
        "attributes": {},
        "links": (),
        "service": "bot",
        "instance": "1",
    }
    return Span(
        trace_id=ids(trace),
        span_id=f"{number:016x}",
        parent_id="" if parent is None else f"{parent:016x}",
        start_ns=START + round(begins * MS),
        end_ns=START + round(ends * MS),
        **{**fields, **more},
    )


def call(trace: int = 1, number: int = 1, ends: float = 100, begins: float = 0, **attributes: Any) -> Span:
    """A call's span; an attribute's dots are written as two underscores: ``wait__backoff=1``."""
    said = {"op": "ticker", "attempts": 1, "outcome": "ok", "sampling__reason": "retried", "sampling__probability": 1.0}
    fields = {
        key: attributes.pop(key) for key in ("parent", "service", "instance", "status", "name") if key in attributes
    }
    return span(
        trace,
        number,
        begins=begins,
        ends=ends,
        attributes=named({**said, **attributes}),
        **{"name": "ticker", **fields},
    )


def attempt(
    trace: int = 1,
    number: int = 2,
    parent: int = 1,
    begins: float = 0,
    ends: float = 100,
    at: int = 1,
    **attributes: Any,
) -> Span:
    """An attempt's span, the `at`th of its call."""
    said = {"op": "ticker", "attempt__number": at, "attempt__kind": "original" if at == 1 else "retry"}
    outcome = {"attempt__outcome": "failed" if "error__type" in attributes else "ok"}
    fields = {key: attributes.pop(key) for key in ("kind", "service", "status", "name") if key in attributes}
    named_ = named({**said, **outcome, **attributes})
    status = "error" if "error.type" in named_ else "unset"
    shape = {"name": "GET /tickers", "kind": "client", "status": status, **fields}
    return span(trace, number, parent, begins, ends, attributes=named_, **shape)


def named(attributes: dict[str, Any]) -> dict[str, Any]:
    """``wait__backoff`` is ``resilience.wait.backoff``; what belongs to the conventions stays there."""
    found = {key.replace("__", "."): value for key, value in attributes.items()}
    return {key if key.startswith(("error.", "http.")) else f"resilience.{key}": value for key, value in found.items()}


def retried(trace: int = 1, error: str = "reset") -> list[Span]:
    """Two attempts, 200 ms of backoff between them, and their call, in the order in which they are sent."""
    first = attempt(trace, 2, begins=0, ends=100, at=1, error__type=error)
    second = attempt(trace, 3, begins=300, ends=400, at=2, wait__backoff=0.2, retry="backoff", phase__first_byte=0.05)
    return [first, second, call(trace, 1, ends=400, attempts=2, wait__backoff=0.2, why="1 reset, second attempt won.")]


def hedged(trace: int = 1) -> list[Span]:
    """The original, a hedge that began after 50 ms and won at 80, and their call."""
    lost = attempt(trace, 2, begins=0, ends=80.5, at=1, hedge="lost", attempt__outcome="cancelled")
    won = attempt(trace, 3, begins=50, ends=80, at=2, attempt__kind="hedge")
    return [lost, won, call(trace, 1, ends=81, attempts=2, sampling__reason="hedged")]


def trace_of(*spans: Span) -> Trace:
    """What the store makes of them."""
    trace = Trace(spans[0].trace_id)
    for each in spans:
        trace.add(each)
    return trace
