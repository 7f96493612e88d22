"""Who may not pass another, and has not the time to wait for it, was told of a longest wait that nobody had set."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Limit, Op, Pipeline, RateLimit, RateLimited, within
from resilience.testing import Script, virtual


@virtual
async def test_it_is_told_of_its_deadline_and_when_it_could_go() -> None:
    """The heavy call in front needs the whole limit, so nothing may be sent before it."""
    pipeline = Pipeline(RateLimit("20/100s", key="ip", also=[Limit("20/s", key="op")]))
    await pipeline.run(Script("ok"), op=Op("u", cost=10))
    heavy = asyncio.ensure_future(pipeline.run(Script("ok"), op=Op("x", cost=20)))
    await asyncio.sleep(0)
    with within(5), pytest.raises(RateLimited, match="20/100s is used up beyond the deadline") as caught:
        await pipeline.run(Script("ok"), op=Op("y"))
    assert caught.value.retry_after == pytest.approx(103.7)
    await heavy
