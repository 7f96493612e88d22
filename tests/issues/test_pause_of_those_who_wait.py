"""The server throttled one operation: calls of it that waited for tokens already were sent in the pause nonetheless."""

from __future__ import annotations

import asyncio

from resilience import Kind, Op, Pipeline, RateLimit, Verdict
from resilience.testing import Script, after, virtual


@virtual
async def test_they_are_held_too() -> None:
    """The order was to leave that operation alone for ten seconds; another one keeps the place it had."""
    verdict = Verdict(Kind.THROTTLED, retry_after=10.0, scope="op")
    pipeline = Pipeline(RateLimit("1/s"), classify=lambda error, op: verdict)
    throttled = asyncio.ensure_future(pipeline.run(Script(after(0.5, OSError())), op=Op("orders")))
    await asyncio.sleep(0)
    orders, ticker = Script("ok"), Script("ok")
    waiting = [asyncio.ensure_future(pipeline.run(orders, op=Op("orders"))) for _ in range(2)]
    waiting.append(asyncio.ensure_future(pipeline.run(ticker, op=Op("ticker"))))
    await asyncio.gather(throttled, *waiting, return_exceptions=True)
    assert orders.begun[0] == 10.5
    assert ticker.begun[0] < 1.1
