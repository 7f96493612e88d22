"""The lean way leaves the spans that a record from the beginning leaves: same tree, times, statuses and attributes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from resilience import BulkheadFull, Deadline, Fallback, Hedge, Op, Pipeline, Retry, TimedOut, Timeout
from resilience.telemetry.around import AT_ONCE
from resilience.testing import Recorder, Script, VirtualLoop, after, never

READ = Op("read", idempotent=True)
AGAIN = Retry(attempts=3, wait=1.0, jitter="none")

SCENES: dict[str, tuple[Callable[[], tuple[Any, ...]], Callable[[], Script]]] = {
    "clean": (lambda: (AGAIN, Timeout(5)), lambda: Script(after(2.0, "done"))),
    "retried": (lambda: (AGAIN, Timeout(5)), lambda: Script(after(0.5, OSError()), OSError(), after(0.25, "done"))),
    "failed": (lambda: (AGAIN, Timeout(5)), lambda: Script(after(0.5, ValueError()))),
    "out of time": (lambda: (Deadline(3), AGAIN, Timeout(2)), lambda: Script(never)),
    "within a deadline": (lambda: (Deadline(30), AGAIN, Timeout(2)), lambda: Script(OSError(), after(1, "done"))),
    "refused": (lambda: (AGAIN, Timeout(5)), lambda: Script(after(1, BulkheadFull("full")))),
    "hedged": (lambda: (Hedge(0.5), Timeout(5)), lambda: Script(after(2, "slow"), after(0.25, "fast"))),
    "replaced": (lambda: (Fallback(0), Retry(attempts=1), Timeout(1)), lambda: Script(never)),
}


def tell(traced: Any) -> list[Any]:
    """What the spans say, without ids, and with times from the beginning of the first call."""
    begun = min(span.start_time for span in traced.spans)
    names = {span.context.span_id: number for number, span in enumerate(sorted(traced.spans, key=order))}
    return [
        (
            span.name, span.kind, span.status.status_code, traced.of(span),
            round((span.start_time - begun) / 1e6), round((span.end_time - begun) / 1e6),
            span.parent and names[span.parent.span_id],
        )
        for span in sorted(traced.spans, key=order)
    ]  # fmt: skip


def order(span: Any) -> Any:
    return span.start_time // 1_000_000, span.parent is not None, dict(span.attributes).get("resilience.attempt.number")


@pytest.mark.parametrize("traces", ["tail", "sampled"])
@pytest.mark.parametrize("name", SCENES)
def test_both_ways_leave_the_same_spans(traced: Any, name: str, traces: str) -> None:
    """Whatever happens to a call: its spans do not tell which way it was noted."""
    policies, target = SCENES[name]
    told = []
    for parenting in ("on", "off"):
        traced.exporter.clear()
        tracer = traced.tracer("tail", 1.0 if traces == "sampled" else 0.0, parenting=parenting)
        pipeline = Pipeline(*policies(), name="market", observers=(tracer,))

        with suppress(Exception):
            VirtualLoop().run(pipeline.run(target(), op=READ))
        told.append(tell(traced) if traced.spans else [])
    assert told[0] == told[1]
    if traces == "sampled" or name != "clean":
        assert told[0]


def test_a_clean_call_leaves_nothing_but_two_numbers(traced: Any) -> None:
    """No record is made while it runs: its attempt holds when it ended, and that it began with the call."""
    seen: list[Any] = []

    class Looking(Recorder):
        def __call__(self, event: Any) -> None:
            super().__call__(event)
            if hasattr(event, "attempt"):
                seen.append((event.call.record, event.attempt))

    pipeline = Pipeline(Timeout(5), observers=(traced.tracer(parenting="off"), Looking()))
    assert VirtualLoop().run(pipeline.run(Script(after(2.0, "done")), op=READ)) == "done"
    (record, attempt), *_ = seen
    assert record is not None
    assert record.tracer is not None
    assert (attempt.at, attempt.ended) == (AT_ONCE, 2.0)
    assert traced.spans == ()


def test_a_call_cancelled_in_a_pause_tells_how_long_it_was(traced: Any) -> None:
    """It waited 0.4 s of the second that was planned, and is no error."""
    pipeline = Pipeline(AGAIN, observers=(traced.tracer(parenting="off"),))

    async def play() -> None:
        task = asyncio.ensure_future(pipeline.run(Script(OSError()), op=READ))
        await asyncio.sleep(0.4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    VirtualLoop().run(play())
    assert traced.of(traced.call)["resilience.wait.backoff"] == pytest.approx(0.4)
    assert traced.call.status.status_code is StatusCode.UNSET


def test_inside_somebody_elses_span_the_whole_way_is_taken(traced: Any) -> None:
    """A recorded span around the call keeps it, beneath that span."""
    pipeline = Pipeline(AGAIN, observers=(traced.tracer(parenting="off"),))

    async def play() -> None:
        with traced.provider.get_tracer("app").start_as_current_span("request"):
            await pipeline.run(Script("done"), op=READ)

    VirtualLoop().run(play())
    (request,) = [span for span in traced.spans if span.name == "request"]
    assert traced.call.parent.span_id == request.context.span_id
    assert traced.of(traced.call)["resilience.sampling.reason"] == "parent"


def test_a_slow_call_is_kept(traced: Any) -> None:
    """From the limit on that was set; a shorter one is not."""
    pipeline = Pipeline(Timeout(5), observers=(traced.tracer(parenting="off", slow=1.0),))
    VirtualLoop().run(pipeline.run(Script(after(0.9, "done")), op=READ))
    assert traced.spans == ()
    VirtualLoop().run(pipeline.run(Script(after(1.0, "done")), op=READ))
    assert traced.of(traced.call)["resilience.sampling.reason"] == "slow"


def test_the_first_of_two_tracers_takes_the_call(traced: Any) -> None:
    """One span tree, not two."""
    first, second = traced.tracer("tail", 1.0, parenting="off"), traced.tracer("tail", 1.0, parenting="off")
    VirtualLoop().run(Pipeline(Timeout(5), observers=(first, second)).run(Script("done"), op=READ))
    assert len(traced.calls) == 1
    assert len(traced.attempts()) == 1


def test_what_goes_wrong_in_tracing_is_logged_and_the_call_goes_on(
    traced: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Values and errors reach the caller as they are."""
    for parenting in ("on", "off"):
        caplog.clear()
        tracer = traced.tracer("tail", 1.0, parenting=parenting)
        tracer.keep = lambda record: 1 / 0
        pipeline = Pipeline(Timeout(5), observers=(tracer,))
        with caplog.at_level(logging.ERROR):
            assert VirtualLoop().run(pipeline.run(Script("done"), op=READ)) == "done"
            with pytest.raises(TimedOut):
                VirtualLoop().run(pipeline.run(Script(never), op=READ))
        assert [record.message for record in caplog.records] == [
            "tracing a call of read failed; its spans are lost, the call goes on"
        ] * 2
