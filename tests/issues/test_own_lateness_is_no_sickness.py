"""Time that ran out before a call left us says nothing about the target: no circuit opens for it."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Breaker, Bulkhead, Deadline, Pipeline, TimedOut, Timeout, within
from resilience.testing import Script, after, virtual


@pytest.mark.filterwarnings("ignore:timeout-above-deadline")  # so that it is the deadline that comes
@virtual
async def test_a_deadline_that_passes_in_our_own_queue_trips_nothing() -> None:
    """The target answered every call that reached it."""
    pipeline = Pipeline(Deadline(1), Breaker(consecutive=2), Bulkhead(1, queue=9), Timeout(100))
    script = Script(after(0.99))
    await asyncio.gather(*(pipeline.run(script) for _ in range(5)), return_exceptions=True)
    await asyncio.sleep(0.5)
    assert pipeline.status()["breaker"]["default"]["state"] == "closed"


@virtual
async def test_a_deadline_that_had_passed_before_trips_nothing() -> None:
    """The target was not called at all."""
    pipeline = Pipeline(Breaker(consecutive=2), Timeout(100))
    script = Script("never asked")
    with within(1):
        await asyncio.sleep(2)
        for _ in range(2):
            with pytest.raises(TimedOut):
                await pipeline.run(script)
    assert script.count == 0
    assert pipeline.status()["breaker"]["default"]["state"] == "closed"
