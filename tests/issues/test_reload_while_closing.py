"""A reload that came while a pipeline was closing what it holds ended the closing with a RuntimeError."""

from __future__ import annotations

import asyncio

from resilience import Pipeline, Pool
from resilience.testing import virtual


class Session:
    """What a pool lends; it takes a second to close."""

    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        await asyncio.sleep(1)
        self.closed = True


@virtual
async def test_all_that_was_held_is_closed() -> None:
    """What the pipeline has become meanwhile is not its business."""
    sessions = [Session(), Session()]
    pipeline = Pipeline(*(Pool(lambda one=one: one, name=f"pool{i}") for i, one in enumerate(sessions)))  # type: ignore[misc]

    async def use(one: Session, other: Session) -> None:
        """Borrow both."""

    await pipeline.run(use)
    closing = asyncio.ensure_future(pipeline.aclose())
    await asyncio.sleep(0.5)
    pipeline.become((), {}, {})
    await closing
    assert [session.closed for session in sessions] == [True, True]
