"""The pipeline: three ways in, the attempt boundary, ambient deadlines, and what observers are told."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from resilience import (
    Bulkhead,
    BulkheadFull,
    ConfigError,
    Deadline,
    Kind,
    Op,
    Pipeline,
    Policy,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
from resilience.call import Call, Handler, takes_call
from resilience.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted
from resilience.kit import Kit
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)


@dataclass(frozen=True, slots=True)
class Mark(Policy):
    """Writes its name where the test can read it, on the way down and on the way up."""

    name: str
    seen: list[str]

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            self.seen.append(f"{self.name} down")
            try:
                return await next(call)
            finally:
                self.seen.append(f"{self.name} up")

        return run


@virtual
async def test_policies_apply_outermost_first() -> None:
    """The first policy sees the call first and the result last."""
    seen: list[str] = []
    assert await Pipeline(Mark("a", seen), Mark("b", seen)).run(Script("done")) == "done"
    assert seen == ["a down", "b down", "b up", "a up"]


@virtual
async def test_run_passes_arguments_and_the_result_through() -> None:
    """run(fn, *args, **kwargs) calls fn(*args, **kwargs)."""
    script = Script("value")
    assert await Pipeline().run(script, 1, name="x") == "value"
    assert script.calls == [((1,), {"name": "x"})]


@virtual
async def test_any_callable_that_returns_an_awaitable_can_be_run() -> None:
    """A plain function that hands back a future is as good as a coroutine function."""

    def later() -> asyncio.Future[int]:
        future = asyncio.get_running_loop().create_future()
        future.set_result(7)
        return future

    assert await Pipeline(Timeout(1)).run(later) == 7


@virtual
async def test_stacked_decorators_fuse_into_one_pipeline() -> None:
    """The first decorator is the outermost policy of a single pipeline, and unwrap finds the function."""

    @Retry(on=OSError)
    @Bulkhead(2)
    @Timeout(1)
    async def fetch(symbol: str, *, depth: int = 5) -> str:
        """Fetch it."""
        return f"{symbol}/{depth}"

    assert await fetch("BTC", depth=3) == "BTC/3"
    assert [type(policy).__name__ for policy in fetch.pipeline.policies] == ["Retry", "Bulkhead", "Timeout"]  # type: ignore[attr-defined]
    assert fetch.__doc__ == "Fetch it."
    assert str(inspect.signature(fetch)) == "(symbol: 'str', *, depth: 'int' = 5) -> 'str'"
    assert inspect.iscoroutinefunction(fetch)
    assert inspect.unwrap(fetch).__code__.co_name == "fetch"


@virtual
async def test_a_policy_instance_shares_no_state_between_decorations() -> None:
    """Two functions under one Bulkhead object have a bulkhead each."""
    one = Bulkhead(1)

    @one
    async def first() -> str:
        return await second()

    @one
    async def second() -> str:
        return "inner"

    assert await first() == "inner"


@virtual
async def test_a_pipeline_shares_its_state_between_what_it_guards() -> None:
    """Two functions under one Pipeline share its bulkhead."""
    pipeline = Pipeline(Bulkhead(1))

    @pipeline
    async def first() -> str:
        return await second()

    @pipeline
    async def second() -> str:
        return "inner"

    with pytest.raises(BulkheadFull):
        await first()


@virtual
async def test_methods_can_be_decorated() -> None:
    """A guarded method receives self like any other."""

    class Client:
        prefix = "x"

        @Timeout(1)
        async def fetch(self, symbol: str) -> str:
            return self.prefix + symbol

    assert await Client().fetch("BTC") == "xBTC"


def test_a_synchronous_function_is_refused_at_decoration() -> None:
    """There is nothing to await in it."""

    def fetch() -> int:
        return 1

    with pytest.raises(TypeError, match="fetch is not a coroutine function"):
        Timeout(1)(fetch)  # type: ignore[type-var]


def test_retry_without_on_is_refused_where_nothing_is_known() -> None:
    """On a plain function nobody knows what is safe to repeat; an Op or an own classify tells."""

    async def fetch() -> None: ...

    for guard in (Retry(), Pipeline(Retry())):
        with pytest.raises(ConfigError, match="on=\\(OSError, TimeoutError\\)"):
            guard(fetch)
    Pipeline(Retry()).guard(READ)(fetch)
    Pipeline(Retry(), classify=lambda exc, op: Verdict(Kind.FAILED))(fetch)
    Retry(on=OSError)(fetch)
    Retry(result=lambda value: value is None)(fetch)


@pytest.mark.parametrize("wrong", [Retry, object(), "retry", 3])
def test_only_policies_make_a_pipeline(wrong: Any) -> None:
    """A class instead of an instance, or anything without bind, is named in the error."""
    with pytest.raises(ConfigError, match="is not a policy"):
        Pipeline(wrong, name="p")


def test_printing_a_pipeline_draws_the_attempt_boundary() -> None:
    """The boundary lies beneath the innermost repeating policy, or on top where none repeats."""
    drawn = str(Pipeline(Deadline(9), Retry(on=OSError), Timeout(2), name="market")).splitlines()
    assert drawn[0] == "Pipeline 'market'"
    assert [line.split("(")[0].strip() for line in drawn[1:]] == [
        "Deadline",
        "Retry",
        "---- one attempt ----",
        "Timeout",
        "-> the guarded function",
    ]
    assert "one attempt" in str(Pipeline(Timeout(2))).splitlines()[1]


def test_pipelines_compose_with_plus() -> None:
    """Left is outside; a policy joins a pipeline on either side."""
    both = Deadline(9) + (Retry(on=OSError) + Timeout(2))
    assert [type(policy).__name__ for policy in both.policies] == ["Deadline", "Retry", "Timeout"]


@virtual
async def test_within_bounds_every_call_inside() -> None:
    """An ambient deadline is enforced even where the pipeline has no policy of time at all."""
    script = Script(never)
    with within(0.5), pytest.raises(TimedOut) as caught:
        await Pipeline().run(script)
    assert caught.value.limit == "deadline"
    assert caught.value.sent
    assert asyncio.get_running_loop().time() == 0.5
    assert script.cancelled == 1


@virtual
async def test_a_call_past_its_deadline_is_not_sent() -> None:
    """When the time is already gone, nothing reaches the target and the outcome is FAILED, not UNKNOWN."""
    for pipeline in (Pipeline(), Pipeline(Timeout(5))):
        script = Script("never asked")
        with within(1):
            await asyncio.sleep(2)
            with pytest.raises(TimedOut) as caught:
                await pipeline.run(script)
        assert not caught.value.sent
        assert script.count == 0


@virtual
async def test_within_only_shortens() -> None:
    """A nested, longer deadline changes nothing; leaving it restores the outer one."""
    with within(1) as outer:
        with within(5) as inner:
            assert inner == outer
        with within(0.5) as shorter:
            assert shorter < outer
        with pytest.raises(TimedOut):
            await Pipeline().run(Script(never))
        assert asyncio.get_running_loop().time() == outer
    assert await Pipeline().run(Script(after(9, "free"))) == "free"


@virtual
async def test_events_are_nested_and_balanced() -> None:
    """CallStarted, then per attempt Started and Ended, then CallEnded with the final error."""
    recorder = Recorder()
    pipeline = Pipeline(Retry(attempts=2, on=OSError, wait=0), observers=(recorder,), name="p")
    with pytest.raises(OSError, match="b"):
        await pipeline.run(Script(OSError("a"), OSError("b")))
    kinds = [type(event) for event in recorder.events if type(event).__name__ != "Waiting"]
    assert kinds == [CallStarted, AttemptStarted, AttemptEnded, AttemptStarted, AttemptEnded, CallEnded]
    assert [event.attempt.number for event in recorder.attempts] == [1, 2]
    assert [event.attempt.kind for event in recorder.attempts] == ["original", "retry"]
    assert isinstance(recorder.calls[0].error, OSError)
    assert recorder.calls[0].pipeline == "p"
    assert recorder.balanced()


@virtual
async def test_events_are_balanced_when_the_caller_cancels() -> None:
    """A cancellation ends the attempt and the call, with no verdict."""
    recorder = Recorder()
    pipeline = Pipeline(Retry(on=OSError), Timeout(9), observers=(recorder,))
    task = asyncio.ensure_future(pipeline.run(Script(never)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert recorder.balanced()
    assert isinstance(recorder.attempts[0].error, asyncio.CancelledError)
    assert recorder.attempts[0].verdict is None


@virtual
async def test_an_observer_that_raises_is_isolated(caplog: pytest.LogCaptureFixture) -> None:
    """The call succeeds, the other observer hears everything, the failure is logged."""
    recorder = Recorder()

    def broken(event: object) -> None:
        raise ValueError("observer")

    assert await Pipeline(observers=(broken, recorder)).run(Script("ok")) == "ok"
    assert recorder.balanced()
    assert recorder.calls
    assert "the call goes on" in caplog.text


@virtual
async def test_an_observer_can_be_added_later() -> None:
    """observe() takes effect with the next call, and kept state stays."""
    pipeline = Pipeline(Bulkhead(3))
    await pipeline.run(Script(1))
    gate = pipeline.states["bulkhead"]
    recorder = Recorder()
    pipeline.observe(recorder)
    await pipeline.run(Script(1))
    assert len(recorder.calls) == 1
    assert pipeline.states["bulkhead"] is gate


@virtual
async def test_two_policies_of_a_kind_keep_two_states() -> None:
    """Neither finds the other's."""
    pipeline = Pipeline(Bulkhead(3), Bulkhead(1))
    await pipeline.run(Script(1))
    assert {key: state["limit"] for key, state in pipeline.status().items()} == {"bulkhead": 1, "bulkhead#2": 3}


