"""The short ways to a finished span do what the SDK's own do, and give way where they might not."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from resilience import Op, Pipeline
from resilience.telemetry import Tracer
from resilience.telemetry.making import ids, maker
from resilience.testing import Script, virtual

READ = Op("read", idempotent=True)


class Counting(RandomIdGenerator):
    """Ids that somebody chose: of a tracing back end with ideas of its own."""

    def __init__(self) -> None:
        self.last = 0

    def generate_span_id(self) -> int:
        self.last += 1
        return self.last

    def generate_trace_id(self) -> int:
        self.last += 1
        return self.last << 64


@virtual
async def test_ids_come_from_the_providers_generator() -> None:
    """One for the trace and one a span, in the order in which they are needed."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=Counting(), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    await Pipeline(observers=(Tracer(provider, "always"),)).run(Script(), op=READ)
    attempt, call = exporter.get_finished_spans()
    assert (call.context.trace_id, call.context.span_id, attempt.context.span_id) == (1 << 64, 2, 3)


def test_the_default_ids_are_random_and_never_nought() -> None:
    """Of 128 and of 64 bits; the specification forbids a zero."""
    trace_id, span_id = ids(RandomIdGenerator())
    assert 0 < max(trace_id() for _ in range(50)).bit_length() <= 128
    assert max(trace_id() for _ in range(50)) >> 110
    assert max(span_id() for _ in range(50)).bit_length() in range(50, 65)


def test_a_copied_span_is_what_the_constructor_makes(traced: Any) -> None:
    """To the last field, and in the shape that exporters read."""
    parts: Any = ("x", sdk.trace_api.SpanKind.CLIENT, {"a": 1}, sdk.Status(), 5, 9, None, ())
    context = sdk.trace_api.SpanContext(1, 2, False)
    tracer = traced.provider.get_tracer("resilience")
    make = maker(traced.provider, tracer)
    assert make.__name__ == "copied"
    span = make(parts, context, None)
    usual = sdk.ReadableSpan(
        "x", context, None, traced.provider.resource, {"a": 1}, kind=parts[1], status=parts[3], start_time=5,
        end_time=9, instrumentation_scope=tracer._instrumentation_scope,
    )  # fmt: skip
    assert vars(span).keys() == vars(usual).keys()
    assert span.to_json() == usual.to_json()
    assert span.instrumentation_scope == usual.instrumentation_scope


def test_another_constructor_is_called(traced: Any, monkeypatch: Any) -> None:
    """One that stores more than is known here."""

    class Later(sdk.ReadableSpan):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._more = True

    monkeypatch.setattr(sdk, "ReadableSpan", Later)
    make = maker(traced.provider, traced.provider.get_tracer("resilience"))
    assert make.__name__ == "whole"
    span = make(("x", None, {}, sdk.Status(), 5, 9, None, ()), None, None)  # type: ignore[arg-type]
    assert (span.name, span._more) == ("x", True)
