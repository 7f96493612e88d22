"""Timeout and Deadline: who expires, what is kept, and whose a cancellation is."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from resilience import Bulkhead, ConfigError, Deadline, Kind, Op, Pipeline, Retry, TimedOut, Timeout, within
from resilience.call import Call, takes_call
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual
from resilience.timing.timers import Lane

READ = Op("read", idempotent=True)


def clock() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_a_slow_call_times_out_exactly_then() -> None:
    """The target is cancelled, and the error is a built-in TimeoutError that says what was granted."""
    script = Script(never)
    with pytest.raises(TimeoutError) as caught:
        await Pipeline(Timeout(2)).run(script)
    assert isinstance(caught.value, TimedOut)
    assert (caught.value.seconds, caught.value.limit, caught.value.sent) == (2, "timeout", True)
    assert str(caught.value) == "timed out after 2 s; it may have been executed"
    assert clock() == 2
    assert script.cancelled == 1


@virtual
async def test_the_table_by_operation() -> None:
    """per_op overrides the default for its operations."""
    pipeline = Pipeline(Timeout(5, per_op={"ticker": 1, "markets": 9}))
    for name, expected in (("ticker", 1), ("other", 5), ("markets", 9)):
        begun = clock()
        with pytest.raises(TimedOut):
            await pipeline.run(Script(never), op=Op(name))
        assert clock() - begun == pytest.approx(expected)


@virtual
async def test_calls_that_overlap_expire_each_in_its_own_time() -> None:
    """One armed timer serves them all."""
    pipeline = Pipeline(Timeout(3))
    ends: list[tuple[int, float]] = []

    async def one(number: int, delay: float, step: Any) -> None:
        await asyncio.sleep(delay)
        try:
            await pipeline.run(Script(step))
        except TimedOut:
            ends.append((number, clock()))

    await asyncio.gather(*(one(i, i * 0.5, after(1, "ok") if i % 3 == 0 else never) for i in range(7)))
    assert ends == [(1, 3.5), (2, 4.0), (4, 5.0), (5, 5.5)]


@virtual
async def test_a_lane_arms_one_timer_for_any_number_of_calls() -> None:
    """A thousand calls in flight cost one entry in the loop's heap."""
    loop = asyncio.get_running_loop()
    lane = Lane(5, loop)
    armed: list[float] = []
    call_at = loop.call_at
    loop.call_at = lambda when, *a, **k: (armed.append(when), call_at(when, *a, **k))[1]  # type: ignore[assignment, misc, method-assign]
    calls = [Call(Op("op"), Script("ok")) for _ in range(1000)]
    for call in calls:
        lane.begin(call, 5.0)
    assert armed == [5.0]
    for call in calls:
        assert not lane.end(call)
    assert not lane.live


@virtual
async def test_a_result_of_the_same_tick_is_kept() -> None:
    """A target that answers in the very tick of the timer has answered."""
    assert await Pipeline(Timeout(2)).run(Script(after(2, "just in time"))) == "just in time"


@virtual
async def test_a_result_set_by_another_callback_of_the_same_tick_is_kept() -> None:
    """Whatever order the loop runs the two timers in, a future that is done is looked at first."""
    for shift in (-1e-10, 0.0, 1e-10):
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()

        async def target(future: asyncio.Future[str] = future) -> str:
            return await future

        loop.call_later(2 + shift, lambda future=future: future.done() or future.set_result("kept"))
        assert await Pipeline(Timeout(2)).run(target) == "kept"


def test_a_stalled_loop_does_not_fake_a_timeout() -> None:
    """The process slept past the timeout, the answer lies in the socket's queue: it is taken, not declared late."""
    loop = VirtualLoop()

    async def main() -> str:
        first, second = loop.create_future(), loop.create_future()

        async def target() -> str:
            await first
            return str(await second)

        def stall() -> None:
            loop.advance(30)  # nothing ran for 30 s; two answers are waiting to be read
            loop.call_soon(first.set_result, None)
            loop.call_soon(lambda: loop.call_soon(second.set_result, "answered"))

        loop.call_later(1, stall)
        return await Pipeline(Timeout(5)).run(target)

    assert loop.run(main()) == "answered"


