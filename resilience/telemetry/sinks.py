"""Where records become spans. Into the SDK's own processors directly, or through any other provider's public interface.

A span that the SDK builds itself costs seventeen microseconds, most of it for what a finished span no longer needs. So
we build the SDK's read-only form with both times in hand and give it to the provider's processors. Their `on_start` is
therefore never called. The one private name that this rests on is checked when a sink is made; without it, and for
providers that are not the SDK's, spans are started and ended in the ordinary way, after the fact.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from .making import ids, maker
from .others import SCOPE
from .records import AttemptRecord, CallRecord
from .shapes import ERROR, Shape, named, shapes

__all__ = ["Sink", "sink_for"]

_log = logging.getLogger("resilience")
_RANDOM = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
_SAMPLED = TraceFlags.SAMPLED


class Sink(Protocol):
    """What the tracer needs of a provider."""

    owns_ids: bool
    """Are our ids the spans' ids? Only then can a running attempt be the current span."""

    def export(self, record: CallRecord) -> None: ...

    def context(self, span: CallRecord | AttemptRecord, sampled: bool) -> SpanContext: ...

    def wanted(self, record: CallRecord) -> bool: ...


def sink_for(provider: Any) -> Sink | None:
    """How spans reach this provider; None for one that records nothing."""
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return None
    tracer = provider.get_tracer(SCOPE)
    if isinstance(tracer, trace.NoOpTracer):
        return None
    from opentelemetry.sdk.trace import TracerProvider  # a tenth of a second: not before there is a provider

    on_end = getattr(getattr(provider, "_active_span_processor", None), "on_end", None)
    if not isinstance(provider, TracerProvider) or not callable(on_end):
        return Portable(tracer)
    return None if _always_off(provider) else Direct(provider, tracer, on_end)


class Direct:
    """The SDK: finished spans go straight to the provider's processors, under ids that we chose."""

    owns_ids = True

    def __init__(self, provider: Any, tracer: Any, on_end: Callable[[Any], None]) -> None:
        generator = provider.id_generator
        self._provider = provider
        self._on_end = on_end
        self._make = maker(provider, tracer)
        random = _RANDOM if getattr(generator, "is_trace_id_random", bool)() else 0
        self._flags = (TraceFlags(random), TraceFlags(random | _SAMPLED))  # of a trace that begins here
        self._complained = False
        self._new_trace_id, self._new_span_id = ids(generator)

    def context(self, span: CallRecord | AttemptRecord, sampled: bool) -> SpanContext:
        """The identity of a span; ids are made when first asked for, and stay."""
        first = (span if isinstance(span, CallRecord) else span.call).outermost()
        parent = first.parent
        if not first.trace_id:
            first.trace_id = self._new_trace_id() if parent is None else parent.trace_id
        if not span.span_id:
            span.span_id = self._new_span_id()
        if parent is None:
            return SpanContext(first.trace_id, span.span_id, False, self._flags[sampled])
        bits = parent.trace_flags & _RANDOM | (_SAMPLED if sampled else 0)
        return SpanContext(first.trace_id, span.span_id, False, TraceFlags(bits), parent.trace_state)

    def wanted(self, record: CallRecord) -> bool:
        """What the provider's own sampler says of this trace, for a caller who cannot wait until the call ends."""
        identity = self._identity(record)
        parent = record.outermost().parent
        context = Context()  # not the current one: we are the span in it
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        sampler = self._provider.sampler
        result = sampler.should_sample(context, identity.trace_id, record.op.name, SpanKind.INTERNAL, {}, ())
        return bool(result.decision.is_sampled())

    def export(self, record: CallRecord) -> None:
        """Build the spans and hand them on: attempts first, as they end before their call does."""
        whole, *parts = shapes(record)
        parent = record.parent if record.above is None else self._identity(record.above)
        context = self._identity(record)
        named(record, context)
        for shape in parts:
            mine = shape[6]
            if mine is not None:
                self._emit(shape, mine.context or self._identity(mine), context)
        self._emit(whole, context, parent)

    def _identity(self, span: CallRecord | AttemptRecord) -> SpanContext:
        if span.context is None:
            span.context = self.context(span, sampled=True)
        return span.context

    def _emit(self, shape: Shape, context: SpanContext, parent: SpanContext | None) -> None:
        try:
            self._on_end(self._make(shape, context, parent))
        except Exception:
            if not self._complained:  # once: it would be the same for every span
                self._complained = True
                _log.exception("a span processor failed; its spans are lost, calls go on")


class Portable:
    """Any other provider: spans are started and ended through the public interface, with explicit times."""

    owns_ids = False

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def context(self, span: CallRecord | AttemptRecord, sampled: bool) -> SpanContext:
        return trace.INVALID_SPAN_CONTEXT

    def wanted(self, record: CallRecord) -> bool:
        return False

    def export(self, record: CallRecord) -> None:
        """The call's span first, since the others need it as their parent."""
        whole, *parts = shapes(record)
        parent = trace.INVALID_SPAN if record.parent is None else trace.NonRecordingSpan(record.parent)
        call = self._start(whole, parent)
        named(record, call.get_span_context())
        for shape in parts:
            self._start(shape, call).end(shape[5])
        call.end(whole[5])

    def _start(self, shape: Shape, parent: trace.Span) -> trace.Span:
        name, kind, attributes, status, start, _, _, links = shape
        span = self._tracer.start_span(
            name,
            context=trace.set_span_in_context(parent),
            kind=kind,
            attributes=attributes,
            links=links,
            start_time=start,
        )
        if status is ERROR:
            span.set_status(status)
        return span


def _always_off(provider: Any) -> bool:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    return provider.sampler is ALWAYS_OFF
