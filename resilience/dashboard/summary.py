"""A trace, and the few facts about it that a list shows and a search asks for.

The facts are those of the trace's *principal*: its outermost call of ours, or its first span as long as no call came
(it comes after its attempts, and spans of other programs have none). Which span that is does not depend on the order in
which spans arrive, so neither does the summary.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .rows import Span, epoch_ms

__all__ = ["Summary", "Trace", "error_of", "number", "outcome_of", "text"]

_WAIT = "resilience.wait."


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What a list shows of a trace. Durations are seconds, times nanoseconds since 1970."""

    trace_id: str
    start_ns: int
    seconds: float
    service: str
    instance: str
    pipeline: str
    op: str
    outcome: str
    error_type: str
    attempts: int
    reason: str
    probability: float
    why: str
    spans: int
    waits: dict[str, float]

    @property
    def start_ms(self) -> float:
        """Milliseconds since 1970."""
        return epoch_ms(self.start_ns)

    @property
    def weight(self) -> float:
        """How many calls this one stands for, since it was kept with this probability."""
        return 1.0 / self.probability

    def to_json(self, why: str = "") -> dict[str, Any]:
        """The object that the interface documents; `why` is a sentence to be used if the call brought none."""
        return {
            "trace_id": self.trace_id,
            "start": self.start_ms,
            "duration_ms": self.seconds * 1000,
            "service": self.service,
            "instance": self.instance,
            "pipeline": self.pipeline,
            "op": self.op,
            "outcome": self.outcome,
            "error_type": self.error_type or None,
            "attempts": self.attempts,
            "reason": self.reason,
            "probability": self.probability,
            "why": self.why or why,
            "spans": self.spans,
            "waits": self.waits,
        }


class Trace(msgspec.Struct, eq=False, gc=False):
    """The spans of one trace so far. Only the store changes it, under its lock.

    Neither it nor what it holds is looked at by the garbage collector (see `Span`), so tuples it is, not lists.
    """

    trace_id: str
    spans: dict[str, Span] = msgspec.field(default_factory=dict)
    calls: tuple[Span, ...] = ()
    attempts: int = 0  # spans of attempts
    kinds: tuple[str, ...] = ()  # of attempts, each once
    errors: tuple[str, ...] = ()  # on any span, each once
    cut: int = 0  # spans that found no room
    weight: int = 0
    principal: Span | None = None
    _rank: tuple[Any, ...] = ()
    # What was worked out, and from how many spans: a reader may finish after the next span has come.
    _summary: tuple[int, Summary] | None = None
    _haystack: tuple[int, str] | None = None
    failures: tuple[int, tuple[Any, ...]] | None = None
    """What `failures.errors` made of so many spans."""

    def is_full(self, span: Span, most: int) -> bool:
        """Is there no room for this span? Calls have room of their own: they come last, and matter most."""
        if span.is_call:
            return len(self.calls) >= max(most // 4, 1)
        return len(self.spans) - len(self.calls) >= most

    def add(self, span: Span) -> None:
        """One more span, whose id is new."""
        self.weight += span.weight
        is_call = span.is_call
        if is_call:
            self.calls = (*self.calls, span)
        elif span.is_attempt:
            self.attempts += 1
            kind = text(span, "resilience.attempt.kind")
            if kind not in self.kinds:
                self.kinds = tuple(sorted((*self.kinds, kind)))
        error = text(span, "error.type")
        if error and error not in self.errors:
            self.errors = tuple(sorted((*self.errors, error)))
        # The outermost call begins first, or at the same time and ends last.
        rank = (not is_call, span.start_ns, -span.end_ns, span.span_id)
        if self.principal is None or rank < self._rank:
            self.principal, self._rank = span, rank
        self.spans[span.span_id] = span  # last: their number says how much of the rest can be relied on

    @property
    def summary(self) -> Summary:
        """The facts about the principal; made when first asked for after a change."""
        found, count = self._summary, len(self.spans)
        if found is None or found[0] != count:
            found = self._summary = (count, _summary(self))
        return found[1]

    def prepare(self) -> None:
        """Work out now what a search asks first, while spans come in anyway."""
        _ = self.summary

    @property
    def haystack(self) -> str:
        """What a bare word is searched in, in lower case: names, operations, error types, and the sentence."""
        found, count = self._haystack, len(self.spans)
        if found is None or found[0] != count:
            words = {span.name for span in list(self.spans.values())}.union(self.errors)
            for call in self.calls:
                words |= {text(call, "resilience.op"), text(call, "resilience.why")}
            found = self._haystack = (count, "\n".join(sorted(words)).lower())
        return found[1]


def _summary(trace: Trace) -> Summary:
    span = trace.principal
    if span is None:
        raise ValueError(f"trace {trace.trace_id} has no span yet")
    attributes = span.attributes
    waits = {
        key[len(_WAIT) :]: float(value)
        for key, value in attributes.items()
        if key.startswith(_WAIT) and isinstance(value, (int, float))
    }
    probability = number(span, "resilience.sampling.probability", 1.0)
    return Summary(
        trace_id=trace.trace_id,
        start_ns=span.start_ns,
        seconds=(span.end_ns - span.start_ns) / 1e9,
        service=span.service,
        instance=span.instance,
        pipeline=text(span, "resilience.pipeline"),
        op=text(span, "resilience.op") or span.name,
        outcome=outcome_of(span),
        error_type=error_of(span),
        attempts=max(int(number(span, "resilience.attempts", trace.attempts)), 0),
        reason=text(span, "resilience.sampling.reason"),
        probability=probability if 0 < probability <= 1 else 1.0,
        why=text(span, "resilience.why"),
        spans=len(trace.spans),
        waits=waits,
    )


def text(span: Span, key: str) -> str:
    """An attribute as text, "" if there is none."""
    value = span.attributes.get(key)
    return value if isinstance(value, str) else "" if value is None else str(value)


def number(span: Span, key: str, default: float = 0.0) -> float:
    """An attribute that should be a number; `default` if it is none."""
    value = span.attributes.get(key)
    return value if isinstance(value, (int, float)) else default


def outcome_of(span: Span) -> str:
    """How a call, an attempt or a foreign span ended."""
    said = text(span, "resilience.outcome") or text(span, "resilience.attempt.outcome")
    return said or ("failed" if span.status == "error" else "ok")


def error_of(span: Span) -> str:
    """Its `error.type`; for a foreign span that says nothing but that it failed, ``error``."""
    return text(span, "error.type") or ("error" if span.status == "error" else "")
