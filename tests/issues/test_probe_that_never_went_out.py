"""A probe that a policy beneath could not let through, for what it costs, closed the circuit: nothing had answered."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Breaker, Bulkhead, ConfigError, Op, Pipeline, Policy, RateLimit
from resilience.testing import Script, virtual


@pytest.mark.parametrize("beneath", [RateLimit("5/s"), Bulkhead(5, weight="cost")], ids=["rate limit", "bulkhead"])
@virtual
async def test_the_circuit_goes_on_waiting_for_one(beneath: Policy) -> None:
    """A call that costs more than the whole limit is an error of the configuration, and no answer."""
    pipeline = Pipeline(Breaker(consecutive=1, open_for=1), beneath)
    with pytest.raises(ConnectionRefusedError):
        await pipeline.run(Script(ConnectionRefusedError("down")))
    await asyncio.sleep(2)
    with pytest.raises(ConfigError):
        await pipeline.run(Script("answer"), op=Op("history", cost=10))
    assert pipeline.status()["breaker"]["default"]["state"] == "half-open"
    assert await pipeline.run(Script("answer")) == "answer"
    assert pipeline.status()["breaker"]["default"]["state"] == "closed"
