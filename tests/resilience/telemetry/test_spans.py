"""Spans: the tree that one call leaves behind, its kinds, names, times, statuses and attributes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from resilience import Bulkhead, BulkheadFull, Deadline, Kind, Op, Pipeline, Policy, Retry, TimedOut, Timeout, Verdict
from resilience.call import Call, Handler, LimitReport, takes_call
from resilience.kit import Kit
from resilience.testing import Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
AGAIN = Retry(attempts=3, wait=1.0, jitter="none")


@dataclass(frozen=True, slots=True)
class Race(Policy):
    """A second attempt after `delay` seconds; the first to answer wins, the other is cancelled."""

    repeats: ClassVar[bool] = True
    delay: float

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            first = asyncio.ensure_future(next(call))
            await asyncio.wait((first,), timeout=self.delay)
            second = asyncio.ensure_future(next(call.again("hedge")))
            done, slow = await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED)
            for loser in slow:
                loser.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return done.pop().result()

        return run


def status(span: Any) -> str:
    return str(span.status.status_code.name)


def seconds(span: Any) -> float:
    return float(span.end_time - span.start_time) / 1e9


# -- the tree ---------------------------------------------------------------------------------------------------


@virtual
async def test_a_call_is_an_internal_span_over_one_client_span(traced: Any) -> None:
    """One INTERNAL span for the call, one CLIENT span for its attempt, in one trace, with no parent above."""
    pipeline = Pipeline(Timeout(5), name="market", observers=(traced.tracer("always"),))
    assert await pipeline.run(Script(after(2.0, "done")), op=READ) == "done"
    call, (attempt,) = traced.call, traced.attempts()
    assert len(traced.spans) == 2
    assert (call.name, call.kind, call.parent, status(call)) == ("read", SpanKind.INTERNAL, None, "UNSET")
    assert (attempt.name, attempt.kind, status(attempt)) == ("read", SpanKind.CLIENT, "UNSET")
    assert attempt.context.trace_id == call.context.trace_id != 0
    assert attempt.context.span_id not in (call.context.span_id, 0)
    assert call.context.trace_flags.sampled
    assert attempt.context.trace_flags.sampled
    assert traced.of(call) == {
        "resilience.pipeline": "market",
        "resilience.op": "read",
        "resilience.attempts": 1,
        "resilience.outcome": "ok",
        "resilience.sampling.reason": "always",
        "resilience.sampling.probability": 1.0,
        "resilience.why": "Answered at the first attempt.",
    }
    assert traced.of(attempt) == {
        "resilience.op": "read",
        "resilience.attempt.number": 1,
        "resilience.attempt.kind": "original",
        "resilience.attempt.sent": True,
        "resilience.attempt.outcome": "ok",
    }


def test_times_are_wall_clock_with_the_loops_exact_lengths(traced: Any) -> None:
    """A span begins at the wall time of its call; order and durations are the event loop's own."""
    began = time.time_ns()
    script = Script(after(2.0, ConnectionRefusedError()), after(0.5, "done"))
    VirtualLoop().run(Pipeline(AGAIN, observers=(traced.tracer(),)).run(script, op=READ))
    call, (first, second) = traced.call, traced.attempts()
    assert began <= call.start_time <= time.time_ns()
    assert call.start_time == first.start_time
    assert (seconds(first), seconds(second), seconds(call)) == (2.0, 0.5, 3.5)
    assert second.start_time - first.end_time == 1_000_000_000
    assert second.end_time == call.end_time


@virtual
async def test_a_retried_success_shows_its_failures_and_is_itself_unset(traced: Any) -> None:
    """Attempts 1 and 2 are errors, the third and the call are not; nothing is recorded as an exception event."""
    script = Script(ConnectionRefusedError("secret"), OSError("secret"), "done")
    await Pipeline(AGAIN, Timeout(5), observers=(traced.tracer(),)).run(script, op=READ)
    call, attempts = traced.call, traced.attempts()
    assert [status(span) for span in (call, *attempts)] == ["UNSET", "ERROR", "ERROR", "UNSET"]
    told = [traced.of(span) for span in attempts]
    assert [a["resilience.attempt.number"] for a in told] == [1, 2, 3]
    assert [a["resilience.attempt.kind"] for a in told] == ["original", "retry", "retry"]
    assert [a["resilience.attempt.outcome"] for a in told] == ["failed", "unknown", "ok"]
    assert [a.get("error.type") for a in told] == ["ConnectionRefusedError", "OSError", None]
    assert [a.get("http.request.resend_count") for a in told] == [None, 1, 2]
    assert [a.get("resilience.wait.backoff") for a in told] == [None, 1.0, 1.0]
    assert [a.get("resilience.retry") for a in told] == [None, "backoff", "backoff"]
    assert traced.of(call)["resilience.wait.backoff"] == 2.0
    assert traced.of(call)["resilience.attempts"] == 3
    assert traced.of(call)["resilience.sampling.reason"] == "retried"
    assert "error.type" not in traced.of(call)
    assert not any(span.events or span.links for span in traced.spans)
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


