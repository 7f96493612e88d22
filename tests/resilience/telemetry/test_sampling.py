"""Which calls are kept, and why: the tail decision, parents, nested calls, modes, and providers of every kind."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import weakref
from random import Random
from types import ModuleType
from typing import Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from resilience import ConfigError, Op, Pipeline, Retry
from resilience.call import Call
from resilience.events import CallStarted
from resilience.telemetry import Tracer
from resilience.telemetry.current import current
from resilience.telemetry.latency import Slowness
from resilience.telemetry.others import instrumented
from resilience.telemetry.sinks import Direct
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)
AGAIN = Retry(attempts=3, wait=1.0, jitter="none")


def reason(traced: Any, span: Any) -> tuple[str, float]:
    told = traced.of(span)
    return told["resilience.sampling.reason"], told["resilience.sampling.probability"]


def remote(sampled: bool) -> Any:
    """A context such as an incoming request leaves: a parent in another process."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else 0)
    return trace.set_span_in_context(NonRecordingSpan(SpanContext(0xABC, 0xDEF, True, flags)))


# -- the tail decision ------------------------------------------------------------------------------------------


@virtual
async def test_a_clean_call_leaves_nothing(traced: Any) -> None:
    """Neither a span nor an object: what was remembered of it is gone without the garbage collector."""
    tracer = traced.tracer()
    records: list[weakref.ref[Any]] = []

    def watch(event: Any) -> None:
        if type(event) is CallStarted:
            records.append(weakref.ref(event.call.record))

    gc.disable()
    try:
        assert await Pipeline(AGAIN, observers=(tracer, watch)).run(Script("done"), op=READ) == "done"
        assert [record() for record in records] == [None]
    finally:
        gc.enable()
    assert traced.spans == ()


@virtual
async def test_the_draw_keeps_its_share_of_clean_calls(traced: Any) -> None:
    """About half of a thousand at sample=0.5, each saying so; all of them at 1."""
    pipeline = Pipeline(observers=(traced.tracer(sample=0.5),))
    for _ in range(1000):
        await pipeline.run(Script(), op=READ)
    assert 380 < len(traced.calls) < 620  # more than seven standard deviations to either side
    assert {reason(traced, call) for call in traced.calls} == {("sampled", 0.5)}
    traced.exporter.clear()
    await Pipeline(observers=(traced.tracer(sample=1),)).run(Script(), op=READ)
    assert reason(traced, traced.call) == ("sampled", 1.0)


@virtual
async def test_trouble_comes_before_the_draw(traced: Any) -> None:
    """A retried call that was drawn as well says "retried", with probability 1."""
    await Pipeline(AGAIN, observers=(traced.tracer(sample=1),)).run(Script(OSError(), "done"), op=READ)
    assert reason(traced, traced.call) == ("retried", 1.0)


@virtual
async def test_a_call_from_the_slow_setting_on_is_kept(traced: Any) -> None:
    """slow=2: two seconds is slow, a little less is not."""
    pipeline = Pipeline(observers=(traced.tracer(slow=2.0),))
    await pipeline.run(Script(after(1.9)), op=READ)
    assert traced.spans == ()
    await pipeline.run(Script(after(2.0)), op=READ)
    assert reason(traced, traced.call) == ("slow", 1.0)


@virtual
async def test_slowness_is_learnt_by_operation(traced: Any) -> None:
    """After a hundred calls of 10 ms, one of 50 ms is slow; for an operation that always takes 50 ms it is not."""
    pipeline = Pipeline(observers=(traced.tracer(),))
    other = Op("other")
    for _ in range(150):
        await pipeline.run(Script(after(0.01)), op=READ)
        await pipeline.run(Script(after(0.05)), op=other)
    assert traced.spans == ()
    await pipeline.run(Script(after(0.05)), op=READ)
    await pipeline.run(Script(after(0.05)), op=other)
    assert (traced.call.name, reason(traced, traced.call)) == ("read", ("slow", 1.0))


