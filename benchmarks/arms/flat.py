"""What a call costs and weighs when many are in flight, beside the bare coroutine in the same number of tasks.

Costs are in nanoseconds of processor time: the rounds are long, and others may interrupt them.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Sequence
from typing import Any

from arms import Target
from arms.ours import OP, UNLIMITED
from resilience import Breaker, Bulkhead, Pipeline, RateLimit, Retry, Timeout

MANY = 1_000_000


def crowd() -> Pipeline:
    """The five stages, with room for everybody."""
    return Pipeline(Retry(), Breaker(), RateLimit(UNLIMITED), Bulkhead(MANY), Timeout(3600))


async def suspends() -> int:
    """One turn of the loop: what makes calls overlap."""
    await asyncio.sleep(0)
    return 1


async def _rate(target: Target, in_flight: int, calls: int) -> float:
    """Nanoseconds per call in the steady state of `in_flight` tasks that call again and again."""
    first, last = in_flight, in_flight + max(calls, 2 * in_flight)  # starting and ending tasks is not timed
    done = begun = ended = 0

    async def worker() -> None:
        nonlocal done, begun, ended
        while done < last:
            await target()
            done += 1
            if done == first:
                begun = time.process_time_ns()
            elif done == last:
                ended = time.process_time_ns()

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (ended - begun) / (last - first)


async def overlapping(counts: Sequence[int], calls: int, rounds: int) -> dict[int, dict[str, list[float]]]:
    """ns per call by calls in flight, ours and bare, where every call suspends and resumes. All take turns."""
    guarded = crowd().guard(OP)(suspends)
    found: dict[int, dict[str, list[float]]] = {n: {"ours": [], "bare": []} for n in counts}
    for _ in range(rounds):
        for n in counts:
            for name, target in (("bare", suspends), ("ours", guarded)):
                gc.collect()
                found[n][name].append(await _rate(target, n, calls))
    return found


class _Parked:
    """`count` calls that are in flight until told to go on."""

    def __init__(self, pipeline: Pipeline | None, count: int) -> None:
        self._go = asyncio.Event()

        async def wait() -> None:
            await self._go.wait()

        target = wait if pipeline is None else pipeline.guard(OP)(wait)
        self._tasks = [asyncio.ensure_future(target()) for _ in range(count)]

    async def release(self) -> None:
        self._go.set()
        await asyncio.gather(*self._tasks)


async def beside_parked(counts: Sequence[int], calls: int, rounds: int) -> dict[int, list[float]]:
    """ns per call that does not suspend, by how many others are in the same pipeline: the policies alone."""

    async def at_once() -> int:
        return 1

    pipelines = {n: crowd() for n in counts}
    parked = [_Parked(pipeline, n) for n, pipeline in pipelines.items()]
    for _ in range(3):
        await asyncio.sleep(0)
    found: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(rounds):
        for n, pipeline in pipelines.items():
            guarded = pipeline.guard(OP)(at_once)
            begun = time.process_time_ns()
            for _ in range(calls):
                await guarded()
            found[n].append((time.process_time_ns() - begun) / calls)
    for each in parked:
        await each.release()
    return found


async def bytes_in_flight(count: int = 10_000) -> dict[str, float]:
    """Bytes per call in flight, ours and bare, by tracemalloc; the task is in both."""
    weights: dict[str, float] = {}
    for name in ("bare", "ours"):
        warm = _Parked(crowd() if name == "ours" else None, 10)
        await asyncio.sleep(0)
        await warm.release()
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        parked = _Parked(crowd() if name == "ours" else None, count)
        for _ in range(3):
            await asyncio.sleep(0)
        weights[name] = (tracemalloc.get_traced_memory()[0] - before) / count
        tracemalloc.stop()
        await parked.release()
    return weights


async def breaker_keys(count: int = 100_000) -> dict[str, float]:
    """How many circuits stay after calls with `count` different keys, and ns per call with a new key."""
    pipeline = Pipeline(Breaker(key=lambda call: call.args[0]))

    async def echo(key: str) -> str:
        return key

    guarded = pipeline.guard(OP)(echo)
    keys = [f"host-{number}" for number in range(count)]
    begun = time.process_time_ns()
    for key in keys:
        await guarded(key)
    spent = time.process_time_ns() - begun
    return {"kept": len(pipeline.states["breaker"]), "ns": spent / count, "keys": count}


async def tasks_created() -> int:
    """How many tasks 100 successes, 100 retried calls and 100 failures of the five stages create."""
    from arms.ours import five, thrice

    created = 0

    def count(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal created
        created += 1
        return asyncio.Task(coro, loop=loop, **options)

    outcomes = iter(range(1_000_000))

    async def works() -> int:
        return 1

    async def every_second() -> int:
        if next(outcomes) % 2 == 0:
            raise ConnectionResetError("reset")
        return 1

    async def never() -> int:
        raise ConnectionResetError("reset")

    loop = asyncio.get_running_loop()
    _, _, *rest = five()
    loop.set_task_factory(count)
    for target in (works, every_second, never):
        guarded = Pipeline(thrice(), Breaker(min_calls=1_000_000), *rest).guard(OP)(target)
        for _ in range(100):
            try:
                await guarded()
            except OSError:
                continue
    loop.set_task_factory(None)
    return created