@virtual
async def test_the_callers_cancellation_stays_one() -> None:
    """Cancelled by the caller, even in the tick of the timer: CancelledError, not TimedOut."""
    for at in (1.0, 2.0):
        task = asyncio.ensure_future(Pipeline(Timeout(2)).run(Script(never)))
        asyncio.get_running_loop().call_later(at, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task


@virtual
async def test_a_timeout_leaves_no_cancellation_behind() -> None:
    """After TimedOut the task counts no pending cancellation, so an outer asyncio.timeout still works."""
    async with asyncio.timeout(10):
        with pytest.raises(TimedOut):
            await Pipeline(Timeout(1)).run(Script(never))
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(1):
            await Pipeline(Timeout(5)).run(Script(never))
    assert not isinstance(caught.value, TimedOut)


@virtual
async def test_an_error_raised_while_being_cancelled_is_the_error() -> None:
    """What the target makes of the cancellation is what the caller gets; the count is put right."""

    async def stubborn() -> None:
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            raise ValueError("clean-up failed") from None

    with pytest.raises(ValueError, match="clean-up"):
        await Pipeline(Timeout(1)).run(stubborn)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@pytest.mark.filterwarnings("ignore:timeout-above-deadline")  # so that it is the deadline that comes
@virtual
async def test_the_deadline_cuts_the_timeout_shorter() -> None:
    """The innermost timeout arms at the earlier of the two, and says whose time it was."""
    with pytest.raises(TimedOut) as caught:
        await Pipeline(Deadline(1), Timeout(5)).run(Script(never))
    assert caught.value.limit == "deadline"
    assert caught.value.reason == "deadline_exceeded"
    assert clock() == 1


@virtual
async def test_the_deadline_is_enforced_without_a_timeout() -> None:
    """The attempt boundary arms it, beneath a retry and on top of a bulkhead."""
    with pytest.raises(TimedOut):
        await Pipeline(Deadline(3), Retry(attempts=9, on=OSError, wait=1, jitter="none")).run(Script(OSError(), never))
    assert clock() == 3
    with pytest.raises(TimedOut):
        await Pipeline(Deadline(2), Bulkhead(1)).run(Script(never))
    assert clock() == 5


@virtual
async def test_the_shorter_of_two_deadlines_holds() -> None:
    """An ambient deadline is not extended by the pipeline's, nor the other way round."""
    for ambient, own in ((1.0, 9.0), (9.0, 1.0)):
        begun = clock()
        with within(ambient), pytest.raises(TimedOut):
            await Pipeline(Deadline(own)).run(Script(never))
        assert clock() - begun == 1


@pytest.mark.filterwarnings("ignore:deadline-inside-retry")  # what it does there is the question
@virtual
async def test_a_deadline_by_operation() -> None:
    """per_op overrides the default for its operations."""
    pipeline = Pipeline(Deadline(5, per_op={"ticker": 1, "markets": 9}))
    for name, expected in (("ticker", 1), ("other", 5), ("markets", 9)):
        begun = clock()
        with pytest.raises(TimedOut) as caught:
            await pipeline.run(Script(never), op=Op(name))
        assert caught.value.limit == "deadline"
        assert clock() - begun == pytest.approx(expected)


@virtual
async def test_it_is_as_exact_as_asyncio_timeout() -> None:
    """To the instant, on a clock that does not lie: for calls that overlap, and whatever the length."""
    loop = asyncio.get_running_loop()

    async def stock(seconds: float) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await Script(never)()
        return loop.time()

    async def ours(seconds: float, pipeline: Pipeline) -> float:
        with pytest.raises(TimedOut):
            await pipeline.run(Script(never))
        return loop.time()

    for seconds in (0.0001, 0.37, 12.5):
        pipeline = Pipeline(Timeout(seconds))
        pairs: list[Any] = []
        for _ in range(50):
            pairs += [asyncio.ensure_future(stock(seconds)), asyncio.ensure_future(ours(seconds, pipeline))]
            await asyncio.sleep(seconds / 40)
        ends = await asyncio.gather(*pairs)
        assert max(abs(one - other) for one, other in zip(ends[::2], ends[1::2], strict=True)) <= 2e-6


@virtual
async def test_within_takes_a_time_of_the_loops_clock_as_well() -> None:
    """What one within yields is good for another, in a task that belongs to the same piece of work."""
    await asyncio.sleep(100)
    with within(at=103) as until:
        assert until == 103
        with pytest.raises(TimedOut):
            await Pipeline(Timeout(60)).run(Script(never))
        assert clock() == 103
    with within(5) as until, within(at=until - 1) as sooner, within(at=until + 1) as later:
        assert (until, sooner, later) == (108, 107, 107)
    with within(at=50), pytest.raises(TimedOut):  # has passed
        await Pipeline().run(Script("never asked"))


@virtual
async def test_within_takes_one_of_the_two() -> None:
    """Nothing is guessed."""
    for wrong in (within(), within(1, at=2)):
        with pytest.raises(TypeError, match="within\\(\\) takes a number of seconds, or at="), wrong:
            raise AssertionError("it was entered")


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # the odd order is the point
@virtual
async def test_a_deadline_does_not_outlive_its_policy() -> None:
    """A Deadline beneath a Retry bounds each attempt, not the next one."""
    script = Script(after(2, "late"), after(2, "late"), "in time")
    assert await Pipeline(Retry(on=TimedOut, wait=0), Deadline(1)).run(script) == "in time"
    assert script.begun == [0, 1, 2]


@virtual
async def test_a_timeout_before_anything_was_sent_is_failed() -> None:
    """The transport knows: not sent means not executed, and so even a write may be repeated."""

    @takes_call
    async def connect_hangs(call: Call) -> str:
        if call.attempt.number == 2:
            return "connected"
        await asyncio.sleep(60)
        raise AssertionError

    recorder = Recorder()
    pipeline = Pipeline(Retry(wait=0), Timeout(1), observers=(recorder,))
    assert await pipeline.send(Call(Op("write"), connect_hangs)) == "connected"
    verdict = recorder.attempts[0].verdict
    assert verdict is not None
    assert (verdict.kind, verdict.reason) == (Kind.FAILED, "timeout")


@virtual
async def test_a_timeout_after_sending_is_unknown_and_a_write_is_not_repeated() -> None:
    """It may have been executed: the order is not sent twice."""
    script = Script(never, "twice!")
    with pytest.raises(TimedOut) as caught:
        await Pipeline(Retry(wait=0), Timeout(1)).run(script, op=Op("create_order"))
    assert caught.value.sent
    assert script.count == 1


@virtual
async def test_nothing_is_left_in_the_lane() -> None:
    """After all calls ended, by result, error, timeout or cancellation, no entry remains."""
    lane_count = 0
    pipeline = Pipeline(Timeout(1))
    for step in ("ok", ValueError(), never):
        await asyncio.gather(pipeline.run(Script(step)), return_exceptions=True)
    task = asyncio.ensure_future(pipeline.run(Script(never)))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gc.collect()
    for found in gc.get_objects():
        if isinstance(found, Lane):
            lane_count += 1
            assert not found.live
    assert lane_count


def test_one_pipeline_serves_several_loops() -> None:
    """A module-level decorator outlives an event loop; the next loop arms its own timer."""
    pipeline = Pipeline(Timeout(1))
    for _ in range(3):
        with pytest.raises(TimedOut):
            VirtualLoop().run(pipeline.run(Script(never)))
        assert VirtualLoop().run(pipeline.run(Script("ok"))) == "ok"


def test_a_timeout_outside_a_task_is_told_clearly() -> None:
    """There is nothing to cancel without a task."""
    loop = VirtualLoop()
    coroutine = Pipeline(Timeout(1)).run(Script("x"))

    def step() -> None:
        with pytest.raises(RuntimeError, match="needs a running task"):
            coroutine.send(None)
        loop.stop()

    loop.call_soon(step)
    loop.run_forever()
    loop.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Timeout(0), "Timeout: seconds is 0, must be a number above 0"),
        (lambda: Timeout(-1.5), "must be a number above 0"),
        (lambda: Timeout(float("nan")), "must be a number above 0"),
        (lambda: Timeout("5"), "seconds is '5'"),
        (lambda: Timeout(True), "seconds is True"),
        (lambda: Timeout(5, per_op={"ticker": 0}), r"per_op\['ticker'\] is 0"),
        (lambda: Timeout(5, per_op=[1]), "must map operation names to seconds"),
        (lambda: Deadline(0), "Deadline: seconds is 0"),
        (lambda: Deadline(5, per_op={"ticker": 0}), r"Deadline: per_op\['ticker'\] is 0"),
        (lambda: Deadline(5, per_op=[1]), "Deadline: per_op is .*, must map operation names to seconds"),
    ],
)
def test_wrong_settings_are_named(make: Any, message: str) -> None:
    """The error says which field of which policy, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        make()