@virtual
async def test_a_target_that_takes_the_call_speaks_for_itself() -> None:
    """A transport is handed the call, and says itself whether anything was sent."""
    seen: list[bool] = []

    @takes_call
    async def transport(call: Call, symbol: str) -> str:
        seen.append(call.attempt.sent)
        return symbol + call.keys["host"]

    call = Call(READ, transport, ("BTC",), keys={"host": "@here"})
    assert await Pipeline(Timeout(1)).send(call) == "BTC@here"
    assert seen == [False]
    assert not call.attempt.sent


@virtual
async def test_a_call_made_by_an_adapter_obeys_the_ambient_deadline() -> None:
    """The earlier of the call's own deadline and the ambient one is in force."""
    with within(1), pytest.raises(TimedOut):
        await Pipeline().send(Call(READ, Script(never), deadline=5.0))
    assert asyncio.get_running_loop().time() == 1


@virtual
async def test_a_classify_that_raises_reads_as_rejected(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in an adapter repeats nothing and hides no error."""

    def classify(exc: Exception, op: Op) -> Verdict:
        raise KeyError("bug")

    script = Script(OSError("mine"), "ok")
    with pytest.raises(OSError, match="mine"):
        await Pipeline(Retry(), classify=classify).run(script, op=READ)
    assert script.count == 1
    assert "classify failed" in caplog.text


@virtual
async def test_the_base_policy_needs_a_bind() -> None:
    """Forgetting bind is told at the first call."""

    class Empty(Policy):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no bind"):
        await Pipeline(Empty()).run(Script(1))
