"""Timeout at its edges: whose time is up where two end together, and what a timeout that follows the latency says."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Adaptive, Op, Pipeline, TimedOut, Timeout, within
from resilience.call import Call, takes_call
from resilience.testing import Script, never, virtual

READ = Op("read", idempotent=True)


@virtual
async def test_where_both_end_together_it_is_the_timeout() -> None:
    """The deadline cuts nothing short then, and the call was granted all that the timeout grants."""
    with pytest.raises(TimedOut) as caught, within(2):
        await Pipeline(Timeout(2)).run(Script(never), op=READ)
    assert (caught.value.limit, caught.value.seconds) == ("timeout", 2)


@pytest.mark.parametrize("sends", [True, False])
@virtual
async def test_an_adaptive_timeout_tells_whether_anything_was_sent(sends: bool) -> None:
    """For an order that is the difference between "may stand in the book" and "does not"."""

    @takes_call
    async def target(call: Call) -> None:
        call.attempt.sent = sends
        await asyncio.sleep(10)

    with pytest.raises(TimedOut) as caught:
        await Pipeline(Timeout(2, adaptive=Adaptive())).run(target, op=READ)
    assert caught.value.sent is sends


@virtual
async def test_what_is_granted_stands_for_a_while() -> None:
    """For a sixtieth of the window, its first tick included, whatever has been measured since."""
    pipeline = Pipeline(Timeout(10, adaptive=Adaptive(quantile=0.5, factor=2.0, floor=0.05, window=60)))
    loop, granted = asyncio.get_running_loop(), []
    await asyncio.gather(*(pipeline.run(Script("at once"), op=READ) for _ in range(20)))

    async def late() -> None:
        began = loop.time()
        with pytest.raises(TimedOut):
            await pipeline.run(Script(never), op=READ)
        granted.append(round(loop.time() - began, 1))

    one = asyncio.ensure_future(late())
    await asyncio.sleep(1)
    await asyncio.gather(one, late())
    assert sorted(granted) == [0.1, 10.0]
