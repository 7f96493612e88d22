"""What does each policy cost per call, beside the bare call and beside the stock libraries?

Prints one table, in nanoseconds per successful call: the minimum and the median of many short rounds. All arms take
turns within one run, so that a busy machine disturbs them alike. ``--quick`` makes fewer rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import aiobreaker
import backoff

from resilience import Breaker, Bulkhead, Deadline, Op, Pipeline, RateLimit, Retry, Timeout

OP = Op("bench", idempotent=True)
FIVE = (Deadline(60), Retry(), Breaker(), Bulkhead(100), Timeout(10))
CALLS = 200

Target = Callable[[], Awaitable[int]]


async def bare() -> int:
    return 1


def guarded(*policies: object) -> Target:
    return Pipeline(*policies).guard(OP)(bare)  # type: ignore[arg-type]


async def with_asyncio_timeout() -> int:
    async with asyncio.timeout(10):
        return await bare()


def with_semaphore() -> Target:
    semaphore = asyncio.Semaphore(100)

    async def call() -> int:
        async with semaphore:
            return await bare()

    return call


def with_aiobreaker() -> Target:
    breaker = aiobreaker.CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=5))

    async def call() -> int:
        result: int = await breaker.call_async(bare)
        return result

    return call


def with_backoff() -> Target:
    decorated: Target = backoff.on_exception(backoff.expo, OSError, max_tries=3)(bare)
    return decorated


def with_all_stock() -> Target:
    """The four stock parts nested by hand: backoff, aiobreaker, a semaphore, asyncio.timeout."""
    semaphore = asyncio.Semaphore(100)
    breaker = aiobreaker.CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=5))

    async def innermost() -> int:
        async with semaphore, asyncio.timeout(10):
            return await bare()

    async def broken() -> int:
        result: int = await breaker.call_async(innermost)
        return result

    decorated: Target = backoff.on_exception(backoff.expo, OSError, max_tries=3)(broken)
    return decorated


def arms() -> dict[str, Target]:
    return {
        "bare call": bare,
        "empty pipeline": guarded(),
        "Deadline + Timeout": guarded(Deadline(60), Timeout(10)),
        "Retry": guarded(Retry()),
        "Breaker": guarded(Breaker()),
        "RateLimit": guarded(RateLimit("100000000/s")),
        "Bulkhead": guarded(Bulkhead(100)),
        "Timeout": guarded(Timeout(10)),
        "five stages: Deadline Retry Breaker Bulkhead Timeout": guarded(*FIVE),
        "stock asyncio.timeout": with_asyncio_timeout,
        "stock asyncio.Semaphore": with_semaphore(),
        "stock aiobreaker.call_async": with_aiobreaker(),
        "stock backoff.on_exception": with_backoff(),
        "stock parts nested: backoff aiobreaker Semaphore timeout": with_all_stock(),
    }


async def measure(rounds: int) -> dict[str, list[float]]:
    targets = arms()
    times: dict[str, list[float]] = {name: [] for name in targets}
    for target in targets.values():
        await target()
    for _ in range(rounds):
        for name, target in targets.items():
            begun = time.perf_counter_ns()
            for _ in range(CALLS):
                await target()
            times[name].append((time.perf_counter_ns() - begun) / CALLS)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds = 60 if options.quick else 600
    times = asyncio.run(measure(rounds))
    bare_cost = min(times["bare call"])
    print(
        f"ns per successful call, no observer; {platform.python_implementation()} {platform.python_version()}, ", end=""
    )
    print(f"{rounds} rounds of {CALLS} calls each")
    print(f"{'':58}{'min':>8}{'median':>9}{'x bare':>8}")
    for name, values in times.items():
        print(f"{name:58}{min(values):8.0f}{statistics.median(values):9.0f}{min(values) / bare_cost:8.1f}")
    five = min(times["five stages: Deadline Retry Breaker Bulkhead Timeout"])
    stock = min(times["stock parts nested: backoff aiobreaker Semaphore timeout"])
    print(f"five stages: {five / 1000:.2f} us (wanted: at most 4 us); the stock parts: {stock / five:.1f} x that")


if __name__ == "__main__":
    main()
