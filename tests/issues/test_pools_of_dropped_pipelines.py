"""A registry closed the session of a pipeline that had just been found again, and left open one that a retry opened."""

from __future__ import annotations

import asyncio
import gc

from resilience import Coalesce, Pipeline, PipelineRegistry, Pool, Retry
from resilience.testing import VirtualLoop, virtual


class Session:
    """What a pool lends."""

    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


async def use(session: Session) -> bool:
    await asyncio.sleep(1)
    return session.closed


@virtual
async def test_what_is_lent_again_is_not_closed() -> None:
    """Dropped and found again before the closing in the background has begun."""
    registry = PipelineRegistry(lambda key: Pipeline(Pool(Session, name="rest")), most=1)
    held = registry["a"]
    await held.run(use)
    assert registry["b"] is not held
    assert await registry["a"].run(use) is False


@virtual
async def test_what_a_retry_opens_after_the_drop_is_closed_after_it() -> None:
    """A call that waits to try again shows nowhere that it is in flight."""
    sessions: list[Session] = []

    def opened() -> Session:
        sessions.append(Session())
        return sessions[-1]

    def make(key: str) -> Pipeline:
        return Pipeline(Coalesce(), Retry(on=TimeoutError, wait=10, jitter="none"), Pool(opened, name="rest"))

    async def late(session: Session) -> str:
        if session is sessions[0]:
            raise TimeoutError
        assert not session.closed
        return "done"

    registry = PipelineRegistry(make, most=1)
    call = asyncio.ensure_future(registry["a"].run(late))
    await asyncio.sleep(1)
    assert "a" in registry
    assert registry["b"] is registry["b"]  # drops the other
    assert await call == "done"
    gc.collect()
    await asyncio.sleep(1)
    assert [session.closed for session in sessions] == [True, True]


def test_one_that_outlives_its_loop_is_let_go_in_silence() -> None:
    """There is nothing left that could close it."""
    registry = PipelineRegistry(lambda key: Pipeline(Pool(Session, name="rest")), most=1)

    async def main() -> Pipeline:
        held = registry["a"]
        await held.run(use)
        assert registry["b"] is not held
        await held.run(use)
        return held

    held: Pipeline | None = VirtualLoop().run(main())
    assert held is not None
    held = None
    gc.collect()
    assert list(registry) == ["b"]
