"""Queues and openings at their edges: a bound holds over the whole wait, and no place is lost."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Bulkhead, Pipeline, Pool, PoolExhausted, TimedOut, Timeout, within
from resilience.testing import Script, after, virtual


@virtual
async def test_max_wait_bounds_the_wait_over_several_openings() -> None:
    """A resource that breaks before a waiter comes to it is opened again, in what is left of the waiter's time."""
    opened = 0

    async def open_slowly() -> int:
        nonlocal opened
        await asyncio.sleep(0.9)
        opened += 1
        return opened

    async def breaks(resource: int) -> None:
        raise ConnectionError("gone")

    pipeline = Pipeline(Pool(open_slowly, name="rest", max_wait=1))
    first = asyncio.ensure_future(pipeline.run(breaks))
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    with pytest.raises(PoolExhausted, match="not open within 1 s"):
        await pipeline.run(Script())
    assert asyncio.get_running_loop().time() - began == pytest.approx(1)
    with pytest.raises(ConnectionError):
        await first
    await pipeline.aclose()


@virtual
async def test_an_opening_that_was_cancelled_cancels_nobody_else() -> None:
    """A caller whom nobody cancelled gets a refusal, not a stray `CancelledError`."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(PoolExhausted, match="the opening of 'rest' was cancelled"):
        await Pipeline(Pool(cancelled, name="rest")).run(Script())


@virtual
async def test_a_deadline_that_passed_before_the_queue_is_no_negative_time() -> None:
    """The message says 0 s."""
    pipeline = Pipeline(Bulkhead(1, queue=1), Timeout(9))
    busy = asyncio.ensure_future(pipeline.run(Script(after(5))))
    with within(1):
        await asyncio.sleep(2)
        with pytest.raises(TimedOut, match="deadline exceeded after 0 s; nothing was sent"):
            await pipeline.run(Script())
    await busy


@virtual
async def test_a_coroutine_closed_in_the_tick_of_the_handover_gives_the_place_back() -> None:
    """As one that is cancelled does: a coroutine that is closed ends with `GeneratorExit`, not `CancelledError`."""
    pipeline = Pipeline(Bulkhead(1, queue=1))
    busy = asyncio.ensure_future(pipeline.run(Script(after(1))))
    await asyncio.sleep(0.5)
    waiting = pipeline.run(Script())
    waiting.send(None)  # to the queue, driven by hand
    await busy
    waiting.close()
    assert pipeline.status()["bulkhead"]["busy"] == 0