def test_about_one_call_in_a_hundred_is_slow_also_after_a_shift() -> None:
    """Whatever the scale: over a cycle of 0 to 99 ms, and after everything has become ten times slower."""
    slowness, lot = Slowness(None), Random(1).random
    for scale in (0.001, 0.01):
        for n in range(5000):  # to settle
            slowness.observe("op", scale * (n * 37 % 100), lot())
        found = sum(slowness.observe("op", scale * (n * 37 % 100), lot()) for n in range(10000))
        assert found < 200
        assert slowness.observe("op", scale * 200, lot())


def test_names_made_per_call_do_not_grow_without_bound() -> None:
    """Ten thousand operation names leave at most 1,024 estimates."""
    slowness = Slowness(None)
    for n in range(10000):
        for _ in range(1 + n % 2 * 200):
            slowness.observe(f"op {n}", 0.1, 0.5)
    assert len(slowness.over) + len(slowness._warming) <= 1024


# -- parents ----------------------------------------------------------------------------------------------------


@virtual
async def test_under_a_recording_parent_every_call_is_kept(traced: Any) -> None:
    """It hangs beneath that span, in its trace, and says "parent"."""
    pipeline = Pipeline(observers=(traced.tracer(),))
    with traced.provider.get_tracer("app").start_as_current_span("request") as request:
        await pipeline.run(Script(), op=READ)
        await pipeline.run(Script(), op=READ)
    assert len(traced.calls) == 2
    for call in traced.calls:
        assert reason(traced, call) == ("parent", 1.0)
        assert call.parent == request.get_span_context()
        assert call.context.trace_id == request.get_span_context().trace_id
        assert call.start_time >= request.start_time


@pytest.mark.parametrize("mode", ["tail", "inherit"])
@pytest.mark.parametrize("sampled", [True, False])
def test_a_remote_parent_is_followed(traced: Any, mode: str, sampled: bool) -> None:
    """A sampled parent in another process keeps the call, one that is not sampled does not."""
    pipeline = Pipeline(observers=(traced.tracer(mode),))
    token = context_api.attach(remote(sampled))
    try:
        virtual(pipeline.run)(Script(), op=READ)
    finally:
        context_api.detach(token)
    assert [reason(traced, call) for call in traced.calls] == ([("parent", 1.0)] if sampled else [])
    assert all(call.context.trace_id == 0xABC and call.parent.span_id == 0xDEF for call in traced.calls)


@virtual
async def test_inherit_keeps_nothing_by_itself_and_off_nothing_at_all(traced: Any) -> None:
    """Not even a retried call; and a second tracer does not take up what the first leaves out."""
    for mode in ("inherit", "off"):
        pipeline = Pipeline(AGAIN, observers=(traced.tracer(mode), traced.tracer("always")))
        assert await pipeline.run(Script(OSError(), "done"), op=READ) == "done"
    with traced.provider.get_tracer("app").start_as_current_span("request"):
        await Pipeline(observers=(traced.tracer("off"), traced.tracer("always"))).run(Script(), op=READ)
    assert traced.calls == []


@virtual
async def test_two_tracers_do_not_make_a_span_twice(traced: Any) -> None:
    """The first that is told of a call has it; a record left on a call does not bar its next run."""
    pipeline = Pipeline(observers=(traced.tracer("always"), traced.tracer("always")))
    call = Call(READ, Script())
    await pipeline.send(call)
    await pipeline.send(call)
    assert len(traced.calls) == 2


@virtual
async def test_suppressed_instrumentation_is_respected(traced: Any) -> None:
    """An exporter's own requests are not traced."""
    token = context_api.attach(context_api.set_value(context_api._SUPPRESS_INSTRUMENTATION_KEY, True))
    await Pipeline(observers=(traced.tracer("always"),)).run(Script(), op=READ)
    context_api.detach(token)
    assert traced.spans == ()


# -- calls within calls -----------------------------------------------------------------------------------------


def nested(tracer: Tracer, *scripts: Script) -> Any:
    """An outer call that makes one inner call per script, in order."""
    inner = Pipeline(AGAIN, observers=(tracer,))

    async def work() -> None:
        for number, script in enumerate(scripts, 1):
            await inner.run(script, op=Op(f"inner {number}", idempotent=True))

    return Pipeline(observers=(tracer,)).run(work, op=Op("outer"))


