"""Streams in traces: one span for the stream, one for each opening, and none of them current for the consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from opentelemetry import trace

from resilience import Op, Pipeline, Retry, Timeout
from resilience.testing import virtual

READ = Op("trades", idempotent=True)


@pytest.mark.parametrize("parenting", ["on", "off"])
@virtual
async def test_a_stream_is_a_call_and_each_opening_an_attempt(traced: Any, parenting: str) -> None:
    """It was opened again, so it is kept; between two items the consumer has its own span."""
    tracer = traced.tracer(parenting=parenting)
    opened = 0

    async def trades() -> AsyncIterator[int]:
        nonlocal opened
        opened += 1
        yield opened
        if opened < 3:
            raise ConnectionResetError

    pipeline = Pipeline(Retry(wait=1, jitter="none", resume=True), Timeout(9), observers=(tracer,), name="feed")
    outside = trace.get_current_span()
    async with aclosing(pipeline.stream(trades, op=READ)) as items:
        async for _ in items:
            assert trace.get_current_span() is outside
            assert not traced.exporter.get_finished_spans()
    assert trace.get_current_span() is outside
    call, attempts = traced.call, traced.attempts()
    assert call.name.startswith("trades")
    assert len(attempts) == 3
    assert {attempt.parent.span_id for attempt in attempts} == {call.context.span_id}
    assert [traced.of(attempt)["resilience.attempt.outcome"] for attempt in attempts] == ["unknown", "unknown", "ok"]
    assert traced.of(call)["resilience.sampling.reason"] == "retried"
