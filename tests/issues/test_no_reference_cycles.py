"""An error that a call raised, retried or replaced is gone with its last reference, without the garbage collector.

A frame that keeps an error which was raised through it is a cycle: error, traceback, frame, error. Each would keep the
request and its body alive until a collection, and thousands in a storm of failures make those collections long.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from resilience import (
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    Coalesce,
    Deadline,
    Fallback,
    Hedge,
    Op,
    Pipeline,
    Pool,
    RateLimit,
    Retry,
    Timeout,
)
from resilience.testing import Script, after, never, virtual

READ = Op("read", idempotent=True)
Note = Callable[[BaseException], None]


class Late(TimeoutError):
    """UNKNOWN, by the default reading."""


def failing(note: Note, times: int = 99) -> Callable[..., Awaitable[str]]:
    """A target that raises a new error `times` times."""
    count = 0

    async def target(*args: Any) -> str:
        nonlocal count
        count += 1
        if count > times:
            return "done"
        error = Late("late")
        note(error)
        try:
            raise error
        finally:
            del error

    return target


async def run(pipeline: Pipeline, target: Callable[..., Awaitable[Any]], note: Note) -> None:
    try:
        await pipeline.run(target, op=READ)
    except Exception as error:
        note(error)


async def in_a_task(pipeline: Pipeline, target: Callable[..., Awaitable[Any]], note: Note) -> None:
    """A task that ends with the error holds it, and must not be held by it."""
    (error,) = await asyncio.gather(pipeline.run(target, op=READ), return_exceptions=True)
    note(error)
    del error


async def retried(note: Note) -> None:
    await run(Pipeline(Retry(wait=0)), failing(note, times=1), note)


async def retries_spent(note: Note) -> None:
    await run(Pipeline(Retry(wait=0)), failing(note), note)


async def cancelled_in_the_backoff(note: Note) -> None:
    task = asyncio.ensure_future(Pipeline(Retry(wait=9, jitter=None)).run(failing(note), op=READ))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait((task,))


async def timed_out(note: Note) -> None:
    await in_a_task(Pipeline(Timeout(1)), Script(never), note)


async def failed_under_a_timeout(note: Note) -> None:
    await in_a_task(Pipeline(Timeout(1)), failing(note), note)


async def past_the_deadline(note: Note) -> None:
    await in_a_task(Pipeline(Deadline(1)), Script(never), note)


async def queued_too_long(note: Note) -> None:
    pipeline = Pipeline(Bulkhead(1, queue=1, max_wait=1))
    busy = asyncio.ensure_future(pipeline.run(Script(after(5))))
    await asyncio.sleep(0)
    await run(pipeline, Script(), note)
    await busy


async def not_open_in_time(note: Note) -> None:
    pipeline = Pipeline(Pool(lambda: asyncio.sleep(5), name="rest", max_wait=1))
    await run(pipeline, Script(), note)
    await pipeline.aclose()


async def not_opened(note: Note) -> None:
    await run(Pipeline(Pool(failing(note), name="rest")), Script(), note)


async def circuit_tripped_and_open(note: Note) -> None:
    pipeline = Pipeline(Breaker(consecutive=1))
    await run(pipeline, failing(note), note)
    await run(pipeline, Script(), note)


async def replaced(note: Note) -> None:
    await run(Pipeline(Fallback(call=lambda error: "instead")), failing(note), note)


async def refused_by_the_limiter(note: Note) -> None:
    pipeline = Pipeline(RateLimit("1/s", max_wait=5))
    await pipeline.run(Script())
    waiting = asyncio.ensure_future(run(pipeline, Script(), note))
    await asyncio.sleep(0)
    pipeline.states["rate_limit"].line("default").pause(100)
    await waiting


async def hedged(note: Note) -> None:
    await run(Pipeline(Hedge(0.1)), failing(note), note)


async def coalesced(note: Note) -> None:
    await run(Pipeline(Coalesce()), failing(note), note)


async def coalesced_by_three(note: Note) -> None:
    pipeline, target = Pipeline(Coalesce()), failing(note)

    async def slow(*args: Any) -> Any:
        await asyncio.sleep(1)
        return await target()

    await asyncio.gather(*(run(pipeline, slow, note) for _ in range(3)))


async def coalesced_too_late(note: Note) -> None:
    await in_a_task(Pipeline(Deadline(1), Coalesce()), Script(never), note)


async def not_opened_for_three(note: Note) -> None:
    pipeline = Pipeline(Pool(failing(note), name="rest"))
    await asyncio.gather(*(run(pipeline, Script(), note) for _ in range(3)))


async def cached(note: Note) -> None:
    await run(Pipeline(Cache(1)), failing(note), note)


async def stale_in_place_of_an_error(note: Note) -> None:
    pipeline = Pipeline(Cache(1, stale_if_error=9))
    target = failing(note)

    async def once(*args: Any) -> Any:
        return "good" if asyncio.get_running_loop().time() < 1 else await target()

    await run(pipeline, once, note)
    await asyncio.sleep(2)
    await run(pipeline, once, note)


async def not_renewed(note: Note) -> None:
    pipeline = Pipeline(Cache(1, stale_while_revalidate=9))
    target = failing(note)

    async def once(*args: Any) -> Any:
        return "good" if asyncio.get_running_loop().time() < 1 else await target()

    await run(pipeline, once, note)
    await asyncio.sleep(2)
    await run(pipeline, once, note)
    await asyncio.sleep(1)


async def injected(note: Note) -> None:
    await run(Pipeline(Chaos(1, enabled=True, fault=Late)), Script(), note)


async def replaced_by_the_last_good(note: Note) -> None:
    pipeline = Pipeline(Fallback(last_good=9))
    target = failing(note)

    async def once(*args: Any) -> Any:
        return "good" if asyncio.get_running_loop().time() < 1 else await target()

    await run(pipeline, once, note)
    await asyncio.sleep(2)
    await run(pipeline, once, note)
    await asyncio.sleep(10)
    await run(pipeline, once, note)


@pytest.mark.parametrize(
    "scenario",
    [
        retried, retries_spent, cancelled_in_the_backoff, timed_out, failed_under_a_timeout, past_the_deadline,
        queued_too_long, not_open_in_time, not_opened, circuit_tripped_and_open, replaced, refused_by_the_limiter,
        hedged, coalesced, coalesced_by_three, coalesced_too_late, not_opened_for_three, cached,
        stale_in_place_of_an_error, not_renewed, injected, replaced_by_the_last_good,
    ],
)  # fmt: skip
def test_the_error_is_gone_with_its_last_reference(scenario: Callable[[Note], Awaitable[None]]) -> None:
    """No cycle runs through a frame of ours."""
    alive: list[weakref.ref[BaseException]] = []

    @virtual
    async def play() -> None:
        await scenario(lambda error: alive.append(weakref.ref(error)))
        await asyncio.sleep(0)

    gc.collect()
    gc.disable()
    try:
        play()
        assert alive
        assert [ref() for ref in alive] == [None] * len(alive)
    finally:
        gc.enable()
