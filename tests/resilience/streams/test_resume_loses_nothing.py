"""With a resume token a stream that breaks anywhere, any number of times, is the stream that never broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience import Bulkhead, Pipeline, Retry, Timeout
from resilience.testing import VirtualLoop

ACCIDENTS = st.sampled_from(["item", "item", "item", "error", "silence", "end of the connection", "slow"])


class Market:
    """Trades with consecutive numbers. A connection serves all after `since`, and meets the next of the accidents."""

    def __init__(self, most: int, accidents: list[str]) -> None:
        self.most = most
        self.accidents = iter(accidents)
        self.open = 0

    async def trades(self, since: int = 0) -> AsyncIterator[int]:
        self.open += 1
        try:
            for number in range(since + 1, self.most + 1):
                accident = next(self.accidents, "item")
                if accident == "error":
                    raise ConnectionResetError
                if accident == "silence":
                    await asyncio.sleep(1000)
                if accident == "slow":
                    await asyncio.sleep(4)
                yield number
                if accident == "end of the connection":
                    raise ConnectionAbortedError
        finally:
            self.open -= 1


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    most=st.integers(0, 12), accidents=st.lists(ACCIDENTS, max_size=40), stop=st.integers(1, 20), whole=st.booleans()
)
def test_resume_loses_and_doubles_nothing(most: int, accidents: list[str], stop: int, whole: bool) -> None:
    """Every item comes once, in order, whether the stream is read to its end or left; and nothing stays open."""
    market = Market(most, accidents)
    retry = Retry(attempts=100, on=(OSError, TimeoutError), wait=0.5, resume="since")
    order = (Bulkhead(1), retry, Timeout(5)) if whole else (retry, Bulkhead(1), Timeout(5))
    pipeline = Pipeline(*order, seed=1)

    async def main() -> list[int]:
        read: list[int] = []
        async with aclosing(pipeline.stream(market.trades)) as items:
            async for item in items:
                assert pipeline.status()["bulkhead"]["busy"] == market.open == 1
                read.append(item)
                if len(read) == stop:
                    break
        return read

    assert VirtualLoop().run(main()) == list(range(1, min(most, stop) + 1))
    assert pipeline.status()["bulkhead"]["busy"] == market.open == 0
