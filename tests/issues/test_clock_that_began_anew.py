"""In a loop whose clock began anew, a limiter spent what an old window had left, and then all of a new one."""

from __future__ import annotations

import asyncio

from resilience import Pipeline, RateLimit
from resilience.testing import Script, VirtualLoop


def test_two_counts_are_not_mixed() -> None:
    """No more than n go in the new loop's first window."""
    pipeline = Pipeline(RateLimit("4/10s", max_wait=0))

    async def main(at: float, times: int) -> int:
        asyncio.get_running_loop().advance(at)  # type: ignore[attr-defined]
        outcomes = await asyncio.gather(*(pipeline.run(Script("ok")) for _ in range(times)), return_exceptions=True)
        return outcomes.count("ok")

    assert VirtualLoop().run(main(100, 1)) == 1
    assert VirtualLoop().run(main(5, 9)) == 4
