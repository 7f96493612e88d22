"""A reload to a shorter window, just after a send, was taken for a clock that had begun anew: all was forgotten."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Pipeline, RateLimit
from resilience.limiting.limits import Limits
from resilience.reload.swap import swap
from resilience.testing import Script, virtual


@virtual
async def test_what_was_sent_under_the_longer_window_counts_for_the_shorter() -> None:
    """At most five in any second, whatever the limit was when they were sent."""
    await asyncio.sleep(13.941)
    pipeline, script = Pipeline(RateLimit("100/5s"), name="market"), Script("sent")
    await asyncio.gather(*(pipeline.run(script) for _ in range(5)))
    swap({"market": pipeline}, {"market": Pipeline(RateLimit("5/s"), name="market")}, {}, ())
    await pipeline.run(script)
    assert script.begun[5] - script.begun[4] >= 1


@pytest.mark.parametrize("throttled", [False, True])
def test_a_clock_that_stands_still_has_not_begun_anew(throttled: bool) -> None:
    """A pipeline that is linked again at the very time of the last send, or of a pause, remembers it."""
    limits = Limits("1/s", None)
    line = limits.line("default")
    if throttled:
        limits._seen = line.limiter.paused_until = 5.0
        limits.link(5.0)
        assert line.limiter.paused_until == 5.0
    else:
        assert line.take(1.0, 5.0)
        limits.link(5.0)
        assert not line.take(1.0, 5.0)