@virtual
async def test_a_failed_call_is_an_error_with_the_reason_of_its_verdict(traced: Any) -> None:
    """error.type is the verdict's reason, on the attempt and on the call; the status has no text."""

    def classify(exc: Exception, op: Op) -> Verdict:
        return Verdict(Kind.REJECTED, "bybit.10001")

    pipeline = Pipeline(AGAIN, observers=(traced.tracer(),), classify=classify)
    with pytest.raises(ValueError, match="bad symbol"):
        await pipeline.run(Script(ValueError("bad symbol")), op=READ)
    call, (attempt,) = traced.call, traced.attempts()
    for span in (call, attempt):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert traced.of(span)["error.type"] == "bybit.10001"
    assert traced.of(call)["resilience.outcome"] == "rejected"
    assert traced.of(call)["resilience.sampling.reason"] == "failed"


@virtual
async def test_a_refused_attempt_is_internal_and_names_who_refused(traced: Any) -> None:
    """Nothing was sent, so it is no CLIENT span; the sampling reason is "refused"."""
    pipeline = Pipeline(Bulkhead(1), observers=(traced.tracer(),))
    busy = asyncio.ensure_future(pipeline.run(Script(after(5.0)), op=READ))
    await asyncio.sleep(1)
    with pytest.raises(BulkheadFull):
        await pipeline.run(Script("never reached"), op=READ)
    await busy
    call, (attempt,) = traced.call, traced.attempts()
    assert attempt.kind is SpanKind.INTERNAL
    told = traced.of(attempt)
    assert (told["resilience.attempt.sent"], told["error.type"]) == (False, "bulkhead_full")
    assert told["resilience.attempt.outcome"] == traced.of(call)["resilience.outcome"] == "refused"
    assert traced.of(call)["error.type"] == "bulkhead_full"
    assert traced.of(call)["resilience.sampling.reason"] == "refused"
    assert status(call) == status(attempt) == "ERROR"


@virtual
async def test_a_call_refused_above_the_attempts_has_none(traced: Any) -> None:
    """A bulkhead outside the retry refuses before an attempt begins: a call span alone, with no attempts."""
    pipeline = Pipeline(Bulkhead(1), AGAIN, observers=(traced.tracer(),))
    busy = asyncio.ensure_future(pipeline.run(Script(after(5.0)), op=READ))
    await asyncio.sleep(1)
    with pytest.raises(BulkheadFull):
        await pipeline.run(Script("never reached"), op=READ)
    await busy
    assert len(traced.spans) == 1
    assert traced.of(traced.call)["resilience.attempts"] == 0


@pytest.mark.filterwarnings("ignore:timeout-above-deadline")  # so that it is the deadline that comes
@virtual
async def test_a_timeout_and_a_deadline_have_types_of_their_own(traced: Any) -> None:
    """error.type is "timeout" where the timeout rang, "deadline_exceeded" where the call's deadline did."""
    tracer = traced.tracer()
    for policies, told in ((Timeout(2),), "timeout"), ((Deadline(1), Timeout(2)), "deadline_exceeded"):
        traced.exporter.clear()
        with pytest.raises(TimedOut):
            await Pipeline(*policies, observers=(tracer,)).run(Script(never), op=READ)
        call, (attempt,) = traced.call, traced.attempts()
        assert traced.of(attempt)["error.type"] == traced.of(call)["error.type"] == told
        assert traced.of(attempt)["resilience.attempt.outcome"] == "unknown"
        assert attempt.kind is SpanKind.CLIENT
        assert status(attempt) == status(call) == "ERROR"


