"""A timeout above a retry or a hedge tells whether any attempt beneath it was sent, and not only the first one."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Bulkhead, Hedge, Op, Pipeline, Retry, TimedOut, Timeout
from resilience.call import Call, takes_call
from resilience.testing import Script, after, never, virtual

READ = Op("read", idempotent=True)


@takes_call
async def second_attempt_is_sent(call: Call) -> None:
    """The first attempt never gets through; the second is sent, and hangs."""
    if call.attempt.number == 1:
        if call.op is READ:
            await asyncio.sleep(100)
        raise ConnectionRefusedError
    call.attempt.sent = True
    await asyncio.sleep(100)


@virtual
async def test_a_retry_that_was_sent_makes_the_outcome_unknown() -> None:
    """Else an order that may stand in the book would read "nothing was sent", and an outer retry would repeat it."""
    with pytest.raises(TimedOut) as late:
        await Pipeline(Timeout(5), Retry(wait=0)).run(second_attempt_is_sent)
    assert late.value.sent


@virtual
async def test_a_hedge_that_was_sent_makes_it_unknown_too() -> None:
    """Whichever branch it was."""
    with pytest.raises(TimedOut) as late:
        await Pipeline(Timeout(5), Hedge(1)).run(second_attempt_is_sent, op=READ)
    assert late.value.sent


@virtual
async def test_an_earlier_attempt_is_not_blamed_on_a_later_one() -> None:
    """A timeout beneath the retry speaks of its own attempt only."""
    seen: list[bool] = []

    @takes_call
    async def first_attempt_is_sent(call: Call) -> None:
        call.attempt.sent = call.attempt.number == 1
        await asyncio.sleep(100)

    def note(error: Exception) -> bool:
        assert isinstance(error, TimedOut)
        seen.append(error.sent)
        return True

    with pytest.raises(TimedOut):
        await Pipeline(Retry(attempts=3, on=note, wait=0), Timeout(1)).run(first_attempt_is_sent)
    assert seen == [True, False, False]


@virtual
async def test_an_attempt_that_was_sent_is_not_forgotten_while_the_next_one_queues() -> None:
    """The first was sent and its answer lost; the second had not left our queue when the time was up."""
    pipeline = Pipeline(Timeout(5), Retry(attempts=2, wait=0), Bulkhead(1, queue=1))
    order = asyncio.create_task(pipeline.run(Script(after(1, ConnectionResetError())), op=READ))
    await asyncio.sleep(0.5)
    other = asyncio.create_task(pipeline.run(Script(never)))  # takes the place between the two attempts
    with pytest.raises(TimedOut) as late:
        await order
    assert late.value.sent
    other.cancel()
