"""A provider whose spans can be read back, and the questions that the tests ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from resilience.telemetry import Tracer


class Traces:
    """What was exported, by the shape that it must have: calls, and the attempts beneath them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def tracer(self, traces: Any = "tail", sample: float = 0.0, **options: Any) -> Tracer:
        """A tracer into this provider; no clean call is kept unless the test asks for it."""
        return Tracer(self.provider, traces, sample, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def calls(self) -> list[ReadableSpan]:
        """The spans of calls, in the order in which they began."""
        return self._began(span for span in self.spans if "resilience.sampling.reason" in self.of(span))

    @property
    def call(self) -> ReadableSpan:
        """The span of the only call."""
        (only,) = self.calls
        return only

    def attempts(self, call: ReadableSpan | None = None) -> list[ReadableSpan]:
        """The attempts of one call (of the only one), in the order in which they began."""
        call = call or self.call
        found = [s for s in self.beneath(call) if "resilience.attempt.number" in self.of(s)]
        return sorted(found, key=lambda span: self.of(span)["resilience.attempt.number"])

    def beneath(self, above: ReadableSpan) -> list[ReadableSpan]:
        """The spans that name this one as their parent."""
        return self._began(s for s in self.spans if s.parent is not None and s.parent.span_id == above.context.span_id)

    @staticmethod
    def _began(spans: Any) -> list[ReadableSpan]:
        return sorted(spans, key=lambda span: span.start_time)

    @staticmethod
    def of(span: ReadableSpan) -> dict[str, Any]:
        """A span's attributes as a plain dict."""
        return dict(span.attributes or {})


@pytest.fixture
def traced() -> Iterator[Traces]:
    found = Traces()
    yield found
    found.provider.shutdown()