@virtual
async def test_a_nested_call_that_is_kept_keeps_the_whole_trace(traced: Any) -> None:
    """The second of three inner calls was retried: the outer one says why, the clean ones come along."""
    await nested(traced.tracer(), Script(), Script(OSError(), "done"), Script())
    assert {call.name: reason(traced, call)[0] for call in traced.calls} == {
        "outer": "retried",
        "inner 1": "parent",
        "inner 2": "retried",
        "inner 3": "parent",
    }
    assert len({span.context.trace_id for span in traced.spans}) == 1
    known = {span.context.span_id for span in traced.spans}
    assert [span.name for span in traced.spans if span.parent is None] == ["outer"]
    assert all(span.parent.span_id in known for span in traced.spans if span.parent is not None)


@virtual
async def test_a_drawn_trace_with_trouble_inside_says_the_trouble(traced: Any) -> None:
    """It would have been kept without the draw, so its probability is 1."""
    await nested(traced.tracer(sample=1), Script(OSError(), "done"))
    assert {reason(traced, call) for call in traced.calls} == {("retried", 1.0)}


@virtual
async def test_an_inner_call_that_began_before_the_trouble_comes_along(traced: Any) -> None:
    """It runs on when another inner call is kept, and ends clean: the trace is certain by then."""
    tracer = traced.tracer()
    inner = Pipeline(AGAIN, observers=(tracer,))

    async def work() -> None:
        scripts = {"long": Script(after(9.0)), "short": Script(OSError(), "done")}
        await asyncio.gather(*(inner.run(scripts[name], op=Op(name, idempotent=True)) for name in scripts))

    await Pipeline(observers=(tracer,)).run(work, op=Op("outer"))
    assert {call.name: reason(traced, call)[0] for call in traced.calls} == {
        "outer": "retried",
        "long": "parent",
        "short": "retried",
    }


@virtual
async def test_calls_three_deep_wait_for_the_outermost(traced: Any) -> None:
    """The innermost ended clean in a clean call; when the outermost fails, all three are there."""
    tracer = traced.tracer()
    low, middle = (Pipeline(observers=(tracer,)).guard(Op(name)) for name in ("low", "middle"))

    async def work() -> None:
        await middle(low(Script()))()
        raise ValueError("after all")

    with pytest.raises(ValueError, match="after all"):
        await Pipeline(observers=(tracer,)).run(work, op=Op("outer"))
    names = {span.context.span_id: span.name for span in traced.spans}
    assert sorted(call.name for call in traced.calls) == ["low", "middle", "outer"]
    above = {call.name: names.get(call.parent.span_id) if call.parent else None for call in traced.calls}
    assert above == {"outer": None, "middle": "outer", "low": "middle"}


@virtual
async def test_a_clean_call_with_clean_calls_inside_leaves_nothing(traced: Any) -> None:
    """All are forgotten together."""
    await nested(traced.tracer(), Script(), Script())
    assert traced.spans == ()


@virtual
async def test_the_draw_is_one_for_the_whole_trace(traced: Any) -> None:
    """Inner calls follow the outer one, at its probability."""
    tracer = traced.tracer(sample=0.3)
    for _ in range(100):
        await nested(tracer, Script(), Script())
    outer = [call for call in traced.calls if call.name == "outer"]
    assert 0 < len(outer) < 100
    assert len(traced.calls) == 3 * len(outer)
    inner = {reason(traced, call) for call in traced.calls if call.name != "outer"}
    assert inner == {("parent", 0.3)}


@virtual
async def test_what_waits_inside_a_long_call_is_bounded(traced: Any) -> None:
    """The 32 newest of a hundred clean inner calls come along, and the attempt says how many do not."""
    await nested(traced.tracer(), *[Script()] * 100, Script(OSError(), "done"))
    assert len(traced.calls) == 1 + 1 + 32
    (attempt,) = [span for span in traced.spans if "resilience.nested.dropped" in traced.of(span)]
    assert traced.of(attempt)["resilience.nested.dropped"] == 68


