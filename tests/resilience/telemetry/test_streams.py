"""Streams in traces: one span for the stream, one for each opening, and none of them current for the consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from opentelemetry import trace

from resilience import Op, Pipeline, Retry, Timeout
from resilience.testing import Script, virtual

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


@pytest.mark.parametrize("parenting", ["on", "off"])
@virtual
async def test_a_stream_that_was_opened_very_often_counts_them_all(traced: Any, parenting: str) -> None:
    """Its call remembers 32 attempts; the counts, the waits and the numbers are those of all hundred."""
    opened = 0

    async def trades() -> AsyncIterator[int]:
        nonlocal opened
        opened += 1
        yield opened
        if opened < 100:
            raise ConnectionResetError

    policies = Retry(attempts=3, wait=1, jitter="none", resume=True), Timeout(9)
    pipeline = Pipeline(*policies, observers=(traced.tracer(parenting=parenting),))
    async with aclosing(pipeline.stream(trades, op=READ)) as items:
        assert [item async for item in items] == list(range(1, 101))
    facts = traced.of(traced.call)
    assert (facts["resilience.attempts"], facts["resilience.attempts.dropped"]) == (100, 84)
    assert facts["resilience.wait.backoff"] == 99.0
    assert "84 attempts in between not shown" in facts["resilience.why"]
    told = [traced.of(attempt) for attempt in traced.attempts()]
    assert len(told) == 16
    assert [a.get("http.request.resend_count", 0) + 1 for a in told] == [a["resilience.attempt.number"] for a in told]
    assert [a["resilience.attempt.number"] for a in told[8:]] == list(range(93, 101))


@pytest.mark.parametrize("attempts", [16, 17, 40])
@pytest.mark.parametrize("parenting", ["on", "off"])
@virtual
async def test_caps_are_the_same_whichever_way_a_call_was_noted(traced: Any, parenting: str, attempts: int) -> None:
    """The first eight and the last eight; one attempt more than these is one that is not shown."""
    pipeline = Pipeline(
        Retry(attempts=attempts, wait=1, jitter="none"), observers=(traced.tracer(parenting=parenting),)
    )
    with suppress(OSError):
        await pipeline.run(Script(OSError()), op=READ)
    numbers = [traced.of(attempt)["resilience.attempt.number"] for attempt in traced.attempts()]
    assert numbers == [*range(1, 9), *range(attempts - 7, attempts + 1)]
    facts = traced.of(traced.call)
    assert facts["resilience.attempts"] == attempts
    assert facts.get("resilience.attempts.dropped", 0) == attempts - 16
    assert facts["resilience.wait.backoff"] == attempts - 1
