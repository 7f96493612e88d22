"""How late do timeouts expire, and what do they cost where they do not, beside `asyncio.timeout`?

Prints one table: milliseconds between the moment at which a call that never answers should be cut and that at which its
caller knows, for calls that begin one after another and are in flight together; and nanoseconds per call that answers
at once. All arms take turns within one run, so that a busy machine disturbs them alike. ``--quick`` makes fewer rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Awaitable, Callable

from resilience import Adaptive, Op, Pipeline, Timeout

SECONDS = 0.25
OP = Op("bench", idempotent=True)
IN_FLIGHT = (10, 100, 1000)

Target = Callable[[], Awaitable[object]]
Guard = Callable[[Target], Target]


def stock(target: Target) -> Target:
    async def call() -> object:
        async with asyncio.timeout(SECONDS):
            return await target()

    return call


def ours(policy: Timeout) -> Guard:
    pipeline = Pipeline(policy)
    return pipeline.guard(OP)


ARMS: dict[str, Callable[[], Guard]] = {
    "stock asyncio.timeout": lambda: stock,
    "Timeout": lambda: ours(Timeout(SECONDS)),
    "Timeout, adaptive": lambda: ours(Timeout(SECONDS, adaptive=Adaptive(floor=SECONDS))),
}


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def at_once() -> int:
    return 1


async def lateness(guard: Guard, count: int) -> list[float]:
    """Milliseconds by which each of `count` calls that overlap was cut too late."""
    call = guard(never)
    late: list[float] = []

    async def one() -> None:
        begun = time.perf_counter()
        try:
            await call()
        except TimeoutError:
            late.append((time.perf_counter() - begun - SECONDS) * 1000)

    tasks = []
    for number in range(count):
        tasks.append(asyncio.ensure_future(one()))
        if number % 10 == 9:
            await asyncio.sleep(0.001)  # a busy loop, not one that can do nothing else
    await asyncio.wait(tasks)
    assert len(late) == count
    return late


async def cost(guard: Guard) -> float:
    """Nanoseconds per call that answers at once."""
    call = guard(at_once)
    for _ in range(200):
        await call()
    begun = time.perf_counter_ns()
    for _ in range(500):
        await call()
    return (time.perf_counter_ns() - begun) / 500


async def measure(rounds: int) -> dict[str, tuple[dict[int, list[float]], list[float]]]:
    guards = {name: make() for name, make in ARMS.items()}
    found: dict[str, tuple[dict[int, list[float]], list[float]]] = {
        name: ({count: [] for count in IN_FLIGHT}, []) for name in guards
    }
    for _ in range(rounds):
        for name, guard in guards.items():
            for count in IN_FLIGHT:
                found[name][0][count] += await lateness(guard, count)
            found[name][1].append(await cost(guard))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 4 if parser.parse_args().quick else 20
    found = asyncio.run(measure(rounds))
    print(f"timeouts of {SECONDS} s; {platform.python_implementation()} {platform.python_version()}, {rounds} rounds")
    heads = "".join(f"{f'{count} in flight':>22}" for count in IN_FLIGHT)
    print(f"{'ms late: median / worst':24}{heads}{'ns a call: min':>18}")
    for name, (late, costs) in found.items():
        cells = "".join(f"{f'{statistics.median(ms):.2f} / {max(ms):.2f}':>22}" for ms in late.values())
        print(f"{name:24}{cells}{min(costs):18.0f}")
    medians = {name: [statistics.median(ms) for ms in late.values()] for name, (late, _) in found.items()}
    beside = medians["stock asyncio.timeout"]
    apart = max(abs(ours - stock) for row in medians.values() for ours, stock in zip(row, beside, strict=True))
    print(f"the medians are at most {apart:.2f} ms apart (wanted: at most 5 ms)")


if __name__ == "__main__":
    main()
