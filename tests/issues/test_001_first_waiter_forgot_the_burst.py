"""The first call that had to wait made the limiter forget what it had just sent, and so doubled the first burst."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Op, Pipeline, RateLimit
from resilience.testing import Script, virtual


@pytest.mark.parametrize("rate", ["3/s", "30/s", "1/s", "7/250ms"])
@virtual
async def test_the_first_waiter_changes_nothing_about_what_was_sent(rate: str) -> None:
    """A limit adopts the loop with its first waiter; a rounding of the last send must not look like a new clock."""
    for _ in range(20):
        script = Script("ok")
        pipeline = Pipeline(RateLimit(rate))
        n = int(rate.partition("/")[0])
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*(pipeline.run(script, op=Op("x", True)) for _ in range(2 * n)))
        assert sum(at == begun for at in script.begun) <= n
        await asyncio.sleep(0.0371)


@virtual
async def test_a_plan_that_is_off_by_a_rounding_is_made_anew() -> None:
    """Otherwise the timer is armed for a moment that has passed, for ever, and the loop never does anything else."""
    script = Script("ok")
    pipeline = Pipeline(RateLimit("30/s"))
    await asyncio.gather(*(pipeline.run(script, op=Op("x", True)) for _ in range(180)))
    assert script.count == 180
