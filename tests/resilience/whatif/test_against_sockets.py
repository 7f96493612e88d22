"""The forecast against a real run: the simulated exchange on loopback, with a fault plan, called through its pipeline.

The model says what the plan says; its latencies are measured on the same machine without faults. One real run must
then lie within the interval that `whatif` states for one run.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from exchanges import ExchangeManager
from exchanges.bybit.simulator import Simulator
from resilience.whatif import Modelled, compare, read_candidates
from resilience.whatif.faults import Fault
from resilience.whatif.latency import Latency
from resilience.whatif.measure import quantile_of
from resilience.whatif.model import Model, Operation

CONFIG = """
version: 1
resources:
  rest: {kind: aiohttp, limit_per_host: 200, limit: 200}
pipelines:
  market:
    - deadline: 8s
    - retry: {attempts: 2, wait: {expo: {base: 2, factor: 0.2}}, jitter: additive, max_wait: 1s, budget: null}
    - bulkhead: 500
    - timeout: 600ms
    - pool: rest
exchanges:
  bybit: {adapter: bybit, environment: simulator, base_url: "http://127.0.0.1:1", pipeline: market}
"""
PLAN = {
    "version": 1,
    "stall_seconds": 30,
    "rules": [
        {"fault": "html_502", "rate": 0.12},
        {"fault": "stall", "rate": 0.04},
        {"fault": "invalid_json", "rate": 0.04},
        {"fault": "reset_after_read", "rate": 0.05},
    ],
}
FAULTS = (
    Fault("server_error", 0.12),
    Fault("hang", 0.04),
    Fault("bad_payload", 0.04),
    Fault("reset", 0.05),
)
CONFIDENCE = 0.999  # of an interval that a test asserts: it may be wrong once in a thousand runs


async def called(path: Path, calls: int, rate: float, faults: object = None) -> tuple[float, list[float]]:
    """The share of calls that succeeded, and how long those took, at random moments, so many a second."""
    dice = random.Random(5)
    good: list[float] = []
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(seed=3, faults=faults))  # type: ignore[arg-type]
        manager = await stack.enter_async_context(ExchangeManager.load(str(path), base_url=simulator.url))

        async def one() -> None:
            begun = loop.time()
            try:
                await manager.fetch_ticker("bybit", "BTCUSDT")
            except Exception:
                return
            good.append(loop.time() - begun)

        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                group.create_task(one())
                await asyncio.sleep(dice.expovariate(rate))
    return len(good) / calls, sorted(good)


def forecast(path: Path, samples: list[float], calls: int, rate: float, runs: int) -> object:
    model = Model(
        version=1,
        operations={"ticker": Operation(rate=f"{rate:g}/s", latency=Latency(samples=tuple(samples)))},
        faults=FAULTS,
    )
    world = Modelled(model, seconds=calls / rate)
    (result,) = compare(read_candidates(str(path)), world, seed=1, replications=runs, confidence=CONFIDENCE).results
    return result


@pytest.mark.parametrize(
    ("calls", "rate"), [(300, 100.0), pytest.param(3_000, 100.0, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_a_real_run_lies_within_the_stated_interval(tmp_path: Path, calls: int, rate: float) -> None:
    """Its share of successes and its p99, both: over real sockets, with resets, hangs, 502s and broken answers."""
    path = tmp_path / "exchanges.yaml"
    path.write_text(CONFIG)
    _, calm = asyncio.run(called(path, 150, rate))
    predicted = forecast(path, calm, calls, rate, runs=15)
    success, good = asyncio.run(called(path, calls, rate, PLAN))
    p99 = quantile_of(good, 0.99)
    share, latency = predicted.success.one_run, predicted.latency["p99"].one_run  # type: ignore[attr-defined]
    print(f"success {success:.4f} in {share}; p99 {p99} in {latency}")
    assert p99 is not None
    assert share.low <= success <= share.high
    assert latency.low <= p99 <= latency.high
    assert share.high - share.low < 0.2  # and the intervals say something
    assert latency.high < 3 * latency.low