@virtual
async def test_tracers_of_one_provider_nest_without_forcing_each_other(traced: Any) -> None:
    """Two pipelines with a tracer each, over one provider that samples everything: clean calls still leave nothing."""
    inner = Pipeline(observers=(traced.tracer(),)).guard(READ)(Script())
    await Pipeline(observers=(traced.tracer(),)).run(inner, op=Op("outer"))
    assert traced.spans == ()


# -- spans that somebody else hangs beneath ---------------------------------------------------------------------


@virtual
async def test_a_span_inside_a_clean_call_keeps_the_call(traced: Any) -> None:
    """The provider's sampler records that span, so its parents must not be missing."""
    mine = traced.provider.get_tracer("app")

    async def work() -> None:
        with mine.start_as_current_span("work"):
            pass

    await Pipeline(observers=(traced.tracer(),)).run(work, op=READ)
    assert reason(traced, traced.call) == ("parent", 1.0)
    (attempt,) = traced.attempts()
    assert [span.name for span in traced.beneath(attempt)] == ["work"]


@pytest.mark.parametrize("parenting", ["on", "auto", "off"])
def test_a_sampler_that_says_no_is_heard(traced: Any, parenting: str) -> None:
    """Under a provider that records no roots, a span inside a clean call is dropped, and the call as before."""
    traced.provider.sampler = DEFAULT_OFF
    mine = traced.provider.get_tracer("app")

    async def work() -> None:
        with mine.start_as_current_span("work"):
            pass

    virtual(Pipeline(observers=(traced.tracer(parenting=parenting),)).run)(work, op=READ)
    assert traced.spans == ()


async def in_a_span(mine: Any) -> None:
    with mine.start_as_current_span("work"):
        pass


@virtual
async def test_auto_is_on_where_the_application_has_a_tracer(traced: Any) -> None:
    """It was made before the first call, so its spans hang beneath the attempt."""
    mine = traced.provider.get_tracer("app")
    pipeline = Pipeline(observers=(traced.tracer(parenting="auto"),))
    await pipeline.run(in_a_span, mine, op=READ)
    assert [span.name for span in traced.beneath(traced.attempts()[0])] == ["work"]


@virtual
async def test_auto_is_on_where_an_instrumentation_is_imported(traced: Any, monkeypatch: Any) -> None:
    """Whatever it instruments."""
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.aiohttp_client", ModuleType("x"))
    seen: list[Any] = []

    async def look() -> None:
        seen.append(trace.get_current_span())

    await Pipeline(observers=(traced.tracer(parenting="auto"),)).run(look, op=READ)
    assert seen[0] is not trace.INVALID_SPAN


@virtual
async def test_auto_is_lean_where_nobody_else_makes_spans(traced: Any) -> None:
    """A tracer that is made afterwards comes too late: its spans are roots, unless they are in a recorded trace."""
    pipeline = Pipeline(observers=(traced.tracer(parenting="auto"),))
    seen: list[Any] = []

    async def look() -> None:
        seen.append(trace.get_current_span())

    await pipeline.run(look, op=READ)
    assert seen == [trace.INVALID_SPAN]
    mine = traced.provider.get_tracer("app")
    await pipeline.run(in_a_span, mine, op=READ)
    (alone,) = traced.spans
    assert (alone.name, alone.parent) == ("work", None)
    with mine.start_as_current_span("request"):
        await pipeline.run(in_a_span, mine, op=READ)
    assert [span.name for span in traced.beneath(traced.attempts()[0])] == ["work"]
    pipeline.observe()  # it links anew
    traced.exporter.clear()
    await pipeline.run(in_a_span, mine, op=READ)
    assert [span.name for span in traced.beneath(traced.attempts()[0])] == ["work"]


@virtual
async def test_auto_is_on_where_it_cannot_know(traced: Any) -> None:
    """An SDK that hides its tracers, or a recording span around the first call."""
    hidden, traced.provider._tracers = traced.provider._tracers, None
    try:
        assert instrumented(traced.provider)
    finally:
        traced.provider._tracers = hidden
    other = TracerProvider(shutdown_on_exit=False).get_tracer("other")
    assert not instrumented(traced.provider)
    with other.start_as_current_span("request"):
        assert instrumented(traced.provider)


