"""A stream that nobody observed remembered every attempt of its life, and earned budget for each time it broke."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from resilience import Call, Op, Pipeline, Retry
from resilience.call import takes_call
from resilience.events import Emit
from resilience.testing import Recorder, virtual


@pytest.mark.parametrize("observers", [(), (Recorder(),)], ids=["unobserved", "observed"])
@virtual
async def test_a_feed_that_breaks_all_day_is_one_call_of_32_attempts(observers: tuple[Emit, ...]) -> None:
    """Whether or not anybody listens."""
    remembered: list[tuple[int, int]] = []

    async def feed(call: Call, since: int = 0) -> AsyncIterator[int]:
        remembered.append((call.attempt.number, len(call.attempts)))
        yield since + 1
        raise ConnectionResetError("gone")

    retry = Retry(attempts=2, on=OSError, wait=1, jitter="none", resume="since")
    pipeline = Pipeline(retry, observers=observers)
    async with aclosing(pipeline.stream(takes_call(feed), op=Op("feed", idempotent=True))) as items:
        async for item in items:
            if item == 100:
                break
    assert remembered[-1] == (100, 32)
    (budget,) = pipeline.status().values()
    assert budget["default"]["calls"] <= 2  # and not a hundred
