"""How a finished span of the SDK is made in a microsecond: its ids, and its read-only form.

Both have a public way, which is used wherever the short one might not do the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanContext

from .others import SCOPE
from .shapes import UNSET, Shape

__all__ = ["ids", "maker"]

_Make = Callable[[Shape, SpanContext, SpanContext | None], Any]


def ids(generator: Any) -> tuple[Callable[[], int], Callable[[], int]]:
    """Makers of trace and span ids: the generator's own, or what its default one does, without two frames of Python."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    if type(generator) is not RandomIdGenerator:
        return generator.generate_trace_id, generator.generate_span_id
    bits = random.getrandbits
    return (lambda: bits(128) or 1), (lambda: bits(64) or 1)


def maker(provider: Any, tracer: Any) -> _Make:
    """A maker of read-only spans.

    Their constructor takes a dozen keywords and stores each; a copy of what it stored once, with the new values put in,
    costs a third. Where it stores anything else than it does today, it is called.
    """
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    scope = getattr(tracer, "_instrumentation_scope", None) or InstrumentationScope(SCOPE)

    def whole(shape: Shape, context: SpanContext, parent: SpanContext | None) -> Any:
        name, kind, attributes, status, start, end, _, links = shape
        return ReadableSpan(
            name, context, parent, provider.resource, attributes, links=links, kind=kind, status=status,
            start_time=start, end_time=end, instrumentation_scope=scope,
        )  # fmt: skip

    new = ReadableSpan.__new__

    def copied(shape: Shape, context: SpanContext, parent: SpanContext | None) -> Any:
        span = new(ReadableSpan)
        values = span.__dict__
        values.update(pattern)
        (
            values["_name"], values["_kind"], values["_attributes"], values["_status"], values["_start_time"],
            values["_end_time"], _, values["_links"],
        ) = shape  # fmt: skip
        values["_context"], values["_parent"], values["_resource"] = context, parent, provider.resource
        return span

    probe: Any = ("name", object(), {}, UNSET, 1, 2, None, (object(),))
    context: Any = object()
    pattern = dict(vars(whole(probe, context, None)))
    same = set(pattern) <= _STORED and vars(copied(probe, context, None)) == pattern
    return copied if same else whole


_STORED = frozenset(
    {
        "_name", "_context", "_kind", "_instrumentation_info", "_instrumentation_scope", "_parent", "_start_time",
        "_end_time", "_attributes", "_events", "_links", "_resource", "_status",
    }
)  # fmt: skip
