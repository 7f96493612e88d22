"""The shared timer at its edges: how many turns a result that is under way is given, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from resilience import Deadline, Op, Pipeline, TimedOut, Timeout
from resilience.call import Call, takes_call
from resilience.testing import Script, VirtualLoop, never, virtual
from resilience.timing.timers import Expiry, Lane, until

OP = Op("op")


def hop(turns: int, then: Callable[[], object]) -> None:
    """Call `then` so many turns of the loop from now."""
    loop = asyncio.get_running_loop()
    loop.call_soon(hop, turns - 1, then) if turns else then()


def kept(stall: float, turns: int) -> bool:
    """Whether a result is kept that arrives so many turns after the timer of one second, which rings `stall` late."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        answer: asyncio.Future[None] = loop.create_future()
        guarded = Pipeline(Timeout(1))(answer_of(answer))
        task = asyncio.ensure_future(guarded())
        await asyncio.sleep(0.5)
        loop.call_at(0.9, loop.advance, 0.1 + stall)
        loop.call_at(1.0, hop, turns, lambda: answer.done() or answer.set_result(None))
        await asyncio.wait([task])
        return task.exception() is None

    return VirtualLoop().run(main())


def answer_of(answer: asyncio.Future[None]) -> Callable[[], object]:
    async def fetch() -> None:
        await answer

    return fetch


def most_turns(stall: float) -> int:
    """How many turns late a result may be and still be kept."""
    return next(turns for turns in range(40) if not kept(stall, turns + 1))


def test_after_a_stall_of_the_loop_a_result_is_given_three_turns_more() -> None:
    """Our own delay is not the other side's. On time, what is there in the timer's tick is kept, and nothing later."""
    assert most_turns(stall=0.0) == 0
    assert most_turns(stall=0.045) == 0
    assert most_turns(stall=0.06) == 3
    assert most_turns(stall=5.0) == 3


@virtual
async def test_who_waits_for_nothing_is_cut_off_too() -> None:
    """A task that only gives others their turn has no future to look at."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    turns = 0

    async def spins() -> None:
        nonlocal turns
        while turns < 1000:
            turns += 1
            loop.advance(0.01)
            await asyncio.sleep(0)

    with pytest.raises(TimedOut):
        await Pipeline(Timeout(1))(spins)()
    assert turns < 110


@virtual
async def test_what_is_ready_at_every_turn_is_cut_off_all_the_same() -> None:
    """A task that always awaits what is already there would never be late: it is given some turns, and no more."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    turns = 0

    async def restless() -> None:
        nonlocal turns
        await asyncio.sleep(1)
        while not ended.is_set():
            turns += 1
            step: asyncio.Future[None] = loop.create_future()
            loop.call_soon(lambda step=step: step.done() or step.set_result(None))
            await step

    with pytest.raises(TimedOut):
        await Pipeline(Timeout(1))(restless)()
    assert turns < 100


@virtual
async def test_a_timer_that_was_ended_does_not_ring() -> None:
    """Ended before its time, during its last look, and twice: the task is never cancelled."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    early = Expiry(loop, loop.time() + 1, task, 0)
    early.arm()
    assert early.end() is False
    late = Expiry(loop, loop.time(), task, 0)
    late.ring()
    assert late.end() is False
    assert late.end() is False
    await asyncio.sleep(2)
    assert task.cancelling() == 0


@virtual
async def test_a_cancellation_is_taken_back_once() -> None:
    """An expired timer that is told to end twice does not take back what somebody else asked for."""
    loop = asyncio.get_running_loop()

    async def sleeper() -> tuple[int, int, bool, bool]:
        task = asyncio.current_task()
        assert task is not None
        expiry = Expiry(loop, loop.time() + 1, task, 0)
        expiry.arm()
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError as error:
            task.cancel()
            first = expiry.end(error)
            after = task.cancelling()
            second = expiry.end(error)
            left = task.cancelling()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # it comes at the next await
            return after, left, first, second
        raise AssertionError("the timer did not ring")

    task = asyncio.ensure_future(sleeper())
    await asyncio.wait([task])
    assert task.result() == (1, 1, False, False)


@virtual
async def test_a_deadline_that_has_come_is_over() -> None:
    """At the very moment, and before anything is sent: our own delay, from which nobody learns."""
    loop = asyncio.get_running_loop()
    sent = []

    async def send(call: Call) -> None:
        sent.append(call)

    with pytest.raises(TimedOut) as caught:
        await until(loop.time(), send, Call(OP, send), lambda call: True)
    assert (caught.value.limit, caught.value.queued, caught.value.sent) == ("deadline", True, False)
    assert caught.value.reason == "deadline_exceeded"
    assert not sent


@virtual
async def test_calls_that_expire_together_expire_in_one_ring() -> None:
    """Ten calls that began in one instant end in one, and the lane keeps none of them."""
    loop = asyncio.get_running_loop()
    guarded = Pipeline(Timeout(1))(Script(never))
    tasks = [asyncio.ensure_future(guarded()) for _ in range(10)]
    await asyncio.wait(tasks)
    assert loop.time() == pytest.approx(1.0)
    assert all(isinstance(task.exception(), TimedOut) for task in tasks)


def test_a_timeout_needs_a_task() -> None:
    """Outside of one there is nobody to cancel: said in words."""
    loop = VirtualLoop()

    async def send(call: Call) -> None:
        raise AssertionError

    call = Call(OP, send)
    with pytest.raises(RuntimeError, match="running task"):
        Lane(1, loop).begin(call, 1.0)
    coroutine = until(1.0, send, call, lambda call: True)
    loop.call_soon(_step_by_hand, coroutine, found := [])
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert [type(error) for error in found] == [RuntimeError]
    loop.close()


def _step_by_hand(coroutine: object, found: list[BaseException]) -> None:
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except BaseException as error:
        found.append(error)


@virtual
async def test_a_deadline_that_ends_with_the_outer_one_changes_nothing() -> None:
    """The inner deadline puts back what it found, whether it was shorter or not."""
    seen = []

    async def look(call: Call) -> None:
        seen.append(call.deadline)

    target = takes_call(look)
    outer = asyncio.get_running_loop().time() + 5
    for seconds, wanted in ((1, outer - 4), (5, outer), (9, outer)):
        call = Call(OP, target, deadline=outer)
        await Pipeline(Deadline(seconds)).send(call)
        assert seen.pop() == wanted
        assert call.deadline == outer