@virtual
async def test_a_coroutine_closed_from_outside_harms_nobodys_current_span(traced: Any) -> None:
    """It ends in another context than it began in; the span that is current there stays so."""
    mine = traced.provider.get_tracer("app")
    run = Pipeline(observers=(traced.tracer("always"),)).run(Script(after(1.0)), op=READ)
    contextvars.copy_context().run(run.send, None)
    with mine.start_as_current_span("request") as request:
        run.close()
        assert trace.get_current_span() is request
    assert traced.of(traced.call)["resilience.outcome"] == "cancelled"


# -- providers --------------------------------------------------------------------------------------------------


class Broken(SpanExporter, SpanProcessor):
    """Fails at everything: as an exporter, and as a processor."""

    def export(self, spans: Any) -> Any:
        raise RuntimeError("no disk")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("no memory")


@pytest.mark.parametrize("processor", [SimpleSpanProcessor(Broken()), Broken()], ids=["exporter", "processor"])
def test_an_exporter_that_raises_never_reaches_the_call(processor: Any, caplog: Any) -> None:
    """Values and errors of calls are what they would be without it; the failure is logged."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    pipeline = Pipeline(AGAIN, observers=(Tracer(provider, "always"),))
    with caplog.at_level(logging.ERROR):
        assert virtual(pipeline.run)(Script(OSError(), "done"), op=READ) == "done"
        with pytest.raises(ValueError, match="own"):
            virtual(pipeline.run)(Script(ValueError("own")), op=READ)
    assert caplog.records


@pytest.mark.parametrize("provider", [trace.NoOpTracerProvider(), TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)])
def test_a_provider_that_records_nothing_is_refused(provider: Any) -> None:
    """One clear line, and not a tracer that costs time for nothing."""
    with pytest.raises(ConfigError, match="records nothing"):
        Tracer(provider)


def test_the_private_names_that_make_it_cheap_are_still_there(traced: Any) -> None:
    """Without them everything works, at five times the price: this says that OpenTelemetry has renamed one."""
    assert type(traced.tracer()._sink) is Direct
    assert current == context_api._RUNTIME_CONTEXT._current_context.get


class Foreign(trace.TracerProvider):
    """A provider that is not the SDK's: only the public interface leads to spans."""

    def __init__(self, provider: TracerProvider) -> None:
        self._inner = provider

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return self._inner.get_tracer(*args, **kwargs)


@virtual
async def test_another_provider_gets_the_same_tree_through_the_public_interface(traced: Any) -> None:
    """Names, kinds, statuses, parents and exact times, as with the SDK's own processors."""
    pipeline = Pipeline(AGAIN, observers=(Tracer(Foreign(traced.provider), sample=0),))
    with traced.provider.get_tracer("app").start_as_current_span("request") as request:
        await pipeline.run(Script(after(2.0, OSError()), "done"), op=READ)
    call, (first, second) = traced.call, traced.attempts()
    assert call.parent.span_id == request.get_span_context().span_id
    assert (call.kind, first.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert [span.status.status_code.name for span in (call, first, second)] == ["UNSET", "ERROR", "UNSET"]
    assert (first.end_time - first.start_time, second.start_time - first.end_time) == (2_000_000_000, 1_000_000_000)
    assert reason(traced, call) == ("retried", 1.0)
    assert not first.events


@virtual
async def test_concurrent_calls_keep_their_spans_apart(traced: Any) -> None:
    """Fifty at once, each retried once: fifty traces of three spans."""
    pipeline = Pipeline(AGAIN, observers=(traced.tracer(),))
    scripts = [Script(after(n / 10, OSError()), after(1.0)) for n in range(50)]
    await asyncio.gather(*(pipeline.run(script, op=READ) for script in scripts))
    traces = [span.context.trace_id for span in traced.spans]
    assert len(set(traces)) == 50
    assert {traces.count(one) for one in traces} == {3}
    assert all(len(traced.attempts(call)) == 2 for call in traced.calls)