@virtual
async def test_an_attempt_tells_what_was_left_of_the_deadline(traced: Any) -> None:
    """The seconds that remained when it began, and nothing where there is no deadline."""
    pipeline = Pipeline(Deadline(10), AGAIN, Timeout(5), observers=(traced.tracer(),))
    await pipeline.run(Script(after(2.0, OSError()), "done"), op=READ)
    assert [traced.of(a)["resilience.deadline.remaining"] for a in traced.attempts()] == [10.0, 7.0]


@virtual
async def test_a_cancellation_is_no_error(traced: Any) -> None:
    """Status unset and no error.type, on the attempt and on the call."""
    task = asyncio.ensure_future(Pipeline(observers=(traced.tracer("always"),)).run(Script(never), op=READ))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    call, (attempt,) = traced.call, traced.attempts()
    assert status(call) == status(attempt) == "UNSET"
    assert "error.type" not in {**traced.of(call), **traced.of(attempt)}
    assert traced.of(call)["resilience.outcome"] == traced.of(attempt)["resilience.attempt.outcome"] == "cancelled"


@virtual
async def test_a_backoff_that_is_cancelled_counts_as_long_as_it_lasted(traced: Any) -> None:
    """The call waited 3 of the 10 seconds that were planned."""
    pipeline = Pipeline(Retry(attempts=2, wait=10.0, jitter="none"), observers=(traced.tracer(),))
    task = asyncio.ensure_future(pipeline.run(Script(OSError()), op=READ))
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert traced.of(traced.call)["resilience.wait.backoff"] == 3.0
    assert len(traced.attempts()) == 1


@virtual
async def test_a_server_ordered_wait_is_told_apart_from_backoff(traced: Any) -> None:
    """resilience.wait.retry_after, not resilience.wait.backoff, and at least what the server said."""

    def classify(exc: Exception, op: Op) -> Verdict:
        return Verdict(Kind.THROTTLED, "rate_limited_by_server", retry_after=4.0)

    pipeline = Pipeline(AGAIN, observers=(traced.tracer(),), classify=classify, seed=1)
    await pipeline.run(Script(OSError(), "done"), op=READ)
    for span in (traced.call, traced.attempts()[1]):
        assert 4.0 <= traced.of(span)["resilience.wait.retry_after"] <= 4.4
        assert "resilience.wait.backoff" not in traced.of(span)


@virtual
async def test_hedged_attempts_overlap_and_the_loser_is_no_error(traced: Any) -> None:
    """Each attempt keeps its own times and outcome, although the second began before the first ended."""
    pipeline = Pipeline(Race(1.0), observers=(traced.tracer(),))
    assert await pipeline.run(Script(after(9.0, "late"), after(2.0, "early")), op=READ) == "early"
    call, (loser, winner) = traced.call, traced.attempts()
    assert (seconds(loser), seconds(winner), seconds(call)) == (3.0, 2.0, 3.0)
    assert winner.start_time < loser.end_time
    assert [traced.of(a)["resilience.attempt.outcome"] for a in (loser, winner)] == ["cancelled", "ok"]
    assert [traced.of(a)["resilience.attempt.kind"] for a in (loser, winner)] == ["original", "hedge"]
    assert traced.of(winner)["http.request.resend_count"] == 1
    assert {status(span) for span in traced.spans} == {"UNSET"}
    assert traced.of(call)["resilience.sampling.reason"] == "hedged"


@virtual
async def test_a_call_with_very_many_attempts_keeps_the_first_and_the_last(traced: Any) -> None:
    """Eight of each, and how many are missing; the counts stay true."""
    pipeline = Pipeline(Retry(attempts=40, wait=0, jitter="none"), observers=(traced.tracer(),))
    with pytest.raises(OSError):  # noqa: PT011 (any)
        await pipeline.run(Script(OSError()), op=READ)
    numbers = [traced.of(a)["resilience.attempt.number"] for a in traced.attempts()]
    assert numbers == [*range(1, 9), *range(33, 41)]
    assert traced.of(traced.call)["resilience.attempts"] == 40
    assert traced.of(traced.call)["resilience.attempts.dropped"] == 24
    assert traced.of(traced.attempts()[-1])["http.request.resend_count"] == 39


# -- what transports tell ---------------------------------------------------------------------------------------


