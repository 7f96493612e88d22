"""Spans of the same process."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

from resilience import Op, Pipeline, Retry
from resilience.dashboard import local
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
    assert processor.force_flush()
    (trace,) = store
    summary = trace.summary
    assert (summary.op, summary.pipeline, summary.attempts, summary.reason, summary.spans) == (
        "ticker", "market", 2, "retried", 3
    )  # fmt: skip
    answer = analyse(trace)
    assert [s["role"] for s in answer["spans"]] == ["call", "attempt", "attempt"]
    assert answer["spans"][2]["winner"]
    provider.shutdown()
    with provider.get_tracer("t").start_as_current_span("late"):
        pass
    assert len(store) == 1
    assert (processor.failed, processor.dropped) == (0, 1)


def test_a_span_that_is_not_sampled_is_not_kept() -> None:
    """It is recorded for somebody else."""
    store = Store()

    class Recorded:
        context = SpanContext(1, 1, False, TraceFlags(0))

    processor = LocalProcessor(store)
    processor.on_end(Recorded())  # type: ignore[arg-type]
    processor.shutdown()
    assert len(store) == 0


def test_a_span_that_cannot_be_kept_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted, and said once."""
    processor = LocalProcessor(Store())
    processor.on_start(None)  # type: ignore[arg-type]
    broken: Any = object()
    processor.on_end(broken)
    processor.on_end(broken)
    processor.shutdown()
    assert processor.failed == 2
    assert len(caplog.records) == 1


def finished(number: int) -> ReadableSpan:
    context = SpanContext(number, 1, False, TraceFlags(TraceFlags.SAMPLED))
    return ReadableSpan("work", context, resource=Resource({}), start_time=1, end_time=2)


def test_spans_come_to_the_store_without_being_asked_for() -> None:
    """A thread brings them, soon."""
    store, news = Store(), threading.Event()
    processor = LocalProcessor(store)
    for number in range(1, 51):
        processor.on_end(finished(number))
    ends = time.monotonic() + 30
    while len(store) < 50:
        assert time.monotonic() < ends
        news.wait(0.01)
    processor.shutdown()
    assert not processor._thread.is_alive()


def test_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room is dropped and counted; what waits at the end is kept."""
    monkeypatch.setattr(local, "_GATHER", 60.0)
    monkeypatch.setattr(local, "_MOST_WAITING", 3)
    store = Store()
    processor = LocalProcessor(store)
    for number in range(1, 6):
        processor.on_end(finished(number))
    processor.shutdown()
    assert (processor.dropped, len(store)) == (2, 3)
