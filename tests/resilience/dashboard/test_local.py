"""Spans of the same process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from resilience import Op, Pipeline, Retry
from resilience.dashboard.analysis import analyse
from resilience.dashboard.local import LocalProcessor
from resilience.dashboard.store import Store
from resilience.telemetry import Tracer


def test_a_call_of_this_process_arrives_whole() -> None:
    """Through the tracer and a provider, as a user would have it."""
    store, provider = Store(), TracerProvider(shutdown_on_exit=False)
    processor = LocalProcessor(store)
    provider.add_span_processor(processor)
    answers = iter([ConnectionResetError(), "done"])

    async def fetch() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pipeline = Pipeline(Retry(attempts=3, wait=0.001), name="market", observers=(Tracer(provider),))
    assert asyncio.run(pipeline.run(fetch, op=Op("ticker", idempotent=True))) == "done"
    (trace,) = store
    summary = trace.summary
    assert (summary.op, summary.pipeline, summary.attempts, summary.reason, summary.spans) == (
        "ticker", "market", 2, "retried", 3
    )  # fmt: skip
    answer = analyse(trace)
    assert [s["role"] for s in answer["spans"]] == ["call", "attempt", "attempt"]
    assert answer["spans"][2]["winner"]
    assert summary.service == "unknown_service" or summary.service
    assert processor.force_flush()
    provider.shutdown()
    with provider.get_tracer("t").start_as_current_span("late"):
        pass
    assert len(store) == 1
    assert processor.failed == 0


def test_a_span_that_is_not_sampled_is_not_kept() -> None:
    """It is recorded for somebody else."""
    store = Store()

    class Recorded:
        context = SpanContext(1, 1, False, TraceFlags(0))

    LocalProcessor(store).on_end(Recorded())  # type: ignore[arg-type]
    assert len(store) == 0


def test_a_span_that_cannot_be_kept_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and said once."""
    processor = LocalProcessor(Store())
    processor.on_start(None)  # type: ignore[arg-type]
    broken: Any = object()
    processor.on_end(broken)
    processor.on_end(broken)
    assert processor.failed == 2
    assert len(caplog.records) == 1