@virtual
async def test_a_transports_notes_name_the_span_and_become_attributes(traced: Any) -> None:
    """Names of the conventions stay, others go to resilience.*; what OpenTelemetry cannot carry is left out."""

    @takes_call
    async def send(call: Call) -> str:
        call.attempt.sent = True
        call.attempt.limits = LimitReport(50, 49, 0.5)
        call.attempt.notes.update(
            {
                "http.request.method": "GET",
                "url.template": "/v5/market/tickers",
                "server.address": "127.0.0.1",
                "http.response.status_code": 200,
                "network.protocol.name": "http",
                "error.type": "not yours to say",
                "connection": "reused",
                "phase.first_byte": 0.25,
                "wait.pool": 0.5,
                "codes": [1, 2],
                "object": object(),
                "nothing": None,
            }
        )
        return "done"

    await Pipeline(observers=(traced.tracer("always"),)).run(send, op=READ)
    (attempt,) = traced.attempts()
    assert (attempt.name, attempt.kind) == ("GET /v5/market/tickers", SpanKind.CLIENT)
    told = traced.of(attempt)
    assert {key: told[key] for key in told if not key.startswith("resilience.attempt.")} == {
        "http.request.method": "GET",
        "url.template": "/v5/market/tickers",
        "server.address": "127.0.0.1",
        "http.response.status_code": 200,
        "network.protocol.name": "http",
        "resilience.connection": "reused",
        "resilience.phase.first_byte": 0.25,
        "resilience.wait.pool": 0.5,
        "resilience.codes": (1, 2),
        "resilience.op": "read",
        "resilience.server_limit.limit": 50,
        "resilience.server_limit.remaining": 49,
        "resilience.server_limit.reset_in": 0.5,
    }
    assert traced.of(traced.call)["resilience.wait.pool"] == 0.5


@pytest.mark.parametrize(("in_hand", "kind"), [(True, SpanKind.CLIENT), (False, SpanKind.INTERNAL)])
def test_an_unsent_attempt_is_a_client_only_if_a_transport_had_it(traced: Any, in_hand: bool, kind: SpanKind) -> None:
    """A failed connection is a failed request (CLIENT, not sent); what died in our own queue never went out."""

    @takes_call
    async def send(call: Call) -> None:
        if in_hand:
            call.attempt.notes["http.request.method"] = "GET"
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        VirtualLoop().run(Pipeline(observers=(traced.tracer(),)).run(send, op=READ))
    (attempt,) = traced.attempts()
    assert attempt.kind is kind
    assert attempt.name == ("GET" if in_hand else "read")
    assert traced.of(attempt)["resilience.attempt.sent"] is False


@virtual
async def test_only_sent_attempts_count_as_resends(traced: Any) -> None:
    """The first never left; so the second is the first to be sent, and the third is sent again once."""
    sent = iter((False, True, True))

    @takes_call
    async def send(call: Call) -> str:
        call.attempt.sent = next(sent)
        if call.attempt.number < 3:
            raise OSError
        return "done"

    await Pipeline(AGAIN, observers=(traced.tracer(),)).run(send, op=READ)
    assert [traced.of(a).get("http.request.resend_count") for a in traced.attempts()] == [None, None, 1]


# -- spans within spans -----------------------------------------------------------------------------------------


@virtual
async def test_a_guarded_function_inside_another_nests(traced: Any) -> None:
    """The inner call hangs beneath the outer attempt, which is INTERNAL since it sends nothing itself."""
    tracer = traced.tracer()
    inner = Pipeline(AGAIN, name="inner", observers=(tracer,)).guard(Op("inner", idempotent=True))
    outer = Pipeline(name="outer", observers=(tracer,))
    script = Script(OSError(), "done")
    guarded = inner(script.__call__)
    assert await outer.run(guarded, op=Op("outer")) == "done"
    around, within = sorted(traced.calls, key=lambda call: call.name, reverse=True)
    (middle,) = traced.attempts(around)
    assert [span.name for span in (around, middle, within)] == ["outer", "outer", "inner"]
    assert [span.kind for span in (around, middle, within)] == [SpanKind.INTERNAL] * 3
    assert within.parent.span_id == middle.context.span_id
    assert [span.kind for span in traced.attempts(within)] == [SpanKind.CLIENT] * 2
    assert len({span.context.trace_id for span in traced.spans}) == 1


