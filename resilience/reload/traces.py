"""A shadow of recorded traffic: spans (`dashboard.rows.Span`), played to it in the order of time.

Spans say less than events do. Whether an operation may happen twice is not among their attributes: it is taken to be so
where the exchange of the file says it, or one of its attempts was repeated after its outcome was unknown, or hedged.
"""

from __future__ import annotations

import asyncio
import builtins
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .. import errors
from ..call import Call, LimitReport, Op
from ..config import examine
from ..errors import Refused, TimedOut
from ..lint.files import facts_of
from ..policies.breaker import CircuitOpen
from ..verdict import Kind, Verdict
from .plan import policies_of, routes_of
from .shadow.engine import Engine, Engines, Outcome
from .shadow.report import CAVEATS, Report, Tally

__all__ = ["replay", "shadow_of"]

_R = "resilience."


def replay(new: str | os.PathLike[str], spans: Iterable[Any]) -> Report:
    """What the policies of a file would have decided about recorded calls. Raises `ConfigError`."""
    contents = examine(new)
    facts = facts_of(contents)
    known = [op.name for fact in facts.values() for op in fact.ops if op.idempotent]
    return shadow_of(policies_of(contents, facts), spans, routes_of(facts), known)


def shadow_of(
    policies: Mapping[str, Sequence[Any]],
    spans: Iterable[Any],
    routes: Mapping[tuple[str, str], str] | None = None,
    idempotent: Iterable[str] = (),
) -> Report:
    """Play the spans to engines of these policies, by the pipeline's name (with or without its exchange before it).

    `routes` are those of the new file, by exchange and operation: `plan.routes_of`. `idempotent` operations may happen
    twice, as the exchange says.
    """
    calls, attempts = _sorted_out(spans)
    repeatable = {*idempotent} | _repeatable(attempts)
    whole = all(call.attributes.get(f"{_R}sampling.probability", 1.0) >= 1.0 for call in calls)
    tally = Tally()
    routes = routes or {}
    engines = Engines(policies, tally, {}, whole)
    steps: list[tuple[int, int, Callable[[], None]]] = []
    for call in calls:
        name = str(call.attributes.get(f"{_R}pipeline", ""))
        op = str(call.attributes.get(f"{_R}op", ""))
        engine = engines.of(routes.get((name.partition(".")[0], op), name))
        if engine is not None:
            steps += _steps(engine, call, attempts.get((call.trace_id, call.span_id), []), repeatable)
    for _, _, step in sorted(steps, key=lambda one: one[:2]):
        step()
    report = tally.report()
    more = (
        ()
        if whole
        else ("the traces are a sample: what counts calls is not judged (telemetry: {traces: always} keeps all)",)
    )
    caveats = (*CAVEATS, "whether an operation may happen twice is guessed from what was repeated", *more)
    return Report(report.calls, report.attempts, report.seconds, report.findings, report.unjudged, caveats)


def _sorted_out(spans: Iterable[Any]) -> tuple[list[Any], dict[tuple[str, str], list[Any]]]:
    """Calls, and the attempts of each by the trace and the span of their call."""
    calls, attempts = [], dict[tuple[str, str], list[Any]]()
    for span in spans:
        if span.is_call:
            calls.append(span)
        elif span.is_attempt:
            attempts.setdefault((span.trace_id, span.parent_id), []).append(span)
    return calls, attempts


def _repeatable(attempts: Mapping[tuple[str, str], list[Any]]) -> set[str]:
    found = set()
    for of_call in attempts.values():
        unknown = False
        for attempt in sorted(of_call, key=_number):
            kind = attempt.attributes.get(f"{_R}attempt.kind")
            if kind == "hedge" or (kind == "retry" and unknown):
                found.add(str(attempt.attributes.get(f"{_R}op", "")))
            unknown |= attempt.attributes.get(f"{_R}attempt.outcome") == "unknown"
    return found


def _steps(
    engine: Engine, span: Any, attempts: list[Any], repeatable: set[str]
) -> Iterator[tuple[int, int, Callable[[], None]]]:
    """What happened to one call: when (ns), what comes first of what happens at once, and how to tell the engine."""
    key = span.trace_id, span.span_id
    op = str(span.attributes.get(f"{_R}op", ""))
    hosts = {str(one.attributes["server.address"]): None for one in attempts if "server.address" in one.attributes}
    call = Call(Op(op, op in repeatable), asyncio.sleep, keys={"host": next(iter(hosts), "")})
    yield span.start_ns, 2, lambda: engine.call_begins(key, call, span.start_ns / 1e9)
    free = last = span.start_ns
    for one in sorted(attempts, key=_number):  # one after the other, though the clock may not show it; hedges overlap
        kind = str(one.attributes.get(f"{_R}attempt.kind", ""))
        begin = one.start_ns if kind == "hedge" else max(one.start_ns, free)
        end = free = max(one.end_ns, begin + 1)
        last = max(last, end)
        yield begin, 3, partial(engine.attempt_begins, key, _number(one), kind, one.start_ns / 1e9)
        outcome = _outcome(one, str(one.attributes.get(f"{_R}attempt.outcome", "cancelled")))
        yield end, 0, partial(engine.attempt_ends, key, _number(one), one.end_ns / 1e9, outcome)
    outcome = _outcome(span, str(span.attributes.get(f"{_R}outcome", "ok")))
    yield last + 1, 1, partial(engine.call_ends, key, span.end_ns / 1e9, outcome)


def _number(span: Any) -> int:
    return int(span.attributes[f"{_R}attempt.number"])


def _outcome(span: Any, word: str) -> Outcome:
    attributes = span.attributes
    waited = {
        key.removeprefix(f"{_R}wait."): float(value)
        for key, value in attributes.items()
        if key.startswith(f"{_R}wait.") and isinstance(value, (int, float))
    }
    limit = attributes.get(f"{_R}server_limit.limit")
    remaining, reset = (attributes.get(f"{_R}server_limit.{name}") for name in ("remaining", "reset_in"))
    limits = None if limit is None or remaining is None else LimitReport(float(limit), float(remaining), reset)
    if word == "ok":
        return Outcome(None, None, waited, limits)
    error = _error(str(attributes.get("error.type", "")), word)
    kinds = {kind.value for kind in Kind}
    verdict = Verdict(Kind(word)) if word in kinds and word != "ok" else None
    return Outcome(error, verdict, waited, limits)


def _error(name: str, word: str) -> BaseException:
    """An error of the type that the span names, as far as anybody here knows it."""
    if word == "cancelled":
        return asyncio.CancelledError()
    name = name.rpartition(".")[2]
    if name == "TimedOut":
        return TimedOut(0.0)
    if name == "CircuitOpen":
        return CircuitOpen("", None)
    known = getattr(errors, name, None) or getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        return known()
    return Refused(name) if word == "refused" else type(name or "Unknown", (Exception,), {})()
