"""Where all answers take about the same time, a measured delay lay just below it, and nearly every call was hedged."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Hedge, Op, Pipeline
from resilience.testing import virtual

READ = Op("read", idempotent=True)


@pytest.mark.parametrize("usual", [0.1, 0.103, 0.106, 0.11])
@virtual
async def test_the_95th_percentile_hedges_five_calls_in_a_hundred(usual: float) -> None:
    """Those that are slower than usual."""
    sends = 0

    async def read() -> None:
        nonlocal sends
        sends += 1
        await asyncio.sleep(usual if sends % 25 else 3 * usual)

    pipeline = Pipeline(Hedge("p95", initial=1, budget=None))
    for _ in range(500):
        await pipeline.run(read, op=READ)
    assert sends <= 1.06 * 500