@virtual
async def test_spans_of_the_guarded_function_hang_beneath_its_attempt(traced: Any) -> None:
    """Whatever the function starts with OpenTelemetry is a child of the attempt that ran it, and never an orphan."""
    mine = traced.provider.get_tracer("app")
    steps = iter((OSError(), None))

    async def work() -> str:
        with mine.start_as_current_span("work"):
            error = next(steps)
        if error is not None:
            raise error
        return "done"

    await Pipeline(AGAIN, observers=(traced.tracer(),)).run(work, op=READ)
    for attempt in traced.attempts():
        (child,) = traced.beneath(attempt)
        assert child.name == "work"
        assert child.context.trace_id == traced.call.context.trace_id


@virtual
async def test_attributes_set_on_the_current_span_arrive(traced: Any) -> None:
    """The running attempt is the current span, so a guarded function can say something on it."""

    async def work() -> None:
        span = trace.get_current_span()
        assert span.is_recording()
        span.set_attribute("app.step", 1)
        span.set_attributes({"app.name": "x"})

    before = trace.get_current_span()
    await Pipeline(observers=(traced.tracer("always"),)).run(work, op=READ)
    assert trace.get_current_span() is before
    told = traced.of(traced.attempts()[0])
    assert (told["app.step"], told["app.name"]) == (1, "x")


@virtual
async def test_parenting_can_be_switched_off(traced: Any) -> None:
    """Then nothing is made current, and a nested call is a trace of its own."""
    seen: list[Any] = []

    async def work() -> None:
        seen.append(trace.get_current_span())

    await Pipeline(observers=(traced.tracer("always", parenting="off"),)).run(work, op=READ)
    assert seen == [trace.INVALID_SPAN]


@virtual
async def test_a_task_that_outlives_its_attempt_traces_for_itself(traced: Any) -> None:
    """A call from a task left behind is no child of a span that has ended."""
    tracer = traced.tracer()
    left: list[asyncio.Task[Any]] = []

    async def later() -> None:
        await asyncio.sleep(5)
        with pytest.raises(ValueError, match="late"):
            await Pipeline(observers=(tracer,)).run(Script(ValueError("late")), op=Op("late"))

    async def work() -> None:
        left.append(asyncio.ensure_future(later()))

    await Pipeline(observers=(tracer,)).run(work, op=READ)
    await left[0]
    assert (traced.call.name, traced.call.parent) == ("late", None)


@virtual
async def test_a_call_that_ends_after_the_forgotten_one_around_it_is_a_root(traced: Any) -> None:
    """The outer call was clean and left no span, so the inner one must not name it as its parent."""
    tracer = traced.tracer()
    left: list[asyncio.Task[Any]] = []

    async def later() -> None:
        with pytest.raises(ValueError, match="late"):
            await Pipeline(observers=(tracer,)).run(Script(after(5, ValueError("late"))), op=Op("late"))

    async def work() -> None:
        left.append(asyncio.ensure_future(later()))
        await asyncio.sleep(1)

    await Pipeline(observers=(tracer,)).run(work, op=READ)
    await left[0]
    assert (traced.call.name, traced.call.parent) == ("late", None)
    assert len(traced.attempts()) == 1


# -- in the application -----------------------------------------------------------------------------------------


def test_the_global_provider_is_found_with_no_further_step() -> None:
    """An application that sets a global TracerProvider sees the spans of a decorated function."""
    program = """
        import asyncio
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter = InMemorySpanExporter()
        trace.set_tracer_provider(TracerProvider())
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(exporter))

        from resilience import Retry
        errors = iter([OSError(), None])

        @Retry(attempts=2, on=OSError, wait=0)
        async def fetch():
            if (error := next(errors)) is not None:
                raise error

        asyncio.run(fetch())
        print(*(span.kind.name for span in exporter.get_finished_spans()))
    """
    assert _run(program) == "CLIENT CLIENT INTERNAL"


def test_without_a_global_provider_nothing_is_imported_and_nobody_observes() -> None:
    """The no-op provider of the API is nobody; and a program without OpenTelemetry never loads it."""
    program = """
        import asyncio, sys
        from resilience import Pipeline, Timeout

        async def fetch():
            pass

        pipeline = Pipeline(Timeout(1))
        asyncio.run(pipeline.run(fetch))
        print(any(name.startswith("opentelemetry") for name in sys.modules), end=" ")
        import opentelemetry.trace
        from resilience.telemetry import global_tracer
        print(global_tracer(), "opentelemetry.sdk" in sys.modules)
    """
    assert _run(program) == "False None False"


def _run(program: str) -> str:
    """What a fresh interpreter prints: a global provider can be set only once in a process."""
    done = subprocess.run(  # noqa: S603 (our own text)
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()
