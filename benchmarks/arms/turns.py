"""An event loop that notes how long each of its turns takes, in processor time of its own.

A call waits at most for the turn that is under way. Wall time would also count what other programs took of the machine.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["Timed"]


class Timed(asyncio.SelectorEventLoop):
    """`turns` are in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[float] = []

    def _run_once(self) -> None:
        begun = time.thread_time()
        super()._run_once()  # type: ignore[misc]
        self.turns.append((time.thread_time() - begun) * 1000)
