"""What the state machines have in common: how many histories are played, a virtual loop, and a step of it.

`FEW` plays the same 500 histories of 50 steps in every run; `MANY`, behind ``-m sweep``, draws 10,000 anew each time.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine

from resilience.testing import VirtualLoop

MANY = settings(
    max_examples=10_000, stateful_step_count=50, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
FEW = settings(MANY, max_examples=500, derandomize=True)


class Histories(RuleBasedStateMachine):
    """A machine whose rules run on a virtual loop: `open_loop` in an ``@initialize`` rule, `close_loop` at the end."""

    loop: VirtualLoop | None = None

    def open_loop(self) -> None:
        self.loop = VirtualLoop()
        self.complaints: list[str] = []  # what the loop could only log, such as an exception that nobody read
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(str(context)))

    @property
    def started(self) -> bool:
        return self.loop is not None

    def step(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass, and then everybody react who was woken."""

        async def turns() -> None:
            await asyncio.sleep(seconds)
            for _ in range(6):
                await asyncio.sleep(0)

        assert self.loop is not None
        self.loop.run_until_complete(turns())

    def close_loop(self, *tasks: asyncio.Task[Any]) -> None:
        """Cancel what still runs, wait for it, look at its errors, and close the loop."""
        assert self.loop is not None
        for task in tasks:
            task.cancel()
        self.step()
        for task in tasks:
            assert task.done()
            if not task.cancelled():
                task.exception()
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        assert not left
