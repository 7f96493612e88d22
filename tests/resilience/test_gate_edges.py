"""A gate at its edges: what a wait is measured as, and which of two ends it has."""

from __future__ import annotations

import asyncio
import random

import pytest

from resilience import BulkheadFull, Op, TimedOut
from resilience.call import Call
from resilience.concurrency.gate import Gate
from resilience.kit import Kit
from resilience.testing import Script, virtual
from resilience.verdict import classify


def kit_here() -> Kit:
    kit = Kit("p", classify, random.Random(1))
    kit.link(asyncio.get_running_loop(), None)
    return kit


def full_gate(max_wait: float | None = None, queue: int = 1) -> Gate:
    gate = Gate(3, queue, max_wait, "fifo")
    gate.busy = 3
    return gate


def a_call(deadline: float | None = None) -> Call:
    return Call(Op("op"), Script(), deadline=deadline)


@virtual
async def test_a_wait_is_measured_from_where_it_began() -> None:
    """In the attempt's record, its notes and the error at the deadline, wherever the clock stands."""
    await asyncio.sleep(100)
    call = a_call(deadline=103.0)
    with pytest.raises(TimedOut) as caught:
        await full_gate().wait(call, kit_here())
    assert caught.value.limit == "deadline"
    assert (caught.value.seconds, call.attempt.waited, call.attempt.notes["wait.queue"]) == (3.0, 3.0, 3.0)


@virtual
async def test_the_waits_before_two_gates_add_up() -> None:
    """One attempt may queue for its account and for its host."""
    call, loop = a_call(), asyncio.get_running_loop()
    for seconds in (1, 2):
        gate = full_gate()
        loop.call_later(seconds, gate.leave)
        await gate.wait(call, kit_here())
    assert (call.attempt.waited, call.attempt.notes["wait.queue"]) == (3.0, 3.0)


@virtual
async def test_where_both_ends_of_a_wait_fall_together_it_is_a_refusal() -> None:
    """The gate would not have let it in, whatever the deadline was."""
    gate = full_gate(max_wait=2.0)
    with pytest.raises(BulkheadFull, match=r"none ended within 2.0 s"):
        await gate.wait(a_call(deadline=2.0), kit_here())
    assert gate.refused == 1


@virtual
async def test_whoever_has_waited_long_enough_stands_in_the_queue_no_more() -> None:
    """From that very moment, before its task has heard of it: the place is another's."""
    gate, loop = full_gate(max_wait=2.0), asyncio.get_running_loop()
    waiting: list[int] = []
    loop.call_at(1.0, lambda: waiting.append(len(gate.waiting)))
    loop.call_at(1.0, lambda: loop.call_at(2.0, lambda: waiting.append(len(gate.waiting))))
    with pytest.raises(BulkheadFull):
        await gate.wait(a_call(), kit_here())
    assert waiting == [1, 0]


@virtual
async def test_a_refusal_speaks_of_calls_where_each_takes_one_place() -> None:
    """Which is so unless the gate is told that they are weighted."""
    with pytest.raises(BulkheadFull, match=r"bulkhead: 3 calls are running$"):
        await full_gate(queue=0).wait(a_call(), kit_here())
